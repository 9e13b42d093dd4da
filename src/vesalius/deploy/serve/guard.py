"""Checks of a request before any of it is read, and limits while it is: who, how many, how much, how long."""

import asyncio
import hmac
import logging
import time
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vesalius.deploy.serve.limits import Limits
from vesalius.deploy.serve.refusal import FAILURE, Refused, busy
from vesalius.deploy.serve.usage import Usage

logger = logging.getLogger("vesalius")

#: Paths that cost something; and those that anyone may see, since nothing of a model or a person is there.
WORKING = frozenset({"/predict", "/explain"})
OPEN = frozenset({"/", "/page.css", "/page.js", "/healthz", "/openapi.json"})
#: Bodies of all requests together, in megabytes: as many as fit are received, the next ones wait outside.
_BODIES = 4
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Guard:
    """An app behind checks and limits; whatever happens inside, the client gets a response and the log no name.

    Args:
        app: to protect.
        limits: of a request.
        token: that requests must carry; None asks for none.
        hosts: names by which clients may call this server; empty for any. A page of another site that has its own name
            resolve to this machine is refused by it.
        usage: counts requests.
    """

    def __init__(self, app: ASGIApp, limits: Limits, token: str | None, hosts: frozenset[str], usage: Usage) -> None:
        self._app, self._limits, self._hosts, self._usage = app, limits, hosts, usage
        self._token = None if token is None else token.encode()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, closes=status in (408, 413))
            try:
                await send(message)
            except Exception as error:  # the connection has ended, or broke its protocol
                raise _Gone from error

        try:
            self._check(scope)
            if scope["path"] in WORKING:
                with self._admitted():
                    body = _Body(self._limits, self, receive, scope)
                    try:
                        await self._app(scope, body.receive, reply)
                    finally:
                        self._bytes -= body.held
            else:
                await self._app(scope, receive, reply)
        except Refused as refused:
            if not status:
                await refused.response()(scope, receive, reply)
        except (ClientDisconnect, _Gone):
            status = status or 499
        except Exception as error:
            _log(error)
            if not status:
                await FAILURE.response()(scope, receive, reply)
        finally:
            self._usage.add_request(scope["path"], status, time.monotonic() - started)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._hosts and _name_of(headers.get("host", "")) not in self._hosts:
            raise Refused(403, "The host that the request names is not this one", "Call the server by its own address.")
        site = headers.get("sec-fetch-site", "none") if scope["path"] in WORKING else "none"
        if site not in ("same-origin", "none"):
            raise Refused(403, "The request comes from a page of another site", "Use the server's own page.")
        if self._token is None or scope["path"] in OPEN:
            return
        given = headers.get("authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, b"Bearer " + self._token):
            asks = {"WWW-Authenticate": "Bearer"}
            raise Refused(401, "The token is missing or wrong", "Send it as Authorization: Bearer TOKEN.", asks)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._usage.in_flight >= self._limits.requests:
            raise busy(f"{self._limits.requests} requests are being worked on already")
        self._usage.in_flight += 1
        try:
            yield
        finally:
            self._usage.in_flight -= 1

    def hold(self, count: int) -> None:
        """Count bytes that a request holds.

        Raises:
            Refused: if all requests together hold too many.
        """
        if self._bytes + count > _BODIES * self._limits.bytes:
            raise busy("The requests being received hold too many bytes")
        self._bytes += count


class _Gone(Exception):
    """The client takes no response."""


class _Body:
    """The body of a request, counted and timed while it is read."""

    def __init__(self, limits: Limits, guard: Guard, receive: Receive, scope: Scope) -> None:
        self.read = self.held = 0
        self._limits, self._guard, self._receive = limits, guard, receive
        self._deadline = asyncio.get_running_loop().time() + limits.seconds
        length = Headers(scope=scope).get("content-length", "0")
        self._check(int(length) if length.isdecimal() else 0)

    def _check(self, length: int) -> None:
        if length > self._limits.bytes:
            most = f"{self._limits.megabytes:g} MB"
            raise Refused(413, f"The request is larger than {most}", "Send fewer or smaller files.")

    async def receive(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                message: MutableMapping[str, Any] = await self._receive()
        except TimeoutError:
            seconds = f"{self._limits.seconds:g} seconds"
            raise Refused(408, f"The request took longer than {seconds} to arrive", "Send less at a time.") from None
        count = len(message.get("body", b""))
        self.read += count
        self._check(self.read)
        self._guard.hold(count)
        self.held += count
        return message


def _add_headers(message: Message, *, closes: bool) -> None:
    """The security headers, except those that the response sets itself."""
    own = {name for name, _ in message.get("headers", ())}
    added = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in own]
    # What is left of a body that is too long, or too slow, is not waited for.
    message["headers"] = [*message.get("headers", ()), *added, *([(b"connection", b"close")] * closes)]


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    name, separator, port = host.rpartition(":")
    return (name if separator and port.isdecimal() else host).lower()


def _log(error: Exception) -> None:
    """Where in the code a request failed: the message of the error may quote a file, or a patient."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    logger.error("a request failed: %s in %s, line %s", type(error).__name__, place.name, place.lineno)
