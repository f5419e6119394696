"""The library refuses sound that is not in the declared format at the call, and strips WAV headers; nothing of it is sent before."""

from __future__ import annotations

import pytest

from avatar_relay.media import AudioFormat, Codec, Kind
from avatar_relay.messages import ConversationEnd, Media, PublishOpen
from avatar_relay.publisher import InvalidMediaError
from avatar_relay.reasons import Reason
from avatar_relay.sound.containers import Container
from tests.avatar_relay.publisher.fakes import PCM_16K, FakeRelay, payload_bytes
from tests.avatar_relay.sound.streams import BEGINNINGS, TAG, pcm, wav

SAMPLES = pcm()


@pytest.mark.parametrize("container", [container for container in BEGINNINGS if container is not Container.WAV])
async def test_a_container_as_pcm_is_refused_by_name(container: Container) -> None:
    """At the call, with nothing opened; the next conversation is not affected."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        for verb in (avatar.yield_audio_data, avatar.yield_audio_data_nowait):
            with pytest.raises(InvalidMediaError) as caught:
                done = verb(BEGINNINGS[container] + SAMPLES)
                assert isinstance(done, str) or await done
            assert caught.value.fault.reason is Reason.AUDIO_UNDECODABLE
            assert container.value in caught.value.fault.text
        assert relay.link.all(PublishOpen) == []
        await avatar.yield_audio_data(SAMPLES, end=True)
        await relay.link.until_said(ConversationEnd)
    assert payload_bytes(relay.link, Kind.AUDIO) == SAMPLES


async def test_an_mp3_in_small_pieces_is_never_sent() -> None:
    """It is held until the format is clear, then refused, as are all later chunks."""
    relay = FakeRelay()
    mp3 = BEGINNINGS[Container.MPEG]
    refused = 0
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        for at in range(0, len(mp3), 100):
            try:
                await avatar.yield_audio_data(mp3[at : at + 100])
            except InvalidMediaError:
                refused += 1
        avatar.interrupt()
    assert refused >= 8
    assert relay.link.all(Media) == []


@pytest.mark.parametrize("size", [40, 3_200, 1 << 20])
async def test_a_wav_is_stripped(size: int) -> None:
    """Header and trailing chunks; also if the header is a separate call, or cut."""
    relay = FakeRelay()
    data = wav(SAMPLES, after=TAG)
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        for at in range(0, len(data), size):
            await avatar.yield_audio_data(data[at : at + size])
        await avatar.yield_audio_data(b"", end=True)
        await relay.link.until_said(ConversationEnd)
    assert payload_bytes(relay.link, Kind.AUDIO) == SAMPLES


async def test_each_call_a_wav() -> None:
    """One of another rate among them is refused; the conversation continues."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        for at in range(0, len(SAMPLES), 3_200):
            await avatar.yield_audio_data(wav(SAMPLES[at : at + 3_200], after=TAG))
            with pytest.raises(InvalidMediaError) as caught:
                await avatar.yield_audio_data(wav(SAMPLES, rate_hz=24_000))
            assert "24000 Hz" in caught.value.fault.text
        await avatar.yield_audio_data(b"", end=True)
        await relay.link.until_said(ConversationEnd)
    assert payload_bytes(relay.link, Kind.AUDIO) == SAMPLES


@pytest.mark.parametrize("how", ["end", "end=True", "close"])
async def test_what_was_kept_back_goes_out_at_the_end(how: str) -> None:
    """Two samples that begin like a WAV are two samples."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        await avatar.yield_audio_data(b"\x00\x00RI" if how == "close" else b"RIFF", end=how == "end=True")
        if how == "end":
            avatar.end()
    await relay.link.until_said(ConversationEnd)
    assert payload_bytes(relay.link, Kind.AUDIO) == (b"\x00\x00RI" if how == "close" else b"RIFF")


@pytest.mark.parametrize(("codec", "data"), [(Codec.OGG_OPUS, wav(SAMPLES)), (Codec.OPUS, BEGINNINGS[Container.OGG])])
async def test_other_codecs(codec: Codec, data: bytes) -> None:
    """Data that cannot be Ogg, or cannot be a bare packet."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=AudioFormat(codec))
        with pytest.raises(InvalidMediaError, match="was declared"):
            await avatar.yield_audio_data(data)
    assert relay.link.all(PublishOpen) == []
