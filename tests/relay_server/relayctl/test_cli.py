"""`relayctl` against a listening relay: its output and exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from avatar_relay.device_state import Part, Parts, PartState
from avatar_relay.media import AS_MOTION_SAYS, Codec, ConversationOpen, Credit, Expression, ExpressionPreset, MotionEncoding
from avatar_relay.messages import ConversationEnd, Finished, Hello, Interrupt, PlayerEvent, Started, ToRelayFromDevice
from relay_server.config import RelayConfig
from relay_server.connections.relay import Relay
from relay_server.relayctl import cli as relayctl
from relay_server.relayctl import watching as watching_module
from relay_server.server import build_relay, serving
from relay_server.sources.source import TextSpeech, VoiceWish
from relay_server.sources.speech_publishing import serving_speech
from tests.relay_server.sources.test_speech_publishing import MOTION, SOUND, ScriptedSource

ESCAPE = "evil\x1b[2Jprogram"


class Bench:
    """A listening relay, a device on it that plays nothing by itself, and `relayctl` to run."""

    def __init__(self, relay: Relay, address: str, source: ScriptedSource) -> None:
        self.relay = relay
        self.source = source
        self.address = address
        self.said: list[object] = []
        self._port = relay.connect_device()
        self._arrived = asyncio.Event()

    async def attach(self, device_id: str = "lobby") -> None:
        codecs, motions = (Codec.PCM_S16LE,), (MotionEncoding.BLENDSHAPE_WEIGHTS,)
        await self._port.send(Hello(device_id, 1, ESCAPE, codecs, 48_000, motions, Credit(2 << 20, 2 << 20)))

    async def attach_again(self) -> None:
        self._port = self.relay.connect_device()
        await self.attach()

    async def read(self) -> None:
        while (message := await self._port.receive()) is not None:
            self.said.append(message)
            self._arrived.set()

    async def until_told(self, kind: type) -> object:
        """Wait until the device is sent a message of the given kind."""
        while not (found := [message for message in self.said if isinstance(message, kind)]):
            self._arrived.clear()
            await self._arrived.wait()
        return found[-1]

    async def tell(self, message: ToRelayFromDevice) -> None:
        await self._port.send(message)

    async def run(self, *arguments: str) -> int:
        """Run `relayctl` on its own thread and return its exit code."""
        return await asyncio.to_thread(relayctl.main, ["--relay", self.address, *arguments])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench with an attached device and one file to play."""
    (tmp_path / "hello.wav").touch()
    relay = build_relay(RelayConfig(listen="127.0.0.1:0", speech_folder=tmp_path))
    source = ScriptedSource(SOUND, MOTION)
    desk = serving_speech(relay, text=source, audio=source, recording=source, folder=tmp_path)
    async with desk as speech, serving(relay, speech) as (_, address):
        bench = Bench(relay, address, source)
        await bench.attach()
        reading = asyncio.create_task(bench.read())
        yield bench
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_devices_lists_them(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per device; text reported by a device cannot inject terminal escapes."""
    assert await bench.run("devices") == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["DEVICE", "STATE", "VOLUME", "PLAYING", "WAITING", "SOFTWARE"]
    assert line.split() == ["lobby", "attached", "1.00", "-", "0", "evil?[2Jprogram"]


async def test_say_and_play_speak(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """The reply names the conversation; the device receives it."""
    assert await bench.run("say", "lobby", "good", "morning") == 0
    said = capsys.readouterr().out.split()[1]
    assert await bench.run("play", "lobby", "hello.wav", "--queue") == 0
    played = capsys.readouterr().out.split()[1]
    await bench.until_told(ConversationEnd)
    assert await bench.run("show", "lobby") == 0
    shown = capsys.readouterr().out
    assert shown.index(said) < shown.index(played)
    assert "pcm_s16le" in shown
    assert "by relay-speech" in shown
    assert [message.conversation_id for message in bench.said if isinstance(message, ConversationOpen)] == [said, played]


async def test_show_tells_what_plays_and_what_draws(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Shows the device's last report, without terminal escapes. Nothing of it is left after the device reattaches."""
    sound = Part("sound", PartState.UNHEARD, "a virtual device", "no\ncard \x1b[31m\u202e", 2, "un\nplugged")
    await bench.tell(Parts((replace(sound, what="another"),)))
    await bench.tell(Parts((sound, Part("face", PartState.RUNNING, "the head"))))
    assert await bench.run("show", "lobby") == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["sound", "unheard, a virtual device, started again 2 times (the last time: un?plugged); no?card ?[31m?"] in lines
    assert ["face", "running, the head"] in lines
    assert await bench.run("--json", "show", "lobby") == 0
    told = json.loads(capsys.readouterr().out)["device"]["parts"]
    assert [(part["name"], part["state"], part["reason"]) for part in told] == [
        ("sound", "STATE_UNHEARD", sound.reason),
        ("face", "STATE_RUNNING", ""),
    ]
    await bench.attach_again()
    assert await bench.run("show", "lobby") == 0
    assert "virtual" not in capsys.readouterr().out


async def test_say_takes_a_voice(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """With rate and pitch; the relay chooses what is left out."""
    await bench.run("say", "lobby", "--voice", "de", "--rate", "120", "--pitch", "40", "--ssml", "<speak>Hallo</speak>")
    await bench.run("say", "lobby", "hi")
    assert bench.source.asked == [TextSpeech("<speak>Hallo</speak>", VoiceWish("de", 120, 40), is_ssml=True), TextSpeech("hi")]
    for wrong in (("--rate", "500"), ("--pitch", "high")):
        with pytest.raises(SystemExit):
            await bench.run("say", "lobby", *wrong, "hi")
        assert "is no number from" in capsys.readouterr().err


async def test_say_and_play_take_a_mood(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """The mood is sent to the device with the conversation; without a mood, none is sent."""
    await bench.run("say", "lobby", "--expression", "happy", "--intensity", "0.5", "hi")
    await bench.run("play", "lobby", "--queue", "--expression", "sad", "hello.wav")
    await bench.run("say", "lobby", "--queue", "hi")
    opened = [message for message in bench.said if isinstance(message, ConversationOpen)]
    assert [message.expression for message in opened] == [
        Expression(ExpressionPreset.HAPPY, 0.5),
        Expression(ExpressionPreset.SAD, 1.0),
        AS_MOTION_SAYS,
    ]
    for wrong in (("--expression", "bored"), ("--intensity", "2")):
        with pytest.raises(SystemExit):
            await bench.run("say", "lobby", *wrong, "hi")
        assert wrong[1] in capsys.readouterr().err


async def test_steering(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command prints its effect and the conversation; with nothing to steer it prints that."""
    assert await bench.run("pause", "lobby") == 0
    assert capsys.readouterr().out == "nothing plays\n"
    await bench.run("say", "lobby", "hi")
    conversation_id = capsys.readouterr().out.split()[1]
    for command, answer in (("pause", "paused"), ("resume", "resumed"), ("interrupt", "interrupted")):
        assert await bench.run(command, "lobby") == 0
        assert capsys.readouterr().out == f"{answer}: {conversation_id}\n"
    assert await bench.until_told(Interrupt) == Interrupt(conversation_id)
    assert await bench.run("volume", "lobby", "0.25", "--mute") == 0
    assert capsys.readouterr().out == "volume 0.25 (63%), muted\n"
    assert await bench.run("show", "lobby") == 0
    assert "0.25 (63%), muted, not confirmed by the device\n" in capsys.readouterr().out
    assert await bench.run("unmute", "lobby") == 0
    assert capsys.readouterr().out == "volume 0.25 (63%)\n"
    assert await bench.run("mute", "lobby") == 0
    assert capsys.readouterr().out == "volume 0.25 (63%), muted\n"
    assert await bench.run("volume", "lobby", "50%") == 0
    assert capsys.readouterr().out == "volume 0.12 (50%)\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("show", "cellar"), "DEVICE_UNKNOWN"),
        (("say", "cellar", "hi"), "DEVICE_UNKNOWN"),
        (("play", "lobby", "../hello.wav"), "SPEECH_FILE_INVALID"),
        (("play", "lobby", "missing.wav"), "SPEECH_FILE_UNKNOWN"),
        (("volume", "lobby", "7"), "VOLUME_INVALID"),
    ],
)
async def test_refusals_are_one_clear_line(
    bench: Bench, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    """Exit code 1, with the relay's reason and text on standard error; as an object with --json."""
    assert await bench.run(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"relayctl: {reason}: ")
    assert printed.err.count("\n") == 1
    assert await bench.run("--json", *arguments) == 1
    assert json.loads(capsys.readouterr().err)["error"]["reason"] == reason


async def test_json_is_one_object_a_line(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """The keys are the names in the schema."""
    assert await bench.run("--json", "devices") == 0
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert (device["device_id"], device["attached"], device["output_rate_hz"]) == ("lobby", True, 48_000)


class Enough(Exception):
    """Ends the watcher, which would retry otherwise."""


async def test_watch_shows_what_happens_and_tells_that_the_relay_ended(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From opened to finished, with times and positions; draining the relay ends the stream, which is printed."""

    def pause(_: float) -> None:
        raise Enough

    monkeypatch.setattr(watching_module.watch, "__defaults__", (pause,))
    watching = asyncio.create_task(bench.run("watch", "lobby"))
    printed = ""
    while "opened by relay-speech" not in printed:  # the watcher's start is not visible from here
        await bench.run("say", "lobby", "hi")
        printed += capsys.readouterr().out
    conversation_id = str(getattr(await bench.until_told(ConversationEnd), "conversation_id", ""))
    await bench.tell(PlayerEvent(1, conversation_id, Started()))
    await bench.tell(PlayerEvent(2, conversation_id, Finished(100_000, False, "completed")))
    assert await bench.run("volume", "lobby", "0.25") == 0
    assert await bench.run("drain", "--grace", "5") == 0
    assert bench.relay.drain_asked.is_set()
    await bench.relay.drain(0)
    with pytest.raises(Enough):
        await watching
    said = capsys.readouterr()
    printed += said.out
    assert said.err.startswith("relayctl: not watching any more (") and said.err.endswith("; trying again\n")
    assert "finished at 0.100 s: completed" in printed
    assert any("lobby" in line and "volume 0.25 (63%)" in line for line in printed.splitlines()), "not only the command's own answer"
    assert "all published: audio 1, motion 1" in printed
    assert "draining:" in printed


async def test_health_is_for_probes(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """SERVING exits with status 0; a draining relay does not."""
    assert await bench.run("health") == 0
    assert capsys.readouterr().out == "SERVING\n"


async def test_no_relay_is_said_clearly(capsys: pytest.CaptureFixture[str], unused_tcp_port: int) -> None:
    """Exit code 3."""
    assert await asyncio.to_thread(relayctl.main, ["--relay", f"127.0.0.1:{unused_tcp_port}", "devices"]) == 3
    assert "is it running" in capsys.readouterr().err


WRONG_VOLUMES = [["volume", "lobby", text] for text in ("loud", "101%", "%")]


@pytest.mark.parametrize("arguments", [[], ["dance"], ["say", "lobby"], *WRONG_VOLUMES])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as in every program."""
    with pytest.raises(SystemExit) as caught:
        relayctl.main(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("relayctl: error: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        *((("drain", f"--grace={value}"), "is no number from 0") for value in ("nan", "inf", "-5", "1e12", "soon")),
        *((("device", "create", "d", f"--expires-in={value}"), "is no number from 0") for value in ("nan", "inf", "-3", "1e300")),
        *((("device", "rotate", "d", f"--keep-old={value}"), "is no number from 0") for value in ("nan", "inf", "-1", "1e300")),
        (("say", "lobby", "\udcff"), "is not valid UTF-8"),
        (("watch", "\udcff"), "is not valid UTF-8"),
    ],
)
def test_arguments_that_can_not_be_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    """Exit code 2 before any effect: no accidental token without expiry, and no access file made unreadable."""
    where = ("--access-file", str(tmp_path / "access")) if arguments[0] == "device" else ()
    with pytest.raises(SystemExit) as caught:
        relayctl.main([*arguments, *where])
    assert caught.value.code == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "access").exists()


async def test_settings_come_from_the_environment_and_flags_override_it(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """Like those of the programs; an empty variable is unset."""
    monkeypatch.setenv("RELAYCTL_RELAY", f"127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("RELAYCTL_TOKEN_FILE", "")
    assert await asyncio.to_thread(relayctl.main, ["devices"]) == 3
    assert await bench.run("devices") == 0
    monkeypatch.setenv("RELAYCTL_RELAY", bench.address)
    assert await asyncio.to_thread(relayctl.main, ["devices"]) == 0
    assert capsys.readouterr().out.count("lobby") == 2


@pytest.mark.parametrize(
    ("arguments", "variable", "value", "text"),
    [
        (["devices", "--tls-ca-fiel", "x"], "", "", "--tls-ca-fiel"),
        (["devices"], "RELAYCTL_RELAI", "x:1", "RELAYCTL_RELAI: no such setting; did you mean RELAYCTL_RELAY?"),
        (["device", "list"], "RELAYCTL_TOKNE", "x", "RELAYCTL_TOKNE: no such setting; did you mean RELAYCTL_TOKEN?"),
        (["devices"], "RELAYCTL_INSECURE", "maybe", "RELAYCTL_INSECURE: 'maybe' cannot be used; it takes true or false"),
        (["devices"], "RELAYCTL_RELAY", "nowhere", "RELAYCTL_RELAY: 'nowhere' is not HOST:PORT"),
        (["--relay", "nowhere", "devices"], "", "", "--relay: 'nowhere' is not HOST:PORT"),
        (["--tls-ca-file", "/none", "devices"], "", "", "--tls-ca-file: there is no file /none"),
    ],
)
def test_settings_that_can_not_be_name_their_place(
    arguments: list[str], variable: str, value: str, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message also names the likely intended setting."""
    if variable:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as caught:
        relayctl.main(arguments)
    assert caught.value.code == 2
    assert text in capsys.readouterr().err
