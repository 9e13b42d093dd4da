"""Where reports are sent: a DICOM node by C-STORE, or a web server by STOW-RS."""

import json
import os
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

from pydicom.dataset import Dataset

from vesalius.config.errors import InputError

#: Environment variable with the `Authorization` header for STOW-RS, such as `Bearer TOKEN`.
AUTHORIZATION = "VESALIUS_STOW_AUTHORIZATION"
_SECONDS = 30.0
_MOST_OF_A_REPLY = 2**20
_NODE = re.compile(r"(?P<title>[^@\s\\]{1,16})@(?P<host>\[[^\]]+\]|[^:@\s/]+):(?P<port>\d{1,5})")


class SendFailed(Exception):
    """The peer could not be reached or refused; the reason names no patient."""


class Peer(Protocol):
    """Who receives reports."""

    def send(self, objects: Sequence[Dataset]) -> None:
        """Send DICOM objects.

        Raises:
            SendFailed: if one of them was not accepted.
        """


def peer_at(address: str, ae_title: str) -> Peer:
    """The peer at an address.

    Args:
        address: `TITLE@HOST:PORT` of a DICOM node, or the `http://` or `https://` address of DICOMweb services, such as
            `https://pacs.example/dicom-web`.
        ae_title: this side's own, for C-STORE.

    Raises:
        InputError: if it is neither.
    """
    if address.startswith(("http://", "https://")):
        return WebPeer(address.rstrip("/"))
    node = _NODE.fullmatch(address)
    if node is None or not 0 < int(node["port"]) < 2**16:
        raise InputError(
            f"pacs.reply={address}: give TITLE@HOST:PORT of a DICOM node, or the http(s) address of DICOMweb."
        )
    return NodePeer(node["title"], node["host"].strip("[]"), int(node["port"]), ae_title)


@dataclass(frozen=True)
class NodePeer:
    """A DICOM node that stores what it is sent by C-STORE."""

    title: str
    host: str
    port: int
    own_title: str

    def send(self, objects: Sequence[Dataset]) -> None:
        """Send over one association."""
        from pynetdicom import AE

        entity = AE(ae_title=self.own_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _SECONDS
        for sop_class in dict.fromkeys(one.SOPClassUID for one in objects):
            entity.add_requested_context(sop_class)
        association = entity.associate(self.host, self.port, ae_title=self.title)
        if not association.is_established:
            raise SendFailed(f"{self.title}@{self.host}:{self.port} accepts no association")
        try:
            for one in objects:
                status = association.send_c_store(one)
                code = status.get("Status", 0xFFFF)
                if code != 0 and not 0xB000 <= code < 0xC000:  # a warning: it is stored
                    raise SendFailed(
                        f"{self.title}@{self.host}:{self.port} replies to a C-STORE with status {code:04X}"
                    )
        except (
            RuntimeError,
            ValueError,
        ) as error:  # of pynetdicom: the association has ended, or the object was refused
            raise SendFailed(
                f"{self.title}@{self.host}:{self.port} does not store it ({type(error).__name__})"
            ) from None
        finally:
            if association.is_established:
                association.release()


@dataclass(frozen=True)
class WebPeer:
    """A server of DICOMweb services, which stores what is posted to `<url>/studies`."""

    url: str

    def send(self, objects: Sequence[Dataset]) -> None:
        """Send in one request."""
        boundary = secrets.token_hex(16)
        parts = [
            b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (boundary.encode(), _file_content(one))
            for one in objects
        ]
        request = urllib.request.Request(
            f"{self.url}/studies",
            data=b"".join([*parts, b"--%s--\r\n" % boundary.encode()]),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Accept": "application/dicom+json",
                **({"Authorization": os.environ[AUTHORIZATION]} if AUTHORIZATION in os.environ else {}),
            },
        )
        try:
            with _OPENER.open(request, timeout=_SECONDS) as reply:
                refused = _refused(reply.read(_MOST_OF_A_REPLY))
        except urllib.error.HTTPError as error:
            raise SendFailed(f"{self.url} replies with HTTP status {error.code}") from None
        except OSError as error:
            raise SendFailed(f"{self.url} cannot be reached ({type(error).__name__})") from None
        if refused:
            raise SendFailed(f"{self.url} does not store {refused} of {len(objects)} object(s)")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without its content, and seem to succeed."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse: the status becomes an error."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def _refused(reply: bytes) -> int:
    """How many objects a server did not store, by the list in its reply (FailedSOPSequence)."""
    try:
        return len(json.loads(reply)["00081198"]["Value"])
    except (ValueError, LookupError, TypeError):  # none, or a reply of another kind
        return 0


def _file_content(dataset: Dataset) -> bytes:
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()
