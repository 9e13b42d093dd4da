"""Whether the processes that train one model together have the same config and data."""

import hashlib
import json
import logging
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from vesalius.config.errors import InputError

logger = logging.getLogger("vesalius")

_PATIENCE = 1.0  # seconds for a rank that was killed to be gone


def fingerprint(content: Any) -> str:
    """A short hash of plain containers, equal in all processes for equal contents."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RankConsistency(Callback):
    """Stops a run whose processes would train on different configs or different data.

    Each process reads the frozen config, and lists and splits the data, by itself; on another machine it may find
    another file, or another copy of the data. Then all continue with the random state of rank 0, which is that of a run
    by one process: Lightning would seed each rank again.
    """

    def __init__(self) -> None:
        self._own: dict[str, str] = {}
        self._batch_size = 0
        self._rng_state = torch.get_rng_state()

    def fill(self, config: Mapping[str, Any], samples: Sequence[Sequence[Any]], batch_size: int) -> None:
        """Set what this process has read, right before training.

        Args:
            config: frozen.
            samples: one entry for each sample, with its split.
            batch_size: of a step over all devices.
        """
        self._own = {"config": fingerprint(config), "samples": fingerprint(samples)}
        self._batch_size = batch_size
        self._rng_state = torch.get_rng_state()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compare the ranks, before any weight is moved.

        Raises:
            InputError: on every rank, where they differ.
        """
        logger.info("config %s, samples %s", self._own["config"], self._own["samples"])
        logger.info(describe_shares(self._batch_size, trainer.world_size))
        if trainer.world_size > 1:
            everyone: list[dict[str, str]] = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(everyone, self._own)
            check_equal(everyone)
            torch.set_rng_state(trainer.strategy.broadcast(self._rng_state))


def check_equal(ranks: Sequence[Mapping[str, str]]) -> None:
    """Refuse ranks that have read different configs or samples.

    Args:
        ranks: for each rank, the fingerprints `config` and `samples`.

    Raises:
        InputError: with the ranks that differ from the first, and the cure.
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


def killed_rank(trainer: pl.Trainer) -> str | None:
    """Which rank that this process started was ended by a signal, and by which; None for none within a second."""
    deadline = time.monotonic() + _PATIENCE
    started = getattr(trainer.strategy.launcher, "procs", [])
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":  # Lightning's, which would kill this process before it can reply
            thread._child_processes = []  # type: ignore[attr-defined]
    while started and time.monotonic() < deadline:
        for number, process in enumerate(started, start=1):
            code = process.poll()
            if code is not None and code < 0 and code != -signal.SIGTERM:  # which Lightning sends to the others
                return f"rank {number} was killed by {signal.Signals(-code).name}"
        time.sleep(0.05)
    return None


def describe_shares(batch_size: int, devices: int) -> str:
    """How the devices divide a batch, as a phrase for the log."""
    if devices == 1:
        return f"batch of {batch_size} on one device"
    each, more = divmod(batch_size, devices)
    if more == 0:
        return f"batch of {batch_size} = {devices} x {each}"
    return f"batch of {batch_size} = {more} x {each + 1} + {devices - more} x {each}"
