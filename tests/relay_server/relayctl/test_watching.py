"""`relayctl watch` reconnects and prints what it missed; heartbeats show that a quiet relay is alive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from avatar_relay import wire
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import admin_service_pb2_grpc as services
from relay_server.config import RelayConfig
from relay_server.relayctl.watching import watch
from relay_server.server import build_relay, serving
from relay_server.service import admin
from tests.avatar_relay.publisher.test_with_relay import Mute

HEARTBEAT = pb.WatchEventsResponse()
ATTACHED = pb.WatchEventsResponse(device_id="lobby", attached=pb.DeviceAttached())


class Ended(grpc.RpcError):
    """The end of a stream."""

    def __init__(self, code: grpc.StatusCode, fault: Fault | None = None) -> None:
        self._code, self._fault = code, fault

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "for a reason"

    def trailing_metadata(self) -> Any:
        return () if self._fault is None else (("grpc-status-details-bin", wire.fault_to_status(self._fault).SerializeToString()),)


class Relay:
    """Each stream returns what its script contains."""

    def __init__(self, *scripts: list[Message | Ended]) -> None:
        self.scripts = list(scripts)
        self.asked: list[pb.WatchEventsRequest] = []

    def WatchEvents(self, request: pb.WatchEventsRequest) -> Iterator[Message]:
        self.asked.append(request)
        for step in self.scripts.pop(0):
            if isinstance(step, Ended):
                raise step
            yield step


def run(relay: Relay) -> tuple[list[Message], list[str], grpc.RpcError | None]:
    """Return what was received and printed until the relay refused."""
    said: list[str] = []
    seen: list[Message] = []
    try:
        seen.extend(watch(relay, ["lobby"], said.append, pause=lambda _: None))  # type: ignore[arg-type]
    except grpc.RpcError as error:
        return seen, said, error
    return seen, said, None


REFUSED = Ended(grpc.StatusCode.UNAUTHENTICATED, Fault(Reason.CREDENTIALS_REVOKED, "no"))
AWAY = Ended(grpc.StatusCode.UNAVAILABLE)


def test_it_comes_back_and_says_so() -> None:
    """A proxy cuts and the relay is down for two attempts; heartbeats are not shown; the relay's own refusal is final."""
    relay = Relay(
        [HEARTBEAT, ATTACHED, Ended(grpc.StatusCode.INTERNAL)], [HEARTBEAT, ATTACHED], [AWAY], [AWAY], [HEARTBEAT, ATTACHED, REFUSED]
    )
    seen, said, error = run(relay)
    assert seen == [ATTACHED] * 3
    assert error is REFUSED
    again = "watching again; events in between were missed"
    assert said == [
        "not watching any more (INTERNAL: for a reason); trying again",
        again,
        "not watching any more (the relay ended the stream); trying again",
        again,
    ]
    assert all(request.heartbeat for request in relay.asked)


@pytest.mark.parametrize("end", [AWAY, REFUSED])
def test_what_never_began_is_not_tried_again(end: Ended) -> None:
    """A wrong address is reported at once."""
    assert run(Relay([end])) == ([], [], end)


async def test_the_relay_sends_heartbeats_to_those_that_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent at once and whenever idle; other watchers receive events only."""
    monkeypatch.setattr(admin, "WATCH_HEARTBEAT_S", 0.05)
    relay = build_relay(RelayConfig(listen="127.0.0.1:0"))
    async with serving(relay, Mute()) as (_, address), grpc.aio.insecure_channel(address) as channel:
        stub = services.AdminServiceStub(channel)
        silent = stub.WatchEvents(pb.WatchEventsRequest(), timeout=0.5)
        call = stub.WatchEvents(pb.WatchEventsRequest(heartbeat=True), timeout=10)
        assert [(await call.read()).WhichOneof("event") for _ in range(3)] == [None] * 3
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await silent.read()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        call.cancel()
