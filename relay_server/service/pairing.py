"""PairingService: devices without credentials wait here until an operator pairs one by its code.

An unknown device can only wait, and answer after an operator has named it. The operator's call drives the exchange: first the relay
proves that it knows the code, then the device does, and only then a token is created. A failed exchange ends the device's stream.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Callable
from typing import Any

from avatar_relay.errors import ConfigError, PeerError
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.pairing import MAX_ELEMENT_BYTES, STEP_S, Exchange, ExchangeError, is_code
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import admin_service_pb2 as admin_pb
from avatar_relay.v1 import pairing_service_pb2 as pb
from relay_server.access.caller import current_caller
from relay_server.access.new_devices import NewDevices
from relay_server.access.own_thread import OwnThread
from relay_server.access.pairing_desk import PairingDesk
from relay_server.config import RelayConfig
from relay_server.connections.ports import Port
from relay_server.errors import RequestError
from relay_server.rpc_errors import Context
from relay_server.service.calls import bidirectional, parse, service
from relay_server.service.streams import carry
from relay_server.service.write_watch import WriteWatch

logger = logging.getLogger(__name__)

NAME = pb.DESCRIPTOR.services_by_name["PairingService"].full_name
MAX_BYTES = 1_024
"""Maximum size of a message from an unpaired device."""
_WRONG = "the code is wrong, or the device shows another one by now"


class PairingPort(Port[pb.PairResponse]):
    """One device's stream. Its messages are accepted only when expected."""

    def __init__(self, desk: PairingDesk[PairingPort]) -> None:
        super().__init__()
        self._desk = desk
        self.joined = False
        self._said: pb.PairResponse | None = None
        self._answer: asyncio.Future[pb.PairRequest] | None = None

    def take(self, request: pb.PairRequest) -> None:
        """Handle a message from the device. Raises `PeerError` if none is expected."""
        said = request.WhichOneof("message")
        if said == "wait" and not self.joined:
            if not is_valid_id(request.wait.name):
                raise PeerError(Fault(Reason.MESSAGE_INVALID, f"name must be {ID_RULE}", "wait.name"))
            self._desk.join(self, request.wait.name)
            self.joined = True
            self.say(pb.PairResponse(waiting=pb.PairingWaiting()))
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(request)
        else:
            raise PeerError(Fault(Reason.MESSAGE_INVALID, "nothing was asked", said or "message"))

    def say(self, response: pb.PairResponse) -> None:
        """Send a message to the device."""
        self._said = response
        self.wake()

    async def ask(self, response: pb.PairResponse, field: str) -> Any:
        """Send a message and wait for the answer `field`. Raises `RequestError` if there is no answer within `STEP_S`, or another one."""
        self._answer = asyncio.get_running_loop().create_future()
        self.say(response)
        try:
            async with asyncio.timeout(STEP_S):
                answer = await self._answer
        except TimeoutError:
            raise RequestError(Fault(Reason.PAIRING_FAILED, f"the device did not answer for {STEP_S:g} s")) from None
        if answer.WhichOneof("message") != field:
            raise RequestError(Fault(Reason.PAIRING_FAILED, "the device's answer is another one than was asked for"))
        return getattr(answer, field)

    def next(self) -> pb.PairResponse | None:
        """See `Port`."""
        said, self._said = self._said, None
        return said

    def close(self) -> None:
        """The device is gone."""
        self._desk.leave(self)
        self.end()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(RequestError(Fault(Reason.PAIRING_FAILED, _WRONG)))
            self._answer.exception()  # mark as retrieved: there may be no waiter


class PairingService:
    """Pairs devices. Belongs to one event loop."""

    def __init__(
        self,
        devices: NewDevices,
        *,
        certificate_sha256: Callable[[], bytes],
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        authorities: bytes = b"",
    ) -> None:
        """`certificate_sha256` returns the hash of the relay's certificate (DER); `authorities` (PEM) are sent to devices."""
        self._devices = devices
        self._certificate_sha256 = certificate_sha256
        self._now_us = now_us
        self._random_bytes = random_bytes
        self._authorities = authorities
        self._desk: PairingDesk[PairingPort] = PairingDesk()
        self._thread = OwnThread("pairing")
        self._watch = WriteWatch()

    def handler(self) -> Any:
        """For `add_generic_rpc_handlers`."""
        return service(NAME, {"Pair": bidirectional(self.wait)})

    async def wait(self, context: Context) -> None:
        """`Pair`: carries the stream of one waiting device."""
        port = PairingPort(self._desk)

        def look() -> None:
            if not port.joined:
                port.end(Fault(Reason.PEER_SILENT, f"nothing was said for {STEP_S:g} s"))

        looking = asyncio.get_running_loop().call_later(STEP_S, look)

        async def take(data: bytes) -> None:
            try:
                port.take(parse(pb.PairRequest, data, MAX_BYTES))
            except RequestError as error:
                raise PeerError(error.fault) from error

        try:
            await carry(context, port, self._watch, take=take, encode=_encode, said_all=port.end, failed=_log)
        finally:
            looking.cancel()

    async def pair(self, request: admin_pb.PairDeviceRequest) -> admin_pb.PairDeviceResponse:
        """`AdminService.PairDevice`, for the current caller. Raises `RequestError`. The code is never passed on or logged."""
        device_id = request.device_id or request.name
        if not is_code(request.code):
            raise RequestError(Fault(Reason.MESSAGE_INVALID, "a code has six digits", "code"))
        if not is_valid_id(device_id):
            raise RequestError(Fault(Reason.MESSAGE_INVALID, f"a device's name is {ID_RULE}", "device_id"))
        if (refusal := current_caller().target_refusal((device_id,), "device_id")) is not None:
            raise RequestError(refusal)
        await self._devices.check(device_id, replace=request.replace)
        port = self._desk.begin(request.name, self._now_us())
        try:
            await self._exchange(port, request, device_id)
        except RequestError as error:
            logger.warning("pairing of %s failed, asked for by %s: %s", request.name, current_caller().key or "everybody", error.fault.text)
            port.end(error.fault)
            raise
        except asyncio.CancelledError:
            port.end(Fault(Reason.PAIRING_FAILED, "the operator left"))
            raise
        logger.info("paired: %s as %s, asked for by %s", request.name, device_id, current_caller().key or "everybody")
        port.end()
        return admin_pb.PairDeviceResponse(device_id=device_id)

    async def _exchange(self, port: PairingPort, request: admin_pb.PairDeviceRequest, device_id: str) -> None:
        certificate = self._certificate_sha256()
        exchange = await self._thread.do(lambda: Exchange("relay", request.code, request.name, certificate, self._random_bytes))
        answer = await port.ask(pb.PairResponse(begin=pb.PairingElement(element=exchange.element)), "answer")
        try:
            keys = await self._thread.do(lambda: exchange.finish(answer.element[:MAX_ELEMENT_BYTES]))
        except ExchangeError as error:
            raise RequestError(Fault(Reason.PAIRING_FAILED, str(error))) from error
        proof = await port.ask(pb.PairResponse(proof=pb.PairingProof(hmac_sha256=keys.relay)), "proof")
        if not keys.proves("device", proof.hmac_sha256):
            raise RequestError(Fault(Reason.PAIRING_FAILED, _WRONG, "code"))
        try:
            token = await self._devices.add(device_id, replace=request.replace)
        except ConfigError as error:
            logger.error("a device cannot be let in: %s", error)
            raise RequestError(Fault(Reason.PAIRING_FAILED, "the access file cannot be written; the relay's log says why")) from error
        authorities = self._authorities.decode("ascii", "replace")
        credentials = pb.PairingCredentials(device_id=device_id, token=token, authorities=authorities)
        await port.ask(pb.PairResponse(credentials=credentials), "stored")


def offers_pairing(config: RelayConfig) -> bool:
    """Whether a relay with these settings supports pairing. Raises `ConfigError` if it is set to on and a requirement is missing."""
    if config.pairing == "off":
        return False
    missing = ""
    if config.tls_cert_file is None or config.access_file is None:
        missing = "tls_cert_file, tls_key_file and access_file"
    elif config.tls_client_ca_file is not None:
        missing = "no tls_client_ca_file: with it nobody without a certificate can connect"
    elif importlib.util.find_spec("spake2") is None:
        missing = "the package spake2: pip install 'avatar-relay[pairing]'"
    if missing and config.pairing == "on":
        raise ConfigError(f"pairing: needs {missing}; or set it to off")
    return not missing


def _encode(message: pb.PairResponse) -> bytes:
    return message.SerializeToString()


def _log(fault: Fault) -> None:
    logger.debug("a device's wait to be paired ends: %s", fault.text)
