"""A finished model as an object that is applied to new files."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.deploy.backend import Backend, Outputs
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import InputFile, ModelInput, find_inputs, from_array
from vesalius.metrics.classification.decision_rule import DecisionRule

if TYPE_CHECKING:
    from vesalius.deploy.explain.methods import Explanation

#: What `predict` and `explain` take: one, or several.
Inputs = str | Path | NDArray[Any] | Iterable[str | Path | NDArray[Any]]

_WORKERS = 8


class Predictor:
    """A trained model with its preprocessing and its decision.

    Args:
        backend: what computes the model's outputs.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.rule = DecisionRule.of_metrics(backend.metrics, backend.facts)

    @property
    def facts(self) -> Facts:
        """Of the data that the model was trained on."""
        return self.backend.facts

    @property
    def contract(self) -> InputContract:
        """What inputs must be."""
        return self.backend.contract

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The content of the run's `metrics.json`."""
        return self.backend.metrics

    @property
    def module(self) -> Any:
        """The `torch.nn.Module` with its preprocessing, in evaluation mode; takes images in 0..value_max.

        Raises:
            InputError: where the model is not computed by torch.
        """
        module = getattr(self.backend, "module", None)
        if module is None:
            raise InputError("This model is not computed by torch and has no module: load the run that it came from.")
        return module

    def predict(
        self,
        inputs: Inputs,
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
            InputError: for a path that does not exist, or times of more or fewer series than there are arrays.
        """
        wanted, names = self._wanted(inputs, seconds)
        tables = list(self.rows(wanted, names))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=self.columns)

    def explain(
        self,
        inputs: Inputs,
        *,
        method: str = "auto",
        target: str | int | None = None,
        seconds: Iterable[Sequence[float]] | None = None,
    ) -> "list[Explanation]":
        """Where, and of series when, the model finds what it predicts (see `vesalius.deploy.explain`).

        Args:
            inputs: as for `predict`.
            method: `gradcam`, `hirescam`, `integrated_gradients` or `occlusion`; `error` of an autoencoder; or `auto`.
            target: name or number of the class or continuous target to explain; None: the predicted class, or the first
                target.
            seconds: as for `predict`.

        Returns:
            One explanation per image or series, with `maps` (T, H, W) in 0..1, all 0 where too little speaks for the
            target, and `weights` (T,) of the time points.

        Raises:
            InputError: for an input that is refused, an unknown target, or a method that the model does not allow.
        """
        from vesalius.deploy.explain.methods import explanations

        read = [self._read(one) for one in self._wanted(inputs, seconds)[0]]
        refused = [problem for one in read if isinstance(one, InputError) for problem in one.problems]
        if refused:
            raise InputError(refused)
        good = [one for one in read if isinstance(one, ModelInput)]
        return explanations(self.backend, good, method=method, target=target)

    def _wanted(
        self, inputs: Inputs, seconds: Iterable[Sequence[float]] | None
    ) -> tuple[list[InputFile | ModelInput | InputError], list[str]]:
        """Files, pixels or what is wrong with them; and what each is called."""
        given = [inputs] if isinstance(inputs, str | Path | np.ndarray) else list(inputs)
        times = _times_of(seconds, sum(isinstance(one, np.ndarray) for one in given))
        wanted: list[InputFile | ModelInput | InputError] = []
        names: list[str] = []
        for number, one in enumerate(given):
            if isinstance(one, np.ndarray):
                names.append(f"array {number}")
                try:
                    wanted.append(from_array(one, names[-1], self.contract, next(times)))
                except InputError as error:
                    wanted.append(error)
            elif not isinstance(one, str | Path) or not str(one):
                raise InputError(f"predict takes paths and numpy arrays, not {one!r} ({type(one).__name__}).")
            else:
                found, _ = find_inputs(Path(one).expanduser(), self.contract, whole_names=len(given) > 1)
                wanted += found
                names += [file.name for file in found]
        return wanted, names

    @property
    def columns(self) -> list[str]:
        """Those of `predict`'s table.

        `input`; `prob/<class>`, calibrated, for each class, `prediction`, `abstain` where the run leaves the least sure
        to a person, and `set` where it has prediction sets;
        or `pred/<target>` for each target; where the run has statistics of its features `ood`, whether the input is
        unlike the training images, and `ood_score`, its distance from them, 1 at the threshold; of an autoencoder
        `score`, the mean squared error of the reconstruction, on the scale where white is 1, of an anomaly detector the
        largest value of its map; `problem`.
        """
        task = self.facts.task
        prefix = "pred" if task == "regression" else "prob"
        decided = [] if task in ("regression", "unlabelled") else ["prediction"]
        decided += ["abstain"] * (self.rule.least_confidence is not None)
        decided += ["set"] * (self.rule.sets is not None)
        decided += ["ood", "ood_score"] if self.backend.ood is not None else []
        decided += ["score"] * (task == "unlabelled")
        return ["input", *(f"{prefix}/{name}" for name in self.facts.classes), *decided, "problem"]

    def rows(
        self,
        inputs: Sequence[InputFile | ModelInput | InputError],
        names: Sequence[str],
        batch_size: int = 64,
        observe: Callable[[Sequence[ModelInput], Outputs], None] | None = None,
    ) -> Iterator[pd.DataFrame]:
        """The tables of `predict`, a batch at a time and in the order of the inputs.

        Args:
            inputs: files, pixels, or what is wrong with an input.
            names: what each is called.
            batch_size: inputs that are in memory at once.
            observe: called with the inputs of each batch that were predicted, and the model's outputs.
        """
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="decode") as pool:
            rest = iter(zip(names, inputs, strict=True))
            while batch := list(islice(rest, batch_size)):
                read = list(pool.map(self._read, [one for _, one in batch]))
                yield self._table([name for name, _ in batch], read, observe)

    def _read(self, one: InputFile | ModelInput | InputError) -> ModelInput | InputError:
        if not isinstance(one, InputFile):
            return one
        try:
            return one.read(self.contract)
        except InputError as error:
            return error

    def _table(
        self,
        names: Sequence[str],
        read: Sequence[ModelInput | InputError],
        observe: Callable[[Sequence[ModelInput], Outputs], None] | None,
    ) -> pd.DataFrame:
        good = [one for one in read if isinstance(one, ModelInput)]
        outputs = np.full((len(read), self.facts.num_classes), np.nan)
        rows = [number for number, one in enumerate(read) if isinstance(one, ModelInput)]
        distances, scores = np.full(len(read), np.nan), np.full(len(read), np.nan)
        if good:
            computed = self.backend.compute(good)
            outputs[rows] = computed.values
            if observe is not None:
                observe(good, computed)
            if self.backend.ood is not None and computed.features is not None:
                distances[rows] = self.backend.ood.score(computed.features)
            if computed.scores is not None:
                scores[rows] = computed.scores
        columns = self.columns
        shown = self.rule.calibrate(outputs) if "prediction" in columns else outputs
        found: dict[str, Any] = {"input": list(names), **dict(zip(columns[1:], shown.T, strict=False))}
        known = outputs[rows]
        texts = {"prediction": self.rule.decide, "abstain": self.rule.abstains, "set": self.rule.prediction_sets}
        for name, decide in texts.items():
            if name in columns:
                found[name] = np.full(len(read), None, dtype=object)
                found[name][rows] = decide(known)
        if "ood" in columns:
            found["ood"] = [None if np.isnan(distance) else bool(distance > 1) for distance in distances]
            found["ood_score"] = distances
        if "score" in columns:
            found["score"] = scores
        found["problem"] = [None if isinstance(one, ModelInput) else " ".join(one.problems) for one in read]
        plain = {name: object for name in (*texts, "ood", "problem") if name in columns}
        return pd.DataFrame(found).astype(plain)  # at once: a row of a request takes a third of the time


def _times_of(seconds: Iterable[Sequence[float]] | None, arrays: int) -> Iterator[Sequence[float] | None]:
    """The seconds of each array."""
    if seconds is None:
        return repeat(None, arrays)
    given = list(seconds)
    if len(given) != arrays:
        raise InputError(f"seconds has the times of {len(given)} series for {arrays} array(s): give those of each.")
    return iter(given)
