"""The commands of `relayctl`: their requests to a relay, and the text of the answers."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_relay import wire
from avatar_relay.command import CommandLine
from avatar_relay.device_state import PartState
from avatar_relay.forward_proxy import proxy_note
from avatar_relay.grpc_client import fault_of
from avatar_relay.media import AngleUnit, Expression, ExpressionPreset
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import admin_service_pb2_grpc as services
from avatar_relay.v1 import media_pb2
from avatar_relay.volume_curve import position_of
from relay_server.relayctl import access_commands as keys
from relay_server.relayctl import device_commands
from relay_server.relayctl.connect import PREFIX, SETTINGS, OperatorSettings, load_settings, open_channel, why_unreachable
from relay_server.relayctl.values import gain, number
from relay_server.relayctl.watching import watch

TIMEOUT_S = 10.0
HEALTH_TIMEOUT_S = 2.0
MAX_GRACE_S = 7 * 86_400.0
EXIT_REFUSED, EXIT_UNREACHABLE = 1, 3

_UNREACHABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_CODECS = {value: codec.value for codec, value in wire.CODEC_TO_WIRE.items()}
_ENCODINGS = {value: encoding.value for encoding, value in wire.ENCODING_TO_WIRE.items()}
_ON_PLAYING = {True: media_pb2.ON_PLAYING_QUEUE, False: media_pb2.ON_PLAYING_REPLACE}

Lines = Iterable[str]
Run = Callable[[services.AdminServiceStub, argparse.Namespace], Iterator[tuple[Message, Lines]]]
"""A command: asks the relay, and yields each answer with its text."""


def run(arguments: Sequence[str] | None) -> int:
    """Run one command; return the exit code. Raises `ConfigError`."""
    parser = build_parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    for argument in arguments:
        if not _is_utf8(argument):
            parser.error(f"{argument!a} is not valid UTF-8")
    options = parser.parse_args(arguments)
    settings = load_settings(options, os.environ)
    try:
        if "keys" in options:
            for said, words in keys.run(options):
                _print(said, words, as_json=options.json)
            return 0
        with open_channel(settings, os.environ) as channel:
            command: Run = options.run
            for answer, lines in command(options.stub(channel), options):
                _show(answer, lines, as_json=options.json)
    except _NotServing as status:
        print(f"relayctl: {status}", file=sys.stderr)
        return EXIT_REFUSED
    except grpc.RpcError as error:
        return _complain(error, settings, as_json=options.json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left, as `head` does; the exit must not fail
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = CommandLine(
        prog="relayctl",
        description="Inspects and controls a relay's devices; manages credentials.",
        epilog=f"A setting is also an environment variable ({PREFIX}RELAY); flags override it. "
        "Exit codes: 0 done, 1 refused by the relay, 2 wrong usage, 3 no relay answers.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('avatar-relay')}")
    SETTINGS.add_flags(parser)
    parser.add_argument("--json", action="store_true", help="answers as JSON, one object a line")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Run, text: str, *, device: str = "DEVICE") -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run, stub=services.AdminServiceStub)
        if device:
            added.add_argument("device", metavar=device)
        return added

    command("devices", _devices, "List all devices.", device="")
    command("show", _show_device, "Show one device.")
    say = command("say", _speak, "Speak a text.", device="TARGET")
    say.add_argument("text", nargs="+", metavar="TEXT")
    say.add_argument("--voice", default="", metavar="VOICE", help="espeak-ng voice: de, en-us, fr+f3 (default: the relay's setting)")
    say.add_argument("--rate", type=number(80, 450), metavar="N", help="words a minute, 80 to 450 (default: the relay's setting)")
    say.add_argument("--pitch", type=number(0, 100), metavar="N", help="0 to 100 (default: the relay's setting)")
    say.add_argument("--ssml", action="store_true", help="the text is SSML, as far as espeak-ng supports it")
    playing = "Play a file of the relay's speech folder: speech, a recorded conversation, or recorded motion."
    play = command("play", _speak, playing, device="TARGET")
    play.add_argument("file", metavar="FILE", help="its name, not a path")
    units = [unit.value for unit in AngleUnit]
    play.add_argument("--angle-unit", choices=units, default=units[0], help="of head and eyes in recorded motion (default: %(default)s)")
    for speaking in (say, play):
        moods = [preset.value for preset in ExpressionPreset]
        speaking.add_argument("--expression", choices=moods, default=moods[0], help="mood of the face (default: %(default)s)")
        speaking.add_argument("--intensity", type=number(0, 1), default=1.0, metavar="N", help="of the mood, 0 to 1 (default: 1)")
        speaking.add_argument("--queue", action="store_true", help="queue behind what plays, instead of replacing it")
    interrupt = command("interrupt", _interrupt, "Interrupt a device.")
    interrupt.add_argument("--conversation", default="", metavar="ID", help="only this one (default: the one that plays)")
    command("pause", _pause, "Pause a device.")
    command("resume", _resume, "Resume a device.")
    volume = command("volume", _volume, "Set a device's volume. It survives restarts.")
    volume.add_argument(
        "gain", type=gain, metavar="GAIN", help="linear gain from 0 to 1, or the position of a volume control from 0%% to 100%%"
    )
    volume.add_argument("--mute", action="store_true", help="mute, and remember the gain")
    command("mute", _mute, "Mute a device; it remembers its volume.").set_defaults(muted=True)
    command("unmute", _mute, "Unmute a device.").set_defaults(muted=False)
    drain = command("drain", _drain, "Drain the relay: it exits when the last conversation has finished.", device="")
    drain.add_argument(
        "--grace",
        type=number(0, MAX_GRACE_S),
        default=0.0,
        metavar="SECONDS",
        help="exit at the latest after this time (default: the relay's own)",
    )
    watch = command("watch", _watch, "Show events as they happen.", device="")
    watch.add_argument("devices", nargs="*", metavar="DEVICE", help="only these (default: all)")
    text = "Check the relay's health: exit code 0 if it serves, 1 if it drains, 3 if it does not answer. Needs no credentials."
    command("health", _health, text, device="").set_defaults(stub=health_pb2_grpc.HealthStub)
    device_commands.add_commands(command)
    keys.add_commands(commands)
    return parser


# --- commands ------------------------------------------------------------------------------------------------------


def _devices(relay: services.AdminServiceStub, _: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    answer = relay.ListDevices(pb.ListDevicesRequest(), timeout=TIMEOUT_S)
    rows = [("DEVICE", "STATE", "VOLUME", "PLAYING", "WAITING", "SOFTWARE")]
    for device in answer.devices:
        playing = device.conversations[0].conversation_id if device.conversations else "-"
        waiting = str(max(len(device.conversations) - 1, 0))
        rows.append((device.device_id, _state(device), _loudness(device.volume), playing, waiting, device.software_version))
    yield answer, _table(rows) if answer.devices else ["no devices"]


def _show_device(relay: services.AdminServiceStub, options: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    answer = relay.GetDevice(pb.GetDeviceRequest(device_id=options.device), timeout=TIMEOUT_S)
    device = answer.device
    rows = [
        ("device", device.device_id),
        ("state", _state(device)),
        ("software", device.software_version),
        ("output", f"{device.output_rate_hz} Hz"),
        ("codecs", ", ".join(_CODECS.get(codec, "?") for codec in device.codecs)),
        ("motion", ", ".join(_ENCODINGS.get(encoding, "?") for encoding in device.motion_encodings)),
        ("volume", _loudness(device.volume, pending=device.volume_pending)),
        ("credit", f"{device.credit.audio_bytes} bytes of audio, {device.credit.motion_bytes} of motion"),
        ("waiting", f"{device.waiting.audio_bytes} bytes of audio, {device.waiting.motion_bytes} of motion"),
    ]
    rows += [(part.name, _part(part)) for part in device.parts]
    rows += [("conversation", _conversation(conversation)) for conversation in device.conversations]
    yield answer, _table(rows)


def _speak(relay: services.AdminServiceStub, options: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    request = pb.SpeakRequest(target=options.device, on_playing=_ON_PLAYING[options.queue])
    if "text" in options:
        words = " ".join(options.text)
        request = pb.SpeakRequest(
            target=options.device,
            on_playing=_ON_PLAYING[options.queue],
            voice=options.voice,
            words_per_minute=None if options.rate is None else round(options.rate),
            pitch=None if options.pitch is None else round(options.pitch),
        )
        setattr(request, "ssml" if options.ssml else "text", words)
    else:
        request.file = options.file
        request.angle_unit = wire.ANGLE_UNIT_TO_WIRE[AngleUnit(options.angle_unit)]
    mood = Expression(ExpressionPreset(options.expression), options.intensity)
    request.expression.CopyFrom(wire.expression_to_wire(mood))
    answer = relay.Speak(request, timeout=TIMEOUT_S)
    yield answer, [f"conversation {answer.conversation_id}" + (f", trace {answer.trace_id}" if answer.trace_id else "")]


def _interrupt(relay: services.AdminServiceStub, options: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    request = pb.InterruptRequest(device_id=options.device, conversation_id=options.conversation)
    answer = relay.Interrupt(request, timeout=TIMEOUT_S)
    yield answer, [_done("interrupted", answer.conversation_id)]


def _pause(relay: services.AdminServiceStub, options: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    answer = relay.Pause(pb.PauseRequest(device_id=options.device), timeout=TIMEOUT_S)
    yield answer, [_done("paused", answer.conversation_id)]


def _resume(relay: services.AdminServiceStub, options: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    answer = relay.Resume(pb.ResumeRequest(device_id=options.device), timeout=TIMEOUT_S)
    yield answer, [_done("resumed", answer.conversation_id)]


def _volume(relay: services.AdminServiceStub, options: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    volume = media_pb2.SetVolume(gain=options.gain, muted=options.mute)
    answer = relay.SetVolume(pb.SetVolumeRequest(device_id=options.device, volume=volume), timeout=TIMEOUT_S)
    yield answer, [f"volume {_loudness(answer.volume)}"]


def _mute(relay: services.AdminServiceStub, options: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    answer = relay.SetMuted(pb.SetMutedRequest(device_id=options.device, muted=options.muted), timeout=TIMEOUT_S)
    yield answer, [f"volume {_loudness(answer.volume)}"]


def _drain(relay: services.AdminServiceStub, options: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    answer = relay.Drain(pb.DrainRequest(grace_ms=round(options.grace * 1000)), timeout=TIMEOUT_S)
    yield answer, [f"draining: {answer.conversations} conversations left"]


def _watch(relay: services.AdminServiceStub, options: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    def say(text: str) -> None:
        print(f"relayctl: {_printable(text)}", file=sys.stderr, flush=True)

    for event in watch(relay, options.devices, say):
        time = datetime.fromtimestamp(event.unix_time_us / 1e6).strftime("%H:%M:%S.%f")[:-3]
        yield event, ["  ".join((time, event.device_id or "-", event.conversation_id or "-", _happened(event)))]


class _NotServing(Exception):
    """The relay answers, but is not serving."""


def _health(relay: Any, _: argparse.Namespace) -> Iterator[tuple[Message, Lines]]:
    answer = relay.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_TIMEOUT_S)
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise _NotServing(status)
    yield answer, [status]


# --- text -------------------------------------------------------------------------------------------------------


def _state(device: pb.Device) -> str:
    return "attached" if device.attached else f"away, {device.lease_remaining_ms / 1000:.0f} s left"


def _loudness(volume: media_pb2.SetVolume, *, pending: bool = False) -> str:
    position = f" ({position_of(volume.gain):.0%})" if 0 < volume.gain < 1 else ""
    return f"{volume.gain:.2f}{position}" + ", muted" * volume.muted + ", not confirmed by the device" * pending


def _part(part: media_pb2.Part) -> str:
    state = wire.PART_STATE_FROM_WIRE.get(part.state, PartState.UNSPECIFIED).value
    notes = [part.what] * bool(part.what)
    if part.restarts:
        notes.append(f"started again {part.restarts} times" + f" (the last time: {part.restart_reason})" * bool(part.restart_reason))
    return ", ".join([state, *notes]) + f"; {part.reason}" * bool(part.reason)


def _conversation(conversation: pb.DeviceConversation) -> str:
    notes = [f"by {conversation.publisher_id}"]
    notes += ["paused"] * conversation.paused + ["all published"] * conversation.ended
    sent, held = conversation.sent, conversation.held
    notes.append(f"audio {held.audio_seq} of {sent.audio_seq} held")
    notes.append(f"motion {held.motion_seq} of {sent.motion_seq} held")
    return f"{conversation.conversation_id}: {', '.join(notes)}"


def _done(what: str, conversation_id: str) -> str:
    return f"{what}: {conversation_id}" if conversation_id else "nothing plays"


def _happened(event: pb.WatchEventsResponse) -> str:
    match event.WhichOneof("event"):
        case "attached":
            return "attached, session resumed" if event.attached.resumed else "attached"
        case "detached":
            return f"detached: {event.detached.reason}"
        case "lost":
            return f"lost: {event.lost.reason}"
        case "volume":
            return f"volume {_loudness(event.volume.volume, pending=event.volume.pending)}"
        case "opened":
            return f"opened by {event.opened.publisher_id}"
        case "ended":
            return f"all published: audio {event.ended.last.audio_seq}, motion {event.ended.last.motion_seq}"
        case "player":
            return _player(event.player)
        case "error":
            fault = wire.fault_from_status(event.error)
            return f"error {fault.reason}: {fault.text}"
        case "missed":
            return f"{event.missed} events were missed: this watcher is too slow"
        case _:
            return "unknown to this version"


def _player(event: media_pb2.PlayerEvent) -> str:
    match event.WhichOneof("event"):
        case "started":
            return "started"
        case "finished":
            finished = event.finished
            return f"finished at {_seconds(finished.position_us)}: {finished.reason}"
        case "dropped":
            dropped, kind = event.dropped, _kind(event.dropped.kind)
            return f"dropped {dropped.payloads} payloads of {kind}, {dropped.bytes} bytes: {dropped.reason}"
        case "stalled":
            return f"stalled: no {_kind(event.stalled.kind)}" if event.stalled.stalled else "continues after a stall"
        case "duration_mismatch":
            mismatch = event.duration_mismatch
            return f"{_seconds(mismatch.audio_us)} of audio, {_seconds(mismatch.motion_us)} of motion: is the sample rate right?"
        case "paused":
            return f"paused at {_seconds(event.paused.position_us)}"
        case "resumed":
            return f"resumed at {_seconds(event.resumed.position_us)}"
        case _:
            return "unknown to this version"


def _kind(kind: media_pb2.Kind) -> str:
    return "motion" if kind == media_pb2.KIND_MOTION else "audio"


def _seconds(position_us: int) -> str:
    return f"{position_us / 1e6:.3f} s"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


# --- output --------------------------------------------------------------------------------------------------------


def _show(answer: Message, lines: Lines, *, as_json: bool) -> None:
    said = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True) if as_json else {}
    _print(said, lines, as_json=as_json)


def _print(said: dict[str, Any], lines: Lines, *, as_json: bool) -> None:
    for line in [json.dumps(said)] if as_json else lines:
        print(_printable(line), flush=True)


def _is_utf8(text: str) -> bool:
    """Whether an argument is valid UTF-8: bytes that the locale cannot decode arrive as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(text: str) -> str:
    """Replace control characters: names chosen by devices and publishers must not control the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _complain(error: Any, settings: OperatorSettings, *, as_json: bool) -> int:
    """Print one line on standard error; return the exit code."""
    code = error.code()
    fault = fault_of(code.name, error.details(), error.trailing_metadata())
    if fault is None and code in _UNREACHABLE:
        text, reason, exit_code = (
            why_unreachable(settings) + proxy_note(settings.relay, os.environ),
            code.name,
            EXIT_UNREACHABLE,
        )
    elif fault is None:
        text, reason, exit_code = error.details() or "", code.name, EXIT_REFUSED
    else:
        text, reason, exit_code = fault.text, fault.reason.value, EXIT_REFUSED
    line = json.dumps({"error": {"reason": reason, "code": code.name, "text": text}}) if as_json else f"relayctl: {reason}: {text}"
    print(_printable(line), file=sys.stderr)
    return exit_code
