"""The facts of a data set that a model must know, and nothing more."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Task = Literal["binary", "multiclass", "multilabel", "ordinal", "regression", "unlabelled"]
# Beyond every data set: what a stranger's file states is not believed.
_MOST_SIDE, _MOST_CHANNELS, _MOST_NAMES = 2**15, 2**10, 2**16


@dataclass(frozen=True)
class Facts:
    """Facts of a data set; a datamodule computes them, and every checkpoint stores them as a plain dict.

    Attributes:
        task: `binary`, `multiclass` and `ordinal` have one class per sample; `multilabel` any number of them;
            `regression` has continuous targets; `unlabelled` has none.
        classes: names of the classes (of the continuous targets, for `regression`), in the order of the outputs; empty
            without labels.
        channels: channels of a stored image.
        image_size: height and width of a stored image, in pixels.
        value_max: the largest value of the stored integer type (255 or 65535; 1.0 for floats).
        class_counts: training samples of each class (positives, for `multilabel`; all, for `regression`).
        train_size: number of training samples.
        mean: mean of each channel over training images, on the scale where `value_max` is 1.
        std: standard deviation of each channel, on the same scale.
        sequence_length: frames of the longest series; None for single images.
        time_step: median seconds between two frames of a training series; None for series without times.
        target_mean: mean of each continuous target over training samples, for `regression`.
        target_std: standard deviation of each continuous target, for `regression`; 1 if it does not vary.
    """

    task: Task
    classes: tuple[str, ...]
    channels: int
    image_size: tuple[int, int]
    value_max: float
    class_counts: tuple[int, ...]
    train_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sequence_length: int | None = None
    time_step: float | None = None
    target_mean: tuple[float, ...] | None = None
    target_std: tuple[float, ...] | None = None

    @property
    def num_classes(self) -> int:
        """Number of outputs that a model needs."""
        return len(self.classes)

    @property
    def single_label(self) -> bool:
        """Whether each sample has exactly one class."""
        return self.task not in ("multilabel", "regression", "unlabelled")

    def to_dict(self) -> dict[str, Any]:
        """Plain containers only, so that `torch.load(weights_only=True)` accepts them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Facts":
        """Inverse of `to_dict`, for content that may be a stranger's.

        Raises:
            TypeError, ValueError: for anything that are no facts of images.
        """
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}
        facts = cls(**values)
        facts._check()
        return facts

    def _check(self) -> None:
        if self.task not in get_args(Task):
            raise ValueError(f"facts.task is {str(self.task)[:40]!r}, and not {', '.join(get_args(Task))}")
        if len(self.classes) > _MOST_NAMES or not all(isinstance(one, str) and one for one in self.classes):
            raise ValueError("facts.classes is not a list of names")
        if len(self.image_size) != 2:
            raise ValueError("facts.image_size is not a height and a width")
        lengths = [*(("image_size", side) for side in self.image_size), ("sequence_length", self.sequence_length or 1)]
        for name, value in [*lengths, ("channels", self.channels)]:
            most = _MOST_CHANNELS if name == "channels" else _MOST_SIDE
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
                raise ValueError(f"facts.{name} is not a whole number from 1 to {most}")
        if self.value_max not in (255, 65535, 1):
            raise ValueError("facts.value_max is not 255, 65535 or 1")
        numbers = [self.class_counts, self.mean, self.std, self.target_mean or (), self.target_std or ()]
        if not all(isinstance(one, int | float) and math.isfinite(one) for part in numbers for one in part):
            raise ValueError("facts hold something else where numbers are")
