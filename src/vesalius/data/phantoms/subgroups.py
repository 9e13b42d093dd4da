"""Subgroups of a phantom's patients: drawn at random, and without any influence on the images."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError

Subgroup = Literal["site", "sex"]

#: The values of each, and the share of the patients that have it.
SUBGROUPS: dict[str, dict[str, float]] = {
    "site": {"north": 0.55, "south": 0.42, "west": 0.03},
    "sex": {"F": 0.5, "M": 0.5},
}


def draw_subgroups(names: Sequence[str], seed: int, patients: int) -> dict[str, list[str]]:
    """The value of each patient, by subgroup; another choice of names or number of patients changes no value.

    Args:
        names: of `SUBGROUPS`.
        seed: of the phantom.
        patients: number of patients.

    Raises:
        InputError: for another name.
    """
    unknown = [name for name in names if name not in SUBGROUPS]
    if unknown:
        problems = (f"data.source.subgroups: the phantom has no {name}.{_known(name)}" for name in unknown)
        raise InputError(list(problems))
    return {name: [_draw(name, seed, number) for number in range(patients)] for name in names}


def _draw(name: str, seed: int, number: int) -> str:
    values, shares = zip(*SUBGROUPS[name].items(), strict=True)
    place = list(SUBGROUPS).index(name)
    return str(np.random.default_rng([seed, number, place, 99]).choice(values, p=shares))


def _known(name: str) -> str:
    return did_you_mean(name, SUBGROUPS) or f" Known: {', '.join(SUBGROUPS)}."
