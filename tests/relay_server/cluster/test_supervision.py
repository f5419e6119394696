"""Unexpected errors in a cluster: each is logged, and ends at most the tunnels that it concerns."""

from __future__ import annotations

import asyncio
import logging

import pytest

from avatar_relay import wire
from avatar_relay.messages import Ping, PublisherHello, ToPublisher
from avatar_relay.reasons import Fault, Reason
from relay_server.backplane.backplane import BackplaneError, BackplaneMessage
from relay_server.backplane.nats_core import NatsBackplane
from relay_server.cluster import homes
from relay_server.cluster.claims import ClaimKind
from relay_server.cluster.cluster import Cluster
from relay_server.cluster.frames import TUNNEL_VERSION
from relay_server.cluster.joined import JoinedTunnels
from relay_server.cluster.names import ClusterNames
from relay_server.cluster.ways import Passage
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from tests.lab.memory_backplane import MemoryBackplane, MemoryBus
from tests.lab.memory_links import MemoryLinks
from tests.relay_server.cluster.test_joined import FakeTunnel
from tests.relay_server.relay_dsl import hello


class FaultyBackplane(MemoryBackplane):
    """Raises an unexpected error for each message to some subjects."""

    def __init__(self, bus: MemoryBus, name: str) -> None:
        super().__init__(bus, name)
        bus._nodes[name] = self
        self.faulty: tuple[str, ...] = ()

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """See `Backplane`."""
        if subject in self.faulty:
            raise ZeroDivisionError("injected")
        await super().publish(subject, data, reply)


class FakeDoor:
    """Records what it hears, and how its passages end."""

    owner = ""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[ToPublisher] = asyncio.Queue()
        self.ended: asyncio.Queue[Fault | None] = asyncio.Queue()

    def hear(self, place: str, message: ToPublisher) -> None:
        """See `PassageUser`."""
        self.heard.put_nowait(message)

    def has_parts(self, conversation_ids: object) -> None:
        """See `PassageUser`."""

    def passage_ended(self, home: str, fault: Fault | None) -> None:
        """See `PassageUser`."""
        self.ended.put_nowait(fault)


def new_cluster(backplane: MemoryBackplane) -> Cluster:
    """A relay in a cluster, not started."""
    loop, token = asyncio.get_running_loop(), (lambda key: f"token-of-{key}")
    clock = lambda: round(loop.time() * 1e6)  # noqa: E731
    relay = Relay(
        RelayConfig(),
        Clocks(clock, clock),
        random_bytes=lambda count: b"r" * count,
        encode=wire.encode_payload,
        publisher_token=token,
    )
    names = ClusterNames("test", backplane.name)
    links = MemoryLinks(backplane.bus, backplane.name, usable=False)
    return Cluster(relay, backplane, names, links=links, now_us=clock, random_bytes=lambda count: b"r" * count)


async def passage_between(door: Cluster, user: FakeDoor) -> Passage:
    """A passage from a door to relay `home`."""
    return (await door.open_passage("home", user, PublisherHello("backend", 1, "test")))[0]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The errors in the log."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_error_with_one_relay_ends_only_the_tunnels_to_it(caplog: pytest.LogCaptureFixture) -> None:
    """The messages to other relays, and all later ones, are sent."""
    bus = MemoryBus()
    backplane = FaultyBackplane(bus, "door")
    backplane.faulty = ("test.joined.home",)
    joined = JoinedTunnels(backplane, ClusterNames("test", "door"), TUNNEL_VERSION)
    await backplane.start(lambda: None, lambda: None)
    heard = asyncio.Queue[bytes]()
    listener = bus.node("other")
    await listener.start(lambda: None, lambda: None)

    async def note(message: BackplaneMessage) -> None:
        heard.put_nowait(message.data)

    await listener.subscribe("test.joined.other", note)
    concerned, idle, other = FakeTunnel(), FakeTunnel(), FakeTunnel()
    tunnels = (("home", concerned), ("home", idle), ("other", other))
    paths = {tunnel: joined.path(relay, str(number), "") for number, (relay, tunnel) in enumerate(tunnels)}
    for tunnel, path in paths.items():
        await path.open(tunnel)
    task = asyncio.create_task(joined.run())
    async with asyncio.timeout(10):
        for number in range(2):
            paths[concerned].publish([b"lost"])
            paths[other].publish([b"%d" % number])
            assert (await heard.get()).endswith(b"%d" % number)
    assert not task.done()
    assert concerned.cuts == ["messages could not be sent; it is logged there"] * 2
    assert idle.cuts == other.cuts == []
    assert logged(caplog) == ["messages on test.joined.home could not be sent"] * 2
    task.cancel()


async def test_a_message_that_cannot_be_handled_is_not_the_last_one(caplog: pytest.LogCaptureFixture) -> None:
    """Its subscription goes on."""
    node = MemoryBus().node("a")
    await node.start(lambda: None, lambda: None)
    handled = asyncio.Queue[bytes]()

    async def take(message: BackplaneMessage) -> None:
        if message.data == b"bad":
            raise ZeroDivisionError
        handled.put_nowait(message.data)

    await node.subscribe("subject", take)
    await node.publish("subject", b"bad")
    await node.publish("subject", b"good")
    async with asyncio.timeout(10):
        assert await handled.get() == b"good"
    assert logged(caplog) == ["a message of 3 bytes on subject could not be handled"]
    await node.stop()


class BrokenClient:
    """As `nats-py`, while its transport is gone."""

    async def publish(self, subject: str, data: bytes, reply: str) -> None:
        """See `Client`."""
        raise AttributeError("'NoneType' object has no attribute 'writelines'")

    async def subscribe(self, subject: str, **_options: object) -> None:
        """See `Client`."""
        raise ConnectionResetError("Connection lost")

    async def request(self, subject: str, data: bytes, **_options: float) -> None:
        """See `Client`."""
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")


async def test_errors_of_a_lost_connection_are_backplane_errors() -> None:
    """They come from the transport of the client library, and not as its own errors."""
    backplane = NatsBackplane(["nats://127.0.0.1:1"], "test", None)
    backplane._client, backplane._usable = BrokenClient(), True  # type: ignore[assignment]

    async def ignore(message: BackplaneMessage) -> None:
        del message

    for act in (backplane.publish("a", b""), backplane.subscribe("a", ignore), backplane.request("a", b"", 1.0)):
        with pytest.raises(BackplaneError):
            await act


async def test_a_home_that_cannot_write_ends_the_tunnel(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The publisher reconnects; otherwise it would wait for events and credit forever, as heartbeats go on."""
    bus, user = MemoryBus(), FakeDoor()
    home, door = new_cluster(bus.node("home")), new_cluster(bus.node("door"))
    tasks = []
    for cluster in (home, door):
        await cluster.start()
        tasks.append(asyncio.create_task(cluster.run()))
    passage = await passage_between(door, user)

    def fail(message: ToPublisher) -> bytes:
        raise ZeroDivisionError(message)

    monkeypatch.setattr(homes, "encode", fail)
    passage.say(Ping(1, 0), b"")
    passage.flush()
    async with asyncio.timeout(10):
        fault = await user.ended.get()
    assert fault is not None
    assert fault.reason is Reason.MOVED
    assert logged(caplog) == ["a message to a publisher could not be sent"]
    for cluster, task in zip((home, door), tasks, strict=True):
        await cluster.leave()
        task.cancel()


async def test_a_relay_that_leaves_ends_its_tunnels() -> None:
    """Publishers come back at once, and not after a silence; no task of a tunnel remains."""
    bus, user = MemoryBus(), FakeDoor()
    home, door = new_cluster(bus.node("home")), new_cluster(bus.node("door"))
    for cluster in (home, door):
        await cluster.start()
    tasks = [asyncio.create_task(door.run()), asyncio.create_task(home.run())]
    await passage_between(door, user)
    tasks[1].cancel()
    await home.leave()
    fault = await asyncio.wait_for(user.ended.get(), 1.0)
    assert fault is not None
    assert (fault.reason, fault.text.endswith("relay home leaves")) == (Reason.MOVED, True)
    tasks[0].cancel()
    await door.leave()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_claim_that_failed_is_published_later(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the error was; the other claims are not affected."""
    bus = MemoryBus()
    backplane = FaultyBackplane(bus, "a")
    cluster, claimed = new_cluster(backplane), asyncio.Queue[str]()
    await backplane.start(lambda: None, lambda: None)

    async def note(message: BackplaneMessage) -> None:
        claimed.put_nowait(message.subject)

    await backplane.subscribe("test.claim.*", note)
    directory = cluster.directory
    task = asyncio.create_task(directory.run())
    backplane.faulty = ("test.claim.left",)
    for device_id in ("left", "right"):
        await cluster._relay.connect_device().send(hello(device_id))
        directory.note(device_id, ClaimKind.ATTACHED)
    async with asyncio.timeout(10):
        assert await claimed.get() == "test.claim.right"
        backplane.faulty = ()
        directory._asked_us -= 2_000_000
        await directory.tick()
        assert await claimed.get() == "test.claim.left"
    assert logged(caplog) == ["device left is not claimed yet"]
    task.cancel()
    await backplane.stop()
