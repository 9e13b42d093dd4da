"""A finished run, computed by torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.config.errors import InputError
from vesalius.config.facts import Facts
from vesalius.deploy.backend import Outputs
from vesalius.deploy.contract import InputContract
from vesalius.deploy.inputs import ModelInput
from vesalius.deploy.out_of_distribution import load_out_of_distribution
from vesalius.evaluation.inference import inference_device
from vesalius.models.family import output_kind
from vesalius.models.features import head_inputs
from vesalius.runs.hashes import file_hash
from vesalius.runs.run_folder import RunFolder
from vesalius.training.checkpoints import load_checkpoint, restore_model


class RunBackend:
    """The best checkpoint of a run.

    Args:
        run: the folder of a finished run of classes or continuous targets, of images or series; or of an autoencoder
            or anomaly detector.

    Attributes:
        module: the network with its preprocessing, in evaluation mode; takes images in 0..value_max.

    Raises:
        InputError: for a folder without a finished run, or a model that only generates images.
    """

    def __init__(self, run: str | Path) -> None:
        folder = RunFolder(run)
        checkpoint = load_checkpoint(folder.best)
        config = folder.config
        self.facts = Facts.from_dict(checkpoint["facts"])
        self.module: pl.LightningModule = restore_model(checkpoint)
        kind = output_kind(self.module)
        if kind == "samples":
            family = config["model"]["_target_"].rpartition(".")[2]
            raise InputError(
                f"{folder.path} is a run of {family}, which generates images and predicts nothing of them: give a run "
                "of model=cnn, model=lstm or model=autoencoder."
            )
        if kind in ("reconstructions", "anomalies"):
            self.facts = replace(self.facts, task="unlabelled", classes=())
        self.contract = InputContract.of_run(config["data"], self.facts, checkpoint["provenance"].get("acquisition"))
        self.metrics: Mapping[str, Any] = folder.metrics
        self.ood = load_out_of_distribution(folder.path)
        self._device = inference_device(config["trainer"])
        self._checkpoint = folder.best

    @cached_property
    def sha256(self) -> str:
        """Of the checkpoint."""
        return file_hash(self._checkpoint)

    def compute(self, inputs: Sequence[ModelInput]) -> Outputs:
        """What the model outputs; a series at a time, since padding would change the last bits."""
        batches = [[one] for one in inputs] if self.contract.series else [list(inputs)]
        module = self.module.to(self._device)
        parts: list[Outputs] = []
        with torch.inference_mode():
            for batch in batches:
                on_device = {name: it.to(self._device) for name, it in self._batch(batch).items()}
                with head_inputs(module) as collected:
                    output = module.predict_step(on_device, 0)
                parts.append(_outputs(output, collected))
        return _joined(parts)

    def relevance(self, method: str, one: ModelInput, target: int) -> NDArray[np.float64]:
        """(T, H, W) relevance of pixels by gradients; for `vesalius.deploy.explain`.

        Args:
            method: a function of `vesalius.deploy.explain.gradients`.
            one: image or series.
            target: number of the class or continuous target.

        Raises:
            InputError: for a net that does not allow it, and without captum.
        """
        from vesalius.deploy.explain import gradients

        found: NDArray[np.float64] = getattr(gradients, method)(self.module.to(self._device), one, target)
        return found

    def _batch(self, inputs: Sequence[ModelInput]) -> dict[str, Tensor]:
        """Images as one batch, or a single series, which needs no padding."""
        index = torch.arange(len(inputs))
        if not self.contract.series:
            return {"image": torch.from_numpy(np.concatenate([one.images for one in inputs])), "index": index}
        (one,) = inputs
        time = torch.from_numpy(cast(NDArray[np.float32], one.seconds))[None]
        return {
            "image": torch.from_numpy(one.images)[None],
            "mask": torch.ones(time.shape, dtype=torch.bool),
            "time": time,
            "length": torch.tensor([time.shape[1]]),
            "index": index,
        }


def _outputs(output: Mapping[str, Tensor], collected: Sequence[Tensor]) -> Outputs:
    """Those of one call of `predict_step`, and of the net's head during it."""
    if "reconstruction" in output:
        errors = (output["original"] - output["reconstruction"]).square().mean(dim=1).cpu().numpy()
        return _unlabelled(output, errors, errors.mean(axis=(1, 2), dtype=np.float64))
    if "map" in output:
        return _unlabelled(output, output["map"].cpu().numpy(), output["score"].double().cpu().numpy())
    values = output["values"] if "values" in output else output["probabilities"]
    return Outputs(values.double().cpu().numpy(), collected[0].cpu().numpy() if collected else None)


def _unlabelled(output: Mapping[str, Tensor], errors: NDArray[np.float32], scores: NDArray[np.float64]) -> Outputs:
    return Outputs(np.zeros((len(errors), 0)), output["latent"].float().cpu().numpy(), errors, scores)


def _joined(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of batches as those of one; what one of them lacks all lack."""

    def join(name: str) -> Any:
        found = [value for part in parts if (value := getattr(part, name)) is not None]
        return np.concatenate(found) if found else None

    return Outputs(join("values"), join("features"), join("errors"), join("scores"))
