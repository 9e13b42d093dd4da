"""Hydra's sweep syntax as a search space: which keys vary, and over which values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from vesalius.config.errors import InputError

Value = str | int | float


@dataclass(frozen=True)
class SearchSpace:
    """Fixed overrides of all jobs, and the distribution of each key that a sampler draws.

    Attributes:
        fixed: overrides of all jobs, as typed.
        distributions: by the key as typed, a plus included. Choices are kept as text, for overrides to repeat.
        texts: the search space of each key, as typed.
    """

    fixed: tuple[str, ...]
    distributions: dict[str, BaseDistribution]
    texts: dict[str, str]

    def overrides(self, params: Mapping[str, Value]) -> list[str]:
        """The overrides of a job with these values; floats with all their digits."""
        return [*self.fixed, *(f"{key}={params[key]}" for key in self.distributions)]

    @property
    def example(self) -> dict[str, Value]:
        """One point of the space: the first choices, the lower ends."""
        return {key: _values(of, first=True)[0] for key, of in self.distributions.items()}

    def grid(self) -> list[dict[str, Value]]:
        """Every combination; the key that was typed last changes fastest.

        Raises:
            InputError: naming every interval of real numbers, of which there are infinitely many.
        """
        endless = [key for key, of in self.distributions.items() if isinstance(of, FloatDistribution) and not of.step]
        if endless:
            raise InputError(
                f"{key}={self.texts[key]}: a grid cannot try all of an interval: list the values, as in "
                f"{key}={_some(self.distributions[key])}, or choose hydra.sweeper.sampler=tpe."
                for key in endless
            )
        points: list[dict[str, Value]] = [{}]
        for key, of in self.distributions.items():
            points = [{**point, key: value} for point in points for value in _values(of)]
        return points


def search_space(arguments: Sequence[str], params: Mapping[str, str]) -> SearchSpace:
    """Read the search space from overrides.

    Args:
        arguments: `key=value` as typed; those without a sweep are fixed in all jobs.
        params: `hydra.sweeper.params` of a config file; typed arguments override it.

    Raises:
        InputError: naming every argument that cannot be searched.
    """
    parser = OverridesParser.create()
    problems: list[str] = []
    chosen: dict[str, tuple[str, Override]] = {}
    for key, text in [*params.items(), *(argument.partition("=")[::2] for argument in arguments)]:
        line = f"{key}={text}" if text or not key.startswith("~") else key
        try:
            override = parser.parse_override(line)
        except (HydraException, ValueError):
            problems.append(
                f"'{line}' is not an override that Hydra can read: write key=value, and quote it in a shell."
            )
            continue
        chosen[override.key_or_group] = (line, override)
    distributions: dict[str, BaseDistribution] = {}
    for line, override in chosen.values():
        if override.is_sweep_override():
            try:
                distributions[override.get_key_element()] = _distribution(override)
            except ValueError as error:
                problems.append(f"{line}: {error}.")
    if not problems and not distributions:
        problems.append(
            "hydra/sweeper=vesalius_optuna: nothing varies: give at least one key a range, as in "
            "'model.optimizer.lr=tag(log, interval(1e-4, 1e-2))', or choose a file of conf/hparams_search with "
            "hparams_search=NAME."
        )
    if problems:
        raise InputError(problems)
    fixed = tuple(line for line, override in chosen.values() if not override.is_sweep_override())
    texts = {of.get_key_element(): line.partition("=")[2] for line, of in chosen.values() if of.is_sweep_override()}
    return SearchSpace(fixed, distributions, texts)


def _distribution(override: Override) -> BaseDistribution:
    value: Any = override.value()
    if isinstance(value, ChoiceSweep):
        # Shuffled or not: a sampler has an order of its own, and a resumed sweep must find the same list again.
        texts = [Override._get_value_element_as_str(element) for element in value.list]
        if len(set(texts)) < len(texts):
            raise ValueError("it holds a value twice")
        return CategoricalDistribution(texts)
    log = "log" in getattr(value, "tags", ())
    if isinstance(value, RangeSweep):
        return _range(value, log)
    if isinstance(value, IntervalSweep):
        return _interval(value, log)
    raise ValueError("names are not searched by pattern here: list them, as in choice(a, b)")


def _interval(value: IntervalSweep, log: bool) -> BaseDistribution:
    """Both ends belong to it; whole numbers are drawn from `int(interval(1, 8))`."""
    low, high = value.start, value.end
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("both ends must be finite numbers")
    _check_ends(low, high, log)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _range(value: RangeSweep, log: bool) -> BaseDistribution:
    """As in Hydra and Python, the stop does not belong to it."""
    numbers = list(value.range())
    if not numbers:
        raise ValueError("this range is empty")
    numbers.sort()
    low, high = numbers[0], numbers[-1]
    _check_ends(low, high, log)
    if log and (not isinstance(low, int) or len(numbers) < high - low + 1):
        raise ValueError("a range with a step has no log scale: use tag(log, interval(a, b)), or list the values")
    if isinstance(low, int):
        return IntDistribution(low, high, log=log, step=max(1, abs(int(value.step))))
    step = abs(float(value.step))
    return FloatDistribution(low, _stepped(low, step, len(numbers) - 1), step=step)


def _check_ends(low: float, high: float, log: bool) -> None:
    if low > high:
        raise ValueError(f"the lower end comes first: ({high:g}, {low:g})")
    if log and low <= 0:
        raise ValueError("a log scale begins above 0")


def _values(of: BaseDistribution, *, first: bool = False) -> list[Value]:
    """All values of a discrete distribution in rising order, or the first of any."""
    if isinstance(of, CategoricalDistribution):
        return [str(choice) for choice in of.choices]
    if isinstance(of, IntDistribution):
        return list(range(of.low, of.high + 1, of.step))
    assert isinstance(of, FloatDistribution)
    if first:
        return [of.low]
    assert of.step is not None
    return [_stepped(of.low, of.step, k) for k in range(round((of.high - of.low) / of.step) + 1)]


def _stepped(low: float, step: float, k: int) -> float:
    """In decimals, since 0.1 + 0.1 + 0.1 is not 0.3."""
    return float(Decimal(str(low)) + Decimal(str(step)) * k)


def _some(of: BaseDistribution) -> str:
    """Three values of an interval, as an example."""
    assert isinstance(of, FloatDistribution)
    middle = math.sqrt(of.low * of.high) if of.log else (of.low + of.high) / 2
    return f"{of.low:g},{middle:.3g},{of.high:g}"
