"""Slices of a file of volumes, ready for use: window, drift, mask, orientation."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from vesalius.config.errors import InputError
from vesalius.data.formats.acquisition import Plane
from vesalius.data.formats.nifti import Grid, read_grid, read_volume, upright_slices
from vesalius.data.formats.window import to_window, window_problems
from vesalius.data.sources.content import content_digest
from vesalius.data.sources.volumes.voxel_series import remove_drift

logger = logging.getLogger("vesalius")


@dataclass(frozen=True)
class VolumePreparation:
    """The steps from the voxels of a file to slices; see `Nifti` for the options.

    Attributes:
        plane, window, nan, run_length, detrend, standardize: as there.
        mask: the file of the mask.
    """

    plane: Plane
    window: Literal["auto", "none"] | Sequence[float]
    nan: float | Literal["error"]
    run_length: int | None
    detrend: Literal["linear"] | None
    standardize: Literal["run"] | None
    mask: Path | None

    def problems(self) -> list[str]:
        """A sentence for each option that cannot be used."""
        problems, nan = window_problems(self.window), self.nan
        if self._removes_drift and not isinstance(self.window, str):
            problems.append("`data.source.window` cannot go with `detrend` or `standardize`: leave it at auto.")
        if nan != "error" and not (isinstance(nan, int | float) and math.isfinite(nan)):
            problems.append(f"`data.source.nan={nan}` must be a finite number or error.")
        if self.run_length is not None and self.run_length < 1:
            problems.append(f"`data.source.run_length={self.run_length}` must be 1 or more, or null.")
        if self.mask is not None and not self.mask.is_file():
            problems.append(f"the mask {self.mask} does not exist: correct `data.source.mask`.")
        return problems

    def mismatch(self, grid: Grid) -> str | None:
        """Why these options do not fit a file, as the rest of a sentence; None if they do.

        Raises:
            InputError: if the mask cannot be read.
        """
        if self.run_length is not None and grid.frames % self.run_length:
            return f"has {grid.frames} volume(s), no multiple of `data.source.run_length={self.run_length}`."
        mask = self._mask_grid
        if mask is None:
            return None
        if grid.shape != mask.shape or not np.allclose(grid.affine, mask.affine, atol=1e-2):
            return f"has another grid than the mask ({grid.shape} and {mask.shape} voxels): resample one of them."
        return None

    def slices(self, path: Path, name: str) -> tuple[np.ndarray, int]:
        """All slices of a file: (S, T, C, H, W) uint8, uint16 or float32; and the number of voxels NaN or infinite.

        Raises:
            InputError: if it cannot be read.
        """
        window = "none" if self._removes_drift else to_window(self.window)
        volume = read_volume(path, name, window=window, nan=self.nan)
        voxels = volume.voxels
        if self._removes_drift:
            series = np.moveaxis(voxels, 3, -1)
            length = self.run_length or series.shape[-1]
            if series.shape[-1] % length:
                raise InputError(f"{name} {self.mismatch(volume.grid)}")
            detrend, standardize = self.detrend is not None, self.standardize is not None
            voxels = np.moveaxis(remove_drift(series, length, detrend=detrend, standardize=standardize), -1, 3)
        if self._inside is not None:
            voxels = np.where(self._inside, voxels, np.zeros((), voxels.dtype))
        return upright_slices(voxels, self.plane), volume.filled

    def settings(self) -> list[object]:
        """All that the slices depend on besides the file."""
        window = self.window if isinstance(self.window, str) else list(self.window)
        mask = None if self.mask is None else content_digest(self.mask.parent, [self.mask.name], None)
        return [self.plane, window, self.nan, self.run_length, self.detrend, self.standardize, mask]

    @property
    def _removes_drift(self) -> bool:
        return self.detrend is not None or self.standardize is not None

    @cached_property
    def _mask_grid(self) -> Grid | None:
        return None if self.mask is None else read_grid(self.mask, f"the mask {self.mask.name}")

    @cached_property
    def _inside(self) -> np.ndarray | None:
        """(X, Y, Z, 1, 1) bool."""
        if self.mask is None:
            return None
        inside: np.ndarray = read_volume(self.mask, f"the mask {self.mask.name}", window="none").voxels != 0
        return inside[..., :1, :1]
