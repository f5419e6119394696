"""The state of sound and face as reported to operators."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from avatar_relay import wire
from avatar_relay.device_state import Part, Parts, PartState
from avatar_relay.installer.trial import ServiceState
from avatar_relay.limits import MAX_SOFTWARE_CHARACTERS, MAX_TEXT_CHARACTERS
from edge_client.audio.sink import SinkCounters
from edge_client.children.supervision import ChildState
from edge_client.face_process.host import FaceStatus
from edge_client.parts import LOOK_US, PartsReporter, in_words, part, sound_part
from tests.lab.programs import attached, python, running

PATIENCE_S = 60.0


@pytest.mark.parametrize(
    ("counters", "state", "reason"),
    [
        (SinkCounters(opening=True), PartState.STARTING, ""),
        (SinkCounters(why="hw:1 is busy"), PartState.RUNNING, "hw:1 is busy"),
        (SinkCounters(lost="unplugged", why="hw:1 is busy"), PartState.FAILING, "unplugged"),
        (SinkCounters(unheard="no card"), PartState.UNHEARD, "no card"),
    ],
)
def test_sound(counters: SinkCounters, state: PartState, reason: str) -> None:
    assert sound_part("the card", counters) == Part("sound", state, "the card", reason)


@pytest.mark.parametrize("state", ChildState)
def test_face(state: ChildState) -> None:
    """Each state of a child process has a value on the wire."""
    assert FaceStatus(state, "the head", reason="it crashed", restarts=3, restart_reason="signal 11").part() == Part(
        "face", PartState[state.name], "the head", "it crashed", 3, "signal 11"
    )


def test_texts_can_be_sent_whatever_they_are() -> None:
    """A name that is invalid in the locale's encoding would end the link, so it is cleaned; a long one is cut."""
    sent = part("sound", PartState.FAILING, "card \udcff" + "x" * 999, "é" * 9_999, 0)
    assert (sent.what[:6], len(sent.what), len(sent.reason)) == ("card ?", MAX_SOFTWARE_CHARACTERS, MAX_TEXT_CHARACTERS)
    assert wire.attach_request_from_wire(wire.attach_request_to_wire(Parts((sent,)))) == Parts((sent,))


def test_a_line_for_systemd_counts_failures() -> None:
    parts = (Part("sound", PartState.RUNNING, "a card"), Part("face", PartState.RUNNING, "the head", "", 3, "signal 11"))
    assert in_words(parts) == "sound running, face running (started again 3 times)"
    state = ServiceState("active", status=in_words(parts))
    assert state.running_parts == {"sound", "face"}
    assert state.part_restarts == {"sound": 0, "face": 3}


def test_changes_are_told_at_most_once_in_a_while() -> None:
    """Changes are reported at a bounded rate, also if a failing driver causes hundreds; nothing is reported if nothing changes."""
    restarts = 0
    asked = list[int]()

    def parts() -> tuple[Part, ...]:
        asked.append(restarts)
        return (Part("face", PartState.RUNNING, "the head", "", restarts // 100),)

    reporter = PartsReporter(parts)
    told = list[Parts]()
    for restarts in range(301):
        if (news := reporter.news(restarts * LOOK_US // 50)) is not None:
            told.append(news)
    assert [news.parts[0].restarts for news in told] == [0, 1, 2, 3]
    assert len(asked) == 7


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_an_operator_sees_why_nothing_is_heard(tmp_path: Path) -> None:
    """Real programs: a missing card, and a face that is drawn off-screen."""
    server = [*python("relay_server"), "--listen", "127.0.0.1:0"]
    async with running("relay", server, tmp_path / "relay.log", {}) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", PATIENCE_S))[1]
        command = [*python("edge_client"), "--relay", address, "--device-id", "lobby", "--headless", "--renderer", "flat"]
        command += ["--audio-sink", "pyaudio", "--audio-device", "absent:card", "--size", "64x64"]
        async with running("device", command, tmp_path / "device.log", {"XDG_STATE_HOME": str(tmp_path)}) as device:
            async with asyncio.timeout(PATIENCE_S):
                await attached(address, "lobby")
                await device.wait_for("the speaker process is failing", PATIENCE_S)
                await _until_shown(
                    address, r"^sound +failing, .*absent:card: it cannot be opened", r"^face +running, the vector face, off-screen"
                )


async def _until_shown(address: str, *lines: str) -> None:
    shown = ""
    while not all(re.search(line, shown, re.MULTILINE) for line in lines):
        await asyncio.sleep(0.2)
        shown = await _show(address)


async def _show(address: str) -> str:
    command = (sys.executable, "-m", "relay_server.relayctl.cli", "--relay", address, "show", "lobby")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said.decode()
