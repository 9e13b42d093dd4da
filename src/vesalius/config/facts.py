"""What a model must know of the data, and nothing more."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Task = Literal["binary", "multiclass", "multilabel", "ordinal"]


@dataclass(frozen=True)
class Facts:
    """What a datamodule tells a model; stored in every checkpoint as a plain dict.

    Attributes:
        task: `binary`, `multiclass` and `ordinal` have one class a sample; `multilabel` any number of them.
        classes: names of the classes, in the order of the outputs.
        channels: channels of a stored image.
        image_size: height and width of a stored image, in pixels.
        value_max: the largest value of the stored integer type (255 or 65535; 1.0 for floats).
        class_counts: training samples of each class (positives, for `multilabel`).
        train_size: number of training samples.
        mean: mean of each channel over training images, on the scale where `value_max` is 1.
        std: standard deviation of each channel, on the same scale.
        sequence_length: frames of the longest series; None for single images.
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

    @property
    def num_classes(self) -> int:
        """Number of outputs that a classifier needs."""
        return len(self.classes)

    @property
    def single_label(self) -> bool:
        """Whether each sample has exactly one class."""
        return self.task != "multilabel"

    def to_dict(self) -> dict[str, Any]:
        """Plain containers only, so that `torch.load(weights_only=True)` accepts them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Facts":
        """Inverse of `to_dict`."""
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}
        return cls(**values)
