"""How often the nets of a GAN step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GANSteps:
    """Steps of generator and critic: each of the generator follows several of the critic, the last of an epoch fewer.

    Attributes:
        batches: of an epoch; infinite where they cannot be counted.
        accumulate: batches of a step.
        n_critic: steps of the critic for one of the generator.
    """

    batches: float
    accumulate: int
    n_critic: int

    @property
    def per_epoch(self) -> tuple[float, float]:
        """Of generator and critic."""
        if not math.isfinite(self.batches):
            return self.batches, self.batches
        return -(-self.batches // (self.accumulate * self.n_critic)), -(-self.batches // self.accumulate)

    def whole(self, max_epochs: int | None, max_steps: int) -> tuple[float, float]:
        """Of generator and critic in a training.

        Args:
            max_epochs: None or -1 where they are not bounded.
            max_steps: of the generator; -1 where they are not bounded.
        """
        of_generator, of_critic = self.per_epoch
        epochs = math.inf if max_epochs in (None, -1) else max_epochs or 0
        if max_steps <= 0 or of_generator * epochs < max_steps:
            return of_generator * epochs, of_critic * epochs
        full, rest = divmod(max_steps, of_generator)
        return max_steps, (full * of_critic if full else 0) + rest * self.n_critic
