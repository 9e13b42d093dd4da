"""Features that never change are computed once."""

from collections.abc import Callable

import torch
from torch import Tensor


class FeatureCache:
    """Feature vectors of samples by their row numbers, for a net without a trained part below them.

    Lives in memory and in no checkpoint: a resumed run computes them again.
    """

    def __init__(self) -> None:
        self._features: Tensor | None = None
        self._known = torch.zeros(0, dtype=torch.bool)

    def get(self, index: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """Features (B, F) of a batch.

        Args:
            index: (B,) row numbers of its samples.
            compute: the features of the batch, called if any of them is not known. Always of the whole batch, since
                the last bits of a convolution may depend on how many images it is given.
        """
        rows = index.cpu()
        size = int(rows.max()) + 1
        if size > len(self._known):
            self._known = torch.cat([self._known, torch.zeros(size - len(self._known), dtype=torch.bool)])
        new = ~self._known[rows]
        if self._features is None or bool(new.any()):
            computed = compute()
            if self._features is None:
                self._features = computed.new_zeros((0, computed.shape[1]))
            if len(self._known) > len(self._features):
                more = computed.new_zeros((len(self._known) - len(self._features), computed.shape[1]))
                self._features = torch.cat([self._features, more])
            self._features[index[new.to(index.device)]] = computed[new.to(index.device)].detach()
            self._known[rows] = True
        return self._features[index]
