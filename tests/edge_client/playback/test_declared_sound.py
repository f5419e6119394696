"""Sound that differs from its declaration: refused, or reported and played. The engine over real decoders, on virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_relay.media import AudioFormat, Codec, Kind, Payload
from avatar_relay.messages import ConversationEnd, ConversationError, Media
from avatar_relay.reasons import Reason
from tests.avatar_relay.sound.ogg_muxing import TakenApart, split_pages
from tests.avatar_relay.sound.streams import TAG, mpeg, wav
from tests.edge_client.audio.decoders.clips import encode, need_opus_tools, tones
from tests.edge_client.playback_bench import PCM, RATE_HZ, Bench, open_, tone


def play(audio: AudioFormat, payloads: list[bytes]) -> Bench:
    """Play a conversation of these payloads to its end."""
    bench = Bench()
    bench.handle(open_("a", motion=None, audio=audio))
    for seq, data in enumerate(payloads, 1):
        bench.handle(Media("a", (Payload(Kind.AUDIO, seq, data),)))
    bench.handle(ConversationEnd("a", len(payloads), 0))
    bench.run(4_000_000)
    return bench


def verdict(bench: Bench) -> tuple[str, int]:
    """Why it finished, and how many frames were heard."""
    (finished,) = bench.finished("a")
    return finished.reason, round(finished.position_us * RATE_HZ / 1e6)


def told(bench: Bench) -> list[str]:
    """Faults with their texts."""
    errors = [output.fault for _, output in bench.outputs if isinstance(output, ConversationError)]
    return [f"{fault.reason}: {fault.text}" for fault in errors]


@pytest.mark.parametrize("size", [320, 20_000])
def test_an_mp3_declared_as_pcm_is_silent_and_failed(size: int) -> None:
    """Not a sample of it is played; reported once, with its actual format."""
    mp3 = mpeg(40)
    bench = play(PCM, [mp3[at : at + size] for at in range(0, len(mp3), size)])
    assert verdict(bench) == ("failed", 0)
    assert len(bench.sound) == 0
    (fault,) = told(bench)
    assert fault.startswith("AUDIO_UNDECODABLE")
    assert "MPEG audio (MP3)" in fault


def test_each_payload_a_wav() -> None:
    """Exactly the samples within the WAV."""
    samples = tone(48_000)
    chunks = [samples[at : at + 4_800].astype("<i2").tobytes() for at in range(0, len(samples), 4_800)]
    bench = play(PCM, [wav(chunk, rate_hz=RATE_HZ, after=TAG) for chunk in chunks])
    assert verdict(bench) == ("completed", 48_000)
    assert bench.sound.tolist() == samples.tolist()
    assert told(bench) == []


def test_half_a_sample_fails_nothing() -> None:
    """Half a sample is not played."""
    bench = play(PCM, [tone(4_800).astype("<i2").tobytes() + b"x"])
    assert verdict(bench) == ("completed", 4_800)
    (fault,) = told(bench)
    assert fault.startswith("AUDIO_IRREGULAR")


def test_irregular_ogg_is_completed_and_each_irregularity_is_told(tmp_path: Path) -> None:
    """A lost page, an invalid packet and an end that would cut off speech are reported; zeros after the end are not."""
    need_opus_tools()
    clip = TakenApart(encode(tmp_path, tones(1.5)))
    pages = split_pages(clip.mux(per_page=5, granule=lambda frames, _, last: 0 if last else frames, behind=[b"\x03"]))
    stream = b"".join(pages[:5] + pages[6:]) + bytes(955)
    bench = play(AudioFormat(Codec.OGG_OPUS), [stream[at : at + 1_000] for at in range(0, len(stream), 1_000)])
    assert verdict(bench) == ("completed", clip.frames - clip.pre_skip)
    assert bench.dropped("a") == {}
    assert bench.reasons("a") == [Reason.AUDIO_IRREGULAR] * 3
    assert [words in text for words, text in zip(["are missing", "left out", "would cut off"], told(bench), strict=True)] == [True] * 3
