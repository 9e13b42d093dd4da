"""Predictions for uploaded files, by a few threads that requests share."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import pandas as pd
from numpy.typing import NDArray

from vesalius.config.errors import InputError
from vesalius.data.sources.tables.file_reader import forget_files
from vesalius.deploy.explain import explanations
from vesalius.deploy.inputs import InputFile, ModelInput, find_inputs, from_array
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.serve.limits import Limits
from vesalius.deploy.serve.pictures import data_url, film
from vesalius.deploy.serve.refusal import Refused, busy
from vesalius.deploy.serve.replies import Prediction, Predictions, predictions_of
from vesalius.deploy.serve.uploads import store

Result = TypeVar("Result")
_BATCH = 16
_MOST_PICTURES, _MOST_EXPLAINED = 16, 4
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
        threads: that predict at the same time.
    """

    def __init__(self, predictor: Predictor, limits: Limits, folder: Path, threads: int) -> None:
        self.predictor, self._limits, self._folder = predictor, limits, folder
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")

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
        with self._inputs(files) as (found, notes):
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
        one = self._of_array(array, seconds)
        return Predictions(predictions=self._predict([one], ["array"], wanted), notes=[])

    def explain_files(self, files: Sequence[tuple[str, IO[bytes]]], target: str | None) -> bytes:
        """A picture of an uploaded image or series with a heat map.

        Args:
            files: name and content of each; together one input.
            target: the class or continuous target that is explained; None: the predicted one.

        Returns:
            A PNG, the frames of a series next to each other.

        Raises:
            Refused: if it cannot be read, or they are several.
        """
        with self._inputs(files) as (found, _):
            if len(found) > 1:
                raise Refused(422, f"The request holds {len(found)} inputs", "Send one image, or one series.")
            one = self._read(found[0])
        if isinstance(one, InputError):
            raise Refused.of_input(one)
        return self._heat_map(one, target)[0]

    def explain_array(self, array: NDArray[Any], seconds: Sequence[float] | None, target: str | None) -> bytes:
        """The same for an array; see `predict_array`."""
        return self._heat_map(self._of_array(array, seconds), target)[0]

    @contextmanager
    def _inputs(self, files: Sequence[tuple[str, IO[bytes]]]) -> Iterator[tuple[list[InputFile], list[str]]]:
        """The inputs in uploaded files, and what was passed over; they can be read within."""
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
                most = self._limits.frames
                raise Refused(413, f"The request holds {len(found)} inputs, and {most} is the most", "Send fewer.")
            try:
                yield found, notes
            finally:
                forget_files(folder)

    def _of_array(self, array: NDArray[Any], seconds: Sequence[float] | None) -> ModelInput:
        try:
            return from_array(array, "array", self.predictor.contract, seconds)
        except InputError as error:
            raise Refused.of_input(error) from None

    def _predict(
        self, inputs: Sequence[InputFile | ModelInput], names: Sequence[str], wanted: Wanted
    ) -> list[Prediction]:
        predictions: list[Prediction] = []
        for start in range(0, len(inputs), _BATCH):
            read = [self._read(one) for one in inputs[start : start + _BATCH]]
            batch = predictions_of(pd.concat(self.predictor.rows(read, names[start : start + _BATCH], _BATCH)))
            for prediction, one in zip(batch, read, strict=True):
                shown = sum(one.problem is None for one in predictions)
                if prediction.problem is None and isinstance(one, ModelInput) and shown < _MOST_PICTURES:
                    prediction = self._with_pictures(prediction, one, wanted, shown)
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

    def _with_pictures(self, prediction: Prediction, one: ModelInput, wanted: Wanted, number: int) -> Prediction:
        pictures: dict[str, object] = {}
        if wanted.preview:
            png, pictures["frames"] = film(one.images)
            pictures["preview"] = data_url(png)
        if wanted.explain and number < _MOST_EXPLAINED:
            png, pictures["frames"] = self._heat_map(one, None)
            pictures["explanation"] = data_url(png)
        return prediction.model_copy(update=pictures)

    def _heat_map(self, one: ModelInput, target: str | None) -> tuple[bytes, int]:
        try:
            (found,) = explanations(self.predictor.backend, [one], target=target)
        except InputError as error:
            raise Refused.of_input(error) from None
        return film(one.images, found.maps)
