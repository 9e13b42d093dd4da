"""How often the nets of a GAN step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GANSteps:
    """Counts of steps: each of the generator follows `n_critic` of the critic, the last of an epoch maybe fewer.

    Attributes:
        batches: number of batches per epoch; infinite if unknown.
        accumulate: batches per step.
        n_critic: steps of the critic for one of the generator.
    """

    batches: float
    accumulate: int
    n_critic: int

    @property
    def per_epoch(self) -> tuple[float, float]:
        """Steps of generator and critic in an epoch."""
        if not math.isfinite(self.batches):
            return self.batches, self.batches
        return -(-self.batches // (self.accumulate * self.n_critic)), -(-self.batches // self.accumulate)

    def in_training(self, max_epochs: int | None, max_steps: int) -> tuple[float, float]:
        """Steps of generator and critic in a whole training.

        Args:
            max_epochs: None or -1 for no bound.
            max_steps: of the generator; -1 for no bound.
        """
        generator, critic = self.per_epoch
        epochs = math.inf if max_epochs in (None, -1) else max_epochs or 0
        if max_steps <= 0 or generator * epochs < max_steps:
            return generator * epochs, critic * epochs
        full, rest = divmod(max_steps, generator)
        return max_steps, (full * critic if full else 0) + rest * self.n_critic

    def critic_steps_before(self, epoch: int) -> int:
        """Steps of the critic before an epoch, counted from 0; 0 if the batches of an epoch are unknown."""
        critic = self.per_epoch[1]
        return epoch * int(critic) if math.isfinite(critic) else 0
