"""The one way to a finished model, whatever holds it."""

from pathlib import Path

from vesalius.deploy.predictor import Predictor
from vesalius.runs.run_folder import ENSEMBLE, MANIFEST


def load(path: str | Path) -> Predictor:
    """A finished run, ensemble or bundle as an object with `predict` and `metrics` (see `Predictor`).

    Raises:
        InputError: for a folder without a finished model.
    """
    if (Path(path) / ENSEMBLE).is_file():
        from vesalius.deploy.ensemble.backend import EnsembleBackend

        return Predictor(EnsembleBackend(path))
    if (Path(path) / MANIFEST).is_file():
        from vesalius.deploy.bundle.backend import BundleBackend

        return Predictor(BundleBackend(path))
    from vesalius.deploy.run_backend import RunBackend  # torch: a bundle is loaded without it

    return Predictor(RunBackend(path))
