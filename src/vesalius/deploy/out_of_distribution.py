"""The statistics of a run's features, as they lie in its folder or in a bundle."""

from pathlib import Path

from vesalius.config.errors import InputError
from vesalius.metrics.out_of_distribution import OutOfDistribution
from vesalius.runs.arrays import read_arrays
from vesalius.runs.run_folder import OOD


def load_out_of_distribution(folder: Path) -> OutOfDistribution | None:
    """The statistics in a folder; None where it has none, as older runs.

    Raises:
        InputError: for a damaged file.
    """
    path = folder / OOD
    if not path.is_file():
        return None
    try:
        return OutOfDistribution.from_arrays(read_arrays(path))
    except InputError as error:
        raise InputError(f"{path.name} of {folder}: {error} Without the file there is no flag.") from None
