"""Tunnels between two relays whose messages are joined, also with a relay of the version before."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from relay_server.backplane.backplane import BackplaneError, BackplaneMessage
from relay_server.cluster import joined as joined_module
from relay_server.cluster.frames import TUNNEL_VERSION, join, parts_in
from relay_server.cluster.joined import JoinedPath, JoinedTunnels
from relay_server.cluster.names import ClusterNames
from tests.lab.history import History
from tests.lab.memory_backplane import MemoryBus
from tests.lab.simulated_device import until_attached
from tests.lab.speaker import AUDIO
from tests.relay_server.cluster.small_cluster import more, small_cluster, speaking


class FakeTunnel:
    """Records what it hears, and why it was cut."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.cuts: list[str] = []

    def hear(self, message: bytes) -> None:
        """See `TunnelEnd`."""
        self.heard.append(message)

    def cut(self, why: str) -> None:
        """See `TunnelEnd`."""
        self.cuts.append(why)


async def opened(door: JoinedTunnels, tunnel_id: str, owner: str = "") -> JoinedPath:
    """The path of a tunnel to relay `home`."""
    path = door.path("home", tunnel_id, owner)
    await path.open(FakeTunnel())
    return path


async def test_what_is_sent_in_one_turn_is_one_message() -> None:
    """Of all tunnels to a relay; each tunnel hears its own messages in their order."""
    bus = MemoryBus()
    ends, published = {}, []
    for name in ("door", "home"):
        ends[name] = JoinedTunnels(bus.node(name), ClusterNames("test", name), TUNNEL_VERSION)
        await ends[name].backplane.start(lambda: None, lambda: None)
        await ends[name].open()

    async def note(message: BackplaneMessage) -> None:
        published.append(parts_in(message.data))

    await ends["home"].backplane.subscribe("test.joined.home", note)
    tunnels = [FakeTunnel(), FakeTunnel()]
    for number, tunnel in enumerate(tunnels):
        await ends["home"].path("door", str(number), "").open(tunnel)
    task = asyncio.create_task(ends["door"].run())
    paths = [await opened(ends["door"], str(number)) for number in range(3)]
    paths[0].publish([b"a", b"b"])
    paths[1].publish([b"c"])
    paths[2].publish([b"nobody hears it"])
    paths[0].publish([b"d"])
    async with asyncio.timeout(5):
        while not tunnels[1].heard or len(tunnels[0].heard) < 3:  # noqa: ASYNC110 - it notifies nobody
            await asyncio.sleep(0)
    assert [tunnel.heard for tunnel in tunnels] == [[b"a", b"b", b"d"], [b"c"]]
    assert len(published) == 1
    task.cancel()


async def test_what_cannot_be_sent_cuts_its_tunnels(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the connection is lost before the messages are sent, or too much waits."""
    bus = MemoryBus()
    door = JoinedTunnels(bus.node("door"), ClusterNames("test", "door"), TUNNEL_VERSION)
    await door.backplane.start(lambda: None, lambda: None)
    tunnel, idle = FakeTunnel(), FakeTunnel()
    path, idle_path = door.path("home", "1", ""), door.path("home", "2", "")
    await path.open(tunnel)
    await idle_path.open(idle)
    path.publish([b"a"])
    with bus.cut_off("door"):
        await door.flush()
        with pytest.raises(BackplaneError, match="no connection"):
            path.publish([b"b"])
    assert tunnel.cuts == ["the backplane failed: there is no connection"]
    assert idle.cuts == []
    monkeypatch.setattr(joined_module, "MAX_WAITING_BYTES", 2)
    with pytest.raises(BackplaneError, match="3 bytes of it would wait"):
        path.publish([b"c" * 3])


async def test_an_identity_has_a_share_of_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot break the tunnels of others; without identities, each tunnel has a share."""
    bus = MemoryBus()
    door = JoinedTunnels(bus.node("door"), ClusterNames("test", "door"), TUNNEL_VERSION)
    await door.backplane.start(lambda: None, lambda: None)
    monkeypatch.setattr(joined_module, "SHARE_WAITING_BYTES", 4)
    monkeypatch.setattr(joined_module, "MAX_WAITING_BYTES", 14)
    for first, second, other in (("studio", "studio", "studio-2"), ("", "", "")):
        path = await opened(door, "1", first)
        path.publish([b"1234"])
        with pytest.raises(BackplaneError, match="5 bytes of it would wait"):
            (await opened(door, "2", second) if second else path).publish([b"5"])
        (await opened(door, "3", other)).publish([b"6789"])
        await door.flush()
    for number in range(3):
        (await opened(door, str(number))).publish([b"1234"])
    with pytest.raises(BackplaneError, match="3 bytes of it would wait"):
        (await opened(door, "4")).publish([b"123"])


class SlowTunnel(FakeTunnel):
    """Takes long to handle a message; notes how often another task had run before."""

    turns = 0
    seen: tuple[int, ...] = ()

    def hear(self, message: bytes) -> None:
        """See `TunnelEnd`."""
        self.seen = (*self.seen, self.turns)
        until_s = asyncio.get_running_loop().time() + 2 * joined_module.TURN_S
        while asyncio.get_running_loop().time() < until_s:
            pass


async def test_messages_that_take_long_let_other_tasks_run() -> None:
    """Between two of them, although both have arrived: otherwise no heartbeat would be sent meanwhile. The time is counted."""
    bus = MemoryBus()
    home = JoinedTunnels(bus.node("home"), ClusterNames("test", "home"), TUNNEL_VERSION)
    await home.backplane.start(lambda: None, lambda: None)
    tunnel = SlowTunnel()
    await home.path("door", "1", "").open(tunnel)

    async def count() -> None:
        while True:
            tunnel.turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    for message in (*join([("1", bytes(8))]),) * 3:
        await home._on_message(BackplaneMessage("test.joined.home", message))
    counting.cancel()
    assert len(set(tunnel.seen)) >= 3
    assert home.busy_us() >= 6e6 * joined_module.TURN_S
    assert home.busy_us() == 0


@pytest.mark.parametrize("earlier", ["a", "b"])
async def test_a_relay_of_the_version_before_has_tunnels(earlier: str) -> None:
    """As door and as home; each tunnel has its own subjects then."""
    async with asyncio.timeout(50), small_cluster(earlier=earlier) as cluster:
        watcher = cluster.bus.node("watcher")
        await watcher.start(lambda: None, lambda: None)
        subjects = set[str]()

        async def note(message: BackplaneMessage) -> None:
            subjects.add(".".join(message.subject.split(".")[:2]))

        for wildcard in ("test.up.*", "test.down.*", "test.joined.*"):
            await watcher.subscribe(wildcard, note)
        async with speaking(cluster, door="a", home="b") as device:
            await more(device, 100, within_s=20)
        while len(subjects) < 2:  # noqa: ASYNC110 - a busy bus is late
            await asyncio.sleep(0.01)
        assert subjects == {"test.up", "test.down"}


async def test_publishers_share_what_is_sent_between_two_relays() -> None:
    """Nothing but joined messages; the acknowledgements of all publishers wait for each other."""
    async with asyncio.timeout(50), small_cluster() as cluster, AsyncExitStack() as stack:
        history = stack.enter_context(History())
        devices = [cluster.device(f"d{number}", "b", history) for number in range(4)]
        await until_attached(devices)
        publishers = [await stack.enter_async_context(cluster.publisher("a")) for _ in devices]
        avatars = [publisher.avatar(device.device_id, audio_format=AUDIO) for publisher, device in zip(publishers, devices, strict=True)]
        said = [await avatar.yield_audio_data(b"\x08" + bytes(20)) for avatar in avatars]
        joined: list[int] = []
        watcher = cluster.bus.node("watcher")
        await watcher.start(lambda: None, lambda: None)

        async def note(message: BackplaneMessage) -> None:
            joined.append(len({tunnel_id for tunnel_id, _ in parts_in(message.data)}))

        await watcher.subscribe("test.joined.a", note)
        for _ in range(10):
            for avatar in avatars:
                await avatar.yield_audio_data(b"\x08" + bytes(20))
            await asyncio.sleep(0.01)
        for avatar in avatars:
            avatar.end()
        for avatar, conversation_id in zip(avatars, said, strict=True):
            assert (await avatar.finished(conversation_id)).reason == "completed"
        assert max(joined) > 1
        for device in devices:
            await device.kill()
