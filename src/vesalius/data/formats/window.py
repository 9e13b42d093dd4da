"""The window of grey values: which of them an image shows, from black to white."""

from collections.abc import Sequence
from typing import Literal

#: "auto" (as the file asks), "none" (the values as they are meant), or centre and width in the unit of the values.
Window = Literal["auto", "none"] | tuple[float, float]


def to_window(option: str | Sequence[float]) -> Window:
    """A window from the option of a config; it must have passed `window_problems`."""
    if isinstance(option, str):
        return "auto" if option == "auto" else "none"
    center, width = option
    return center, width


def window_problems(option: str | Sequence[float]) -> list[str]:
    """A sentence if `data.source.window` cannot be used."""
    if isinstance(option, str):
        valid = option in ("auto", "none")
    else:
        valid = len(option) == 2 and all(isinstance(edge, int | float) for edge in option) and option[1] > 0
    return (
        [] if valid else [f"`data.source.window={option}` must be auto, none, or [centre, width], the width above 0."]
    )


def edges_of(window: tuple[float, float]) -> tuple[float, float]:
    """The grey values that are black and white."""
    center, width = window
    return center - width / 2, center + width / 2
