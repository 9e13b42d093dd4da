"""Optimisation of a generator in alternation with other nets: schedules, accumulation, clipping and step counts."""

from abc import abstractmethod
from collections.abc import Callable

from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vesalius.models.family import Batch, FamilyModule
from vesalius.models.gan.steps import GANSteps
from vesalius.models.schedules import build_schedule


class AlternatingModule(FamilyModule):
    """A family with manual optimisation: of a generator, and of nets that take `n_critic` steps for one of its.

    An optimiser step is one of the generator: `trainer.max_steps`, `global_step` and the generator's schedule count
    those. With `trainer.accumulate_grad_batches=k` a step sees k batches, and `trainer.gradient_clip_val` bounds the
    gradients of each net by itself. With `trainer.precision=16` a step whose gradients overflow changes no weight, but
    counts, as in Lightning.

    Args:
        schedule: called as `schedule(optimizer, total_steps=..., steps_per_epoch=...)`, once for each optimiser; None
            keeps the learning rates.
        n_critic: steps of the other nets for one of the generator.
    """

    def __init__(self, *, schedule: Callable[..., LRScheduler] | None, n_critic: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.make_schedule = schedule
        self.n_critic = n_critic
        self.accumulate = 1
        self.clip: Callable[[Optimizer], None] | None = None

    @abstractmethod
    def build_optimizers(self) -> list[Optimizer]:
        """The generator's optimiser first, then those of the other nets."""

    def set_manual_optimization(self, accumulate: int, clip: Callable[[Optimizer], None] | None) -> None:
        """Set what Lightning leaves to modules with manual optimisation.

        Args:
            accumulate: batches per step.
            clip: bounds the gradients of an optimiser; None for no bound.
        """
        self.accumulate, self.clip = accumulate, clip

    @property
    def has_unused_parameters(self) -> bool:
        """True: only one of the nets learns at a time."""
        return True

    @property
    def total_steps(self) -> float:
        """Steps of the generator in the whole training; infinite if unknown."""
        return self._total_steps[0]

    @property
    def steps(self) -> GANSteps:
        """The step counts of an epoch."""
        return GANSteps(self.trainer.num_training_batches, self.accumulate, self.n_critic)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """All optimisers, and a schedule for each if one is configured."""
        optimizers = self.build_optimizers()
        for optimizer in optimizers:
            self.check_clipping(optimizer, clips=self.clip is not None)
        if self.make_schedule is None:
            return optimizers
        total_steps = self._total_steps  # first, as it loads the data that the next line counts
        per_epoch = self.steps.per_epoch
        schedules = []
        for number, optimizer in enumerate(optimizers):
            net = min(number, 1)  # 0: the generator; 1: the nets that step more often
            lengths = {"total_steps": total_steps[net], "steps_per_epoch": per_epoch[net]}
            schedules.append(build_schedule(self.make_schedule, optimizer, **lengths))
        return optimizers, schedules

    def start_step(self, number: int) -> None:
        """Reset the gradients of an optimiser."""
        self.optimizers()[number].zero_grad(set_to_none=True)  # type: ignore[index]

    def finish_step(self, number: int) -> None:
        """Step an optimiser and its schedule; only steps of the generator, number 0, count in `global_step`."""
        optimizer = self.optimizers()[number]  # type: ignore[index]
        if number == 0:
            optimizer.step()
        else:  # by the strategy: a step of Lightning's wrapper would count
            self.trainer.strategy.optimizer_step(optimizer.optimizer, _no_closure)
        schedulers = self.lr_schedulers()
        if schedulers is not None:
            schedulers[number].step()  # type: ignore[index]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients, which are at their true scale now."""
        if self.clip is not None:
            self.clip(optimizer)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Start from equal buffers on all devices."""
        self._synchronize_buffers()

    def on_validation_start(self) -> None:
        """Validate the same nets on all devices."""
        self._synchronize_buffers()

    def _synchronize_buffers(self) -> None:
        """Let DDP broadcast the first device's running statistics, which it skips with manual optimisation."""
        wrapped = self.trainer.strategy.model
        if isinstance(wrapped, DistributedDataParallel):
            wrapped.require_forward_param_sync = True

    @property
    def _total_steps(self) -> tuple[float, float]:
        self.trainer.fit_loop.setup_data()  # so that batches can be counted; does nothing a second time
        return self.steps.in_training(self.trainer.max_epochs, self.trainer.max_steps)


def _no_closure() -> None:
    """The closure that an optimiser step evaluates: empty, as the gradients are computed already."""
