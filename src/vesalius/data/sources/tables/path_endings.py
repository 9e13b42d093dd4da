"""Files named by the ends of their paths, as tables made on another machine do."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath


class PathEndings:
    """Finds which file an entry of a table means.

    An entry names a file if one path ends with the other, compared part by part from the right; so
    `crops/train/a/1.png`, `a/1.png` and `1.png` may all mean `train/a/1.png`, as long as nothing else fits.

    Args:
        files: relative paths, with forward slashes.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._lengths: list[int] = []
        self._by_ending: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, file in enumerate(files):
            parts = PurePosixPath(file).parts
            self._lengths.append(len(parts))
            for start in range(len(parts)):
                self._by_ending[parts[start:]].append(number)

    def find(self, entry: str) -> list[int]:
        """Numbers of the files that an entry may mean; the longest common ending wins."""
        parts = tuple(part for part in entry.strip().replace("\\", "/").split("/") if part not in ("", "."))
        for start in range(len(parts)):
            numbers = self._by_ending.get(parts[start:], [])
            if start > 0:  # leading parts are left over, so the file's whole path must be used up
                numbers = [number for number in numbers if self._lengths[number] == len(parts) - start]
            if numbers:
                return numbers
        return []
