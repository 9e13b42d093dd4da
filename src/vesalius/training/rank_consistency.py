"""What the processes that train one model together must agree on before they begin."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from vesalius.config.errors import InputError

logger = logging.getLogger("vesalius")


def fingerprint(content: Any) -> str:
    """A short name of plain containers that is equal in all processes, and differs for other contents."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RankConsistency(Callback):
    """Stops a run whose processes would train on different configs or different data.

    Each process reads the frozen config, and lists and splits the data, by itself; over several machines it may meet
    another file, or another copy of the data. Then all go on from the random numbers of rank 0, which are those of a
    run by one process: Lightning would seed them anew.
    """

    def __init__(self) -> None:
        self._own: dict[str, str] = {}
        self._batch_size = 0
        self._generator = torch.get_rng_state()

    def fill(self, config: Mapping[str, Any], samples: Sequence[Sequence[Any]], batch_size: int) -> None:
        """Say what this process has read, right before training.

        Args:
            config: frozen.
            samples: one entry for each sample, with its split.
            batch_size: of a step over all devices.
        """
        self._own = {"config": fingerprint(config), "samples": fingerprint(samples)}
        self._batch_size = batch_size
        self._generator = torch.get_rng_state()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compare, once the processes have found each other and before any weight is moved.

        Raises:
            InputError: on every rank alike, where they differ.
        """
        logger.info("config %s, samples %s", self._own["config"], self._own["samples"])
        logger.info(shares(self._batch_size, trainer.world_size))
        if trainer.world_size > 1:
            everyone: list[dict[str, str]] = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(everyone, self._own)
            check_equal(everyone)
            torch.set_rng_state(trainer.strategy.broadcast(self._generator))


def check_equal(ranks: Sequence[Mapping[str, str]]) -> None:
    """Refuse ranks that have read different things.

    Args:
        ranks: the fingerprint of each thing, for each rank.

    Raises:
        InputError: naming the ranks that differ from the first, and from what it comes.
    """
    cures = {
        "config": "let all processes read the config.yaml of the same run folder, and do not edit it",
        "samples": "give all machines the same files and the same split",
    }
    problems = []
    for name, cure in cures.items():
        others = [str(rank) for rank, own in enumerate(ranks) if own[name] != ranks[0][name]]
        if others:
            read = ", ".join(f"rank {rank}: {own[name]}" for rank, own in enumerate(ranks))
            problems.append(f"The {name} of rank {', '.join(others)} differs from that of rank 0 ({read}): {cure}.")
    if problems:
        raise InputError(problems)


def shares(batch_size: int, devices: int) -> str:
    """How the devices divide a batch, in words."""
    if devices == 1:
        return f"batch of {batch_size} on one device"
    each, more = divmod(batch_size, devices)
    if more == 0:
        return f"batch of {batch_size} = {devices} x {each}"
    return f"batch of {batch_size} = {more} x {each + 1} + {devices - more} x {each}"
