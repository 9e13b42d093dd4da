"""Mirror images that predictions are averaged over."""

import itertools
from collections.abc import Sequence

from vesalius.config.errors import InputError

_FLIPS = {"horizontal": -1, "vertical": -2}

#: Dimensions to flip.
View = tuple[int, ...]


def flip_views(test_time_flips: Sequence[str]) -> list[View]:
    """Every subset of the flips, the empty one (the image as it is) first.

    Raises:
        InputError: for anything but a list of `horizontal` and `vertical`.
    """
    unknown = set(test_time_flips) - set(_FLIPS)
    if unknown or isinstance(test_time_flips, str):
        raise InputError(f"model.test_time_flips={test_time_flips}: expected a list of horizontal and vertical.")
    flips = [_FLIPS[name] for name in sorted(set(test_time_flips))]
    return [chosen for n in range(len(flips) + 1) for chosen in itertools.combinations(flips, n)]
