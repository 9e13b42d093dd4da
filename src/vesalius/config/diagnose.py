"""Words of messages: the nearest right spelling, and lists of names. Imports nothing heavy."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` with the nearest known word, or the list of them where none is near and they are few."""
    known = sorted(set(known))
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(known)}." if 0 < len(known) <= 30 else ""


def format_list(names: Iterable[object], most: int = 5, separator: str = ", ") -> str:
    """The first few names, and how many more there are; for messages.

    Args:
        names: as they should appear.
        most: how many names are shown.
        separator: between two names.
    """
    texts = list(map(str, names))
    rest = len(texts) - most
    return separator.join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")
