"""Test-time augmentation: the mirror images that predictions are averaged over."""

import itertools
from collections.abc import Sequence
from typing import Literal

Flip = Literal["horizontal", "vertical"]
#: Dimensions to flip.
View = tuple[int, ...]

_FLIPS: dict[Flip, int] = {"horizontal": -1, "vertical": -2}


def flip_views(test_time_flips: Sequence[Flip]) -> list[View]:
    """Every subset of the flips, the empty one (the image as it is) first."""
    flips = [_FLIPS[name] for name in sorted(set(test_time_flips))]
    return [chosen for n in range(len(flips) + 1) for chosen in itertools.combinations(flips, n)]
