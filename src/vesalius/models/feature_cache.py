"""Features that never change are computed once."""

import hashlib
from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class FeatureCache:
    """Feature vectors of images by their numbers, for a net without a trained part below them.

    Lives in memory and in no checkpoint: a resumed run computes them again, unless they were added.
    """

    def __init__(self) -> None:
        self._features: Tensor | None = None
        self._known = torch.zeros(0, dtype=torch.bool)

    def get(self, numbers: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Features (N, F) of images.

        Args:
            numbers: (N,) of the images.
            compute: the features of those of the N images that a mask (N,) marks; called if any are not known.
        """
        rows = numbers.cpu()
        within = rows < len(self._known)
        new = ~within
        new[within] = ~self._known[rows[within]]
        if bool(new.any()):
            self.add(rows[new], compute(new.to(numbers.device)))
        assert self._features is not None
        return self._features[numbers]

    def add(self, numbers: Tensor, features: Tensor) -> None:
        """Keep the features (N, F) of the images of these numbers (N,)."""
        if not len(numbers):
            return
        with torch.inference_mode(False):  # what is kept in validation is read, and added to, in training
            self._add(numbers.cpu(), features.detach())

    def _add(self, rows: Tensor, features: Tensor) -> None:
        size = int(rows.max()) + 1
        kept = features.new_zeros((0, features.shape[1])) if self._features is None else self._features
        kept = kept.to(features.device)
        if size > len(self._known):
            size = max(size, 2 * len(self._known))  # images in their order: else each batch copies all
            kept = torch.cat([kept, kept.new_zeros((size - len(kept), kept.shape[1]))])
            self._known = torch.cat([self._known, torch.zeros(size - len(self._known), dtype=torch.bool)])
        kept[rows.to(kept.device)] = features
        self._features = kept
        self._known[rows] = True

    def known(self) -> tuple[Tensor, Tensor]:
        """Numbers (N,) of the images, rising, and their features (N, F)."""
        rows = self._known.nonzero().squeeze(1)
        return rows, torch.zeros(0, 0) if self._features is None else self._features[rows.to(self._features.device)]


def encode_alike(encode: Callable[[Tensor], Tensor], images: Tensor, size: int = 32) -> Tensor:
    """Encode images in chunks of one size, the last one filled up with copies.

    The last bits of a convolution may depend on how many images it is given: here they do not depend on which images,
    and how many, are encoded together, so that a resumed run computes the features that an uninterrupted one did.

    Args:
        encode: maps images (size, C, H, W) to features (size, F).
        images: (N, C, H, W), N at least 1.
        size: of a chunk.

    Returns:
        Features (N, F).
    """
    filled = torch.cat([images, images[-1:].expand(-len(images) % size, *images.shape[1:])])
    return torch.cat([encode(chunk) for chunk in torch.split(filled, size)])[: len(images)]


def hash_tensors(described: str, tensors: Mapping[str, Tensor]) -> str:
    """A hash of a text, and of tensors by name, shape, type and bytes: 32 hex characters (BLAKE2b)."""
    digest = hashlib.blake2b(described.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
