"""Files of a bucket of S3 (or a store that speaks as S3 does) or of Google Cloud Storage.

`obstore` is one wheel without dependencies; s3fs and gcsfs bring twenty packages each, whose pins exclude others.
"""

import os
import re
from collections.abc import Iterator
from configparser import ConfigParser, Error
from datetime import timedelta
from pathlib import Path
from typing import Any

from vesalius.config.errors import InputError
from vesalius.config.targets import import_extra
from vesalius.data.remote.server import Entry, Unreachable, absent, refused

_CURES = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or AWS_PROFILE; AWS_SKIP_SIGNATURE=true "
    "for a public bucket",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS in the environment, or GOOGLE_SKIP_SIGNATURE=true for a public bucket",
}
# Where a machine of the provider has credentials, asked when there are no others.
_PROVIDER = ("169.254.169.254", "metadata.google.internal")
_STATUS = re.compile(r"status code: (\d+)")  # errors of listings have no class of their own
_BLOCK = 2**20
_LISTED = 1000
_CLIENT = {"timeout": "2 hours", "read_timeout": "60 seconds", "connect_timeout": "10 seconds"}
_RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}


class ObjectStore:
    """A bucket, read with the credentials of the environment.

    Args:
        scheme: `s3` or `gs`.
        bucket: its name.

    Raises:
        InputError: where the package that reads it is not installed, or settings of the environment are wrong.
    """

    def __init__(self, scheme: str, bucket: str) -> None:
        self._address, self._cure = f"{scheme}://{bucket}", _CURES[scheme]
        self._obstore = import_extra("obstore", self._address)
        stores, self._errors = import_extra("obstore.store", ""), import_extra("obstore.exceptions", "")
        self._absences = (FileNotFoundError, self._errors.NotFoundError)  # newer versions raise Python's own
        settings = _aws_settings() if scheme == "s3" else {}
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        client = {**_CLIENT, "allow_http": endpoint.startswith("http://")}
        try:
            self._store = stores.from_url(self._address, client_options=client, retry_config=_RETRIES, **settings)
        except (self._errors.BaseError, ValueError) as error:
            raise InputError(f"{self._address}: settings of the environment are wrong ({_first(error)}).") from error

    def below(self, folder: str) -> Iterator[Entry]:
        """Every key below a prefix."""
        try:
            for part in self._obstore.list(self._store, folder or None, chunk_size=_LISTED):
                # An empty object `a/`, with which consoles mark a folder, is listed as `a`, which is not there.
                yield from (one for one in map(_entry, part) if one.size or self.entry(one.name) is not None)
        except self._errors.BaseError as error:
            raise self._problem(error, folder) from error

    def entry(self, name: str) -> Entry | None:
        """The header of an object."""
        try:
            return _entry(self._obstore.head(self._store, name))
        except self._absences:
            return None
        except self._errors.BaseError as error:
            raise self._problem(error, name) from error

    def read(self, name: str) -> tuple[Entry, Iterator[bytes]]:
        """An object."""
        try:
            reply = self._obstore.get(self._store, name)
        except (*self._absences, self._errors.BaseError) as error:
            raise self._problem(error, name) from error
        return _entry(reply.meta), self._blocks(reply, name)

    def _blocks(self, reply: Any, name: str) -> Iterator[bytes]:
        try:
            yield from map(bytes, reply.stream(min_chunk_size=_BLOCK))
        except self._errors.BaseError as error:
            raise self._problem(error, name) from error

    def _problem(self, error: Exception, name: str) -> InputError | Unreachable:
        address = f"{self._address}/{name}" if name else self._address
        status = _STATUS.search(str(error))
        code = status[1] if status else ""
        if isinstance(error, self._absences) or code == "404":
            return absent(address)
        denied = (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError)
        if isinstance(error, denied) or code in ("401", "403") or any(host in str(error) for host in _PROVIDER):
            return refused(address, self._cure)
        return Unreachable(_first(error))


def _entry(found: Any) -> Entry:
    return Entry(found["path"], found["size"], found["e_tag"] or str(found["last_modified"]))


def _first(error: Exception) -> str:
    """The first line of a message, whose others repeat the request."""
    return str(error).partition("\n")[0][:300]


def _aws_settings() -> dict[str, str]:
    """Key and region of the user's profile, as the command line of AWS keeps them; the environment goes before."""
    profile = os.environ.get("AWS_PROFILE", "default")
    settings: dict[str, str] = {}
    credentials = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    config = Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser()
    named = {"access_key_id": "aws_access_key_id", "secret_access_key": "aws_secret_access_key"}
    named |= {"session_token": "aws_session_token", "region": "region"}
    parser = ConfigParser(interpolation=None)
    try:
        parser.read([config, credentials], encoding="utf-8")
    except (Error, UnicodeDecodeError) as error:
        raise InputError(f"{credentials} cannot be read ({type(error).__name__}): correct it.") from error
    for section in (f"profile {profile}", profile):
        if parser.has_section(section):
            found = parser[section]
            settings |= {ours: found[theirs] for ours, theirs in named.items() if theirs in found}
    if "AWS_ACCESS_KEY_ID" in os.environ:
        settings = {"region": settings["region"]} if "region" in settings else {}
    if "AWS_REGION" in os.environ or "AWS_DEFAULT_REGION" in os.environ:
        settings.pop("region", None)
    return settings
