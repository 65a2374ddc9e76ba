"""Figures that read well on light and on dark pages; every function takes and returns an Axes.

Chapter: book/vae/elbo.md.  Proof: tests/test_plotting.py.

Colours: Okabe and Ito's palette without black and yellow, which one of the two backgrounds
    swallows.
"""

import io
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.spines import Spine
from matplotlib.text import Text
from PIL import Image
from torch import Tensor

from litgen.shapes import Bool, Float, Int, UInt8

__all__ = [
    "CLASSES",
    "PALETTE",
    "curves",
    "density_2d",
    "figure",
    "image_grid",
    "render",
    "save_grid",
    "scatter_classes",
    "voxel_grid",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Blue, vermilion, green, purple, orange, sky: for curves, in this order."""

CLASSES = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"),
    *("#56B4E9", "#7A5195", "#8C6D31", "#7F7F7F", "#BC5090"),
)
"""Ten colours for ten classes; a class is always told by its label as well."""

INK = {"light": "#1f2328", "dark": "#e6e6e6"}
DPI = 150


def figure(
    width: float = 5.2, height: float = 3.0, columns: int = 1, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure and its axes, row by row; sizes are in inches at 150 dots each.

    Up to 6 inches a page of any width shows it whole with legible text; a wider one scrolls on a
    phone.
    """
    picture = Figure((width, height), dpi=DPI, layout="constrained")
    axes = np.atleast_1d(picture.subplots(rows, columns)).ravel().tolist()
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=11)
        ax.xaxis.label.set_size(12)
        ax.yaxis.label.set_size(12)
        ax.title.set_size(12)
    return picture, axes


def image_grid(
    ax: Axes, images: Float[Tensor, "count channels height width"], columns: int, gap: int = 1
) -> Axes:
    """Draw images in [0, 1] row by row, without axes: grey ones, or of three colours.

    Raises:
        ValueError: no images, or no columns.
    """
    tiles = tiled(images, columns, gap)
    ax.imshow(tiles, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return ax


def tiled(
    images: Float[Tensor, "count channels height width"], columns: int, gap: int = 1
) -> np.ndarray:
    """Lay images on one canvas of mid grey, row by row: (rows, columns), or (..., 3) in colour.

    Raises:
        ValueError: no images, no columns, or other than one or three channels.
    """
    if len(images) == 0 or columns < 1:
        raise ValueError(f"cannot lay out {len(images)} images in {columns} columns")
    count, channels, height, width = images.shape
    if channels not in (1, 3):
        raise ValueError(f"images have 1 or 3 channels, got {channels}")
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 0.5)
    for i, image in enumerate(images.detach().cpu().float().permute(0, 2, 3, 1).numpy()):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image.clip(0, 1)
    return canvas if channels == 3 else canvas[:, :, 0]


def save_grid(images: Float[Tensor, "count channels height width"], file: BinaryIO) -> None:
    """Write images as one PNG, pixel for pixel, about as wide as high."""
    canvas = tiled(images, columns=int(np.ceil(len(images) ** 0.5)))
    Image.fromarray((canvas * 255).round().astype("uint8")).save(file, "PNG")


def curves(
    ax: Axes,
    x: Sequence[float],
    lines: dict[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
) -> Axes:
    """Draw labelled lines over a common x.

    Raises:
        ValueError: more lines than colours.
    """
    if len(lines) > len(PALETTE):
        raise ValueError(f"cannot tell {len(lines)} lines apart by {len(PALETTE)} colours")
    for (label, y), colour in zip(lines.items(), PALETTE, strict=False):
        ax.plot(x, y, label=label, color=colour, linewidth=1.8)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if len(lines) > 1:
        ax.legend(frameon=False, fontsize=11)
    return ax


def density_2d(
    ax: Axes, log_density: Float[Tensor, "rows columns"], extent: float, peak: float | None = None
) -> Axes:
    """Draw a density over the square from -extent to extent, without ticks.

    Args:
        ax: where to draw.
        log_density: in nats, the row with the largest y first.
        extent: half the square's side.
        peak: density of the brightest colour; the largest one here unless given.
    """
    values = log_density.detach().double().exp().numpy()
    box = (-extent, extent, -extent, extent)
    ax.imshow(values, cmap="viridis", vmin=0, vmax=peak, extent=box, interpolation="bilinear")
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal", xticks=[], yticks=[])
    return ax


def scatter_classes(
    ax: Axes, points: Float[Tensor, "count 2"], labels: Int[Tensor, " count"]
) -> Axes:
    """Draw points in the colour of their class, and each class's name at its median."""
    for value in torch.unique(labels).tolist():
        chosen = points[labels == value]
        colour = CLASSES[value % len(CLASSES)]
        ax.scatter(
            chosen[:, 0].numpy(), chosen[:, 1].numpy(), s=6, color=colour, alpha=0.7, linewidths=0
        )
        at = chosen.median(dim=0).values
        ax.annotate(
            str(value),
            (float(at[0]), float(at[1])),
            ha="center",
            va="center",
            fontsize=11,
            weight="bold",
            bbox={"boxstyle": "circle,pad=0.25", "fc": "white", "ec": colour, "alpha": 0.9},
            color="#1f2328",
            gid="keep",
        )
    return ax


def render(picture: Figure, theme: str) -> bytes:
    """Return a figure as PNG with a transparent background, its ink fit for a light or dark page.

    Ink is text, axes, ticks, grids and frames; data keep their colours. Text whose ``gid`` is
    ``keep`` stays as it is.

    Raises:
        ValueError: an unknown theme.
    """
    if theme not in INK:
        raise ValueError(f"unknown theme {theme!r}; there are: {', '.join(INK)}")
    if (
        picture.get_layout_engine() is not None
    ):  # each drawing would move the axes a little further
        picture.draw_without_rendering()
        picture.set_layout_engine("none")
    _ink(picture, INK[theme])
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", transparent=True, dpi=DPI)
    small = io.BytesIO()  # 256 colours look the same and weigh a third
    Image.open(buffer).quantize(256, Image.Quantize.FASTOCTREE).save(small, "png", optimize=True)
    return small.getvalue()


def _ink(picture: Figure, colour: str) -> None:
    for axes in picture.axes:
        axes.tick_params(which="both", color=colour, labelcolor=colour)
        axes.patch.set_alpha(0)
    for artist in picture.findobj():
        if isinstance(artist, Text) and artist.get_gid() != "keep":
            artist.set_color(colour)
        elif isinstance(artist, Spine):
            artist.set_edgecolor(colour)
        elif isinstance(artist, Axis):
            artist.get_offset_text().set_color(colour)
        elif isinstance(artist, Legend):
            artist.get_frame().set_alpha(0)


def voxel_grid(
    ax: Axes,
    volumes: Bool[Tensor, "count up deep wide"] | UInt8[Tensor, "count up deep wide"],
    columns: int = 6,
    colour: str = PALETTE[0],
) -> None:
    """Draw objects of voxels side by side, seen from the front, the right and above.

    Only faces that look to the viewer are drawn, those further away first; the top is lightest.

    Raises:
        ValueError: no objects.
    """
    if not len(volumes):
        raise ValueError("no objects to draw")
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    side = volumes.shape[-1]
    right, back, up = np.array([0.87, -0.28]), np.array([0.5, 0.42]), np.array([0.0, 0.9])
    cell = np.array([side * 1.5, side * 1.75])
    base = np.array(to_rgb(colour))
    shades = {
        "top": base + 0.62 * (1 - base),
        "front": base + 0.25 * (1 - base),
        "side": 0.72 * base,
    }
    faces = {
        "top": (np.array([1, 0, 0]), right, back),
        "front": (np.array([0, -1, 0]), right, up),
        "side": (np.array([0, 0, 1]), back, up),
    }
    origin = {"top": up, "front": 0 * up, "side": right}
    pieces, colours = [], []
    for i, volume in enumerate(volumes.cpu().numpy().astype(bool)):
        corner = cell * [i % columns, -(i // columns)]
        hollow = np.pad(volume, 1)
        y, z, x = np.nonzero(volume)
        for k in np.lexsort((y, x, -z)):
            at = np.array([y[k], z[k], x[k]])
            place = corner + x[k] * right + z[k] * back + y[k] * up
            for name, (step, u, v) in faces.items():
                if not hollow[tuple(at + 1 + step)]:
                    start = place + origin[name]
                    pieces.append([start, start + u, start + u + v, start + v])
                    colours.append(shades[name])
    ax.add_collection(
        PolyCollection(pieces, facecolors=colours, edgecolors=colours, linewidths=0.2)
    )
    rows = -(-len(volumes) // columns)
    ax.set(
        xlim=(-0.02 * side, cell[0] * min(columns, len(volumes)) - 0.02 * side),
        ylim=(-cell[1] * (rows - 1) - 0.32 * side, 1.38 * side),
        aspect="equal",
    )
    ax.set_axis_off()
