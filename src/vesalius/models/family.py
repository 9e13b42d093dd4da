"""What a training run asks of every model family."""

from collections.abc import Callable
from typing import ClassVar

import pytorch_lightning as pl
from torch import Tensor

from vesalius.config.errors import InputError, RunFailed

Batch = dict[str, Tensor]


class FamilyModule(pl.LightningModule):
    """A model that a run can begin, judge and hand on to others.

    Attributes:
        answers: what predictions are, which decides how they are judged (`vesalius.runs.results`).
    """

    answers: ClassVar[str] = "targets"

    @property
    def logged(self) -> tuple[str, ...]:
        """Every metric that this module logs, which depends on the task."""
        raise NotImplementedError

    def embed(self, batch: Batch) -> Tensor:
        """Feature vectors (B, F), float32, of the samples of a batch as the datamodule gives it.

        Targets are not looked at. As with `predict_step`, who calls sees to evaluation mode and to gradients.

        Raises:
            InputError: where the net has no feature vectors.
        """
        raise NotImplementedError

    def load_pretrained(self) -> None:
        """Load the ready-made weights that the config names, if it names any; for a run that starts afresh.

        Raises:
            InputError: if they cannot be had, or do not fit.
        """

    def initialize(self, images: Callable[[], Tensor]) -> None:
        """Take a start from training images, where the net has any use for them.

        Args:
            images: gives some of them, (N, C, H, W) in 0..value_max.
        """

    def load_initial(self, state_dict: dict[str, Tensor]) -> list[str]:
        """Start from the weights of another model, wherever name and shape agree; its head may have other classes.

        Returns:
            Names of this model's weights that stay as they were.

        Raises:
            InputError: if no parameter fits.
        """
        own = self.state_dict()
        fits = {
            name: state_dict[name] for name in own if name in state_dict and state_dict[name].shape == own[name].shape
        }
        if not any(name in fits for name, _ in self.named_parameters()):
            raise InputError(
                "init_from: not one weight of that run fits this model by name and shape; "
                "take a run of the same model.net, or leave init_from out."
            )
        self.load_state_dict(fits, strict=False)
        return [name for name in own if name not in fits]

    def divergence(self, what: str, value: float, lr: float) -> RunFailed:
        """The error that ends a run whose numbers are none any more."""
        return RunFailed(
            f"The {what} became {value} in epoch {self.current_epoch}, step {self.global_step}, at a learning rate of "
            f"{lr:.3g}: lower model.optimizer.lr."
        )
