"""Limits for a publisher, and the errors beyond them."""

from __future__ import annotations

import time

import grpc
import pytest

from avatar_relay.limits import GRPC_MAX_RECEIVE_BYTES, MAX_JOINED_REQUESTS
from avatar_relay.reasons import Reason
from avatar_relay.v1 import admin_service_pb2 as admin_pb
from avatar_relay.v1 import publisher_service_pb2 as pb
from relay_server.config import RelayConfig
from relay_server.sources.source import SourceError, TextSpeech
from relay_server.sources.speech import SpeechSource
from tests.relay_server.access.guarded import code_of_messages
from tests.relay_server.service.test_publishers import error
from tests.relay_server.service.wired import audio, media, opening, wired

PUBLISH, SPEAK = "/avatar_relay.v1.PublisherService/Publish", "/avatar_relay.v1.AdminService/Speak"
OPTIONS = [("grpc.max_send_message_length", GRPC_MAX_RECEIVE_BYTES)]


def joined(count: int) -> pb.JoinedRequests:
    """A conversation, then sound, one payload in a request."""
    requests = [pb.PublishRequest(open=opening("c1", "lobby", motion=False))]
    requests += [pb.PublishRequest(media=media(audio(seq))) for seq in range(1, count)]
    return pb.JoinedRequests(requests=requests)


async def test_joined_requests_are_taken_one_by_one() -> None:
    """Many requests in one message: each is handled as if sent alone, in order."""
    async with wired() as relay:
        device, publisher = await relay.device(), await relay.publisher()
        await publisher.say(joined=joined(4))
        assert (await publisher.hear("opened")).conversation_id == "c1"
        assert (await device.hear("open")).conversation_id == "c1"
        came: list[int] = []
        while len(came) < 3:
            came += [payload.seq for payload in (await device.hear("media")).payloads]
        assert came == [1, 2, 3]


async def test_too_many_joined_requests_end_the_stream() -> None:
    """The message holds at most `MAX_JOINED_REQUESTS`."""
    async with wired() as relay:
        await relay.device()
        publisher = await relay.publisher()
        await publisher.say(joined=joined(MAX_JOINED_REQUESTS + 1))
        status, fault = await publisher.ended()
        assert (status, fault.reason, fault.field) == (grpc.StatusCode.INVALID_ARGUMENT, Reason.MESSAGE_INVALID, "joined.requests")


async def test_too_many_payloads_fail_their_conversation() -> None:
    """Beyond the rate the conversation fails by name; the stream survives, and time restores the allowance."""
    async with wired(RelayConfig(listen="127.0.0.1:0", max_payloads_per_second=2)) as relay:
        device, publisher = await relay.device(), await relay.publisher()
        await publisher.say(open=opening("c1", "lobby", motion=False))
        await publisher.hear("opened")
        await publisher.say(media=media(*[audio(seq) for seq in range(1, 6)]))
        assert await error(publisher) == ("c1", Reason.LIMIT_REACHED)
        relay.clock.now_us += 1_000_000
        await publisher.say(open=opening("c2", "lobby", motion=False))
        await publisher.hear("opened")
        await publisher.say(media=media(*[audio(seq) for seq in range(1, 3)], conversation_id="c2"))
        assert [(await device.hear(name)).conversation_id for name in ("open", "interrupt", "open")] == ["c1", "c1", "c2"]
        assert [payload.seq for payload in (await device.hear("media")).payloads] == [1, 2]


async def test_too_many_conversations_are_refused() -> None:
    """The relay's own bound over all devices."""
    async with wired(RelayConfig(listen="127.0.0.1:0", max_conversations=1)) as relay:
        await relay.device("lobby")
        await relay.device("hall")
        publisher = await relay.publisher()
        await publisher.say(open=opening("c1", "lobby", motion=False))
        await publisher.hear("opened")
        await publisher.say(open=opening("c2", "hall", motion=False))
        assert await error(publisher) == ("c2", Reason.LIMIT_REACHED)


async def test_opens_with_hundreds_of_thousands_of_targets_cost_little() -> None:
    """Five, each of which took three seconds of the loop: each is refused by name, before its targets are read."""
    many = pb.PublishRequest(open=pb.PublishOpen(open=opening("c1", "lobby", motion=False).open, targets=["lobby"] * 590_000))
    data = many.SerializeToString()
    async with wired() as relay, grpc.aio.insecure_channel(relay.address, options=OPTIONS) as channel:
        device = await relay.device()
        began_s = time.process_time()
        for _ in range(5):
            ended = await code_of_messages(channel, PUBLISH, [data])
            assert ended == (grpc.StatusCode.INVALID_ARGUMENT, Reason.MESSAGE_TOO_LARGE), ended
        assert time.process_time() - began_s < 1.0
        publisher = await relay.publisher()
        await publisher.say(open=opening("c2", "lobby", motion=False))
        assert (await device.hear("open")).conversation_id == "c2"


async def test_a_text_of_four_million_characters_is_refused_unread() -> None:
    """Over gRPC by its bytes; in process by its length, before it is split."""
    request = admin_pb.SpeakRequest(target="lobby", text="a " * 2_000_000)
    async with wired() as relay, grpc.aio.insecure_channel(relay.address, options=OPTIONS) as channel:
        ended = await code_of_messages(channel, SPEAK, [request.SerializeToString()])
        assert ended[1] is Reason.MESSAGE_TOO_LARGE, ended
    began_s = time.process_time()
    for is_ssml in (False, True):
        with pytest.raises(SourceError, match="4000000 characters"):
            await SpeechSource().perform(TextSpeech(request.text, is_ssml=is_ssml))
    assert time.process_time() - began_s < 0.1
