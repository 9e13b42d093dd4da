"""Which parts of a network are trained, when, and at which learning rate."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from vesalius.config.errors import InputError
from vesalius.models.nets.base import Staged
from vesalius.models.nets.lora import add_lora, is_adapter


class Finetune:
    """Freezing, staged unfreezing, and lower learning rates for lower layers.

    What is frozen depends on the network and the epoch only, so that a resumed run equals an uninterrupted one. The
    parameter groups never change: a frozen parameter has no gradient, and optimisers skip it.

    Args:
        freeze: number of stages that are frozen at first, counted from the stem; `all` trains the head only.
        unfreeze_every: number of epochs after which one more stage is unfrozen, from the head down; None: never.
        lr_decay: the learning rate of a stage is `lr * lr_decay**distance`; the head has distance 0, the last stage 1
            (Howard and Ruder 2018, Universal Language Model Fine-tuning).
        exempt_biases_and_norms: no weight decay on biases, normalisations and other vectors.
        freeze_norm: BatchNorm of all stages keeps the statistics of the pretrained weights.
        lora_rank: of low-rank adapters, which learn in place of the weights of the stages; None for none. Stages are
            then in evaluation mode.

    Raises:
        InputError: for values out of range, all of them at once.
    """

    def __init__(
        self,
        *,
        freeze: int | Literal["all"] = 0,
        unfreeze_every: int | None = None,
        lr_decay: float = 1.0,
        exempt_biases_and_norms: bool = False,
        freeze_norm: bool = False,
        lora_rank: int | None = None,
    ) -> None:
        problems: list[str] = []
        if freeze != "all" and freeze < 0:
            problems.append(f"model.finetune.freeze={freeze}: must be all, or a number of stages (0 or more).")
        if unfreeze_every is not None and unfreeze_every < 1:
            problems.append(f"model.finetune.unfreeze_every={unfreeze_every}: must be epochs (1 or more) or null.")
        if not 0 < lr_decay <= 1:
            problems.append(f"model.finetune.lr_decay={lr_decay}: must be above 0 and at most 1.")
        if lora_rank is not None and lora_rank < 1:
            problems.append(f"model.finetune.lora_rank={lora_rank}: must be 1 or more, or null.")
        if problems:
            raise InputError(problems)
        self.freeze_norm, self.lora_rank = freeze_norm, lora_rank
        self.freeze = freeze
        self.unfreeze_every = unfreeze_every
        self.lr_decay = lr_decay
        self.exempt_biases_and_norms = exempt_biases_and_norms

    @property
    def staged(self) -> bool:
        """Whether what is frozen changes during training."""
        return self.freeze != 0 and self.unfreeze_every is not None

    @property
    def freezes_all(self) -> bool:
        """Whether only the head is ever trained."""
        return self.freeze == "all" and self.unfreeze_every is None

    def check(self, net: nn.Module) -> None:
        """Refuse a network without the stages that the options need.

        Raises:
            InputError: if it has no stages, or fewer than are to be frozen.
        """
        if not (self._changes_stages or self.lr_decay < 1.0):
            return
        name = type(net).__name__
        if not isinstance(net, Staged):
            raise InputError(f"model.finetune: its options need a net with stages; let {name} inherit from Net.")
        count = len(net.stages())
        if self.freeze != "all" and self.freeze > count:
            raise InputError(f"model.finetune.freeze={self.freeze}: {name} has {count} stages: choose 0 to {count}.")

    @property
    def _changes_stages(self) -> bool:
        return self.freeze != 0 or self.freeze_norm or self.lora_rank is not None

    def adapt(self, net: nn.Module) -> None:
        """Add the adapters, if any, to a network with stages."""
        if self.lora_rank is not None:
            add_lora(cast(Staged, net).stages(), self.lora_rank)

    def frozen_stages(self, count: int, epoch: int) -> int:
        """Number of frozen stages, out of `count`, in an epoch (counted from 0)."""
        at_first = count if self.freeze == "all" else self.freeze
        unfrozen = 0 if self.unfreeze_every is None else epoch // self.unfreeze_every
        return max(at_first - unfrozen, 0)

    def apply(self, net: nn.Module, epoch: int) -> None:
        """Freeze and unfreeze for an epoch; frozen stages are in evaluation mode, so BatchNorm keeps its statistics.

        Args:
            net: a network with stages, unless the options need none.
            epoch: counted from 0.
        """
        if not self._changes_stages:
            return
        stages = cast(Staged, net).stages()
        frozen = self.frozen_stages(len(stages), epoch)
        for position, stage in enumerate(stages):
            trained = position >= frozen
            for name, parameter in stage.named_parameters():
                parameter.requires_grad_(trained and (self.lora_rank is None or is_adapter(name)))
            stage.train(trained and net.training and self.lora_rank is None)
            for part in stage.modules():
                if self.freeze_norm and isinstance(part, _BatchNorm):
                    part.eval()

    def param_groups(self, net: nn.Module) -> list[dict[str, Any]]:
        """All parameters in groups for an optimiser, head first; `lr_scale` multiplies the learning rate.

        As few groups as the options need, as an optimiser step costs less with few.
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
        """Build an optimiser whose groups have their own learning rates, which a schedule takes as peaks."""
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
