"""Whether the code that a run began with is the code that would go on with it. Torch-free."""

import functools
import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[2]


@functools.cache
def source_hash(package: Path = _PACKAGE) -> str:
    """A hash of every Python file of this package, installed or from a checkout: 32 hexadecimal digits (BLAKE2b)."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)} ".encode() + content)
    return digest.hexdigest()


def code_changes(provenance: Mapping[str, Any]) -> list[str]:
    """What is another version now than a run's provenance lists: Vesalius and the packages it names, each as text.

    A run of an earlier version of Vesalius lists no hash of its source, so that Vesalius has changed.
    """
    code = provenance.get("code") or {}
    own = [] if code.get("source") == source_hash() else [_vesalius(code)]
    return own + list(_packages(provenance.get("packages") or {}))


def _vesalius(code: Mapping[str, Any]) -> str:
    commit = str(code.get("commit") or "")[:10]
    return f"Vesalius (which was at commit {commit})" if commit else "Vesalius"


def _packages(packages: Mapping[str, Any]) -> Iterator[str]:
    for name, before in packages.items():
        try:
            now = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            now = "none"
        if now != before and name != "vesalius":
            yield f"{name} ({before} → {now})"
