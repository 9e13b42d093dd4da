"""Which parts of a network learn, when, and how fast."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, cast

from torch import nn
from torch.optim import Optimizer

from vesalius.config.errors import InputError
from vesalius.models.nets.base import Staged


class Finetune:
    """Freezing, staged unfreezing, and lower learning rates for lower layers.

    Everything is a pure function of the network and the epoch, so a resumed run freezes what an uninterrupted one does.
    The parameter groups never change: a frozen parameter has no gradient, and optimisers pass over it.

    Args:
        freeze: how many stages stay frozen at first, counted from the stem; `all` leaves the head alone to learn.
        unfreeze_every: epochs after which one more stage is released, from the head down; None releases none.
        lr_decay: a stage learns at `lr * lr_decay**distance`; the head has distance 0, the last stage 1
            (Howard and Ruder 2018, Universal Language Model Fine-tuning).
        exempt_biases_and_norms: no weight decay on biases, normalisations and other vectors.
    """

    def __init__(
        self,
        *,
        freeze: int | Literal["all"] = 0,
        unfreeze_every: int | None = None,
        lr_decay: float = 1.0,
        exempt_biases_and_norms: bool = False,
    ) -> None:
        problems: list[str] = []
        if freeze != "all" and (not isinstance(freeze, int) or freeze < 0):
            problems.append(f"model.finetune.freeze={freeze}: expected all, or how many stages (0 or more).")
        if unfreeze_every is not None and unfreeze_every < 1:
            problems.append(f"model.finetune.unfreeze_every={unfreeze_every}: expected epochs (1 or more) or null.")
        if not 0 < lr_decay <= 1:
            problems.append(f"model.finetune.lr_decay={lr_decay}: must be above 0 and at most 1.")
        if problems:
            raise InputError(problems)
        self.freeze = freeze
        self.unfreeze_every = unfreeze_every
        self.lr_decay = lr_decay
        self.exempt_biases_and_norms = exempt_biases_and_norms

    @property
    def staged(self) -> bool:
        """Whether what is frozen changes during training."""
        return self.freeze != 0 and self.unfreeze_every is not None

    def check(self, net: nn.Module) -> None:
        """Refuse a network that cannot be treated so.

        Raises:
            InputError: if it has no stages, or fewer than are to be frozen.
        """
        if self.freeze == 0 and self.lr_decay == 1.0:
            return
        name = type(net).__name__
        if not isinstance(net, Staged):
            raise InputError(
                f"model.finetune: freeze and lr_decay need a net with stages; let {name} inherit from Net."
            )
        count = len(net.stages())
        if self.freeze != "all" and self.freeze > count:
            raise InputError(f"model.finetune.freeze={self.freeze}: {name} has {count} stages; give 0 to {count}.")

    def frozen_stages(self, count: int, epoch: int) -> int:
        """How many of `count` stages are frozen in an epoch (counted from 0)."""
        at_first = count if self.freeze == "all" else self.freeze
        released = 0 if self.unfreeze_every is None else epoch // self.unfreeze_every
        return max(at_first - released, 0)

    def apply(self, net: nn.Module, epoch: int) -> None:
        """Set what learns in an epoch; a frozen stage is in evaluation mode, so its BatchNorm keeps its statistics.

        Args:
            net: a network with stages, unless nothing is ever frozen.
            epoch: counted from 0.
        """
        if self.freeze == 0:
            return
        stages = cast(Staged, net).stages()
        frozen = self.frozen_stages(len(stages), epoch)
        for position, stage in enumerate(stages):
            learns = position >= frozen
            for parameter in stage.parameters():
                parameter.requires_grad_(learns)
            stage.train(learns and net.training)

    def param_groups(self, net: nn.Module) -> list[dict[str, Any]]:
        """All parameters in groups for an optimiser, head first; `lr_scale` multiplies the learning rate.

        One group alone, unless options ask for more: an optimiser step costs less with few.
        """
        if self.lr_decay == 1.0:
            return self._split(net.named_parameters(), 1.0)
        stages = cast(Staged, net).stages()
        below = [{id(parameter) for parameter in stage.parameters()} for stage in stages]
        in_stages = set().union(*below)
        groups = self._split(((n, p) for n, p in net.named_parameters() if id(p) not in in_stages), 1.0)
        for distance, members in enumerate(reversed(below), start=1):
            part = ((n, p) for n, p in net.named_parameters() if id(p) in members)
            groups += self._split(part, self.lr_decay**distance)
        return groups

    def optimizer(self, factory: Callable[..., Optimizer], net: nn.Module) -> Optimizer:
        """Build an optimiser whose groups have their own learning rates; a schedule takes those as peaks."""
        optimizer = factory(self.param_groups(net))
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * group["lr_scale"]
        return optimizer

    def _split(self, named: Iterable[tuple[str, nn.Parameter]], scale: float) -> list[dict[str, Any]]:
        parameters = [parameter for _, parameter in named]
        if not self.exempt_biases_and_norms:
            return [{"params": parameters, "lr_scale": scale}] if parameters else []
        matrices = [parameter for parameter in parameters if parameter.ndim > 1]
        vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices, "lr_scale": scale}] if matrices else []
        return groups + ([{"params": vectors, "lr_scale": scale, "weight_decay": 0.0}] if vectors else [])
