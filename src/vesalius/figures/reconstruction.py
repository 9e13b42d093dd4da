"""Figures of reconstructions, of latent codes, and of maps of the reconstruction error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vesalius.figures.canvas import ACCENT, COLOURS, INK, canvas, hide_axes, label_row, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES_SHOWN = 10
#: Most points of a map of codes; of more codes, an evenly spaced subset is drawn.
MAX_POINTS = 2_000

_MIN_TSNE = 30
_ITERATIONS = 500  # 2,000 points: 8 s on one core; the usual 1,000 take twice as long
_MARKERS = ("o", "^", "s", "D", "v", "P", "X")

Images = NDArray[Any]


def reconstructions_figure(
    original: Images, reconstruction: Images, pca: Images | None = None, captions: Sequence[str] | None = None
) -> Figure:
    """Rows of originals, of their reconstructions by the autoencoder and by PCA, and of the errors of both.

    Errors are absolute differences, averaged over channels, all on one scale.

    Args:
        original: (N, C, H, W) in 0..1, of which ten are shown.
        reconstruction: of the autoencoder, of the same shape.
        pca: reconstructions from as many principal components.
        captions: N lines below the autoencoder's reconstructions, such as their PSNR.
    """
    drawn = {"autoencoder": reconstruction} | ({} if pca is None else {"PCA": pca})
    original, *others = (np.asarray(images[:IMAGES_SHOWN]) for images in (original, *drawn.values()))
    errors = [np.abs(images.astype(np.float64) - original).mean(axis=1) for images in others]
    most = max(float(np.max(error)) for error in errors) or 1.0
    rows, columns = 1 + 2 * len(drawn), len(original)
    figure, cells = canvas(1.15 * columns + 1.3, 1.2 * rows + 0.2, rows=rows, columns=columns)
    names = ["original", *drawn, *(f"error of\n{name}" for name in drawn)]
    for row, (name, images) in enumerate(zip(names, [original, *others, *errors], strict=True)):
        for column in range(columns):
            axes = cells[row * columns + column]
            hide_axes(axes)
            if row <= len(drawn):
                show_image(axes, images[column])
            else:
                heat = axes.imshow(images[column], cmap="magma", vmin=0, vmax=most, interpolation="nearest")
            if captions is not None and row == 1:
                axes.set_xlabel(captions[column], fontsize=7, color=INK, labelpad=2)
        label_row(cells[row * columns], name)
    figure.colorbar(heat, ax=cells[(1 + len(drawn)) * columns :], shrink=0.8, pad=0.01).ax.tick_params(labelsize=7)
    return figure


def latent_map_figure(latent: NDArray[Any], labels: Sequence[str] | None = None) -> Figure:
    """A map of codes in two dimensions: one point per image, coloured by class.

    t-SNE (van der Maaten & Hinton, JMLR 9:2579, 2008) keeps neighbours together; distances between groups of points
    mean little. Fewer than 30 codes are drawn along their two principal components, codes of one or two dimensions
    unchanged.

    Args:
        latent: (N, D) codes; at most 2,000 of them are drawn, evenly spaced.
        labels: N names of classes; None for one colour.
    """
    chosen = np.unique(np.linspace(0, len(latent) - 1, min(MAX_POINTS, len(latent))).astype(np.int64))
    codes = np.asarray(latent, dtype=np.float64)[chosen]
    points, method = _project(codes)
    classes = None if labels is None else np.asarray(labels, dtype=object)[chosen]
    names = [None] if classes is None else sorted(set(classes))
    figure, (axes,) = canvas(7.4 if len(names) > 1 else 5.4, 4.8)
    for position, label in enumerate(names):
        mine = points if classes is None else points[classes == label]
        axes.scatter(
            mine[:, 0],
            mine[:, 1],
            s=14 if len(points) > 500 else 26,
            color=ACCENT if label is None else COLOURS[position % len(COLOURS)],
            marker=_MARKERS[position // len(COLOURS) % len(_MARKERS)],
            alpha=0.75,
            linewidths=0,
            label=None if label is None else f"{label}  ({len(mine)})",
        )
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"Latent space{method}", loc="left")
    if classes is not None:
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8.5)
    return figure


def walk_figure(images: Images, left: str, right: str) -> Figure:
    """Images decoded at even steps between the codes of two patients.

    Args:
        images: (S, C, H, W) in 0..1, one per step; first and last are the patients'.
        left: label of the first.
        right: label of the last.
    """
    figure, cells = canvas(1.25 * len(images) + 0.2, 1.75, columns=len(images))
    for step, (axes, image) in enumerate(zip(cells, images, strict=True)):
        hide_axes(axes)
        show_image(axes, image)
        axes.set_xlabel(f"{step / max(1, len(images) - 1):.0%}", fontsize=7, color=INK, labelpad=2)
    for axes, name in {cells[0]: left, cells[-1]: right}.items():
        axes.set_title(name, fontsize=8.5, color=INK, pad=4)
    return figure


def error_maps_figure(
    images: Images, maps: NDArray[Any], masks: NDArray[Any] | None = None, captions: Sequence[str] | None = None
) -> Figure:
    """Images, and below each its error map, with outlines of the masks and a cross at the largest error.

    Args:
        images: (N, C, H, W) in 0..1, of which ten are shown.
        maps: (N, H, W) errors, all on one scale from 0.
        masks: (N, H, W) of lesions; an empty one has no outline.
        captions: N lines above the images, such as the class.
    """
    images, maps = np.asarray(images[:IMAGES_SHOWN]), np.asarray(maps[:IMAGES_SHOWN], dtype=np.float64)
    columns, most = len(images), float(maps.max()) if maps.max() > 0 else 1.0
    figure, cells = canvas(1.35 * columns + 1.3, 3.2, rows=2, columns=columns)
    for column in range(columns):
        above, below = cells[column], cells[columns + column]
        for axes in (above, below):
            hide_axes(axes)
            show_image(axes, images[column])
            if masks is not None:
                _outline(axes, np.asarray(masks[column]))
        share = np.clip(maps[column] / most, 0, 1)
        heat = below.imshow(maps[column], cmap="inferno", vmin=0, vmax=most, alpha=0.85 * share**0.5)
        y, x = np.unravel_index(maps[column].argmax(), maps[column].shape)
        below.plot([x], [y], marker="x", markersize=8, markeredgewidth=1.8, color="#56b4e9")
        if captions is not None:
            above.set_title(captions[column], fontsize=8, color=INK, pad=4)
    label_row(cells[0], "image")
    label_row(cells[columns], "error")
    figure.colorbar(heat, ax=cells[columns:], shrink=0.9, pad=0.01).ax.tick_params(labelsize=7)
    return figure


def _project(codes: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Project codes to two dimensions (N, 2); also the method, for the title."""
    from threadpoolctl import threadpool_limits

    if codes.shape[1] <= 2:
        return np.pad(codes, ((0, 0), (0, 2 - codes.shape[1]))), ""
    centred = codes - codes.mean(axis=0)
    if len(codes) >= _MIN_TSNE and centred.any():
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(codes) - 1) / 3)
        with threadpool_limits(1):  # equal threads, equal maps
            tsne = TSNE(perplexity=perplexity, init="pca", random_state=0, max_iter=_ITERATIONS)
            return np.asarray(tsne.fit_transform(codes)), ", t-SNE"
    with threadpool_limits(1):
        axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    points = centred @ axes.T
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1]))), ", two principal components"


def _outline(axes: Axes, mask: NDArray[Any]) -> None:
    """Draw the outline of a mask, along the sides of its pixels."""
    inside = np.pad(mask.astype(bool), 1)
    down = np.argwhere(inside[1:, :] != inside[:-1, :]) - (0, 1)
    across = np.argwhere(inside[:, 1:] != inside[:, :-1]) - (1, 0)
    axes.hlines(down[:, 0] - 0.5, down[:, 1] - 0.5, down[:, 1] + 0.5, color=COLOURS[4], linewidth=1.2)
    axes.vlines(across[:, 1] - 0.5, across[:, 0] - 0.5, across[:, 0] + 0.5, color=COLOURS[4], linewidth=1.2)
