"""Groups with members at several relays, and hand-typed streams: real relays and clients, an in-memory backplane.

For members and publishers that change relays, see `tests/races/test_groups.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import pytest

from avatar_relay.media import AudioFormat, Codec, OnPlaying, Pacing
from avatar_relay.publisher import Publisher
from avatar_relay.v1 import media_pb2 as media
from avatar_relay.v1 import publisher_service_pb2 as pb
from avatar_relay.v1 import publisher_service_pb2_grpc as stubs
from tests.lab.history import History
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.relay_server.cluster.small_cluster import InOrder, SmallCluster, small_cluster

SOUND = AudioFormat(Codec.PCM_S16LE, 16_000)
MEMBERS = ("left", "middle", "right")


class Listener:
    """A device and what it received."""

    def __init__(self, cluster: SmallCluster, name: str, at: str, history: History) -> None:
        self.got: list[bytes] = []
        address, *others = cluster.listed(at)
        self.device = SimulatedDevice(name, address, history, InOrder(1), on_payload=self.got.append, others=tuple(others))


async def say(publisher: Publisher, target: str, pieces: Sequence[bytes]) -> tuple[set[str], set[str]]:
    """Publish everything; return the devices that finished, and the reasons."""
    avatar = publisher.avatar(target, audio_format=SOUND, pacing=Pacing.BURST, on_playing=OnPlaying.QUEUE)
    cid = ""
    for piece in pieces:
        cid = await avatar.yield_audio_data(piece)
    await avatar.yield_audio_data(b"", end=True)
    finished = await avatar.finished(cid)
    return set(finished.by_device), {body.reason for body in finished.by_device.values()}


def pieces(count: int) -> list[bytes]:
    """Payloads that all differ."""
    return [number.to_bytes(4, "little") * 160 for number in range(1, count + 1)]


@pytest.mark.parametrize("at", ["abc", pytest.param("bbc", marks=pytest.mark.slow)])
async def test_a_group_at_several_relays_gets_all_of_it(at: str) -> None:
    """Holds with or without members at the publisher's relay; the payloads exceed one window."""
    async with asyncio.timeout(50), small_cluster(hall=MEMBERS) as cluster:
        with History() as history:
            listeners = [Listener(cluster, name, place, history) for name, place in zip(MEMBERS, at, strict=True)]
            await until_attached([listener.device for listener in listeners])
            async with cluster.publisher("a") as publisher:
                said = [number.to_bytes(4, "little") * 8_000 for number in range(1, 91)]
                assert await say(publisher, "hall", said) == (set(MEMBERS), {"completed"})
            for listener in listeners:
                got = b"".join(listener.got)
                assert got == b"".join(said)
                await listener.device.kill()


async def test_a_stream_typed_by_hand_reaches_every_relay() -> None:
    """A stream without hello and ids ends when everything has played."""
    async with asyncio.timeout(50), small_cluster() as cluster:
        with History() as history:
            listener = Listener(cluster, "lobby", "b", history)
            await until_attached([listener.device])
            sound = media.AudioFormat(codec=media.AudioFormat.CODEC_PCM_S16LE, sample_rate_hz=16_000)
            opening = pb.PublishOpen(open=media.ConversationOpen(audio_format=sound), targets=["lobby"])
            said = [pb.PublishRequest(open=opening)]
            said += [
                pb.PublishRequest(media=media.Media(payloads=[media.Payload(kind=media.KIND_AUDIO, data=piece)])) for piece in pieces(5)
            ]
            async with grpc.aio.insecure_channel(cluster.addresses["a"]) as channel:
                call = stubs.PublisherServiceStub(channel).Publish(iter([*said, pb.PublishRequest(end=media.ConversationEnd())]))
                answers = [answer.WhichOneof("message") async for answer in call]
            assert answers[0] == "opened"
            assert "event" in answers
            assert b"".join(listener.got) == b"".join(pieces(5))
            await listener.device.kill()
