"""Words with a fixed meaning in tables, folder names and options: one list for all sources."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

#: What a sample is: one slice or frame, the slices of a volume, or frames over time.
Unit = Literal["slice", "volume", "time_series"]
#: Numbers of slice positions from 0 (negative: from the end), the middle one, or all.
Slices = Sequence[int] | Literal["middle"] | None

#: Names of splits in tables and of folders, in lower case, and the split that each stands for.
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
#: Cells of a target or a patient, in lower case, that stand for no value; those with # are Excel's cells of an error.
MISSING_WORDS = frozenset(
    {"", "na", "n/a", "nan", "null", "<na>"}
    | {"#n/a", "#na", "#nv", "#value!", "#wert!", "#ref!", "#bezug!", "#div/0!", "#name?", "#null!", "#num!", "#zahl!"}
)
# Cells of a target that mostly stand for no value, but may be a class: words in lower case, except for what Python
# writes (`none` is a grade), and numbers
_STAND_IN_WORDS = frozenset({"missing", "undefined", "?", "-", "--", "."})
_STAND_IN_NUMBERS = (-1, -9, -99, -999, -9999)
_LARGE_STAND_INS = (99, 999, 9999)
#: The option `group` for data in which no two files share a patient.
NO_GROUP = "none"


def missing_patients(cells: Sequence[str]) -> list[bool]:
    """Which cells name no patient: those that are empty, and words for missing that stand in several cells."""
    words = [cell.lower() for cell in cells]
    counts = Counter(words)
    return [word in MISSING_WORDS and (not word or counts[word] > 1) for word in words]


def stand_ins(cells: Iterable[str], *, continuous: bool = False) -> list[str]:
    """Different cells of a target that probably stand for no value: `?`, -1 next to 0 and 1, -999, 99 next to digits.

    Args:
        cells: as texts, each once.
        continuous: they are numbers to be predicted, among which -1 and 99 are nothing special.
    """
    words, numbers = [], {}
    for cell in sorted(set(cells)):
        try:
            numbers[cell] = float(cell)
        except ValueError:
            words.append(cell)
    found = [word for word in words if word == "None" or word.lower() in _STAND_IN_WORDS]
    if set(numbers.values()) == {-1.0, 1.0}:
        return found
    low = [cell for cell, value in numbers.items() if value in _STAND_IN_NUMBERS[2 if continuous else 0 :]]
    if all(value >= 0 for cell, value in numbers.items() if cell not in low):
        found += low
    rest = max((value for value in numbers.values() if value not in _LARGE_STAND_INS), default=0.0)
    if not continuous:
        found += [cell for cell, value in numbers.items() if value in _LARGE_STAND_INS and rest < value / 9]
    return found if len(found) < len(words) + len(numbers) else []


def spelt_alike(names: Iterable[str]) -> list[list[str]]:
    """Names that differ only in case, spaces, hyphens or composed letters, or as 7, 7.0 and 007 do; by group."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(plain_spelling(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def plain_spelling(name: str) -> str:
    """What names that are spelt alike have in common."""
    plain = unicodedata.normalize("NFC", name).casefold()
    plain = re.sub(r"^([+-]?)0*(\d+?)(\.0+)?$", r"\1\2", plain.strip())
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", plain)


def slices_problems(slices: Slices) -> list[str]:
    """A sentence if `data.source.slices` is an empty list."""
    empty = slices is not None and len(slices) == 0
    return ["`data.source.slices` is empty: list numbers from 0, or set it to middle or null."] if empty else []


def slice_numbers(slices: Slices, count: int) -> tuple[list[int], list[int]]:
    """The numbers of the slice positions wanted, from 0 to `count` - 1, and those asked for that do not exist."""
    numbers = range(count) if slices is None else [count // 2] if isinstance(slices, str) else slices
    places = [number + count * (number < 0) for number in numbers]
    absent = [number for number, place in zip(numbers, places, strict=True) if not 0 <= place < count]
    return places, absent
