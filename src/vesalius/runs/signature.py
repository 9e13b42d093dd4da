"""Signatures of run folders and sweeps: whether a frozen config or a sweep's command is this user's own.

A config that the user's own command composed may name any code, as the command could. Its content is signed with a key
that never leaves the user's private folder, next to the file of patients' identities. A config of someone else, or one
that was edited, carries no valid signature and is held to the allowed classes; a sweep of someone else is not resumed.
"""

import hashlib
import hmac
import logging
import os
import secrets
from pathlib import Path

from vesalius.config.allowed import targets_in

logger = logging.getLogger("vesalius")

SIGNATURE = "signature"
_KEY_BYTES = 32


def signature_of(content: bytes) -> str | None:
    """The user's signature of some content; None without a home folder to keep the key in."""
    key = _key(create=True)
    return None if key is None else _code(key, content)


def is_own(signature: object, content: bytes) -> bool:
    """Whether this user signed this content."""
    key = _key(create=False)
    return key is not None and isinstance(signature, str) and hmac.compare_digest(signature, _code(key, content))


def sign(folder: Path, content: bytes) -> None:
    """Write the signature of a config into its folder, if there is one."""
    signature = signature_of(content)
    if signature is not None:
        (folder / SIGNATURE).write_text(signature + "\n", encoding="ascii")


def signed_targets(folder: Path, config: Path) -> list[str]:
    """What a config names to be built, also within overrides; nothing unless this user signed its content."""
    try:
        signature, content = (folder / SIGNATURE).read_text(encoding="ascii").strip(), config.read_bytes()
    except (OSError, UnicodeDecodeError):
        return []
    return targets_in(content.decode("utf-8", "replace")) if is_own(signature, content) else []


def _code(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.blake2b).hexdigest()


def _key(*, create: bool) -> bytes | None:
    """The user's key; None where there is none and none can be created."""
    try:
        identities = os.environ.get("VESALIUS_IDENTITIES")
        private = Path(identities).expanduser().parent if identities else Path("~/.vesalius").expanduser()
        path = private / "signing.key"
        if create and not path.exists():
            private.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = private / f".signing.key.{os.getpid()}"
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            try:
                os.link(temporary, path)  # fails where another process was first
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        key = path.read_bytes()
    except (OSError, RuntimeError) as error:
        logger.debug("no signing key: %s", error)
        return None
    return key if len(key) == _KEY_BYTES else None
