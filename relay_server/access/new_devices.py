"""Adds newly paired devices to the access file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from avatar_relay.reasons import Fault, Reason
from relay_server.access import issuing
from relay_server.access.identities import Directory, Identity
from relay_server.access.own_thread import OwnThread
from relay_server.access.scopes import Role
from relay_server.access.store import AccessFile
from relay_server.access.tokens import make_token
from relay_server.errors import RequestError


class NewDevices:
    """Changes the access file from its own thread. A new token is returned to the caller and stored nowhere."""

    def __init__(
        self,
        file: AccessFile,
        *,
        read_again: Callable[[], Awaitable[None]],
        random_bytes: Callable[[int], bytes],
        unix_s: Callable[[], int],
    ) -> None:
        """`read_again` makes the relay reload the file."""
        self._file = file
        self._read_again = read_again
        self._random_bytes = random_bytes
        self._unix_s = unix_s
        self._thread = OwnThread("new devices")

    async def check(self, device_id: str, *, replace: bool) -> None:
        """Raise `RequestError` if this device exists and must not be replaced. Raises `ConfigError` if the file is invalid."""
        _refuse_known(await self._thread.do(self._file.load), device_id, replace=replace)

    async def add(self, device_id: str, *, replace: bool) -> str:
        """Add a device; return its token. With `replace`, its old tokens are removed. Raises as `check` does."""
        token, record = make_token(self._random_bytes, self._unix_s())

        def write() -> None:
            with self._file.changing() as cell:
                known = _refuse_known(cell[0], device_id, replace=replace)
                if known is not None:
                    cell[0] = issuing.rotate(cell[0], known.key, record, self._unix_s(), 0)
                else:
                    cell[0] = issuing.create(cell[0], Identity(role=Role.DEVICE, name=device_id, tokens=(record,)))

        await self._thread.do(write)
        await self._read_again()
        return token


def _refuse_known(directory: Directory, device_id: str, *, replace: bool) -> Identity | None:
    known = directory.identities.get(f"{Role.DEVICE} {device_id}")
    if known is None or known.revoked:
        return None
    if not replace:
        text = f"a device {device_id} is let in already: give this one another name, or replace the other"
        raise RequestError(Fault(Reason.DEVICE_EXISTS, text, "device_id"))
    return known
