"""What a cluster refuses, and how it reports this."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from avatar_relay.errors import ConfigError
from avatar_relay.publisher import ConnectionLostError, ConversationFailedError, Publisher
from avatar_relay.reasons import Reason
from relay_server.access.scopes import Role
from relay_server.backplane import nats_core
from relay_server.cluster.frames import TUNNEL_VERSION
from relay_server.cluster.joining import publisher_token
from relay_server.config import RelayConfig
from tests.lab.history import History
from tests.lab.memory_links import MemoryLinks
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import AUDIO
from tests.relay_server.access.guarded import Access
from tests.relay_server.cluster.small_cluster import InOrder, small_cluster

SOUND = b"\x08" + bytes(20)
"""A packet of Opus."""


async def test_an_unknown_version_of_the_tunnel_is_refused_by_name() -> None:
    """The text names both relays and both versions. A door that also supports older versions is accepted, as in a rolling upgrade."""
    async with asyncio.timeout(20), small_cluster() as cluster:
        asked = {"version": TUNNEL_VERSION + 1, "tunnel": "t", "door": "new-relay", "owner": ""}
        stranger = cluster.bus.node("stranger")
        await stranger.start(lambda: None, lambda: None)
        answer = await stranger.request("test.tunnel.a", json.dumps(asked).encode(), 1.0)
        assert answer.decode() == f"relay a speaks version {TUNNEL_VERSION} of the tunnel, and relay new-relay version {TUNNEL_VERSION + 1}"
        answer = await stranger.request("test.tunnel.a", json.dumps(asked | {"oldest": TUNNEL_VERSION}).encode(), 1.0)
        assert answer == b"=%d" % TUNNEL_VERSION
        for unreadable in (b"\xff[", *(json.dumps(asked | {name: "\ud800" * 300}).encode() for name in ("tunnel", "door"))):
            assert await stranger.request("test.tunnel.a", unreadable, 1.0) == b"relay a cannot read the opening of a tunnel"


async def test_unknown_devices_are_refused() -> None:
    """Refused at once, with a reason; the stream survives."""
    async with asyncio.timeout(30), small_cluster() as cluster:
        with History() as history:
            device = cluster.device("left", "b", history)
            await until_attached([device])
            async with cluster.publisher("a") as publisher:
                avatar = publisher.avatar("nobody", audio_format=AUDIO)
                conversation_id = await avatar.yield_audio_data(SOUND, end=True)
                with pytest.raises(ConversationFailedError) as failed:
                    await avatar.finished(conversation_id)
                assert failed.value.fault.reason is Reason.DEVICE_UNKNOWN
                avatar = publisher.avatar("left", audio_format=AUDIO)
                assert (await avatar.finished(await avatar.yield_audio_data(SOUND, end=True))).reason == "completed"
            await device.kill()


async def test_a_link_that_the_other_relay_does_not_know_is_replaced() -> None:
    """Its machine lost power and is back: nothing was sent meanwhile that would have shown it."""
    async with asyncio.timeout(20), small_cluster(linked=True) as cluster:
        with History() as history:
            device = cluster.device("lobby", "b", history)
            await until_attached([device])
            links = cluster.parts["b"]._links
            assert isinstance(links, MemoryLinks)
            for _ in range(2):
                async with cluster.publisher("a") as publisher:
                    avatar = publisher.avatar("lobby", audio_format=AUDIO)
                    assert (await avatar.finished(await avatar.yield_audio_data(SOUND, end=True))).reason == "completed"
                assert links._accepted
                links._accepted.clear()
            await device.kill()


async def test_a_revocation_at_the_door_ends_its_tunnels(tmp_path: Path) -> None:
    """A home checks no publishers: within 3 s it gets nothing more from one that was removed from the door's access file."""
    access = Access(tmp_path)
    token = access.add(Role.PUBLISHER, "studio", devices=("*",))
    async with asyncio.timeout(40), small_cluster(access_of_a=access.path) as cluster:
        with History() as history:
            device = SimulatedDevice("lobby", cluster.addresses["b"], history, InOrder(1))
            await until_attached([device])
            async with Publisher.connect(cluster.addresses["a"], token=token) as publisher:
                avatar = publisher.avatar("lobby", audio_format=AUDIO)
                await avatar.yield_audio_data(SOUND)
                await publisher.flush()
                async with asyncio.timeout(5.0):
                    while not (known := cluster.relays["b"].publishers.known()):  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                (at_home,) = known
                assert at_home.connected
                access.revoke(Role.PUBLISHER, "studio")
                async with asyncio.timeout(3.0):
                    while at_home.connected:  # noqa: ASYNC110 - it tells nobody
                        await asyncio.sleep(0.02)
                with pytest.raises(ConnectionLostError, match="CREDENTIALS"):
                    while True:
                        publisher.check()
                        await asyncio.sleep(0.02)
            await device.kill()


def test_a_secret_is_needed(tmp_path: Path) -> None:
    """A guessable secret is refused; equal secrets yield equal tokens, and different ones for each publisher."""
    with pytest.raises(ConfigError, match="cluster_secret_file: a relay of a cluster needs one"):
        RelayConfig(cluster_nats=("nats://127.0.0.1:4222",))
    (secret := tmp_path / "secret").write_bytes(b"short")
    config = RelayConfig(cluster_nats=("nats://127.0.0.1:4222",), cluster_secret_file=secret)
    with pytest.raises(ConfigError, match="holds 5 bytes; it takes 32"):
        publisher_token(config)
    secret.write_bytes(bytes(32))
    assert publisher_token(config)("a") == publisher_token(config)("a") != publisher_token(config)("b")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cluster_listen": "nowhere"}, "is not HOST:PORT"),
        ({"cluster_listen": "0.0.0.0:52010"}, "other relays cannot connect to 0.0.0.0:52010; name an address of this machine"),
        ({"cluster_listen": "127.0.0.1:52010", "cluster_nats": ()}, "needs cluster_nats"),
        ({"cluster_listen": "192.0.2.10:52010"}, "in plaintext; set tls_cert_file and tls_key_file, or allow it by insecure_listen"),
        ({"cluster_listen": "192.0.2.10:52010", "insecure_listen": True}, ""),
        ({"cluster_listen": "127.0.0.1:0"}, ""),
    ],
)
def test_where_links_are_accepted(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    """At an address that other relays can reach, and not readable for others unless that is allowed."""
    (secret := tmp_path / "secret").write_bytes(bytes(32))
    both = {"cluster_nats": ("nats://127.0.0.1:4222",), "cluster_secret_file": secret, **settings}
    if told:
        with pytest.raises(ConfigError, match=f"cluster_listen: .*{told}"):
            RelayConfig(**both)
    else:
        assert RelayConfig(**both).cluster_listen == settings["cluster_listen"]


async def test_a_start_without_nats_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library would retry forever; the error names the servers, and no password."""
    monkeypatch.setattr(nats_core, "CONNECT_S", 0.3)
    backplane = nats_core.NatsBackplane(["nats://relay-1:secret@127.0.0.1:1"], "test", None)
    async with asyncio.timeout(20):
        with pytest.raises(ConfigError, match=r"cluster_nats: no NATS server answers at 127\.0\.0\.1:1") as refused:
            await backplane.start(lambda: None, lambda: None)
    assert "secret" not in str(refused.value)
    await backplane.stop()
