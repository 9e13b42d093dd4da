"""The app on a port, until it is stopped."""

import asyncio
import errno
import ipaddress
import logging
import socket
import warnings

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from vesalius.config.errors import InputError
from vesalius.deploy.serve.limits import Limits

_SECONDS_TO_END = 5
_HEAD_SECONDS = 5.0
_CONNECTIONS = 4  # for each request that is worked on


def listen(host: str, port: int) -> socket.socket:
    """A socket on a port; 0 takes one that is free.

    Raises:
        InputError: if the port is in use or may not be used, or the host is none of this machine.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"port={port}: must lie between 0 and 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise InputError(f"host={host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all.") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(1024)
    except OSError as error:
        opened.close()
        reasons = {
            errno.EADDRINUSE: f"port={port} is in use: choose another, or stop what uses it.",
            errno.EACCES: f"port={port} may not be used without special rights: choose one above 1023.",
            errno.EADDRNOTAVAIL: f"host={host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all.",
        }
        raise InputError(reasons.get(error.errno or 0, f"port={port} cannot be used ({error.strerror}).")) from None
    return opened


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hosts_of(host: str) -> frozenset[str]:
    """The names by which clients may call a server on a host; empty for any."""
    return frozenset({"localhost", "127.0.0.1", "[::1]", host}) if is_loopback(host) else frozenset()


class _Protocol(H11Protocol):
    """HTTP whose clients may not hold a connection without completing the head of a request."""

    _timer: asyncio.TimerHandle
    _seen: object = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(_HEAD_SECONDS, self._close_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _close_idle(self) -> None:
        """Close a connection on which no request has begun since the last time, and none is worked on."""
        cycle = self.cycle
        idle = cycle is None or cycle.response_complete
        if idle and cycle is self._seen:
            self.transport.close()
            return
        self._seen = cycle if idle else ()
        self._timer = self.loop.call_later(_HEAD_SECONDS, self._close_idle)


def run_server(app: ASGIApp, opened: socket.socket, limits: Limits) -> None:
    """Serve until a signal comes; requests at work are finished first, within seconds."""
    warnings.simplefilter("ignore")  # these, too, quote what is in files
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        access_log=False,  # it would name what clients ask for
        http=_Protocol,
        log_config=None,
        log_level="critical",  # its errors quote messages, which may name a file
        server_header=False,
        ws="none",
        limit_concurrency=_CONNECTIONS * limits.requests,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    uvicorn.Server(config).run(sockets=[opened])
