"""How unusual inputs are to an autoencoder, next to what another model predicts for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import InputFile
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.run_backend import RunBackend
from vesalius.metrics.out_of_distribution_fit import RATE, upper_quantile
from vesalius.runs.outcome import read_table
from vesalius.runs.run import Run
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint

#: Columns of validation predictions that hold scores, higher for what is more unusual.
_SCORES = ("anomaly/score", "mse")


class AnomalyScorer:
    """A finished run of an autoencoder, or of another model of anomaly scores, that scores another model's inputs.

    Args:
        run: its folder.
        contract: of the other model.

    Attributes:
        threshold: of the score, which 1 % of its validation images exceed, each patient counting once; of a run that
            learned from some classes only, of the images of these.

    Raises:
        InputError: for a run that gives no such scores, and for a model whose inputs it does not take.
    """

    def __init__(self, run: str | Path, contract: InputContract) -> None:
        folder = RunFolder(run)
        self._model = Predictor(RunBackend(run))
        if "score" not in self._model.columns:
            raise InputError(f"autoencoder={run} gives no anomaly scores: name one of model=autoencoder or padim.")
        if contract.series:
            raise InputError(f"autoencoder={run} scores single images, and the model takes series: leave it out.")
        self.threshold = _threshold(folder)

    def columns(self, files: Sequence[InputFile], batch_size: int) -> pd.DataFrame:
        """For each input `anomaly`, whether its score is above the threshold, and `anomaly_score`, 1 at the threshold.

        Args:
            files: in their order; each is read again, by the autoencoder's own contract. Empty for one that it refuses.
            batch_size: inputs that are in memory at once.
        """
        tables = self._model.rows(files, [file.name for file in files], batch_size)
        scores = pd.concat(list(tables), ignore_index=True)["score"].to_numpy(np.float64) / self.threshold
        flags = [None if np.isnan(score) else bool(score > 1) for score in scores]
        return pd.DataFrame({"anomaly": pd.Series(flags, dtype=object), "anomaly_score": scores})


def _threshold(folder: RunFolder) -> float:
    config = folder.config
    table = read_table(Run(folder.path.name, folder, config, {}, "done"), "val.csv")
    column = next((name for name in _SCORES if name in table), None)
    normal = config["data"].get("train_classes")
    if normal is not None and "target" in table:
        classes = np.array(Facts.from_dict(load_checkpoint(folder.best)["facts"]).classes)
        table = table[np.isin(classes[table["target"].to_numpy(int)], normal)]
    scores = np.array([]) if column is None else table[column].to_numpy(np.float64)
    if not len(scores) or not np.isfinite(scores).all() or scores.max() <= 0:
        raise InputError(f"{folder.predictions / 'val.csv'} holds no anomaly scores: train the run again.")
    return upper_quantile(scores, table["group_id"].to_numpy(), RATE)
