"""Admission: which callers are admitted, the reason for each refusal, and which admitted callers must be disconnected. Pure.

Rules

1. Credentials are a token, the names in a client certificate verified by the TLS handshake, or both. They resolve to one identity, which
   must not be revoked and must have been presented with all of its credentials (see `Identity`).
2. The role and the grants of the identity decide which RPCs it may begin. A refused caller receives the reason, but learns nothing about
   what exists: an unknown token, a wrong token and a certificate without identity get the same refusal. That a token expired or was revoked
   is reported only to the holder of its secret.
3. Failures are counted for each pair of peer and token id, or verified certificate name. Above `FAILURES_PER_MINUTE`, credentials that this
   peer presents for that id are not checked for a while. Callers behind the same address with other tokens or certificates are not
   affected.
4. The number of RPCs that an identity may begin and hold open is limited; so are the health checks of strangers at one address. A health
   check with valid credentials counts for its identity, so that it and strangers behind the same address do not affect each other.
5. An admitted caller is disconnected when its identity, its token or its certificate's name is no longer valid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from avatar_relay.reasons import Fault, Reason
from relay_server.access.caller import NOBODY, Caller
from relay_server.access.identities import Directory, Identity
from relay_server.access.peers import host_of
from relay_server.access.rate_limits import RateLimits
from relay_server.access.scopes import Role, Scope, is_for_everybody, is_granted
from relay_server.access.tokens import UNKNOWN, split_token
from relay_server.errors import RequestError

FAILURES_PER_MINUTE = 20
STRANGERS_CALLS_PER_MINUTE = 600
"""RPCs that need no credentials, per address: enough for ten supervisors that each ask every second."""
MAX_PEERS = 16_384
"""Peers whose failures are remembered."""
MAX_CALLERS = 65_536
"""Identities, and addresses of strangers, whose calls are counted."""
MAX_NAME_CHARACTERS = 256
"""Maximum length of a remembered certificate name."""
FULL_RETRY_MS = 1_000


@dataclass(frozen=True, slots=True)
class PresentedCredentials:
    """The credentials that a caller presents. `token`: None if there is none, empty if malformed."""

    token: str | None = None
    certificate_names: tuple[str, ...] = ()


def _shown_name(shown: PresentedCredentials, token_id: str) -> str:
    """The key for counting failures of an address: a known token's id, a certificate's name, or empty."""
    by_certificate = shown.token is None and shown.certificate_names
    return f"certificate {shown.certificate_names[0][:MAX_NAME_CHARACTERS]}" if by_certificate else token_id


@dataclass(frozen=True, slots=True)
class AdmittedCall:
    """An admitted caller, for one RPC. `key` is empty if no credentials were needed."""

    caller: Caller
    method: str
    key: str = ""
    token_id: str = ""
    certificate_names: tuple[str, ...] = ()


class Admission:
    """Admits callers, and finds those that must be disconnected."""

    def __init__(self, directory: Directory, groups: Mapping[str, tuple[str, ...]]) -> None:
        self._directory = directory
        self._groups = groups
        self._failures = RateLimits(MAX_PEERS)
        self._calls = RateLimits(MAX_CALLERS)
        self._open: Counter[str] = Counter()

    def replace(self, directory: Directory) -> None:
        """Replace the identities."""
        self._directory = directory

    def enter(self, method: str, credentials: PresentedCredentials, peer: str, now_us: int, unix_s: int) -> AdmittedCall:
        """Admit a caller; call `leave` when its RPC ends. `peer` is gRPC's peer string. Raises `RequestError` if the caller is refused."""
        if is_for_everybody(method) and credentials.token is None:
            known = self._directory.of_certificate(credentials.certificate_names)
            if known is None:
                self._count(f"strangers at {host_of(peer)}", STRANGERS_CALLS_PER_MINUTE, now_us)
            else:
                self._count(known.key, known.max_calls_per_minute, now_us)
            return AdmittedCall(NOBODY, method)
        identity, token_id = self._identify(credentials, peer, now_us, unix_s)
        if not is_granted(method, identity.granted):
            raise RequestError(Fault(Reason.RPC_FORBIDDEN, f"{identity.key} may not call {method}; the relay's operator can allow it"))
        self._count(identity.key, identity.max_calls_per_minute, now_us)
        if self._open[identity.key] >= identity.max_streams:
            text = f"{identity.key} has {identity.max_streams} calls open already"
            raise RequestError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=FULL_RETRY_MS))
        self._open[identity.key] += 1
        own_name = identity.name if identity.role is Role.DEVICE else ""
        caller = Caller(identity.key, Scope(identity.reach, self._groups), own_name, identity.trusted_sampling)
        return AdmittedCall(caller, method, identity.key, token_id, credentials.certificate_names)

    def leave(self, entrant: AdmittedCall) -> None:
        """The RPC of `entrant` has ended."""
        if entrant.key:
            self._open[entrant.key] -= 1
            if self._open[entrant.key] <= 0:
                del self._open[entrant.key]

    def expulsion(self, entrant: AdmittedCall, unix_s: int) -> Fault | None:
        """Why an admitted caller must be disconnected; None if it may stay."""
        if not entrant.key:
            return None
        identity = self._directory.identities.get(entrant.key)
        if identity is None:
            return Fault(Reason.CREDENTIALS_REVOKED, f"{entrant.key} is no longer known here")
        if entrant.caller.scope.names != identity.reach or not is_granted(entrant.method, identity.granted):
            return Fault(Reason.CREDENTIALS_REVOKED, f"the permissions of {entrant.key} changed; reconnect")
        return next(self._faults_of(identity, entrant.token_id, entrant.certificate_names, unix_s), None)

    def _count(self, who: str, per_minute: int, now_us: int) -> None:
        if wait_ms := self._calls.take(who, per_minute, now_us):
            text = f"{who} began more than {per_minute} calls in a minute"
            raise RequestError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=wait_ms))

    def _identify(self, shown: PresentedCredentials, peer: str, now_us: int, unix_s: int) -> tuple[Identity, str]:
        token_id, secret = split_token(shown.token or "")
        known = self._directory.of_token(token_id)
        attempt = (host_of(peer), _shown_name(shown, token_id if known is not None else ""))
        if wait_ms := self._failures.wait_ms(attempt, FAILURES_PER_MINUTE, now_us):
            text = "too many failed attempts from this address; correct the credentials before the next one"
            raise RequestError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=wait_ms))
        record = (known.token(token_id) if known is not None else None) or UNKNOWN
        proven = record.matches(secret)
        identity = known if shown.token is not None else self._directory.of_certificate(shown.certificate_names)
        fault = None
        if shown.token is None and not shown.certificate_names:
            fault = Fault(Reason.CREDENTIALS_MISSING, "credentials are needed: metadata `authorization: Bearer …`, or a certificate")
        elif identity is None or (shown.token is not None and not proven):
            fault = Fault(Reason.CREDENTIALS_INVALID, "these credentials are not known here")
        else:
            fault = next(self._faults_of(identity, token_id, shown.certificate_names, unix_s), None)
        if identity is not None and fault is None:
            return identity, token_id
        self._failures.take(attempt, FAILURES_PER_MINUTE, now_us)
        assert fault is not None
        raise RequestError(fault)

    @staticmethod
    def _faults_of(identity: Identity, token_id: str, certificate_names: tuple[str, ...], unix_s: int) -> Iterator[Fault]:
        """The reasons to refuse a caller authenticated as `identity`."""
        if identity.revoked:
            yield Fault(Reason.CREDENTIALS_REVOKED, f"the credentials of {identity.key} were revoked")
        if identity.tokens or token_id:
            token = identity.token(token_id)
            if token is None:
                yield Fault(Reason.CREDENTIALS_INVALID, "these credentials are insufficient, or no longer known here: send a token")
            elif token.expired(unix_s):
                yield Fault(Reason.CREDENTIALS_EXPIRED, f"this token of {identity.key} has expired; use its new one")
        if identity.certificate and identity.certificate not in certificate_names:
            yield Fault(Reason.CREDENTIALS_INVALID, "these credentials are insufficient: the certificate is missing, or another identity's")
