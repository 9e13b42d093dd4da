"""Signatures of run folders: whether a frozen config was composed by this user, here.

A config that the user's own command composed may name any code, as the command could. The folder that it is frozen in
is signed with a key that never leaves the user's private folder, next to the file of patients' identities; a copied or
edited folder of someone else carries no valid signature, so that its config is held to the allowed classes.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
from pathlib import Path

logger = logging.getLogger("vesalius")

SIGNATURE = "signature"
_KEY_BYTES = 32
_TARGET = re.compile(rb"_target_: *['\"]?([A-Za-z_][\w.]*)")


def sign(folder: Path, content: bytes) -> None:
    """Write the signature of a config into its folder; without a home folder there is none."""
    key = _key(create=True)
    if key is not None:
        (folder / SIGNATURE).write_text(_code(key, content) + "\n", encoding="ascii")


def signed_targets(folder: Path, config: Path) -> list[str]:
    """What a config names to be built, also within overrides; nothing unless this user signed it in this folder."""
    try:
        written, content = (folder / SIGNATURE).read_text(encoding="ascii").strip(), config.read_bytes()
    except (OSError, UnicodeDecodeError):
        return []
    key = _key(create=False)
    if key is None or not hmac.compare_digest(written, _code(key, content)):
        return []
    return [name.decode() for name in _TARGET.findall(content)]


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
