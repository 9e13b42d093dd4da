"""The facts of a data set that a model must know, and nothing more."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Task = Literal["binary", "multiclass", "multilabel", "ordinal", "regression", "unlabelled"]


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
        """Inverse of `to_dict`."""
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}
        return cls(**values)
