"""Files named by the ends of their paths, as in tables written on another machine, or by a folder that they are in."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import PurePosixPath
from unicodedata import normalize


class PathEndings:
    """Finds the file that an entry of a table means.

    An entry names a file if one path ends with the other, compared part by part from the right, however letters with
    accents are composed; so `crops/train/a/1.png`, `a/1.png` and `1.png` may all mean
    `train/a/1.png`, as long as nothing else fits. An entry that names no file but folders, such as `sub-01` or
    `sub-01/ses-1`, is about all files in them.

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
        self._by_folder: dict[tuple[str, ...], list[int]] | None = None

    def find(self, entry: str) -> list[int]:
        """The numbers of the files that an entry may mean; the longest common ending wins."""
        parts = _parts(entry)
        for start in range(len(parts)):
            numbers = self._by_ending.get(parts[start:], [])
            if start > 0:  # leading parts are left over, so the file's whole path must be used up
                numbers = [number for number in numbers if self._lengths[number] == len(parts) - start]
            if numbers:
                return numbers
        return []

    def find_in_folder(self, entry: str) -> list[int]:
        """The numbers of the files in the folders that an entry names."""
        if self._by_folder is None:
            self._by_folder = defaultdict(list)
            for number, file in enumerate(self._files):
                folders = PurePosixPath(normalize("NFC", file)).parts[:-1]
                ranges = combinations(range(len(folders) + 1), 2)
                for part in dict.fromkeys(folders[start:stop] for start, stop in ranges):
                    self._by_folder[part].append(number)
        return self._by_folder.get(_parts(entry), [])

    def resolve(self, entries: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
        """The files of each entry: one, or those of a folder; and the entries that may mean one of several files."""
        files, ambiguous = {}, []
        for entry in set(entries):
            named = self.find(entry)
            if len(named) > 1:
                ambiguous.append(entry)
            numbers = named[:1] or self.find_in_folder(entry)
            if numbers:
                files[entry] = [self._files[number] for number in numbers]
        return files, sorted(ambiguous)


def _parts(entry: str) -> tuple[str, ...]:
    written = normalize("NFC", entry).strip().replace("\\", "/")
    return tuple(part for part in written.split("/") if part not in ("", "."))
