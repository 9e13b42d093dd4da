"""The one way to a finished model, whatever holds it."""

from pathlib import Path

from vesalius.deploy.predictor import Predictor


def load(path: str | Path) -> Predictor:
    """A finished run as an object with `predict`, `module` and `metrics` (see `Predictor`).

    Raises:
        InputError: for a folder without a finished model.
    """
    from vesalius.deploy.run_backend import RunBackend  # torch: a bundle is loaded without it

    return Predictor(RunBackend(path))
