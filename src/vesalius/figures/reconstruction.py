"""Figures of reconstructions, of codes, and of where an image is unlike what a model learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.figures.canvas import ACCENT, COLOURS, INK, STYLES, bare, canvas, row_name, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES_SHOWN = 10
#: Points of a map of codes: of more, some that are evenly spread.
MAX_POINTS = 2_000

_MIN_TSNE = 30
_ITERATIONS = 500  # 2,000 points: 8 s on one core; the usual 1,000 take twice as long
_MARKERS = ("o", "^", "s", "D", "v", "P", "X")
_NAMES = {"psnr": "PSNR (dB)", "ssim": "SSIM", "mse": "mean squared error"}

Images = NDArray[Any]


def reconstructions_figure(
    original: Images, reconstruction: Images, pca: Images | None = None, captions: Sequence[str] | None = None
) -> Figure:
    """Rows of originals, of what the autoencoder and principal components make of them, and of their errors.

    Errors are absolute differences, the mean over channels, all on one scale.

    Args:
        original: (N, C, H, W) in 0..1, of which ten are shown.
        reconstruction: of the autoencoder, of the same shape.
        pca: of as many principal components.
        captions: N words below the autoencoder's, such as its PSNR.
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
            bare(axes)
            if row <= len(drawn):
                show(axes, images[column])
            else:
                heat = axes.imshow(images[column], cmap="magma", vmin=0, vmax=most, interpolation="nearest")
            if captions is not None and row == 1:
                axes.set_xlabel(captions[column], fontsize=7, color=INK, labelpad=2)
        row_name(cells[row * columns], name)
    figure.colorbar(heat, ax=cells[(1 + len(drawn)) * columns :], shrink=0.8, pad=0.01).ax.tick_params(labelsize=7)
    return figure


def latent_map_figure(
    latent: NDArray[Any], labels: Sequence[str] | None = None, method: Literal["tsne", "pca"] = "tsne", *, seed: int = 0
) -> Figure:
    """A map of codes in two dimensions: a point an image, coloured by class.

    t-SNE (van der Maaten & Hinton, JMLR 9:2579, 2008) keeps neighbours together; distances between groups of points
    mean little. Fewer than 30 codes are drawn along their two principal components, codes of one or two dimensions as
    they are.

    Args:
        latent: (N, D) codes; of more than 2,000, as many that are evenly spread.
        labels: N names of classes; one colour where there are none.
        method: `tsne`, or `pca` for the two principal components.
        seed: of t-SNE.
    """
    chosen = np.unique(np.linspace(0, len(latent) - 1, min(MAX_POINTS, len(latent))).astype(np.int64))
    codes = np.asarray(latent, dtype=np.float64)[chosen]
    points, name = _mapped(codes, method, seed)
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
    axes.set_title(f"Latent space, {name}", loc="left")
    if classes is not None:
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8.5)
    return figure


def walk_figure(images: Images, left: str, right: str) -> Figure:
    """Images (S, C, H, W) in 0..1, decoded at even steps from the code of one patient to that of another.

    Args:
        images: the steps, first and last those of the patients.
        left: words for the first.
        right: words for the last.
    """
    figure, cells = canvas(1.25 * len(images) + 0.2, 1.75, columns=len(images))
    for step, (axes, image) in enumerate(zip(cells, images, strict=True)):
        bare(axes)
        show(axes, image)
        axes.set_xlabel(f"{step / max(1, len(images) - 1):.0%}", fontsize=7, color=INK, labelpad=2)
    for axes, name in {cells[0]: left, cells[-1]: right}.items():
        axes.set_title(name, fontsize=8.5, color=INK, pad=4)
    return figure


def error_maps_figure(
    images: Images, maps: NDArray[Any], masks: NDArray[Any] | None = None, captions: Sequence[str] | None = None
) -> Figure:
    """Images, and below each its map of errors as heat; outlines of the masks, and a cross where the error is highest.

    Args:
        images: (N, C, H, W) in 0..1, of which ten are shown.
        maps: (N, H, W) how unusual each place is; all are on one scale, on which 0 and less is cold.
        masks: (N, H, W) the lesion; nothing is outlined where it is empty.
        captions: N words above the images, such as the class.
    """
    images, maps = np.asarray(images[:IMAGES_SHOWN]), np.asarray(maps[:IMAGES_SHOWN], dtype=np.float64)
    columns, most = len(images), float(maps.max()) if maps.max() > 0 else 1.0
    figure, cells = canvas(1.35 * columns + 1.3, 3.2, rows=2, columns=columns)
    for column in range(columns):
        above, below = cells[column], cells[columns + column]
        for axes in (above, below):
            bare(axes)
            show(axes, images[column])
            if masks is not None:
                _outline(axes, np.asarray(masks[column]))
        share = np.clip(maps[column] / most, 0, 1)
        heat = below.imshow(maps[column], cmap="inferno", vmin=0, vmax=most, alpha=0.85 * share**0.5)
        y, x = np.unravel_index(maps[column].argmax(), maps[column].shape)
        below.plot([x], [y], marker="x", markersize=8, markeredgewidth=1.8, color="#56b4e9")
        if captions is not None:
            above.set_title(captions[column], fontsize=8, color=INK, pad=4)
    row_name(cells[0], "image")
    row_name(cells[columns], "error")
    figure.colorbar(heat, ax=cells[columns:], shrink=0.9, pad=0.01).ax.tick_params(labelsize=7)
    return figure


def rate_distortion_figure(
    points: Mapping[str, Sequence[tuple[int, float, float | None, float | None]]], metric: str
) -> Figure:
    """How well images come back, over the length of their codes; a line an arm, with 95 % intervals.

    Args:
        points: by arm, such as `autoencoder` and `pca`: (dimension, value, low, high), in any order; no interval is
            drawn where low and high are None.
        metric: what the values are, such as `psnr`.
    """
    from matplotlib.ticker import NullLocator

    figure, (axes,) = canvas(5.6, 4.0)
    dimensions = sorted({point[0] for arm in points.values() for point in arm})
    for position, (name, arm) in enumerate(points.items()):
        line = sorted(arm, key=lambda point: point[0])
        colour = COLOURS[position % len(COLOURS)]
        style = STYLES[position // len(COLOURS) % len(STYLES)]
        x, y = [point[0] for point in line], [point[1] for point in line]
        axes.plot(x, y, color=colour, linestyle=style, marker="o", markersize=4.5, linewidth=1.6, label=name)
        known = [(point[0], point[2], point[3]) for point in line if point[2] is not None and point[3] is not None]
        if known:
            axes.vlines(*zip(*known, strict=True), color=colour, linewidth=2, alpha=0.5)
    axes.set_xscale("log", base=2)
    axes.set_xticks(dimensions, [str(dimension) for dimension in dimensions])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="length of the code", ylabel=_NAMES.get(metric, metric))
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_title("Rate and distortion", loc="left")
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def _mapped(codes: NDArray[np.float64], method: str, seed: int) -> tuple[NDArray[np.float64], str]:
    """Codes in two dimensions (N, 2), and how they came there."""
    from threadpoolctl import threadpool_limits

    if codes.shape[1] <= 2:
        return np.pad(codes, ((0, 0), (0, 2 - codes.shape[1]))), "as it is"
    centred = codes - codes.mean(axis=0)
    if method == "tsne" and len(codes) >= _MIN_TSNE and centred.any():
        from sklearn.manifold import TSNE

        nearest = min(30.0, (len(codes) - 1) / 3)
        with threadpool_limits(1):  # equal threads, equal maps
            tsne = TSNE(perplexity=nearest, init="pca", random_state=seed, max_iter=_ITERATIONS)
            return np.asarray(tsne.fit_transform(codes)), "t-SNE"
    with threadpool_limits(1):
        axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    points = centred @ axes.T
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1]))), "two principal components"


def _outline(axes: Axes, mask: NDArray[Any]) -> None:
    """Along the sides of the mask's pixels."""
    inside = np.pad(mask.astype(bool), 1)
    down = np.argwhere(inside[1:, :] != inside[:-1, :]) - (0, 1)
    across = np.argwhere(inside[:, 1:] != inside[:, :-1]) - (1, 0)
    axes.hlines(down[:, 0] - 0.5, down[:, 1] - 0.5, down[:, 1] + 0.5, color=COLOURS[4], linewidth=1.2)
    axes.vlines(across[:, 1] - 0.5, across[:, 0] - 0.5, across[:, 0] + 0.5, color=COLOURS[4], linewidth=1.2)
