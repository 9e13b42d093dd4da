"""What a difference between two models means, in one sentence."""

import numpy as np

from vesalius.config.direction import mode_of
from vesalius.metrics.entry import MetricEntry, value_and_ends
from vesalius.metrics.formatting import format_number


def verdict(difference: MetricEntry, first: str, second: str, metric: str) -> str:
    """Which model is better, if any.

    One training of each shows which of the two trained models is better, but not whether that is for what they were
    trained with or for their seeds: then the sentence calls none better, and gives the reason.

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
    if not shows_gain_or_loss(difference):
        return (
            f"No verdict on {first} and {second} from one seed each: {metric} of these two models differs by "
            f"{_format(value, low, high)}, but other seeds may turn that; train 3 or more of each."
        )
    more, by = ("higher", (value, low, high)) if value > 0 else ("lower", (-value, -high, -low))
    if (value > 0) != (mode_of(metric) == "min"):
        return f"{first} reaches a {more} {metric} than {second} by {_format(*by)}."
    return f"{first} is worse than {second}: its {metric} is {more} by {_format(*by)}."


def shows_gain_or_loss(difference: MetricEntry) -> bool:
    """Whether a difference names the better one of two: its interval excludes 0, and it rests on several repeats."""
    known = value_and_ends(difference)
    return known is not None and not known[1] <= 0 <= known[2] and difference.get("repeats", 2) > 1


def together_note(differences: int, pairs: int | None = None) -> list[str]:
    """For a table of several differences: what their intervals, and so the verdicts, promise.

    Args:
        differences: that the table has.
        pairs: of arms, where the reference is the arm that was best: any of them could have been, so the intervals
            are those of all pairs. None where the reference was named beforehand.
    """
    if differences < 2:
        return []
    of = f"the {differences} differences" if pairs is None else f"the differences of all {pairs} pairs of arms"
    why = "" if pairs is None else ", since the reference was chosen by its validation results"
    return [
        f"Intervals of {of} are widened (Sidak) so that all of them hold in 95 % of studies{why}: among arms of equal "
        "skill, one study in 20 calls any better or worse."
    ]


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
