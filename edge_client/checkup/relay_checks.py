"""Checks whether the configured relay is reachable and accepts this device's token.

Nothing attaches: that would replace the client that is running.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any

import grpc

from avatar_relay.addresses import split_address
from avatar_relay.bounded_log import plain
from avatar_relay.credentials import metadata_of
from avatar_relay.forward_proxy import proxy_note, proxy_option
from avatar_relay.spoken import speaks
from edge_client.checkup.findings import Finding, Health, finding
from edge_client.link.attach_call import Endpoint

CONNECT_S, ANSWER_S = 5.0, 10.0
_CHECK, _WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
_SERVING = b"\x08\x01"
_REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


def check_relay(endpoint: Endpoint) -> list[Finding]:
    """Check the parts `relay` and `token`."""
    host, port = split_address(endpoint.address, "relay")
    start_s = time.monotonic()
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except socket.gaierror as error:
        return [_unreachable(endpoint, f"the name {host} is not found: {error.strerror}", "correct the setting relay, or the name server")]
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        advice = "start the relay, correct the setting relay, or open its port in the firewalls between"
        return [_unreachable(endpoint, f"no connection to {endpoint.address}: {reason}", advice)]
    took_ms = (time.monotonic() - start_s) * 1_000
    return _ask(endpoint, f"{endpoint.address} answers in {took_ms:.0f} ms")


def _unreachable(endpoint: Endpoint, text: str, advice: str) -> Finding:
    return finding("relay", Health.FAILED, text + proxy_note(endpoint.address, os.environ), advice)


def _ask(endpoint: Endpoint, reached: str) -> list[Finding]:
    channel: Any
    credentials = endpoint.credentials()
    options = (*proxy_option(endpoint.address), *endpoint.name_option)
    if endpoint.tls:
        shown = grpc.ssl_channel_credentials(credentials.root_certificates, credentials.key, credentials.certificate)
        channel = grpc.secure_channel(endpoint.address, shown, options)
    else:
        channel = grpc.insecure_channel(endpoint.address, options)
    with channel:
        try:
            answer = channel.unary_unary(_CHECK)(b"", timeout=ANSWER_S)
        except grpc.RpcError as error:
            return [finding("relay", Health.FAILED, f"{reached}, but not as a relay: {_said(error)}", _why_not(endpoint))]
        if answer == _SERVING:
            relay = finding("relay", Health.OK, f"{reached} and serves, over {'TLS' if endpoint.tls else 'plaintext'}")
        else:
            relay = finding("relay", Health.WARNING, f"{reached} and does not serve: it is draining", "wait until it is back")
        return [relay, _token(channel, credentials.token)]


def _token(channel: Any, token: str | None) -> Finding:
    """Check the token by watching the relay's health, which only known identities may do."""
    call = channel.unary_stream(_WATCH)(b"", timeout=ANSWER_S, metadata=metadata_of(token))
    try:
        next(call)
    except grpc.RpcError as error:
        if error.code() in _REFUSED:
            advice = "ask the relay's operator for a new token (relayctl device rotate), or correct token_file"
            return finding("token", Health.FAILED, f"the relay does not let this device in: {_said(error)}", advice)
        return finding("token", Health.WARNING, f"the relay does not say: {_said(error)}")
    finally:
        call.cancel()
    text = "the relay takes this device's token" if token else "the relay asks for none, or takes the certificate"
    return finding("token", Health.OK, text)


def _why_not(endpoint: Endpoint) -> str:
    spoken = speaks(endpoint.address)
    if not spoken:
        return "it took the connection and hung up, or says nothing: correct the setting relay, or look at the relay's log"
    if not endpoint.tls:
        return "it speaks TLS: set tls_ca_file, or pair" if spoken == "tls" else "it is no relay: correct the setting relay"
    if spoken == "plaintext":
        return "it speaks plaintext, or is no relay: correct the setting relay, or set insecure = true on a network that you trust"
    return "the relay's certificate is not vouched for by tls_ca_file, has expired, or is for another name than that in the setting relay"


def _said(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {plain(error.details() or '', 200)}"
