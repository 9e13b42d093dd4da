"""What a finished run, or one of its cheap baselines, reached on the test split: its numbers and its predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from vesalius.config.errors import InputError
from vesalius.runs.reading import describe_error
from vesalius.runs.run import Run


@dataclass(frozen=True)
class Outcome:
    """Test results of a run, or of one of its baselines.

    Attributes:
        run: finished.
        baseline: name of a baseline; None for the run's own model.
    """

    run: Run
    baseline: str | None = None

    @property
    def repeat(self) -> tuple[int | None, int | None, int | None]:
        """What pairs the run with one of another arm; see `Run.repeat`."""
        return self.run.repeat

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Entries of `metrics.json` by name."""
        return self.run.test if self.baseline is None else self.run.baselines.get(self.baseline, {})

    @cached_property
    def table(self) -> pd.DataFrame:
        """Predictions of the test split, ids as they were written: a patient may be called `007` or `NA`.

        Where classes are decided by a threshold, it stands in a column `threshold`; the tables of baselines hold it.

        Raises:
            InputError: where the table is gone or is not one.
        """
        name = "test.csv" if self.baseline is None else f"baselines/{self.baseline}.csv"
        table = read_table(self.run, name)
        if self.baseline is not None or self.run.decision == "argmax":
            return table
        return table.assign(threshold=self.run.decision)


def read_table(run: Run, name: str) -> pd.DataFrame:
    """A predictions table of a finished run, ids as they were written: a patient may be called `007` or `NA`.

    Args:
        run: finished.
        name: of the file in `predictions/`, such as `val.csv`.

    Raises:
        InputError: where the table is gone or is not one.
    """
    assert run.folder is not None
    table_name = f"predictions/{name} of {run.name}"
    as_written = {"sample_id": str, "group_id": str}
    try:
        table = pd.read_csv(run.folder.predictions / name, dtype=as_written, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{table_name} cannot be read: {describe_error(error)}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise InputError(f"{table_name} has rows of more cells than its header.")
    for column in table.columns:
        if table[column].dtype.kind == "O":  # also where a number has too many digits for any type
            table[column] = table[column].astype(str)
    if not as_written.keys() <= set(table.columns):
        raise InputError(f"{table_name} names no samples and patients.")
    return table


def saved_baselines(run: Run) -> list[str]:
    """Names of the baselines whose predictions the run kept."""
    return [] if run.folder is None else [path.stem for path in (run.folder.predictions / "baselines").glob("*.csv")]
