"""Opening a bundle, which may be a stranger's: every file is bounded and has the hash that the manifest states."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.plain import parse_json
from vesalius.deploy.bundle.manifest import Manifest
from vesalius.runs.arrays import MOST_BYTES
from vesalius.runs.run_folder import MANIFEST

MODEL, WEIGHTS = "model.onnx", "weights.safetensors"
CARD_MARKDOWN, CARD_HTML, REQUIREMENTS, GOLDEN = "model_card.md", "model_card.html", "requirements.txt", "golden"
_MAX_MANIFEST = 16 << 20
#: Most bytes of any file; a protocol buffer, as an ONNX graph is one, cannot have more.
_MAX_FILE = (2 << 30) - 1


class Bundle:
    """A bundle's folder.

    Args:
        path: of the folder.

    Attributes:
        path: of the folder.
        manifest: checked.

    Raises:
        InputError: for a folder without a readable manifest, or one of a newer schema.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._checked: set[str] = set()
        file = self.path / MANIFEST
        if not file.is_file():
            if not self.path.exists():
                raise InputError(f"{self.path} is not a bundle: it does not exist; correct the path.")
            cure = (
                "it is a run: give it as run=."
                if (self.path / "config.yaml").is_file()
                else "vesalius export writes one."
            )
            raise InputError(f"{self.path} is not a bundle: it holds no {MANIFEST}; {cure}")
        try:
            plain = parse_json(_bytes(file, _MAX_MANIFEST))
        except ValueError as error:
            damage = f"{file} is not JSON ({str(error)[:100]})"
            raise InputError(f"{damage}: take the bundle from its source again.") from None
        self.manifest = Manifest.from_dict(plain, str(file))

    def read(self, name: str) -> bytes:
        """Content of a file, whose hash is checked: what was hashed is what is returned.

        Args:
            name: its path in the bundle, with forward slashes.

        Raises:
            InputError: for a file that the manifest does not list, that leaves the folder, or that was changed.
        """
        expected = self.manifest.hashes.get(name)
        if expected is None:
            raise InputError(f"{self.path / MANIFEST} lists no {name}: take the bundle from its source again.")
        content = _bytes(self._inside(name), _MAX_FILE)
        if hashlib.sha256(content).hexdigest() != expected:
            raise InputError(
                f"{self.path / name} is not the file that was exported (its hash differs from the manifest's): "
                "take the bundle from its source again."
            )
        self._checked.add(name)
        return content

    def read_json(self, name: str) -> dict[str, Any]:
        """Content of a JSON file that holds a mapping; arguments and errors as of `read`."""
        try:
            plain = parse_json(self.read(name))
        except ValueError as error:
            raise InputError(f"{self.path / name} is not JSON ({str(error)[:100]}).") from None
        if not isinstance(plain, dict):
            raise InputError(f"{self.path / name} holds no mapping: take the bundle from its source again.")
        return plain

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Content of a safetensors file; arguments and errors as of `read`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content = self.read(name)
        try:
            if len(content) > MOST_BYTES:
                raise InputError(f"{self.path / name} has more than {MOST_BYTES >> 20} MiB: it is not opened.")
            arrays: dict[str, NDArray[Any]] = load(content)
        except (SafetensorError, ValueError, KeyError) as error:
            raise InputError(f"{self.path / name} is not a safetensors file ({str(error)[:100]}).") from None
        return arrays

    def has(self, name: str) -> bool:
        """Whether the manifest lists a file."""
        return name in self.manifest.hashes

    def verify(self) -> None:
        """Check the hash of every file that the manifest lists and that was not read yet.

        Raises:
            InputError: for the first that was changed, is missing, or leaves the folder.
        """
        for name in sorted(self.manifest.hashes.keys() - self._checked):
            self.read(name)

    def _inside(self, name: str) -> Path:
        """The path of a file; refused where it leaves the folder, by its name or by a link."""
        pure = PurePosixPath(name)
        path = self.path / pure
        outside = pure.is_absolute() or ".." in pure.parts or "\\" in name or not pure.parts
        if outside or not path.resolve().is_relative_to(self.path.resolve()):
            raise InputError(
                f"{self.path / MANIFEST} names {name!r}, which is not in its folder: the bundle is unsafe."
            )
        return path


def _bytes(path: Path, most: int) -> bytes:
    try:
        if not path.is_file():
            raise InputError(f"{path} is missing: take the bundle from its source again.")
        if path.stat().st_size > most:
            raise InputError(f"{path} has more than {most >> 20} MiB, which no bundle's file has: it is not opened.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): correct its permissions.") from None
