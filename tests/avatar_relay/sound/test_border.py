"""Sound declared as PCM that is something else; WAV is reduced to exactly its samples."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_relay.errors import SoundError
from avatar_relay.media import AudioFormat, Codec
from avatar_relay.sound.border import SampleBorder, StreamBorder
from avatar_relay.sound.containers import Container
from tests.avatar_relay.sound.streams import BEGINNINGS, TAG, chunk, pcm, rf64, wav

PCM_16K = AudioFormat(Codec.PCM_S16LE, 16_000)
SAMPLES = pcm()
UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF)
WHOLE = {
    "plain": wav(SAMPLES),
    "chunks before and behind": wav(SAMPLES, before=TAG + chunk(b"JUNK", bytes(29)), after=TAG),
    "extensible": wav(SAMPLES, extensible=True),
    "RF64": rf64(SAMPLES, TAG),
    "size of the whole is 0, chunk behind": wav(SAMPLES, riff_size=0, after=TAG),
    **{f"size {size:#x}": wav(SAMPLES, data_size=size, riff_size=size) for size in UNKNOWN_SIZES},
    "size promises more": wav(SAMPLES, data_size=len(SAMPLES) + 1_000),
    "samples follow it": wav(SAMPLES[:8_000]) + SAMPLES[8_000:],
    "another follows it": wav(SAMPLES[:8_000], after=TAG) + wav(SAMPLES[8_000:]),
}


def through(*chunks: bytes) -> bytes:
    """Return the output of a border."""
    border = SampleBorder(PCM_16K)
    return b"".join([border.take(chunk) for chunk in chunks]) + border.finish()


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("size", [1, 7, 44, 1_000, 3_200, 1 << 20])
def test_a_wav_is_stripped_however_it_is_cut(name: str, size: int) -> None:
    """Exactly the contained samples."""
    data = WHOLE[name]
    if name == "another follows it" and size < 12:
        pytest.skip("a WAV behind another is known by its first 12 bytes, where a chunk begins or within one")
    assert through(*(data[at : at + size] for at in range(0, len(data), size))) == SAMPLES


@pytest.mark.parametrize("after", [b"", TAG])
@pytest.mark.parametrize("data_size", [None, *UNKNOWN_SIZES])
def test_each_chunk_with_a_header_of_its_own(after: bytes, data_size: int | None) -> None:
    """As from services that make a file of each sentence. After samples of unknown length a chunk cannot be told from samples."""
    if after and data_size is not None:
        after = b""
    chunks = [wav(SAMPLES[at : at + 3_200], after=after, data_size=data_size) for at in range(0, len(SAMPLES), 3_200)]
    assert through(*chunks) == SAMPLES


def test_a_header_alone_then_samples() -> None:
    """As from streaming services."""
    header = wav(b"", data_size=0xFFFFFFFF)
    assert through(header, SAMPLES[:3_200], SAMPLES[3_200:]) == SAMPLES


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (wav(SAMPLES, rate_hz=24_000), "PCM, 16 bits, 24000 Hz, 1 channel"),
        (wav(SAMPLES, channels=2), "16000 Hz, 2 channels"),
        (wav(SAMPLES, bits=8), "PCM, 8 bits"),
        (wav(SAMPLES, bits=32, encoding=3), "float, 32 bits"),
        (wav(SAMPLES, bits=8, encoding=7), "µ-law, 8 bits"),
        (wav(SAMPLES, bits=24, extensible=True), "PCM, 24 bits"),
        (b"RIFF\x10\0\0\0WAVEdata\x10\0\0\0" + bytes(16), "before its 'fmt ' chunk"),
        (b"RIFF\x10\0\0\0WAVEfmt \x02\0\0\0" + bytes(16), "2 bytes; at least 16"),
        (b"RIFF\x10\0\0\0WAVEfmt \xff\xff\xff\x7f" + bytes(16), "claims 2147483647 bytes"),
        *((beginning, container.value) for container, beginning in BEGINNINGS.items() if container is not Container.WAV),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_contradicts_the_declaration_is_refused(data: bytes, what: str) -> None:
    """The error names the actual and the declared format; all later chunks are refused too, however they are cut."""
    for size in (len(data), 7):
        border = SampleBorder(PCM_16K)
        told: list[str] = []
        for at in range(0, len(data), size):
            try:
                assert border.take(data[at : at + size]) == b""
            except SoundError as error:
                told.append(str(error))
        assert what in told[0]
        assert "pcm_s16le, 16000 Hz" in told[0]
        with pytest.raises(SoundError):
            border.take(SAMPLES)
        assert border.take(wav(SAMPLES)) == SAMPLES


def test_a_later_chunk_of_another_format_is_refused() -> None:
    """RIFF is detected in each chunk, everything else at the start only."""
    border = SampleBorder(PCM_16K)
    assert border.take(SAMPLES) == SAMPLES
    for container, beginning in BEGINNINGS.items():
        if container is not Container.WAV:
            assert border.take(beginning) == beginning
    with pytest.raises(SoundError, match="24000 Hz"):
        border.take(wav(SAMPLES, rate_hz=24_000))


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.sampled_from([b"RI", b"RIFF", b"RIFF\0\0\0\0", b"Og", b"\xff\xfb", b"\0\0\0\0f"])),
    st.lists(st.integers(0, 300), max_size=9),
)
def test_all_else_goes_on_byte_for_byte(data: bytes, cuts: list[int]) -> None:
    """Including data that begins like a container and is too short to be one."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert through(*(data[start:end] for start, end in itertools.pairwise(edges))) == data


def test_streams_of_their_own_kind() -> None:
    """Ogg may be Ogg, also after an ID3 tag; bare packets must not be a container; unclear data is accepted."""
    for codec, welcome in ((Codec.OGG_OPUS, {Container.OGG, Container.ID3}), (Codec.OPUS, set())):
        for container, beginning in BEGINNINGS.items():
            border = StreamBorder(AudioFormat(codec))
            if container in welcome:
                assert border.take(beginning) == beginning
            else:
                with pytest.raises(SoundError, match="was declared"):
                    border.take(beginning)
    border = StreamBorder(AudioFormat(Codec.OGG_OPUS))
    assert border.take(b"Og") + border.take(b"gS") + border.finish() == b"OggS"
