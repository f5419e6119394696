"""How two relays prove to each other that they belong to a cluster."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.links.proof import MAGIC, MAX_HELLO_BYTES, NONCE_BYTES, AcceptingProof, ConnectingProof, Proof, ProofError

SECRET = b"s" * 32


def accepting(secret: bytes = SECRET, certificate: bytes = b"") -> AcceptingProof:
    """Relay `home`, which accepts."""
    return AcceptingProof(secret, "home", b"h" * NONCE_BYTES, certificate)


def connecting(secret: bytes = SECRET, relay: str = "home", certificate: bytes = b"") -> ConnectingProof:
    """Relay `door`, which connects to `relay`."""
    return ConnectingProof(secret, "door", relay, b"d" * NONCE_BYTES, certificate)


def talk(first: Proof, second: Proof, pieces: int = 1) -> None:
    """Pass bytes until none is sent any more, in pieces of `pieces` bytes. Raises `ProofError`."""
    sent = [(second, first.begin()), (first, second.begin())]
    received: dict[int, bytearray] = {id(first): bytearray(), id(second): bytearray()}
    while sent:
        hearer, data = sent.pop(0)
        speaker = first if hearer is second else second
        for at in range(0, len(data), pieces):
            received[id(hearer)] += data[at : at + pieces]
            sent.append((speaker, hearer.hear(received[id(hearer)])))
    assert not any(received.values())


@pytest.mark.parametrize("pieces", [1, 7, 1_000])
def test_two_relays_of_a_cluster(pieces: int) -> None:
    """Both know the other's name, and the same id of the link; it may arrive in any pieces."""
    home, door = accepting(certificate=b"c"), connecting(certificate=b"c")
    talk(home, door, pieces)
    assert home.is_done and door.is_done
    assert (home.relay, door.relay) == ("door", "home")
    assert home.link_id == door.link_id != ""


@pytest.mark.parametrize(
    "door",
    [
        pytest.param(connecting(secret=b"t" * 32), id="another secret"),
        pytest.param(connecting(relay="other"), id="another relay is at the address now"),
        pytest.param(connecting(certificate=b"c"), id="another certificate: a program is between the two"),
    ],
)
def test_what_does_not_fit_is_refused(door: ConnectingProof) -> None:
    """By the relay that accepts, before it has proved anything itself."""
    home = accepting()
    with pytest.raises(ProofError, match="secret"):
        talk(home, door)
    assert not home.is_done and not door.is_done


def test_the_accepting_relay_proves_itself_too() -> None:
    """A program that answers with bytes of the right size is no relay; one that speaks another protocol is refused at its first bytes."""
    door = connecting()
    assert door.hear(bytearray(MAGIC + b"n" * NONCE_BYTES))
    with pytest.raises(ProofError, match="secret"):
        door.hear(bytearray(32))
    with pytest.raises(ProofError, match="version"):
        connecting().hear(bytearray(b"SSH-2.0-"))


def test_a_proof_cannot_be_used_again() -> None:
    """Nor can one be sent back to the relay that made it: each nonce counts once, and each side has another role."""
    home, door = accepting(), connecting()
    hello = door.hear(bytearray(home.begin()))
    again = AcceptingProof(SECRET, "home", b"i" * NONCE_BYTES, b"")
    with pytest.raises(ProofError):
        again.hear(bytearray(hello))
    answer = home.hear(bytearray(hello))
    assert answer not in hello


@given(st.binary(max_size=2 * MAX_HELLO_BYTES), st.lists(st.integers(0, 2 * MAX_HELLO_BYTES), max_size=4))
def test_bytes_of_strangers(data: bytes, cuts: list[int]) -> None:
    """Nothing is proved by chance, and no other error is raised; what is needed for a refusal is bounded."""
    for proof in (accepting(), connecting()):
        received = bytearray()
        proof.begin()
        try:
            for begin, end in pairwise(sorted({0, len(data), *cuts})):
                received += data[begin:end]
                proof.hear(received)
        except ProofError:
            pass
        else:
            assert len(received) < MAX_HELLO_BYTES
        assert not proof.is_done
