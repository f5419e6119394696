"""Both ends of a new link prove that they know the cluster's secret, and that they mean each other. Pure.

The relay that accepts says `MAGIC` and a nonce; the one that connects its name (with its size, u8), a nonce and its proof; then the first
one its proof. A proof is an HMAC-SHA256 over both names, both nonces, and the SHA-256 of the accepting relay's certificate, empty without
TLS. So a certificate needs no other check, and a program between the two, which has another certificate, cannot pass proofs on.
"""

from __future__ import annotations

import hashlib
import hmac

MAGIC = b"avlink1\n"
NONCE_BYTES = PROOF_BYTES = 32
MAX_HELLO_BYTES = 1 + 255 + NONCE_BYTES + PROOF_BYTES
"""The most that an end sends before it is trusted."""


class ProofError(Exception):
    """The other end is not the relay that it must be."""


class _Transcript:
    """What both ends prove to have heard."""

    def __init__(self, secret: bytes, names: tuple[str, str], nonces: tuple[bytes, bytes], certificate: bytes) -> None:
        """Each pair: the accepting relay's, then the connecting one's."""
        self._secret = secret
        fields = [name.encode() for name in names] + [*nonces, certificate]
        self._data = b"".join([len(field).to_bytes(2, "big") + field for field in fields])

    def proof(self, role: bytes) -> bytes:
        return hmac.new(self._secret, role + self._data, hashlib.sha256).digest()

    def link_id(self) -> str:
        return self.proof(b"id")[:12].hex()


class AcceptingProof:
    """The part of the relay that accepts."""

    def __init__(self, secret: bytes, own: str, nonce: bytes, certificate: bytes) -> None:
        """`certificate`: SHA-256 of this relay's certificate, empty without TLS."""
        self._secret, self._own, self._nonce, self._certificate = secret, own, nonce, certificate
        self.relay = self.link_id = ""
        self.is_done = False

    def begin(self) -> bytes:
        """What to send first."""
        return MAGIC + self._nonce

    def hear(self, received: bytearray) -> bytes:
        """Take what is complete out of `received`; returns what to send. Raises `ProofError`."""
        size = 1 + (received[0] if received else 255) + NONCE_BYTES + PROOF_BYTES
        if len(received) < size:
            return b""
        hello = bytes(received[:size])
        del received[:size]
        name, nonce, proof = hello[1 : -NONCE_BYTES - PROOF_BYTES], hello[-NONCE_BYTES - PROOF_BYTES : -PROOF_BYTES], hello[-PROOF_BYTES:]
        try:
            self.relay = name.decode("ascii")
        except UnicodeDecodeError as error:
            raise ProofError("a name that is not ASCII") from error
        transcript = _Transcript(self._secret, (self._own, self.relay), (self._nonce, nonce), self._certificate)
        if not hmac.compare_digest(proof, transcript.proof(b"connect")):
            raise ProofError("it does not know the cluster's secret, or means another relay")
        self.link_id, self.is_done = transcript.link_id(), True
        return transcript.proof(b"accept")


class ConnectingProof:
    """The part of the relay that connects to `relay`."""

    def __init__(self, secret: bytes, own: str, relay: str, nonce: bytes, certificate: bytes) -> None:
        """`certificate`: SHA-256 of the certificate that the other end has shown, empty without TLS."""
        self._secret, self._own, self._nonce, self._certificate = secret, own, nonce, certificate
        self._transcript: _Transcript | None = None
        self.relay = relay
        self.link_id = ""
        self.is_done = False

    def begin(self) -> bytes:
        """What to send first."""
        return b""

    def hear(self, received: bytearray) -> bytes:
        """Take what is complete out of `received`; returns what to send. Raises `ProofError`."""
        if not MAGIC.startswith(received[: len(MAGIC)]) and self._transcript is None:
            raise ProofError("it is not a relay of this version")
        size = PROOF_BYTES if self._transcript is not None else len(MAGIC) + NONCE_BYTES
        if len(received) < size:
            return b""
        said = bytes(received[:size])
        del received[:size]
        if self._transcript is None:
            nonces = said[len(MAGIC) :], self._nonce
            self._transcript = _Transcript(self._secret, (self.relay, self._own), nonces, self._certificate)
            name = self._own.encode("ascii")
            return bytes([len(name)]) + name + self._nonce + self._transcript.proof(b"connect")
        if not hmac.compare_digest(said, self._transcript.proof(b"accept")):
            raise ProofError("it does not know the cluster's secret")
        self.link_id, self.is_done = self._transcript.link_id(), True
        return b""


Proof = AcceptingProof | ConnectingProof
"""One end's part. `is_done`: the other end has proved who it is, and `relay` is its name."""
