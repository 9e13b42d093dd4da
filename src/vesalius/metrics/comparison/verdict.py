"""What a difference between two models means, in one sentence."""

import numpy as np

from vesalius.config.direction import mode_of
from vesalius.metrics.entry import MetricEntry, value_and_ends
from vesalius.metrics.formatting import format_number


def verdict(difference: MetricEntry, first: str, second: str, metric: str) -> str:
    """Which model is better, if any.

    Args:
        difference: first minus second, as `repeated_difference` or `paired_difference` gives it.
        first: name of the first model.
        second: name of the second.
        metric: its name; of errors such as `mae`, lower is better.
    """
    known = value_and_ends(difference)
    if known is None:
        reason = difference.get("reason", "it was not computed")
        return f"No verdict on {metric} of {first} and {second}: {reason}."
    value, low, high = known
    if low <= 0 <= high:
        return f"No evidence of a gain: {metric} of {first} minus that of {second} is {_format(value, low, high)}."
    more, by = ("higher", (value, low, high)) if value > 0 else ("lower", (-value, -high, -low))
    if (value > 0) != (mode_of(metric) == "min"):
        return f"{first} reaches a {more} {metric} than {second} by {_format(*by)}."
    return f"{first} is worse than {second}: its {metric} is {more} by {_format(*by)}."


def _format(value: float, low: float, high: float) -> str:
    """`.021 [.004, .038]`: equal decimals, more than three where the numbers would look the same with three."""
    half = (high - low) / 2
    if half >= 0.0005 or half == 0:
        large = max(abs(number) for number in (value, low, high)) >= 1
        texts = [format_number(number) if large else _decimals(number, 3) for number in (value, low, high)]
    else:
        texts = [_decimals(number, int(1 - np.floor(np.log10(half)))) for number in (value, low, high)]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _decimals(number: float, digits: int) -> str:
    return f"{number:.{digits}f}".replace("0.", ".", 1) if abs(number) < 1 else f"{number:.{digits}f}"
