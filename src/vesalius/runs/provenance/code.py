"""The version of this package that a run was trained with: its commit, and what differed from it."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vesalius.runs.redaction import text_without_secrets

#: Bytes of a diff that are kept; a larger one is cut, and its hash is still that of the whole.
MOST_DIFF = 2**20
_PACKAGE = Path(__file__).parents[2]
# What decides about a run. Tables and notebooks may hold patients.
_CODE = ("*.py", "*.yaml", "*.toml")


@dataclass(frozen=True)
class CodeVersion:
    """What the package's files are.

    Attributes:
        commit: of the git checkout that the package runs from; None where it was installed.
        diff: of code and configs that are not committed, new files of the package included, for `git apply`; empty for
            none. Secrets and the home folder are replaced in it.
        uncommitted: hash of the whole diff; None for none.
    """

    commit: str | None
    diff: str
    uncommitted: str | None

    def to_dict(self) -> dict[str, str | None]:
        """What every checkpoint holds: no diff, which is a file of the run folder only."""
        return {"commit": self.commit, "uncommitted": self.uncommitted}


def code_version(package: Path = _PACKAGE) -> CodeVersion:
    """The commit and the changes of a package's source tree.

    Args:
        package: its folder. A checkout that only surrounds it, as one with a virtual environment does, does not count.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return CodeVersion(None, "", None)
    commit, changes = _git(package, "rev-parse", "HEAD"), _changes(package)
    if not changes:
        return CodeVersion(_text(commit), "", None)
    cut = f"\n(cut: {len(changes)} bytes in all)\n" if len(changes) > MOST_DIFF else ""
    shown = text_without_secrets(changes[:MOST_DIFF].decode(errors="replace")) + cut
    return CodeVersion(_text(commit), shown, hashlib.blake2b(changes, digest_size=16).hexdigest())


def _changes(package: Path) -> bytes:
    """The diff, with files that git does not know yet; the checkout's own index stays as it is."""
    diff = ("diff", "--no-ext-diff", "--no-color", "HEAD", "--", *(f":(top){pattern}" for pattern in _CODE))
    index = _git(package, "rev-parse", "--path-format=absolute", "--git-path", "index")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "index"
        try:
            shutil.copyfile(str(_text(index)), copy)
        except OSError:
            return _git(package, *diff) or b""
        environment = {"GIT_INDEX_FILE": str(copy)}
        unknown = _git(package, "ls-files", "--others", "--exclude-standard", "-z", "--", *_CODE) or b""
        names = [os.fsdecode(name) for name in unknown.split(b"\0") if name]
        if names:
            _git(package, "add", "--intent-to-add", "--", *names, environment=environment)
        return _git(package, *diff, environment=environment) or b""


def _git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> bytes | None:
    """What git prints; None where it fails."""
    try:
        done = subprocess.run(
            ["git", "--no-pager", *arguments],
            cwd=folder,
            capture_output=True,
            timeout=10,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", **(environment or {})},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _text(output: bytes | None) -> str | None:
    return output.decode(errors="replace").strip() if output else None
