"""What a mirror needs of a server."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from vesalius.config.errors import InputError


class Unreachable(Exception):
    """The server did not reply, or broke off: the same request may succeed later."""


@dataclass(frozen=True)
class Entry:
    """A file on a server.

    Attributes:
        name: its path there.
        size: in bytes; None where the server does not state it.
        tag: changes with the content; empty where the server states none, None where it was not asked yet.
    """

    name: str
    size: int | None
    tag: str | None


class Server(Protocol):
    """Reads the files of a bucket or host. Its methods are called from several threads."""

    def below(self, folder: str) -> Iterator[Entry]:
        """Every file in a folder and the folders inside.

        Raises:
            InputError: where there is no such bucket or folder, or no access to it.
            Unreachable: where there is no reply.
        """

    def entry(self, name: str) -> Entry | None:
        """One file; None where there is none of this name. Raises as `below`."""

    def read(self, name: str) -> tuple[Entry, Iterator[bytes]]:
        """One file as it is now, and its content in blocks. Raises as `below`, also from the blocks."""


def refused(address: str, cure: str) -> InputError:
    """The error of a server that denies access."""
    return InputError(f"access to {address} was denied: {cure}.")


def absent(address: str) -> InputError:
    """The error of an address that does not exist."""
    return InputError(f"{address} does not exist on its server: correct the address.")
