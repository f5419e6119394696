"""A stand-in for AvatarKit's cloud: token endpoints and the Motion Server's WebSocket, for the unmodified Server SDKs.

It answers as the real one was observed to: motion for the first two seconds of a request's sound, then for each further
four, the rest with the end mark. Each keyframe is stamped with its request, so that motion shown in the wrong place is
detected. It counts its requests, records what it sent, and misbehaves on request (`Mode`).
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from tests.relay_server.sources.avatarkit import driveningress as wire
from tests.relay_server.sources.avatarkit.speech_and_motion import KEYFRAMES_PER_SECOND, keyframe, ogg_opus_seconds

FIRST_WINDOW, WINDOW = 50, 100
"""Keyframes of the first motion message, and of those after it."""
OGG_OPUS = 1
"""`AudioFormat` of a session's configuration; 0 is PCM."""
API_KEY = "ak-Marker7Qd0Secret5ApiKey"
TOKEN = "st-Marker9Zx1Secret3Token"
APP_ID, AVATAR_ID = "app-standin", "avatar-standin"
FLOOD_MESSAGES = 60
"""Four minutes of motion."""
LARGE_BYTES = (1 << 20) + 1_000


class Mode(enum.Enum):
    """Its faults. If `once` is set, all but the first few apply only to the first request or the first session."""

    WELL = "well"
    # the token
    TOKEN_REFUSED = "token: 401"
    TOKEN_UNBILLED = "token: 402"
    TOKEN_ERRORS = "token: 200 with errors"
    TOKEN_EMPTY = "token: 200 and empty"
    TOKEN_BROKEN = "token: 500"
    TOKEN_SLOW = "token: no answer"
    # the upgrade
    UPGRADE_400 = "upgrade: 400"
    UPGRADE_401 = "upgrade: 401"
    UPGRADE_402 = "upgrade: 402"
    UPGRADE_404 = "upgrade: 404"
    UPGRADE_503 = "upgrade: 503"
    # the handshake
    HANDSHAKE_ERROR = "handshake: ServerError"
    HANDSHAKE_TEXT = "handshake: a text frame"
    HANDSHAKE_GARBAGE = "handshake: no protobuf"
    HANDSHAKE_UNNAMED = "handshake: no connection id"
    NO_CONFIRM = "handshake: no answer"
    CLOSE_AT_ONCE = "closed as soon as it stands"
    # while it runs: after the first motion of a request
    CLOSE_1000 = "close 1000"
    CLOSE_1011 = "close 1011"
    CLOSE_4001 = "close 4001"
    CLOSE_4002 = "close 4002"
    CLOSE_4003 = "close 4003"
    CLOSE_4010 = "close 4010"
    CLOSE_4503 = "close 4503"
    CUT = "the connection breaks"
    ERROR_14 = "ServerError 14"
    ERROR_16 = "ServerError 16"
    ERROR_4001 = "ServerError 4001"
    ERROR_4002 = "ServerError 4002"
    UNKNOWN_TYPE = "a message of an unknown type"
    TEXT = "a text frame"
    GARBAGE = "a frame that is no protobuf"
    BROKEN_ANIMATION = "keyframes that are none"
    TOO_LARGE = "a message of more than 1 MiB"
    FLOOD = "motion without end"
    LATE = "motion of a request that was interrupted"
    DUPLICATE = "each motion message twice"
    NO_END = "no end mark"
    EMPTY_END = "an end mark without keyframes"
    WRONG_REQUEST = "motion for another request"
    NOTHING = "no motion at all"
    STOPS = "no motion after the first"


CLOSE_CODES = {mode: int(mode.value.split()[1]) for mode in Mode if mode.value.startswith("close ")}
ERROR_CODES = {mode: int(mode.value.split()[1]) for mode in Mode if mode.value.startswith("ServerError ")}
UPGRADES = {mode: int(mode.value.split()[1]) for mode in Mode if mode.value.startswith("upgrade: ")}


@dataclass
class Counts:
    """Counts of requests so far."""

    tokens: int = 0
    upgrades: int = 0
    handshakes: int = 0
    interrupts: int = 0
    open_sessions: int = 0
    most_open_sessions: int = 0


@dataclass
class Request:
    """A request as received, and the answer sent: the bytes of the WebSocket's messages."""

    req_id: str
    number: int
    session: int
    audio: bytearray = field(default_factory=bytearray)
    ended: bool = False
    interrupted: bool = False
    keyframes: int = 0
    sent: list[bytes] = field(default_factory=list)


@dataclass
class Session:
    """A session as it was configured."""

    number: int
    avatar_id: str
    sample_rate_hz: int = 0
    audio_format: int = 0


class MotionServer:
    """The stand-in. `mode` may be changed at any time; after `stop_after` faults it behaves well."""

    def __init__(self, mode: Mode = Mode.WELL, *, stop_after: int = 1 << 30, inference_s: float = 0.0, token_s: float = 0.0) -> None:
        self.mode = mode
        self.faults_left = stop_after
        self.inference_s = inference_s
        self.token_s = token_s
        """Duration of each token request, upgrade and handshake: simulates a distant server."""
        self.counts = Counts()
        self.sessions: list[Session] = []
        self.requests: dict[str, Request] = {}
        self.echo = ""
        """Text written into every error: simulates a server that leaks secrets."""
        self.base_url = ""
        self._numbers = itertools.count(1)
        self._released = asyncio.Event()

    @property
    def console_url(self) -> str:
        """URL of the token endpoint."""
        return f"{self.base_url}/v1/console"

    @property
    def ingress_url(self) -> str:
        """URL of the WebSocket."""
        return f"{self.base_url.replace('http', 'ws', 1)}/v2/driveningress"

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[MotionServer]:
        """Serve on this machine."""
        app = web.Application()
        app.router.add_post("/v1/console/session-tokens", self._token)
        app.router.add_post("/v1/auth/session-token", self._token)
        app.router.add_get("/v2/driveningress/websocket", self._ingress)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        host, bound = runner.addresses[0][:2]
        self.base_url = f"http://{host}:{bound}"
        try:
            yield self
        finally:
            self._released.set()
            await runner.cleanup()

    def _fault(self, *modes: Mode) -> bool:
        """Whether to produce one of these faults now."""
        if self.mode not in modes or self.faults_left <= 0:
            return False
        self.faults_left -= 1
        return True

    async def _token(self, request: web.Request) -> web.Response:
        self.counts.tokens += 1
        await asyncio.sleep(self.token_s)
        body = await request.json()
        assert set(body) == {"expireAt"}
        if self._fault(Mode.TOKEN_SLOW):
            await self._released.wait()
        if self._fault(Mode.TOKEN_REFUSED) or request.headers.get("X-Api-Key") != API_KEY:
            return self._errors(401, "UNAUTHORIZED", "Invalid API key")
        if self._fault(Mode.TOKEN_UNBILLED):
            return self._errors(402, "BILLING", "Session denied")
        if self._fault(Mode.TOKEN_ERRORS):
            return self._errors(200, "OVERLOADED", "Try again", status="503")
        if self._fault(Mode.TOKEN_BROKEN):
            return web.Response(status=500, text=f"oops {self.echo}")
        token = "" if self._fault(Mode.TOKEN_EMPTY) else TOKEN
        return web.json_response({"sessionToken": token, "session_token": token})

    def _errors(self, http_status: int, code: str, detail: str, status: str = "") -> web.Response:
        error = {"status": status or str(http_status), "code": code, "title": "Refused", "detail": f"{detail} {self.echo}"}
        return web.json_response({"errors": [error]}, status=http_status)

    async def _ingress(self, request: web.Request) -> web.StreamResponse:
        self.counts.upgrades += 1
        await asyncio.sleep(self.token_s)
        if self._fault(*UPGRADES):
            return self._errors(UPGRADES[self.mode], "REFUSED", "not today")
        query = request.query
        key = request.headers.get("X-Session-Key", query.get("sessionKey"))
        if key != TOKEN or request.headers.get("X-App-ID", query.get("appId")) != APP_ID:
            return self._errors(400, "TOKEN", "invalid session token")
        if query.get("id") != AVATAR_ID:
            return self._errors(404, "AVATAR", "avatar not found")
        socket = web.WebSocketResponse(max_msg_size=8 << 20)
        await socket.prepare(request)
        session = Session(len(self.sessions) + 1, query["id"])
        self.sessions.append(session)
        await _Ingress(self, socket, session).run()
        return socket


class _Ingress:
    """One WebSocket."""

    def __init__(self, server: MotionServer, socket: web.WebSocketResponse, session: Session) -> None:
        self._server = server
        self._socket = socket
        self._session = session
        self._connection_id = f"conn-{session.number}"
        self._aborted = False

    async def run(self) -> None:
        """Perform the handshake, then serve requests until either side closes."""
        if not await self._shake_hands():
            return
        counts = self._server.counts
        counts.handshakes += 1
        counts.open_sessions += 1
        counts.most_open_sessions = max(counts.most_open_sessions, counts.open_sessions)
        try:
            if self._server._fault(Mode.CLOSE_AT_ONCE):
                await self._socket.close(code=1011)
            async for message in self._socket:
                if message.type is WSMsgType.BINARY:
                    await self._on(wire.Message.FromString(message.data))
        except ConnectionResetError:
            pass
        finally:
            counts.open_sessions -= 1

    async def _shake_hands(self) -> bool:
        first = await self._socket.receive()
        if first.type is not WSMsgType.BINARY:
            return False
        await asyncio.sleep(self._server.token_s)
        configured = wire.Message.FromString(first.data)
        assert configured.type == wire.CONFIGURE
        self._session.sample_rate_hz = configured.client_configure_session.sample_rate
        self._session.audio_format = configured.client_configure_session.audio_format
        fault = self._server._fault
        if fault(Mode.NO_CONFIRM):
            await self._socket.receive()
            return False
        if fault(Mode.HANDSHAKE_ERROR):
            await self._socket.send_bytes(wire.error("", "", 4003, f"concurrency limit {self._server.echo}"))
        elif fault(Mode.HANDSHAKE_TEXT):
            await self._socket.send_str("hello")
        elif fault(Mode.HANDSHAKE_GARBAGE):
            await self._socket.send_bytes(b"\xff\xff\xff\xff")
        elif fault(Mode.HANDSHAKE_UNNAMED):
            await self._socket.send_bytes(wire.confirm(""))
        else:
            await self._socket.send_bytes(wire.confirm(self._connection_id))
            return True
        await self._socket.receive()
        return False

    async def _on(self, message: wire.Message) -> None:
        if message.type == wire.AUDIO:
            await self._on_audio(message.client_audio_input)
        elif message.type == wire.INTERRUPT:
            self._server.counts.interrupts += 1
            request = self._server.requests.get(message.client_interrupt.req_id)
            if request is not None:
                request.interrupted = True
                if self._server._fault(Mode.LATE):
                    await self._send(request, self._rows(request, WINDOW), end=True)

    async def _on_audio(self, sound: wire.Message) -> None:
        server = self._server
        request = server.requests.get(sound.req_id)
        if request is None:
            request = server.requests[sound.req_id] = Request(sound.req_id, next(server._numbers), self._session.number)
        assert request.session == self._session.number, "a request goes over one session"
        assert not request.ended, "sound after the end"
        request.audio += sound.audio
        request.ended = sound.end
        if server.mode is Mode.NOTHING or (request.interrupted and server.mode is not Mode.LATE):
            return
        await self._infer(request)

    async def _infer(self, request: Request) -> None:
        """Return motion for complete sound: a window, or the rest if the sound has ended."""
        heard = math.floor(self._seconds(request) * KEYFRAMES_PER_SECOND)
        while not (self._socket.closed or self._aborted or (request.interrupted and self._server.mode is not Mode.LATE)):
            window = WINDOW if request.keyframes else FIRST_WINDOW
            left = heard - request.keyframes
            if left < window and not request.ended:
                return
            count = min(window, left)
            last = request.ended and count == left
            if self._server.mode is Mode.STOPS and request.sent:
                return
            if self._server.inference_s:
                await asyncio.sleep(self._server.inference_s)
            if not await self._misbehave(request, count, last=last):
                await self._send(request, self._rows(request, count), end=last and self._server.mode not in (Mode.NO_END, Mode.EMPTY_END))
            if last:
                if self._server.mode is Mode.EMPTY_END:
                    await self._send(request, [], end=True)
                return

    def _seconds(self, request: Request) -> float:
        if self._session.audio_format == OGG_OPUS:
            return ogg_opus_seconds(request.audio)
        return len(request.audio) / 2 / self._session.sample_rate_hz

    def _rows(self, request: Request, count: int) -> list[dict[str, list[float]]]:
        first = request.keyframes
        request.keyframes += count
        return [keyframe(request.number, index) for index in range(first, first + count)]

    async def _send(self, request: Request, rows: list[dict[str, list[float]]], *, end: bool) -> None:
        data = wire.animation(self._connection_id, request.req_id, rows, end=end)
        request.sent.append(data)
        await self._socket.send_bytes(data)
        if self._server._fault(Mode.DUPLICATE):
            await self._socket.send_bytes(data)

    async def _misbehave(self, request: Request, count: int, *, last: bool) -> bool:
        """Perform the mode's fault instead of or beside the next motion; True if it replaced the motion, or the connection is closed."""
        server, socket, mode = self._server, self._socket, self._server.mode
        if mode is Mode.WRONG_REQUEST and server._fault(mode):
            await socket.send_bytes(
                wire.animation(self._connection_id, "20200101000000_SomebodyElse", self._rows(request, count), end=last)
            )
            return True
        if mode is Mode.FLOOD and server._fault(mode):
            windows = [self._rows(request, WINDOW) for _ in range(2)]
            for index in range(FLOOD_MESSAGES):
                await self._send(request, windows[index % 2], end=False)
            return True
        after_first = bool(request.sent) or last
        if not after_first or not server._fault(*CLOSE_CODES, *ERROR_CODES, *_ODD_FRAMES, Mode.CUT):
            return False
        if mode in CLOSE_CODES:
            await socket.close(code=CLOSE_CODES[mode], message=f"because {server.echo}".encode())
            return True
        if mode in ERROR_CODES:
            await socket.send_bytes(wire.error(self._connection_id, request.req_id, ERROR_CODES[mode], f"upstream {server.echo}"))
            request.interrupted = True
            return True
        if mode is Mode.CUT:
            assert socket._req is not None and socket._req.transport is not None
            socket._req.transport.abort()
            self._aborted = True
            return True
        return await self._odd_frame(request, mode)

    async def _odd_frame(self, request: Request, mode: Mode) -> bool:
        if mode is Mode.TEXT:
            await self._socket.send_str(json.dumps({"hello": "there"}))
        elif mode is Mode.UNKNOWN_TYPE:
            await self._socket.send_bytes(wire.Message(type=wire.UNKNOWN_TYPE).SerializeToString())
        elif mode is Mode.GARBAGE:
            await self._socket.send_bytes(b"\xff\xff\xff\xff")
        elif mode is Mode.TOO_LARGE:
            await self._socket.send_bytes(wire.error("", request.req_id, 1, "x" * LARGE_BYTES))
            return True
        elif mode is Mode.BROKEN_ANIMATION:
            inner = b"\x12" + bytes([len(request.req_id)]) + request.req_id.encode() + b"\x22\x03\x0a\x7f\x00"
            await self._socket.send_bytes(b"\x08\x05\x32" + bytes([len(inner)]) + inner)
        return False


_ODD_FRAMES = (Mode.TEXT, Mode.UNKNOWN_TYPE, Mode.GARBAGE, Mode.TOO_LARGE, Mode.BROKEN_ANIMATION)
