"""A finished run as an object that is applied to new files."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import InputFile, ModelInput, find_inputs, from_array
from vesalius.evaluation.inference import inference_device
from vesalius.metrics.predictions import decide
from vesalius.models.family import output_kind
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model

_WORKERS = 8


class Predictor:
    """A trained model with the preprocessing and the decision of its run.

    Args:
        run: the folder of a finished run of classes or continuous targets, of images or series.

    Attributes:
        module: the network with its preprocessing, in evaluation mode; takes images in 0..value_max.
        metrics: the content of the run's `metrics.json`.
        contract: what inputs must be.
        facts: of the data that the model was trained on.

    Raises:
        InputError: for a folder without a finished run, or a model that predicts no targets.
    """

    def __init__(self, run: str | Path) -> None:
        folder = RunFolder(run)
        checkpoint = load_checkpoint(folder.best)
        config = folder.config
        self.facts = Facts.from_dict(checkpoint["facts"])
        self.module: pl.LightningModule = restore_model(checkpoint)
        if output_kind(self.module) != "targets":
            raise InputError(
                f"{folder.path} is a run of {config['model']['_target_'].rpartition('.')[2]}, which predicts neither "
                "classes nor continuous targets: give a run of model=cnn or model=lstm."
            )
        self.contract = InputContract.of_run(config["data"], self.facts)
        self.metrics: dict[str, Any] = folder.metrics
        self._device = inference_device(config["trainer"])

    def predict(
        self,
        inputs: str | Path | NDArray[Any] | Iterable[str | Path | NDArray[Any]],
        *,
        seconds: Iterable[Sequence[float]] | None = None,
    ) -> pd.DataFrame:
        """Predict for files, folders or arrays.

        Args:
            inputs: one, or several: paths of files and folders; images (H, W) or (C, H, W), or for models of series
                (T, H, W) or (T, C, H, W), of the type and value range of the run's own.
            seconds: for arrays of series that have times, the seconds of each one's frames.

        Returns:
            One row per image or series, with the columns of `columns`; `problem` is why an input was refused.

        Raises:
            InputError: for a path that does not exist.
        """
        if isinstance(inputs, str | Path | np.ndarray):
            inputs = [inputs]
        times = iter(() if seconds is None else seconds)
        wanted: list[InputFile | ModelInput | InputError] = []
        names: list[str] = []
        for number, one in enumerate(inputs):
            if isinstance(one, np.ndarray):
                names.append(f"array {number}")
                try:
                    wanted.append(from_array(one, names[-1], self.contract, next(times, None)))
                except InputError as error:
                    wanted.append(error)
            elif not isinstance(one, str | Path) or not str(one):
                raise InputError(f"predict takes paths and numpy arrays, not {one!r} ({type(one).__name__}).")
            else:
                found, _ = find_inputs(Path(one).expanduser(), self.contract)
                wanted += found
                names += [file.name for file in found]
        tables = list(self.rows(wanted, names))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=self.columns)

    @property
    def columns(self) -> list[str]:
        """`input`; `prob/<class>` for each class and `prediction`, or `pred/<target>` for each target; `problem`."""
        prefix, decided = ("pred", []) if self.facts.task == "regression" else ("prob", ["prediction"])
        return ["input", *(f"{prefix}/{name}" for name in self.facts.classes), *decided, "problem"]

    def rows(
        self,
        inputs: Sequence[InputFile | ModelInput | InputError],
        names: Sequence[str],
        batch_size: int = 64,
    ) -> Iterator[pd.DataFrame]:
        """The tables of `predict`, a batch at a time and in the order of the inputs.

        Args:
            inputs: files, pixels, or what is wrong with an input.
            names: what each is called.
            batch_size: inputs that are in memory at once.
        """
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="decode") as pool:
            rest = iter(zip(names, inputs, strict=True))
            while batch := list(islice(rest, batch_size)):
                read = list(pool.map(self._read, [one for _, one in batch]))
                yield self._table([name for name, _ in batch], read)

    def decide(self, probabilities: NDArray[np.float64]) -> list[str]:
        """Names of the classes that the run's threshold decides for; of several labels joined by `|`.

        Args:
            probabilities: (N, K), in the order of the classes.
        """
        threshold = (self.metrics.get("decision") or {}).get("threshold")
        thresholds = np.full(len(probabilities), threshold if isinstance(threshold, int | float) else np.nan)
        names = np.array(self.facts.classes)
        return ["|".join(names[row]) for row in decide(probabilities, self.facts.task, thresholds)]

    def _read(self, one: InputFile | ModelInput | InputError) -> ModelInput | InputError:
        if not isinstance(one, InputFile):
            return one
        try:
            return one.read(self.contract)
        except InputError as error:
            return error

    def _table(self, names: Sequence[str], read: Sequence[ModelInput | InputError]) -> pd.DataFrame:
        good = [one for one in read if isinstance(one, ModelInput)]
        outputs = np.full((len(read), self.facts.num_classes), np.nan)
        rows = [number for number, one in enumerate(read) if isinstance(one, ModelInput)]
        if good:
            outputs[rows] = self._outputs(good)
        columns = self.columns
        table = pd.DataFrame(outputs, columns=columns[1 : 1 + self.facts.num_classes])
        table.insert(0, "input", list(names))
        if "prediction" in columns:
            table["prediction"] = None
            table.loc[rows, "prediction"] = self.decide(outputs[rows])
        table["problem"] = [None if isinstance(one, ModelInput) else " ".join(one.problems) for one in read]
        return table.astype({"problem": object})

    def _outputs(self, inputs: Sequence[ModelInput]) -> NDArray[np.float64]:
        """Probabilities or values, (N, K)."""
        batches = [[one] for one in inputs] if self.contract.series else [list(inputs)]
        outputs = []
        module = self.module.to(self._device)
        with torch.inference_mode():
            for batch in batches:
                output = module.predict_step({name: it.to(self._device) for name, it in self._batch(batch).items()}, 0)
                key = "values" if self.facts.task == "regression" else "probabilities"
                outputs.append(output[key].double().cpu().numpy())
        return np.concatenate(outputs)

    def _batch(self, inputs: Sequence[ModelInput]) -> dict[str, Tensor]:
        """Images as one batch, or a single series, which needs no padding."""
        index = torch.arange(len(inputs))
        if not self.contract.series:
            return {"image": torch.from_numpy(np.concatenate([one.images for one in inputs])), "index": index}
        (one,) = inputs
        time = torch.from_numpy(cast(NDArray[np.float32], one.seconds))[None]
        return {
            "image": torch.from_numpy(one.images)[None],
            "mask": torch.ones(time.shape, dtype=torch.bool),
            "time": time,
            "length": torch.tensor([time.shape[1]]),
            "index": index,
        }


def load(run: str | Path) -> Predictor:
    """A finished run as an object with `predict`, `module` and `metrics` (see `Predictor`)."""
    return Predictor(run)
