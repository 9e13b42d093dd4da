"""Predictions for uploaded files, by a few threads that requests share."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.deploy.inputs import InputFile, ModelInput, find_inputs, from_array
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.serve.limits import Limits
from vesalius.deploy.serve.pictures import data_url, film
from vesalius.deploy.serve.refusal import Refused, busy
from vesalius.deploy.serve.replies import Prediction, Predictions, predictions_of
from vesalius.deploy.serve.uploads import store

Result = TypeVar("Result")
_BATCH = 16
_MOST_PICTURES = 16
_UPLOAD = "upload"  # what a series is called whose files came without a folder


@dataclass(frozen=True)
class Wanted:
    """What a reply holds besides the predictions.

    Attributes:
        preview: a picture of each input.
        explain: a heat map of each input.
    """

    preview: bool = False
    explain: bool = False


class Inference:
    """A predictor for many clients.

    Args:
        predictor: of the model.
        limits: of a request.
        folder: where uploads lie while they are read.
    """

    def __init__(self, predictor: Predictor, limits: Limits, folder: Path) -> None:
        self.predictor, self._limits, self._folder = predictor, limits, folder
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="predict")

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do work in a thread that is free, soon enough.

        Raises:
            Refused: if it takes longer than the limit; a thread that has begun goes on, and is not given other work.
        """
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError:
            raise busy(f"The prediction took longer than {self._limits.seconds:g} seconds") from None

    def close(self) -> None:
        """Wait for threads that work, and drop what waits for them."""
        self._pool.shutdown(cancel_futures=True)

    def predict_files(self, files: Sequence[tuple[str, IO[bytes]]], wanted: Wanted) -> Predictions:
        """Predictions for uploaded files.

        Args:
            files: name and content of each.
            wanted: what else.

        Raises:
            Refused: if none of them can be predicted.
        """
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            folder = Path(name) / _UPLOAD
            folder.mkdir()
            try:
                store(files, folder, self._limits)
            except OSError as error:
                raise busy(f"The files cannot be held ({error.strerror})") from error
            try:
                found, notes = find_inputs(folder, self.predictor.contract)
            except InputError:
                raise Refused(422, "The request holds no image, DICOM or NIfTI file", "Send one.") from None
            except Exception as error:  # a damaged header can make a parser raise nearly anything
                raise Refused(422, f"The files cannot be read ({type(error).__name__})", "Replace them.") from error
            if len(found) > self._limits.frames:
                raise Refused(413, f"The request holds {len(found)} inputs, and {self._limits.frames} is the most")
            return Predictions(predictions=self._predict(found, [one.name for one in found], wanted), notes=notes)

    def predict_array(self, array: NDArray[Any], seconds: Sequence[float] | None, wanted: Wanted) -> Predictions:
        """The prediction for an image or a series in memory.

        Args:
            array: as `Predictor.predict` takes it.
            seconds: of each frame of a series.
            wanted: what else.

        Raises:
            Refused: if it cannot be predicted.
        """
        try:
            one = from_array(array, "array", self.predictor.contract, seconds)
        except InputError as error:
            raise Refused.of_input(error) from None
        return Predictions(predictions=self._predict([one], ["array"], wanted), notes=[])

    def _predict(
        self, inputs: Sequence[InputFile | ModelInput], names: Sequence[str], wanted: Wanted
    ) -> list[Prediction]:
        predictions: list[Prediction] = []
        for start in range(0, len(inputs), _BATCH):
            read = [self._read(one) for one in inputs[start : start + _BATCH]]
            batch = predictions_of(pd.concat(self.predictor.rows(read, names[start : start + _BATCH], _BATCH)))
            for prediction, one in zip(batch, read, strict=True):
                if prediction.problem is None and isinstance(one, ModelInput) and len(predictions) < _MOST_PICTURES:
                    prediction = self._with_pictures(prediction, one, wanted)
                predictions.append(prediction)
        if all(one.problem is not None for one in predictions):
            problems = "; ".join(dict.fromkeys(str(one.problem) for one in predictions[:5]))
            raise Refused(422, problems, predictions[0].cure or "")
        return predictions

    def _read(self, one: InputFile | ModelInput) -> ModelInput | InputError:
        if isinstance(one, ModelInput):
            return one
        try:
            return one.read(self.predictor.contract)
        except InputError as error:
            return error
        except Exception as error:  # a decoder that nobody has attacked before
            return InputError(f"{one.name} cannot be read ({type(error).__name__}): replace it.")

    def _with_pictures(self, prediction: Prediction, one: ModelInput, wanted: Wanted) -> Prediction:
        if not wanted.preview:
            return prediction
        png, count = film(one.images)
        return prediction.model_copy(update={"preview": data_url(png), "frames": count})
