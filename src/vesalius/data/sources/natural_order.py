"""The order of file names in which numbers count by their value."""

import re
from collections.abc import Iterable


def natural_order(names: Iterable[str]) -> list[str]:
    """Names sorted as people do: digits by their value (`2.png` before `10.png`), letters regardless of case."""

    def parts(name: str) -> tuple[list[tuple[int, str]], str]:
        pieces = re.split(r"(\d+)", name)  # text and digits in turn
        return [(int(piece), "") if piece.isdecimal() else (0, piece.casefold()) for piece in pieces], name

    return sorted(names, key=parts)
