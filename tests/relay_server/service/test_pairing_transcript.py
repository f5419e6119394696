"""What a man in the middle can learn of a code from all messages of a relay, by trying each of the million codes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
import pytest

from avatar_relay.pairing import CODES, Exchange
from avatar_relay.reasons import Reason
from avatar_relay.v1 import pairing_service_pb2 as pb
from edge_client.link.pinned_certificate import fetch_certificate
from tests.lab.code_search import Transcript, codes_that_fit, secret_of
from tests.relay_server.access.guarded import Authority, trusting
from tests.relay_server.service.unpaired import PAIR, PATIENCE_S, Desk, desk

CODE, GUESS = "271828", "161803"
SECRET = os.urandom(64)
PARTS = 8
SOME = ["000000", CODE, GUESS, *(f"{number:06d}" for number in range(500_000, 500_040))]


async def transcript(relay: Desk, guess: str) -> Transcript:
    """The attacker plays the device under a guess, while the operator types the code that the real one shows."""
    certificate = (await asyncio.to_thread(fetch_certificate, relay.address)).sha256
    async with grpc.aio.secure_channel(relay.address, trusting(relay.authority)) as channel:
        begin: Any = channel.stream_stream(PAIR, pb.PairRequest.SerializeToString, pb.PairResponse.FromString)
        call = begin()
        await call.write(pb.PairRequest(wait=pb.PairingWait(name="lobby")))
        assert (await call.read()).HasField("waiting")
        operator = asyncio.create_task(relay.pair(f"lobby-{CODE}"))
        got = (await call.read()).begin.element
        his = Exchange("device", guess, "lobby", certificate, lambda _: SECRET)
        await call.write(pb.PairRequest(answer=pb.PairingElement(element=his.element)))
        proof = (await call.read()).proof.hmac_sha256
        call.cancel()  # the relay waits for the attacker's proof
        assert await asyncio.wait_for(operator, PATIENCE_S) == (grpc.StatusCode.FAILED_PRECONDITION, Reason.PAIRING_FAILED)
    spake: Any = his._spake
    return Transcript(his.element[1:], got[1:], (spake.idA, spake.idB), proof)


async def transcripts_of(tmp_path: Path) -> list[Transcript]:
    """The transcript of a wrong guess, and that of the right one."""
    async with desk(Authority(tmp_path), tmp_path / "relay") as relay:
        transcripts = [await transcript(relay, guess) for guess in (GUESS, CODE)]
        assert "device lobby" not in relay.access.file.load().identities
    return transcripts


async def test_some_codes(tmp_path: Path) -> None:
    """The search finds a guessed code, so it would find another one if that were possible."""
    assert codes_that_fit(await transcripts_of(tmp_path), secret_of(SECRET), SOME, window=4) == [[], [CODE]]


@pytest.mark.slow
@pytest.mark.timeout(3_600)
async def test_all_codes(tmp_path: Path) -> None:
    """A wrong guess reveals that it was wrong, and nothing about the other 999,999 codes. Takes three CPU minutes, on all processors."""
    search = partial(codes_that_fit, await transcripts_of(tmp_path), secret_of(SECRET), window=12)
    parts = [[f"{number:06d}" for number in range(start, start + CODES // PARTS)] for start in range(0, CODES, CODES // PARTS)]
    assert len({code for part in parts for code in part}) == CODES
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as processes:
        found = await asyncio.to_thread(lambda: list(processes.map(search, parts)))
    assert [list(chain(*each)) for each in zip(*found, strict=True)] == [[], [CODE]]
