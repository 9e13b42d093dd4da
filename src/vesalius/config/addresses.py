"""Addresses of data on servers, such as `s3://bucket/folder`. Imports nothing heavy."""

import posixpath
import re
from urllib.parse import unquote, urlsplit

from vesalius.config.path_keys import PATH_KEYS

_ADDRESS = re.compile(r"(?:s3|gs|https?)://")


def is_address(text: object) -> bool:
    """Whether a path is the address of a file or folder on a server."""
    return isinstance(text, str) and _ADDRESS.match(text) is not None


def split_address(address: str) -> tuple[str, str, str]:
    """Scheme, bucket or host, and the name of the file or folder there, without a slash at either end."""
    scheme, _, rest = address.partition("://")
    host, _, name = rest.partition("/")
    return scheme, host, (unquote(name) if scheme.startswith("http") else name).strip("/")


def join_address(folder: str, name: str) -> str:
    """The address of a name below the address of a folder."""
    return f"{folder.rstrip('/')}/{name}"


def parent_address(address: str) -> str:
    """The address of the folder that a file is in."""
    return posixpath.dirname(address)


def address_problems(key: str, value: object) -> list[str]:
    """Why the value of a config key cannot be an address: none is there, or credentials would get into config and logs.

    Args:
        key: its last part decides whether it names a file or a folder.
        value: of the key.
    """
    if key.rpartition(".")[2] not in PATH_KEYS or not is_address(value):
        return []
    try:
        parts = urlsplit(str(value))
    except ValueError as error:
        return [f"{key}: {value} is no address ({error}): correct it."]
    if "@" not in parts.netloc and not parts.query:
        return []
    return [
        f"{key}: the address holds a login, a key or a signature, which would be written into config and logs: leave "
        "out what stands before `@` or after `?`, and keep credentials in the environment or ~/.netrc."
    ]
