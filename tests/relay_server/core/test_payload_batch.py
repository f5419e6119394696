"""Runs of payloads: how they are cut, and what they cost to create."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import wire
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Kind, MotionEncoding, MotionFormat, Payload
from avatar_relay.messages import Media, PublishOpen
from avatar_relay.v1 import device_service_pb2 as device_pb
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from relay_server.core.conversation import Conversation
from relay_server.core.device_outbox import MediaMessage
from relay_server.core.payload_batch import PayloadBatch, in_columns
from tests.relay_server.relay_dsl import hello

AUDIO = AudioFormat(Codec.PCM_S16LE, 16_000)
MOTION = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, ("jawOpen",))


def run_of(sizes: list[int]) -> PayloadBatch:
    """Payloads 1, 2, … of these sizes."""
    seqs = list(range(1, len(sizes) + 1))
    return PayloadBatch(Kind.AUDIO, seqs, [seq * 100 for seq in seqs], sizes, 7, sum(sizes), [bytes([seq % 256]) for seq in seqs])


@given(st.lists(st.integers(1, 1_000), min_size=2, max_size=40), st.integers(0, 20_000), st.data())
def test_a_cut_loses_nothing(sizes: list[int], room: int, data: st.DataObject) -> None:
    """Both parts add up to the whole; the first is as large as fits."""
    run = run_of(sizes)
    count = data.draw(st.integers(1, len(sizes) - 1))
    head, tail = run.cut(count)
    for name in ("seqs", "due_us", "sizes", "encoded"):
        assert [*getattr(head, name), *getattr(tail, name)] == list(getattr(run, name))
    assert head.size_bytes + tail.size_bytes == run.size_bytes
    fitting = run.fitting(room)
    assert sum(sizes[:fitting]) <= room
    assert fitting == len(sizes) or sum(sizes[: fitting + 1]) > room
    assert run.upto(count) == count


def payload(seq: int, **more: int) -> Payload:
    """Ten milliseconds of sound."""
    return Payload(Kind.AUDIO, seq, bytes(320), pts_us=(seq - 1) * 10_000, duration_us=10_000, **more)


PIECES = st.lists(
    st.sampled_from(("next", "again", "gap", "first half", "second half", "unnumbered", "wrong offset")), min_size=1, max_size=12
)


@given(PIECES)
def test_a_run_is_taken_as_its_payloads_would_be(words: list[str]) -> None:
    """Accepting a run leaves the track in the same state as accepting each payload alone; a refused run changes nothing."""
    seq, payloads = 1, []
    for word in words:
        match word:
            case "again":
                payloads.append(payload(max(seq - 1, 1)))
            case "gap":
                payloads.append(payload(seq + 1))
            case "first half":
                payloads.append(payload(seq, total_bytes=640))
            case "second half":
                payloads.append(payload(seq, total_bytes=640, fragment_offset=320))
                seq += 1
            case "unnumbered":
                payloads.append(payload(0))
            case "wrong offset":
                payloads.append(payload(seq, fragment_offset=8))
            case _:
                payloads.append(payload(seq))
                seq += 1
    opening = ConversationOpen("c1", AUDIO, MOTION)
    at_once, one_by_one = (Conversation(opening, "backend", ("lobby",), window=1 << 20, step=1 << 18) for _ in range(2))
    (run,) = in_columns(Media("c1", tuple(payloads))).columns
    taken = at_once.receive_columns(run, 320 * len(payloads), credited=True)
    if taken:
        for one in payloads:
            accepted = one_by_one.receive(one, credited=True)
            assert not isinstance(accepted, str)
            assert accepted.fragments == (one,)
        assert at_once.cursor == one_by_one.cursor
        assert at_once.waiting(Kind.AUDIO) == one_by_one.waiting(Kind.AUDIO)
    else:
        assert at_once.cursor.audio_seq == at_once.waiting(Kind.AUDIO) == 0


async def test_a_payload_is_encoded_once_for_32_devices() -> None:
    """Fan-out: one encoding; every device gets the same bytes in order."""
    encodings = 0

    def encode(one: Payload) -> bytes:
        nonlocal encodings
        encodings += 1
        return wire.encode_payload(one)

    relay = Relay(RelayConfig(), Clocks(lambda: 1_000_000, lambda: 0), random_bytes=lambda count: b"r" * count, encode=encode)
    names = tuple(f"device-{number}" for number in range(32))
    devices, publisher = [relay.connect_device() for _ in names], relay.connect_publisher()
    for device, name in zip(devices, names, strict=True):
        await device.send(hello(name, buffer=Credit(1 << 20, 1 << 20)))
    await publisher.send(PublishOpen(ConversationOpen("c1", AUDIO, MOTION), names))
    await publisher.send(Media("c1", tuple(payload(seq) for seq in range(1, 7))))
    assert encodings == 6
    spliced = set()
    for device in devices:
        while not isinstance(message := await device.receive(), MediaMessage):
            pass
        spliced.add(wire.splice_media_response("c1", [encoded for run in message.batches for encoded in run.entries]))
    (data,) = spliced
    media = device_pb.AttachResponse.FromString(data).media
    assert media.conversation_id == "c1"
    assert [one.seq for one in media.payloads] == list(range(1, 7))
