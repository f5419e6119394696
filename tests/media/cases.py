"""The files and streams: how each is made, and its expected playback."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from avatar_relay.media import AudioFormat, Codec
from tests.avatar_relay.sound.ogg_muxing import LAST, TakenApart, make_page, opus_head, split_pages
from tests.avatar_relay.sound.streams import TAG, wav
from tests.edge_client.audio.decoders.clips import tones

FRAMES_48K, FRAMES_16K = 96_123, 32_041
"""Length of the clip at both rates."""
ALL_OPUS = 96_648
"""Frames in all of its 20 ms packets, less the pre-skip."""
VOICE_AMPLITUDE = 9_000.0


@dataclass(frozen=True, slots=True)
class Case:
    """A file. `frames` is the length that `relayctl play` plays at `rate_hz`, None if it refuses; `handed` is the same if the bytes
    are published as `declared`, None if they are refused. `told` and `refusal` are words of the notices and of the refusal's reason."""

    name: str
    make: Callable[[Path], None]
    frames: int | None
    rate_hz: int
    declared: AudioFormat
    handed: int | None
    told: tuple[str, ...] = ()
    refusal: str = ""
    has_reference: bool = True
    """Whether ffmpeg decodes it to the same length, so that samples can be compared."""


def prepare(folder: Path) -> None:
    """Write the encoders' input files."""
    mono = tones(FRAMES_48K / 48_000, amplitude=VOICE_AMPLITUDE)[:FRAMES_48K]
    narrow = tones(FRAMES_16K / 16_000, rate_hz=16_000, amplitude=VOICE_AMPLITUDE)[:FRAMES_16K]
    stereo = np.stack([mono, np.roll(mono, 500) // 2], axis=1)
    centre = np.zeros((len(mono), 6), np.int16)
    centre[:, 2] = mono
    for name, samples, rate_hz in (("m48", mono, 48_000), ("m16", narrow, 16_000), ("s48", stereo, 48_000)):
        soundfile.write(folder / f"in_{name}.wav", samples, rate_hz, subtype="PCM_16")
    soundfile.write(folder / "in_c51.wav", centre, 48_000, subtype="PCM_16", format="WAVEX")
    run("opusenc --quiet in_m48.wav in_clip.opus", folder)


def run(command: str, folder: Path) -> None:
    """Run a command in the folder."""
    subprocess.run(["bash", "-c", f"set -e; {command}"], cwd=folder, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


def _by(command: str, name: str) -> Callable[[Path], None]:
    return lambda folder: run(command.replace("OUT", shlex.quote(name)), folder)


OGG_OPUS = AudioFormat(Codec.OGG_OPUS)
PCM_16K = AudioFormat(Codec.PCM_S16LE, 16_000)
FF = "ffmpeg -y -v error -i"


def _opus(name: str, command: str) -> Case:
    return Case(name, _by(command, name), FRAMES_48K, 48_000, OGG_OPUS, FRAMES_48K)


def opus_files() -> list[Case]:
    """Files of three encoders: packet and page lengths, mappings, channels."""
    cases = [_opus(f"oe_{ms}.opus", f"opusenc --quiet --framesize {ms} in_m48.wav OUT") for ms in ("2.5", "5", "10", "20", "40", "60")]
    options = {"delay": "--max-delay 40", "6k": "--bitrate 6", "cbr": "--hard-cbr --bitrate 64", "comment": "--comment x=y --padding 70000"}
    cases += [_opus(f"oe_{name}.opus", f"opusenc --quiet {option} in_m48.wav OUT") for name, option in options.items()]
    cases += [_opus(f"oe_{name}.opus", f"opusenc --quiet in_{name}.wav OUT") for name in ("s48", "m16", "c51")]
    cases += [
        _opus(f"ff_{ms}.ogg", f"{FF} in_m48.wav -c:a libopus -frame_duration {ms} OUT")
        for ms in ("2.5", "5", "10", "20", "40", "60", "120")
    ]
    cases += [
        _opus(f"ff_mf{family}_{name}.ogg", f"{FF} in_{name}.wav -c:a libopus -mapping_family {family} OUT")
        for family in (1, 255)
        for name in ("m48", "s48")
    ]
    cases += [
        _opus("ff_voip.ogg", f"{FF} in_m48.wav -c:a libopus -application voip -b:a 16k OUT"),
        _opus("ff_pages.ogg", f"{FF} in_m48.wav -c:a libopus -page_duration 20000 OUT"),
        _opus("ff_51.ogg", f"{FF} in_c51.wav -af channelmap=channel_layout=5.1 -c:a libopus -mapping_family 1 -b:a 256k OUT"),
        Case("sf.opus", _libsndfile("sf.opus", "OGG", "OPUS"), FRAMES_48K, 48_000, OGG_OPUS, FRAMES_48K),
    ]
    return cases


def _libsndfile(name: str, format_: str, subtype: str, source: str = "m48") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        samples, rate_hz = soundfile.read(folder / f"in_{source}.wav")
        soundfile.write(folder / name, samples, rate_hz, format=format_, subtype=subtype)

    return make


def _stream(
    name: str,
    make: Callable[[TakenApart], bytes],
    frames: int | None = FRAMES_48K,
    told: tuple[str, ...] = (),
    *,
    refusal: str = "",
    has_reference: bool = False,
) -> Case:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(make(TakenApart((folder / "in_clip.opus").read_bytes())))

    return Case(name, write, frames, 48_000, OGG_OPUS, frames, told, refusal, has_reference)


def _pages(clip: TakenApart, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    return b"".join(change(split_pages(clip.mux(per_page=5))))


def _with_nil_page(clip: TakenApart) -> bytes:
    """A stream whose end is marked by a page without a packet, too late to trim anything."""
    pages = split_pages(clip.mux(granule=lambda frames, *_: frames, last_flags=0))
    return b"".join([*pages, make_page([], granule=clip.end, sequence=len(pages), serial=7, flags=LAST)])


def opus_streams() -> list[Case]:
    """Streams of other muxers, streams damaged by networks, and invalid streams."""
    mapped = opus_head(mapping_family=1, table=b"\1\0\0")
    return [
        _stream("x_ok.ogg", lambda clip: clip.mux(), has_reference=True),
        _stream("x_packet_pages.ogg", lambda clip: clip.mux(per_page=1), has_reference=True),
        _stream("x_no_eos.ogg", lambda clip: clip.mux(last_flags=0), has_reference=True),
        _stream("x_empty_eos_packet.ogg", lambda clip: clip.mux(per_page=1, behind=[b""]), has_reference=True),
        _stream("x_zeros_behind.ogg", lambda clip: clip.mux() + bytes(955), has_reference=True),
        _stream("x_id3.ogg", lambda clip: b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + clip.mux(), has_reference=True),
        _stream("x_no_tags.ogg", lambda clip: clip.mux(tags=False)),
        _stream("x_tags_first.ogg", lambda clip: clip.mux(tags_flags=2)),
        _stream("x_mapped.ogg", lambda clip: clip.mux(head=mapped), has_reference=True),
        _stream("x_granule_at_end.ogg", lambda clip: clip.mux(granule=lambda _, __, last: clip.end if last else -1)),
        _stream("x_chain.ogg", lambda clip: clip.mux() + clip.mux(serial=8), 2 * FRAMES_48K, has_reference=True),
        _stream("x_joined_late.ogg", lambda clip: clip.mux(granule=lambda *at: clip.right_granule(*at) + 48_000)),
        _stream("x_low_960.ogg", lambda clip: clip.mux(granule=lambda *at: clip.right_granule(*at) - 960), told=("960 samples lower",)),
        _stream("x_end_0.ogg", lambda clip: clip.mux(granule=lambda n, _, last: 0 if last else n), ALL_OPUS, ("would cut off",)),
        _stream("x_one_page_end_0.ogg", lambda clip: clip.mux(per_page=200, granule=lambda *_: 0), ALL_OPUS, ("would cut off",)),
        _stream("x_16k_one_page.ogg", lambda clip: clip.mux(per_page=200, granule=lambda n, *_: n // 3), ALL_OPUS, ("would cut off",)),
        _stream("x_16k.ogg", lambda clip: clip.mux(granule=lambda n, *_: n // 3), ALL_OPUS, ("lower than", "would cut off")),
        _stream("x_lost_page.ogg", lambda clip: _pages(clip, lambda pages: pages[:7] + pages[8:]), told=("pages are missing",)),
        _stream(
            "x_damaged_page.ogg",
            lambda clip: _pages(clip, lambda pages: [*pages[:7], pages[7][:-1] + bytes([pages[7][-1] ^ 1]), *pages[8:]]),
            told=("missing or damaged",),
        ),
        _stream("x_cut.ogg", lambda clip: clip.mux(per_page=5)[:-40], ALL_OPUS - 960, ("cut short",)),
        _stream("x_cut_one_page.ogg", lambda clip: clip.mux(per_page=200)[:-40], ALL_OPUS - 960, ("cut short",)),
        _stream("x_nil_eos.ogg", _with_nil_page, ALL_OPUS, has_reference=True),
        _stream("x_bad_packet.ogg", lambda clip: clip.mux(per_page=1, behind=[b"\x03"]), told=("left out",)),
        _stream("x_version_16.ogg", lambda clip: clip.mux(head=opus_head(version=16)), None, refusal="version 16"),
        _stream("x_9_channels.ogg", lambda clip: clip.mux(head=opus_head(channels=9, mapping_family=255)), None, refusal="9 channels"),
        _stream("x_no_sound.ogg", lambda clip: b"".join(split_pages(clip.mux())[:2]), None, refusal="before any audio"),
    ]


def _file(name: str, command: str, frames: int | None, refusal: str, *, rate_hz: int = 16_000, has_reference: bool = True) -> Case:
    """A file that `relayctl play` plays, and that is refused as PCM."""
    declared = AudioFormat(Codec.PCM_S16LE, rate_hz)
    return Case(name, _by(command, name), frames, rate_hz, declared, None, (), refusal, has_reference)


def _same_wav(name: str, make: Callable[[Path], None]) -> Case:
    """A file that matches its declaration."""
    return Case(name, make, FRAMES_16K, 16_000, PCM_16K, FRAMES_16K)


def _by_hand(name: str, make: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        samples, _ = soundfile.read(folder / "in_m16.wav", dtype="int16")
        (folder / name).write_bytes(make(samples.astype("<i2").tobytes()))

    return write


def wav_files() -> list[Case]:
    """WAV files of various encodings, sizes and chunks."""
    plain = {
        "ff_s16.wav": "-c:a pcm_s16le",
        "ff_rf64.wav": "-c:a pcm_s16le -rf64 always",
        "ff_bitexact.wav": "-fflags +bitexact -c:a pcm_s16le",
    }
    cases = [_same_wav(name, _by(f"{FF} in_m16.wav {options} OUT", name)) for name, options in plain.items()]
    pipes = {"ff_pipe.wav": f"{FF} in_m16.wav -c:a pcm_s16le -f wav - > OUT", "sox_pipe.wav": "sox in_m16.wav -t wav - > OUT"}
    cases += [_same_wav(name, _by(command, name)) for name, command in pipes.items()]
    for name, format_ in (("sf.wav", "WAV"), ("sf_wavex.wav", "WAVEX"), ("sf_rf64.wav", "RF64")):
        cases.append(_same_wav(name, _libsndfile(name, format_, "PCM_16", "m16")))
    for size in (0, 0x7FFFFFFF, 0xFFFFFFFF):
        name = f"hand_{size:x}.wav"
        cases.append(_same_wav(name, _by_hand(name, partial(wav, data_size=size, riff_size=size, before=TAG))))
    cases.append(_same_wav("hand_chunks.wav", _by_hand("hand_chunks.wav", partial(wav, before=TAG, after=TAG))))
    codecs = ("pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_mulaw", "pcm_alaw")
    cases += [_file(f"ff_{codec}.wav", f"{FF} in_m16.wav -c:a {codec} OUT", FRAMES_16K, "RIFF (WAV) of") for codec in codecs]
    cases += [
        _file("ff_s48.wav", f"{FF} in_s48.wav -c:a pcm_s16le OUT", FRAMES_48K, "2 channels", rate_hz=48_000),
        _file("ff_c51.wav", f"{FF} in_c51.wav -c:a pcm_s16le OUT", FRAMES_48K, "6 channels", rate_hz=48_000),
        _file("ff_adpcm_ms.wav", f"{FF} in_m16.wav -c:a adpcm_ms OUT", 32_576, "ADPCM"),
        replace(_file("sf_ima.wav", "", 32_544, "ADPCM", has_reference=False), make=_libsndfile("sf_ima.wav", "WAV", "IMA_ADPCM", "m16")),
        _file("sox_gsm.wav", "sox in_m16.wav -r 8000 -e gsm-full-rate OUT", 16_640, "GSM", rate_hz=8_000),
    ]
    return cases


def other_files() -> list[Case]:
    """FLAC, Vorbis, MP3, and other data."""
    return [
        _file("ff.flac", f"{FF} in_m16.wav OUT", FRAMES_16K, "FLAC (fLaC)"),
        _file("ff_24.flac", f"{FF} in_m16.wav -sample_fmt s32 OUT", FRAMES_16K, "FLAC (fLaC)"),
        _file("flac.flac", "flac -s -f -o OUT in_m16.wav", FRAMES_16K, "FLAC (fLaC)"),
        _file("sox.flac", "sox in_m16.wav OUT", FRAMES_16K, "FLAC (fLaC)"),
        _file("ff_c51.flac", f"{FF} in_c51.wav OUT", FRAMES_48K, "FLAC (fLaC)", rate_hz=48_000),
        _file("ff_flac.ogg", f"{FF} in_m16.wav -c:a flac OUT", None, "Ogg (OggS)"),
        _file("ff_vorbis.ogg", f"{FF} in_m48.wav -c:a libvorbis OUT", FRAMES_48K, "Ogg (OggS)", rate_hz=48_000),
        _file("ff_vorbis_c51.ogg", f"{FF} in_c51.wav -c:a libvorbis OUT", FRAMES_48K, "Ogg (OggS)", rate_hz=48_000),
        _file("sox_vorbis.ogg", "sox in_m48.wav OUT", FRAMES_48K, "Ogg (OggS)", rate_hz=48_000),
        _file("lame.mp3", "lame --quiet in_m48.wav OUT", FRAMES_48K, "MPEG audio", rate_hz=48_000),
        _file("lame_vbr.mp3", "lame --quiet -V 3 in_m48.wav OUT", FRAMES_48K, "MPEG audio", rate_hz=48_000),
        _file("lame_id3.mp3", "lame --quiet --tt title --add-id3v2 in_s48.wav OUT", FRAMES_48K, "an ID3 tag", rate_hz=48_000),
        _file("ff.mp3", f"{FF} in_m16.wav -b:a 32k OUT", FRAMES_16K, "an ID3 tag"),
        _file("m4a.wav", f"{FF} in_m48.wav -f ipod OUT", None, "MP4 (ftyp)", has_reference=False),
        _file("aac.wav", f"{FF} in_m48.wav -f adts OUT", None, "ADTS (AAC)", has_reference=False),
        _file("webm.ogg", f"{FF} in_m48.wav -c:a libopus -f webm OUT", None, "EBML", has_reference=False),
        _file("mka.wav", f"{FF} in_m48.wav -c:a pcm_s16le -f matroska OUT", None, "EBML", has_reference=False),
    ]


def all_cases() -> list[Case]:
    """All cases."""
    return [*opus_files(), *opus_streams(), *wav_files(), *other_files()]


def reference(path: Path) -> NDArray[np.float64] | None:
    """Decode a file with ffmpeg, as the mean of one or two channels; None for more channels, or if ffmpeg fails."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-show_entries", "stream=codec_name,channels", "-of", "csv=p=0", str(path)]
    found = subprocess.run(probe, capture_output=True, text=True, timeout=60, check=False).stdout.split()
    codec, _, channels_text = (found[0] if found else "none,0").strip(",").partition(",")
    channels = int(channels_text)
    if channels not in (1, 2):
        return None
    decoder = ["-c:a", "libopus"] if codec == "opus" else []  # ffmpeg's own decoder resamples narrower bands differently
    decode = ["ffmpeg", "-v", "error", *decoder, "-i", str(path), "-f", "f64le", "-"]
    done = subprocess.run(decode, capture_output=True, timeout=60, check=False)
    samples: NDArray[np.float64] = np.frombuffer(done.stdout, "<f8").reshape(-1, channels).mean(axis=1) * 32_768
    return samples
