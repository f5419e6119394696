"""Pairs a device with a relay: the device waits there under its name until an operator enters the code that it shows.

Runs on one thread, which may block; gRPC's own threads carry the stream. The relay's certificate is fetched and pinned first. Each stream
carries one exchange at most, in which the relay must first prove that it knows the code. Failures are retried, with the code that is shown
then.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from avatar_relay.bounded_log import plain
from avatar_relay.credentials import clean_token
from avatar_relay.forward_proxy import proxy_option
from avatar_relay.grpc_client import CHANNEL_OPTIONS
from avatar_relay.ids import is_valid_id
from avatar_relay.limits import MAX_TOKEN_CHARACTERS
from avatar_relay.pairing import MAX_ELEMENT_BYTES, STEP_S, Exchange, ExchangeError, RandomBytes
from avatar_relay.v1 import pairing_service_pb2 as pb
from edge_client.link.pairing_code import PairingCode
from edge_client.link.pinned_certificate import PinError, PinnedCertificate, fetch_certificate
from edge_client.link.relay_finder import FoundRelay, NotOfferedError, SearchClock, SearchStoppedError
from edge_client.paired import MAX_CERTIFICATE_CHARACTERS, Paired

logger = logging.getLogger(__name__)

AGAIN_S = 2.0
LOOK_S = 0.25
MAX_BYTES = 256 << 10
_PAIR = f"/{pb.DESCRIPTOR.services_by_name['PairingService'].full_name}/Pair"
_OPTIONS = (*CHANNEL_OPTIONS, ("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 5_000), ("grpc.enable_retries", 0))


class _StreamError(Exception):
    """The stream to the relay ended, or an exchange failed; the text gives the reason."""


class Pairing:
    """Pairing of one device. `shown` may be read by any thread."""

    def __init__(self, name: str, clock: SearchClock, random_bytes: RandomBytes, store: Callable[[Paired], bool]) -> None:
        """`store` writes the pairing to the disk, and returns whether it is there."""
        self._name = name
        self._clock = clock
        self._random_bytes = random_bytes
        self._store = store
        self._code = PairingCode(random_bytes, clock.now_us())
        self.shown = ""
        """NAME-CODE while a relay waits for it; else empty."""

    def pair(self, relay: FoundRelay) -> Paired:
        """Wait until an operator admits the device. Raises `NotOfferedError` and `SearchStoppedError`."""
        told = ""
        while True:
            try:
                return self._attempt(relay)
            except (_StreamError, PinError, ExchangeError) as error:
                if str(error) != told:
                    logger.warning("not paired yet: %s", error)
                told = str(error)
            finally:
                self.shown = ""
            if self._clock.wait(AGAIN_S):
                raise SearchStoppedError

    def _attempt(self, relay: FoundRelay) -> Paired:
        pinned = fetch_certificate(relay.address)
        with _Stream(relay.address, pinned, self._clock, self._show) as stream:
            stream.say(pb.PairRequest(wait=pb.PairingWait(name=self._name)))
            stream.hear("waiting", STEP_S)
            self._show(renewed=True)
            begin = stream.hear("begin", None)
            code = self._code.begin(self._clock.now_us())
            if code is None:
                raise _StreamError("too many codes were tried; none is accepted for a while")
            exchange = Exchange("device", code, self._name, pinned.sha256, self._random_bytes)
            stream.say(pb.PairRequest(answer=pb.PairingElement(element=exchange.element)))
            keys = exchange.finish(begin.element[:MAX_ELEMENT_BYTES])
            if not keys.proves("relay", stream.hear("proof", STEP_S).hmac_sha256):
                raise _StreamError("a wrong code was entered, or there is a man in the middle")
            stream.say(pb.PairRequest(proof=pb.PairingProof(hmac_sha256=keys.device)))
            paired = _paired_by(stream.hear("credentials", STEP_S), relay, pinned)
            if not self._store(paired):
                raise _StreamError("the pairing cannot be saved")
            stream.say(pb.PairRequest(stored=pb.PairingStored()))
            stream.finish()
        logger.info("paired with the relay at %s, as %s", relay.address, paired.device_id)
        return paired

    def _show(self, *, renewed: bool = False) -> None:
        """Show the current code; a new one is logged."""
        if self._code.look(self._clock.now_us()) or renewed:
            self.shown = f"{self._name}-{self._code.code}"
            logger.warning("not paired: let this device in by `relayctl pair %s`", self.shown)


def _paired_by(credentials: pb.PairingCredentials, relay: FoundRelay, pinned: PinnedCertificate) -> Paired:
    authorities = credentials.authorities or pinned.pem.decode("ascii")
    try:
        token = clean_token(credentials.token)
    except ValueError as error:
        raise _StreamError(f"the relay {error}") from None
    if not is_valid_id(credentials.device_id) or len(token) > MAX_TOKEN_CHARACTERS or len(authorities) > MAX_CERTIFICATE_CHARACTERS:
        raise _StreamError("the relay sent credentials that cannot be used")
    return Paired(relay.address, relay.name, credentials.device_id, authorities, pinned.name, token)


class _Stream:
    """One `Pair` stream, as blocking calls. Leaving the `with` ends it."""

    def __init__(self, address: str, pinned: PinnedCertificate, clock: SearchClock, on_look: Callable[[], None]) -> None:
        self._clock = clock
        self._on_look = on_look
        self._out: queue.SimpleQueue[pb.PairRequest | None] = queue.SimpleQueue()
        self._in: queue.Queue[pb.PairResponse | grpc.RpcError | None] = queue.Queue(maxsize=4)
        own = (("grpc.ssl_target_name_override", pinned.name), ("grpc.max_receive_message_length", MAX_BYTES))
        options = [*(one for one in _OPTIONS if one[0] != own[1][0]), *own, *proxy_option(address)]
        self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(pinned.pem), options=options)

    def __enter__(self) -> _Stream:
        begin: Any = self._channel.stream_stream(_PAIR, pb.PairRequest.SerializeToString, pb.PairResponse.FromString)
        self._call: Any = begin(iter(self._out.get, None))
        self._reader = threading.Thread(target=self._read, name="pairing", daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._out.put(None)
        self._call.cancel()
        self._channel.close()
        while self._reader.is_alive():  # it may be waiting for room
            try:
                self._in.get(timeout=0.05)
            except queue.Empty:
                continue
        self._reader.join()

    def say(self, request: pb.PairRequest) -> None:
        """Send a request."""
        self._out.put(request)

    def finish(self) -> None:
        """Close the sending side, and wait for the relay to end the stream."""
        self._out.put(None)
        try:
            self._next(STEP_S)
        except _StreamError:
            return

    def hear(self, field: str, within_s: float | None) -> Any:
        """The relay's next message, which must be `field`. A `within_s` of None sets no time limit."""
        response = self._next(within_s)
        if response.WhichOneof("message") != field:
            raise _StreamError("the relay says something else than is its turn")
        return getattr(response, field)

    def _next(self, within_s: float | None) -> pb.PairResponse:
        end_us = None if within_s is None else self._clock.now_us() + round(within_s * 1e6)
        while True:
            if self._clock.wait(0):
                raise SearchStoppedError
            if within_s is None:
                self._on_look()
            try:
                found = self._in.get(timeout=LOOK_S)
            except queue.Empty:
                if end_us is not None and self._clock.now_us() >= end_us:
                    raise _StreamError(f"the relay did not answer for {within_s:g} s") from None
                continue
            if isinstance(found, grpc.RpcError):
                raise _ended(found)
            if found is None:
                raise _StreamError("the relay ended the wait")
            return found

    def _read(self) -> None:
        try:
            responses: Iterator[pb.PairResponse] = self._call
            for response in responses:
                self._in.put(response)
            self._in.put(None)
        except grpc.RpcError as error:
            self._in.put(error)


def _ended(error: Any) -> Exception:
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return NotOfferedError("the relay does not support pairing")
    return _StreamError(f"{error.code().name}: {plain(error.details() or 'the relay ended the stream', 300)}")
