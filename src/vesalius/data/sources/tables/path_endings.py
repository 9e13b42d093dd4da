"""Files named by the ends of their paths, as in tables written on another machine."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from unicodedata import normalize


class PathEndings:
    """Finds the file that an entry of a table means.

    An entry names a file if one path ends with the other, compared part by part from the right, however letters with
    accents are composed; so `crops/train/a/1.png`, `a/1.png` and `1.png` may all mean
    `train/a/1.png`, as long as nothing else fits.

    Args:
        files: relative paths, with forward slashes.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self._lengths: list[int] = []
        self._by_ending: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, file in enumerate(files):
            parts = PurePosixPath(normalize("NFC", file)).parts
            self._lengths.append(len(parts))
            for start in range(len(parts)):
                self._by_ending[parts[start:]].append(number)

    def find(self, entry: str) -> list[int]:
        """The numbers of the files that an entry may mean; the longest common ending wins."""
        written = normalize("NFC", entry).strip().replace("\\", "/")
        parts = tuple(part for part in written.split("/") if part not in ("", "."))
        for start in range(len(parts)):
            numbers = self._by_ending.get(parts[start:], [])
            if start > 0:  # leading parts are left over, so the file's whole path must be used up
                numbers = [number for number in numbers if self._lengths[number] == len(parts) - start]
            if numbers:
                return numbers
        return []

    def resolve(self, entries: Iterable[str]) -> tuple[dict[str, str], list[str]]:
        """The file of each entry (the first, if it may mean several), and the entries that may mean several."""
        numbers = {entry: self.find(entry) for entry in set(entries)}
        files = {entry: self._files[found[0]] for entry, found in numbers.items() if found}
        return files, sorted(entry for entry, found in numbers.items() if len(found) > 1)
