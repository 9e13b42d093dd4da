"""What is known of a set of pretrained weights: where it is from, what it learned from, which input it expects."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vesalius.config.errors import InputError
from vesalius.runs.hashes import file_hash

#: A record next to a file of weights is a small text; nothing larger is read.
_MAX_BYTES = 64 * 1024
_TEXTS, _LISTS, _NUMBERS = ("source", "licence", "sha256"), ("trained_on",), ("mean", "std")


@dataclass(frozen=True)
class WeightRecord:
    """The record of a set of weights, as `provenance.json` keeps it.

    Attributes:
        architecture: the network that they fit.
        name: as a config gives it, or of their file.
        source: who published them.
        licence: of the weights.
        trained_on: names of the data sets that they learned from.
        mean: subtracted from images on the scale where black is 0 and white is 1, one number or one for each of RGB;
            None where it is not known.
        std: divisor on that scale, likewise.
        sha256: of the file; None until it is read.
    """

    architecture: str
    name: str
    source: str = "unknown"
    licence: str = "unknown"
    trained_on: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    sha256: str | None = None

    @property
    def input_range(self) -> tuple[float, float] | None:
        """What black and white become, of the first channel."""
        if self.mean is None or self.std is None:
            return None
        return -self.mean[0] / self.std[0], (1 - self.mean[0]) / self.std[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers for JSON and checkpoints, without what a set needs to be found."""
        kept = {key: asdict(self)[key] for key in WeightRecord.__dataclass_fields__} | {"input_range": self.input_range}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}

    def check_input(self, mean: Tensor, std: Tensor) -> None:
        """Refuse images that are normalised in another way than those that the weights were trained on.

        Args:
            mean: (C,) subtracted from images on the scale where white is 1.
            std: (C,) divisor on that scale.

        Raises:
            InputError: with the numbers that these weights need.
        """
        problems = []
        for key, given, wanted in (("mean", mean.tolist(), self.mean), ("std", std.tolist(), self.std)):
            if wanted is None:
                continue
            # A grey image that stands for RGB has one number, which is right if it lies between theirs.
            alike = len(wanted) in (1, len(given))
            ranges = [(one, one) for one in wanted] if alike else [(min(wanted), max(wanted))]
            ranges *= len(given) // len(ranges)
            if all(low - 1e-4 <= one <= high + 1e-4 for one, (low, high) in zip(given, ranges, strict=True)):
                continue
            cure = wanted if len(set(wanted)) > 1 and alike else (sum(wanted) / len(wanted),)
            text = ",".join(f"{one:.6f}" for one in cure)
            problems.append(
                f"model.preprocess.{key} is {', '.join(f'{one:.4g}' for one in given)}, and the weights {self.name} of "
                f"{self.architecture} were trained with {', '.join(f'{one:.4f}' for one in wanted)}: set "
                f"model.preprocess.{key}={f'[{text}]' if len(cure) > 1 else text}."
            )
        if problems:
            raise InputError(problems)


def record_of_file(file: str, architecture: str) -> WeightRecord:
    """The record of a file of weights: its hash, and what a file of the same name that ends in `.json` knows of it.

    Args:
        file: of weights, that exists; `NAME.json` next to it may have `source`, `licence`, `sha256`, `trained_on` (a
            list of data sets), `mean` and `std` (lists of 1 or 3 numbers on the scale where white is 1).
        architecture: the network that they are for.

    Raises:
        InputError: for a record that cannot be read, and for a file with another hash than its record has.
    """
    path = Path(file).expanduser()
    digest = file_hash(path)
    record = WeightRecord(architecture, path.name, sha256=digest)
    written = path.with_suffix(".json")
    if not written.is_file():
        return record
    known = _read(written)
    if known.pop("sha256", digest) != digest:
        raise InputError(
            f"model.net.weights={path} is not the file that {written.name} describes: its sha256 is {digest}."
        )
    return replace(record, **known)


def _read(path: Path) -> dict[str, Any]:
    """The entries of a record, checked."""
    allowed = f"model.net.weights: {path} is no record of weights: "
    try:
        content = json.loads(path.read_text()) if path.stat().st_size <= _MAX_BYTES else None
    except (OSError, ValueError) as error:
        raise InputError(f"{allowed}{error}.") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{allowed}expected an object of at most {_MAX_BYTES // 1024} KiB.")
    problems = [f"{allowed}there is no entry {key!r}." for key in content if key not in (*_TEXTS, *_LISTS, *_NUMBERS)]
    problems += [f"{allowed}{key} must be a text." for key in _TEXTS if not isinstance(content.get(key, ""), str)]
    problems += [
        f"{allowed}{key} must be a list of texts."
        for key in _LISTS
        if not (isinstance(found := content.get(key, []), list) and all(isinstance(one, str) for one in found))
    ]
    problems += [
        f"{allowed}{key} must be a list of 1 or 3 numbers{' above 0' if key == 'std' else ''}."
        for key in _NUMBERS
        if key in content and not _are_numbers(content[key], positive=key == "std")
    ]
    if problems:
        raise InputError(problems)
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


def _are_numbers(found: Any, *, positive: bool) -> bool:
    return (
        isinstance(found, list)
        and len(found) in (1, 3)
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in found)
        and all(abs(one) < 1e6 and (one > 0 or not positive) for one in found)
    )
