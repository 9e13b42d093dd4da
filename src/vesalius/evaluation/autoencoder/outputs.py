"""What an autoencoder makes of images: reconstructions and codes, with the principal components to compare them to."""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.data.samples import Split, target_columns
from vesalius.evaluation.base import Results
from vesalius.metrics.baselines.principal_components import MAX_TRAIN, PrincipalComponents
from vesalius.models.autoencoder.autoencoder import Autoencoder

_MAX_VALUES = 2**27  # of images held at once for PCA: half a gigabyte


class AutoencoderOutputs:
    """The outputs of one finished autoencoder for the samples of a datamodule.

    Args:
        results: of the autoencoder.
    """

    def __init__(self, results: Results) -> None:
        self.model = cast(Autoencoder, results.model)
        self.data, self.facts = results.data, results.facts
        self.config, self.device = results.config, results.device

    def batches(self, rows: Tensor) -> Iterator[dict[str, Tensor]]:
        """Outputs for some rows, on the CPU: `original` and `reconstruction` (B, C, H, W), `latent` (B, D), `index`."""
        model = self.model.to(self.device).eval()
        for part in torch.split(rows, self.data.eval_batch_size):
            with torch.inference_mode():
                batch = {"image": self.data.store[part].to(self.device), "index": part}
                yield {name: value.cpu() for name, value in model.predict_step(batch).items()}

    def originals(self, split: Split) -> NDArray[np.float32]:
        """Images of a split as the model is to draw them, (N, C, H, W) in 0..1; of many, some evenly spread ones."""
        most = min(MAX_TRAIN, max(1, _MAX_VALUES // math.prod(self.data.store.shape)))
        rows = self.data.spread_rows(split, most)
        return np.concatenate([batch["original"].numpy() for batch in self.batches(rows)])

    @property
    def has_training_images(self) -> bool:
        """Whether the data are those of the run, so that baselines can be fitted."""
        return len(self.data.rows("train")) > 0

    @cached_property
    def components(self) -> PrincipalComponents:
        """As many principal components of the training images as the code is long."""
        return PrincipalComponents.fit(self.originals("train"), self.model.net.latent_dim, seed=self.config["seed"])

    def project(self, original: Tensor) -> Tensor:
        """Images (B, C, H, W) as drawn from the principal components, in 0..1."""
        drawn = self.components.reconstruct(self.components.project(original.numpy()))
        return torch.from_numpy(drawn).to(torch.float32).clamp(0, 1)

    def table(self, rows: Tensor) -> pd.DataFrame:
        """`sample_id`, `group_id` and any target columns of some rows."""
        kept = self.data.table.iloc[rows.tolist()]
        return kept[["sample_id", "group_id", *target_columns(kept)]].reset_index(drop=True)

    def class_names(self, rows: Tensor) -> list[str] | None:
        """The class of each row; None where the samples have none."""
        if not self.data.source.classes or "target" not in self.data.table:
            return None
        return [self.data.source.classes[int(label)] for label in self.data.table["target"].iloc[rows.tolist()]]
