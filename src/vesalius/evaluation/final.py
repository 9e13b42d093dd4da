"""The end of `train` and of `evaluate`: predictions, metrics, baselines, analyses, figures; as files and as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from vesalius.data.samples import Split
from vesalius.evaluation.base import (
    Metrics,
    Results,
    Start,
    draw_figures,
    save_figures,
    score_without_duplicates,
    write_tables,
)
from vesalius.evaluation.data_overlap import find_contamination
from vesalius.evaluation.imagenet_features import weights_of_baselines
from vesalius.evaluation.metric_tables import print_metrics
from vesalius.runs.run_folder import METRICS, RunFolder, write_json
from vesalius.terminal import command_console

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Final:
    """What an evaluation came to, as it lies in the folder.

    Attributes:
        predictions: the table of each split.
        metrics: the content of `metrics.json`.
        figures: by name.
    """

    predictions: Mapping[str, pd.DataFrame]
    metrics: Metrics
    figures: "Mapping[str, Figure]"


def finish(
    results: Results,
    folder: RunFolder,
    splits: Sequence[Split],
    *,
    monitor: Mapping[str, Any] | None = None,
    baselines: bool = False,
    without_duplicates: bool = False,
    start: Start | None = None,
    weights: Sequence[Mapping[str, Any]] = (),
) -> Final:
    """Evaluate a finished model once, write all that is found into a folder, and print the test metrics.

    Metrics are written before anything that is not needed for them, and again with what was added.

    Args:
        results: of the model on its data.
        folder: of the run, or of the evaluation.
        splits: to predict, in this order; each is read once.
        monitor: the entry `monitor` of `metrics.json`; None for none.
        baselines: whether cheap models are fitted too.
        without_duplicates: whether test metrics without repeated images are added.
        start: gives a newly built model the weights that the run started from; None leaves the analyses out.
        weights: records of the pretrained weights that the model rests on; what they learned from is noted.
    """
    predictions: dict[str, pd.DataFrame] = {split: results.predictions(split) for split in splits}
    write_tables(predictions, folder.predictions)
    metrics = results.score(predictions)
    if monitor is not None:
        metrics["monitor"] = dict(monitor)
    if baselines:
        metrics["baselines"] = results.baselines(predictions, metrics)
        write_tables(results.baseline_tables, folder.predictions / "baselines")
    if known := find_contamination([*weights, *weights_of_baselines(metrics)], results.data.public_names):
        metrics["contamination"] = known
    if without_duplicates or start is not None:
        metrics["evidence"] = {}
    write_json(folder.path / METRICS, metrics)  # nothing that follows may cost the run its numbers
    if without_duplicates:
        metrics["evidence"] |= score_without_duplicates(results, predictions["test"], metrics)
    if start is not None:
        metrics |= results.analyses(predictions, metrics, start)
        write_tables(predictions, folder.predictions)  # with the scores that analyses have added
    write_json(folder.path / METRICS, metrics)
    figures = draw_figures(results, predictions, metrics)
    save_figures(figures, folder.figures)
    print_metrics(metrics, command_console())
    return Final(predictions, metrics, figures)
