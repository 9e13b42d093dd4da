"""The list of samples that were left out, in the folder of a run."""

from pathlib import Path

import pandas as pd

from vesalius.data.datamodules.base import ImageDataModule
from vesalius.metrics.formatting import csv_table
from vesalius.runs.run_folder import write_atomically


def write_skipped(data: ImageDataModule, folder: Path) -> None:
    """Write `skipped.csv`: samples that were left out, each with the reason; no file where there are none."""
    left_out = [*data.source.left_out, *data.store.skipped]
    if left_out:
        table = pd.DataFrame(left_out, columns=["sample_id", "reason"])
        write_atomically(folder / "skipped.csv", csv_table(table))
