"""Proof for litgen/plotting.py; pictures are judged pixel by pixel with Pillow."""

import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image
from torch import Tensor

from litgen import plotting


def drawn(png: bytes) -> np.ndarray:
    """Return a PNG as (height, width, 4) bytes."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)


def count(pixels: np.ndarray, colour: str, within: int = 24) -> int:
    """Count the opaque pixels of about this colour."""
    wanted = np.array([round(255 * c) for c in to_rgb(colour)])
    near = np.abs(pixels[..., :3] - wanted).max(axis=-1) <= within
    return int((near & (pixels[..., 3] > 200)).sum())


def grey(count: int, height: int = 5, width: int = 3) -> Tensor:
    """Return random images, some values outside [0, 1]."""
    generator = torch.Generator().manual_seed(count)
    return torch.rand(count, 1, height, width, generator=generator) * 1.4 - 0.2


# figure ------------------------------------------------------------------------------------------


def test_figure_has_its_axes_row_by_row() -> None:
    """As many as asked for, the first row first, at the size asked for."""
    picture, axes = plotting.figure(6.0, 4.0, columns=3, rows=2)
    assert picture.get_size_inches().tolist() == [6.0, 4.0]
    assert picture.dpi == 150
    assert len(axes) == 6
    places = [ax.get_subplotspec() for ax in axes]
    assert [(p.rowspan.start, p.colspan.start) for p in places if p] == [
        *((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)),
    ]
    assert len(plotting.figure()[1]) == 1


def test_the_colours_can_be_told_apart_on_both_pages() -> None:
    """No two alike, and none close to either background or ink."""
    for colours in (plotting.PALETTE, plotting.CLASSES):
        assert len(set(colours)) == len(colours)
        for one, two in itertools.combinations(colours, 2):
            assert np.abs(np.subtract(to_rgb(one), to_rgb(two))).max() > 0.05
        for colour in colours:
            for back in ("#ffffff", "#121212"):
                assert contrast(colour, back) > 2, (colour, back)
    assert len(plotting.CLASSES) == 10


def contrast(one: str, two: str) -> float:
    """Return the contrast ratio of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# tiled, image_grid, save_grid --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "columns", "gap"), [(1, 1, 1), (7, 3, 1), (6, 3, 2), (2, 5, 0)]
)
def test_tiles_lie_where_a_double_loop_puts_them(number: int, columns: int, gap: int) -> None:
    """Row by row, mid grey between them and where one is missing, values cut to [0, 1]."""
    images = grey(number)
    found = plotting.tiled(images, columns, gap)
    rows = math.ceil(number / columns)
    assert found.shape == (rows * 5 + (rows - 1) * gap, columns * 3 + (columns - 1) * gap)
    seen = np.zeros_like(found, dtype=bool)
    for row in range(rows):
        for column in range(columns):
            if row * columns + column >= number:
                continue
            for i in range(5):
                for j in range(3):
                    value = images[row * columns + column, 0, i, j].item()
                    at = row * (5 + gap) + i, column * (3 + gap) + j
                    assert found[at] == pytest.approx(min(max(value, 0), 1))
                    seen[at] = True
    assert (found[~seen] == 0.5).all()
    assert found.std() > 0.1


@pytest.mark.parametrize(("number", "columns"), [(0, 3), (3, 0), (3, -1)])
def test_nothing_to_lay_out(number: int, columns: int) -> None:
    """The message holds both numbers."""
    _, (ax,) = plotting.figure()
    with pytest.raises(ValueError, match=f"{number} images in {columns} columns"):
        plotting.image_grid(ax, grey(number), columns)


def test_image_grid_draws_the_tiles_and_nothing_else() -> None:
    """One picture, not smoothed, black at 0 and white at 1 whatever the images hold; no axes."""
    _, (ax,) = plotting.figure()
    images = grey(7) * 0.5 + 0.2
    assert plotting.image_grid(ax, images, 3, gap=2) is ax
    (picture,) = ax.images
    np.testing.assert_array_equal(picture.get_array(), plotting.tiled(images, 3, 2))
    assert picture.get_clim() == (0, 1)
    assert picture.get_cmap().name == "gray"
    assert picture.get_interpolation() == "nearest"
    assert not ax.axison


@pytest.mark.parametrize(("number", "columns"), [(1, 1), (4, 2), (5, 3), (9, 3), (10, 4)])
def test_save_grid_is_exact(number: int, columns: int, tmp_path: Path) -> None:
    """Every grey level comes back: no colour map, no resampling."""
    generator = torch.Generator().manual_seed(1)
    levels = torch.randint(0, 256, (number, 1, 16, 16), generator=generator)
    levels[0, 0] = torch.arange(256).view(16, 16)
    with (tmp_path / "grid").open("wb") as file:
        off = 0.9 * torch.rand(levels.shape, generator=generator) - 0.45  # to be rounded away
        plotting.save_grid((levels + off) / 255, file)
    with Image.open(tmp_path / "grid") as image:
        assert image.format == "PNG"
        found = np.asarray(image.convert("L"))
    for i, level in enumerate(levels):
        top, left = i // columns * 17, i % columns * 17
        np.testing.assert_array_equal(found[top : top + 16, left : left + 16], level[0].numpy())
    assert found.shape == (math.ceil(number / columns) * 17 - 1, columns * 17 - 1)


# curves, scatter_classes -------------------------------------------------------------------------


def test_curves_draws_every_line() -> None:
    """With its values, label and colour; a legend where there is more than one."""
    _, (one, two) = plotting.figure(columns=2)
    lines: dict[str, Sequence[float]] = {"first": [1.0, 2.0, 4.0], "second": [3.0, 1.0, 0.0]}
    assert plotting.curves(one, [0.0, 1.0, 2.0], lines, "steps", "nats") is one
    for line, (label, y), colour in zip(one.lines, lines.items(), plotting.PALETTE, strict=False):
        assert line.get_label() == label
        np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
        np.testing.assert_array_equal(line.get_ydata(), y)
        assert to_hex(line.get_color()).upper() == colour
    assert len(one.lines) == 2
    assert (one.get_xlabel(), one.get_ylabel()) == ("steps", "nats")
    legend = one.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["first", "second"]
    plotting.curves(two, [0.0, 1.0, 2.0], {"alone": lines["first"]}, "x", "y")
    assert two.get_legend() is None


def test_curves_drops_no_line() -> None:
    """More lines than colours are an error, not a figure that lacks some."""
    _, (ax,) = plotting.figure()
    colours = len(plotting.PALETTE)
    plotting.curves(ax, [0.0], {str(i): [0.0] for i in range(colours)}, "x", "y")
    assert len(ax.lines) == colours
    with pytest.raises(ValueError, match=f"{colours + 1} lines"):
        plotting.curves(ax, [0.0], {str(i): [0.0] for i in range(colours + 1)}, "x", "y")


def test_scatter_classes_shows_each_point_in_its_class(generator: torch.Generator) -> None:
    """Points by class, its colour, and its label at the median of each coordinate."""
    points = torch.randn(60, 2, generator=generator)
    labels = torch.tensor([7, 0, 12]).repeat(20)
    _, (ax,) = plotting.figure()
    assert plotting.scatter_classes(ax, points, labels) is ax
    notes = [child for child in ax.get_children() if isinstance(child, Annotation)]
    assert len(ax.collections) == len(notes) == 3
    for value, dots, note in zip([0, 7, 12], ax.collections, notes, strict=True):
        chosen = points[labels == value]
        np.testing.assert_array_equal(np.asarray(dots.get_offsets()), chosen.numpy())
        assert to_hex(np.asarray(dots.get_facecolor())[0]).upper() == plotting.CLASSES[value % 10]
        assert note.get_text() == str(value)
        ordered = chosen.sort(dim=0).values
        assert note.xy == pytest.approx(ordered[9].tolist())  # torch's median: the lower middle
        patch = note.get_bbox_patch()
        assert patch is not None
        assert to_hex(patch.get_edgecolor()).upper() == plotting.CLASSES[value % 10]


# render ------------------------------------------------------------------------------------------


def example() -> Figure:
    """Return a figure with lines, title, legend, picture and a text that keeps its colour."""
    picture, (left, right) = plotting.figure(6.0, 3.0, columns=2)
    lines: dict[str, Sequence[float]] = {"one": [1e6, 2e6, 3e6], "two": [2e6, 2e6, 2e6]}
    plotting.curves(left, [0.0, 1.0, 2.0], lines, "steps", "nats")
    for line in left.lines:
        line.set_linewidth(8)
    left.set_title("A title")
    right.imshow(np.zeros((2, 2)), cmap="gray", vmin=-1, vmax=1)
    right.text(0.2, 0.5, "kept", color="#1f2328", gid="keep", fontsize=30)
    return picture


def test_render_suits_light_and_dark_pages() -> None:
    """Another ink, the same data, the same size, and the page shows through behind both."""
    picture = example()
    light, dark = (drawn(plotting.render(picture, theme)) for theme in ("light", "dark"))
    assert light.shape == dark.shape == (450, 900, 4)
    for pixels in (light, dark):
        assert pixels[0, 0, 3] == pixels[-1, -1, 3] == 0
        assert (pixels[..., 3] == 0).mean() > 0.3
        for colour in plotting.PALETTE[:2]:
            assert count(pixels, colour) > 1000
        assert count(pixels, "#7f7f7f") > 5000
    assert count(light, plotting.INK["light"]) > 4 * count(dark, plotting.INK["light"])
    assert count(dark, plotting.INK["dark"]) > 200
    assert count(light, plotting.INK["dark"]) == 0
    assert count(dark, plotting.INK["light"]) > 100, "text that keeps its colour"


def test_render_inks_text_ticks_frames_and_nothing_else() -> None:
    """Titles, labels, ticks and their labels, the offset, spines and the legend's text."""
    picture = example()
    picture.suptitle("Above")
    left, right = picture.axes
    for theme in ("light", "dark"):
        plotting.render(picture, theme)
        ink = plotting.INK[theme]
        legend = left.get_legend()
        assert legend is not None
        texts = [left.title, left.xaxis.label, left.yaxis.label, left.yaxis.get_offset_text()]
        texts += [*left.get_xticklabels(), *left.get_yticklabels(), *legend.get_texts()]
        assert [to_hex(text.get_color()) for text in texts] == [ink] * len(texts)
        assert to_hex(left.spines["left"].get_edgecolor()) == ink
        assert to_hex(left.xaxis.get_ticklines()[0].get_color()) == ink
        assert legend.get_frame().get_alpha() == 0
        assert to_hex(right.texts[0].get_color()) == "#1f2328"
        assert [to_hex(line.get_color()).upper() for line in left.lines] == [
            *plotting.PALETTE[:2],
        ]
    assert len(left.yaxis.get_offset_text().get_text()) > 0


def test_render_is_reproducible() -> None:
    """The same bytes from the same figure, also after another theme: nothing sticks."""
    picture = example()
    first = plotting.render(picture, "light")
    dark = plotting.render(picture, "dark")
    assert plotting.render(picture, "light") == first
    assert plotting.render(example(), "light") == first
    assert dark != first


def test_render_knows_two_themes() -> None:
    """And lists them."""
    with pytest.raises(ValueError, match="unknown theme 'sepia'; there are: light, dark"):
        plotting.render(plotting.figure()[0], "sepia")


def test_a_density_is_drawn_upright_over_its_square() -> None:
    """The first row is on top, exp is taken, the peak sets the scale; no ticks, equal axes."""
    values = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 1e-9]]).log()
    picture, (ax,) = plotting.figure(2.0, 2.0)
    assert plotting.density_2d(ax, values, extent=1.5, peak=2.0) is ax
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), values.double().exp().numpy())
    assert image.origin == "upper"
    assert tuple(image.get_extent()) == (-1.5, 1.5, -1.5, 1.5)
    assert image.get_clim() == (0.0, 2.0)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1.5, 1.5), (-1.5, 1.5))
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    assert ax.get_aspect() == 1.0
    plotting.density_2d(ax, values, extent=1.5)
    assert ax.images[-1].get_clim() == pytest.approx((0.0, 0.5))
    assert len(plotting.render(picture, "dark")) > 100


def test_colours_are_tiled_channel_by_channel() -> None:
    """Three channels stay three, in their order; two are refused."""
    images = torch.zeros(3, 3, 2, 2)
    images[1] = torch.tensor([0.25, 0.5, 0.75])[:, None, None]
    tiles = plotting.tiled(images, columns=2)
    assert tiles.shape == (5, 5, 3)
    assert tiles[0, 3].tolist() == [0.25, 0.5, 0.75]
    assert tiles[4, 4].tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        plotting.tiled(torch.zeros(1, 2, 2, 2), columns=1)


def test_voxels_show_the_faces_that_look_to_the_viewer() -> None:
    """A single cube has three; two side by side five, and the nearer ones come last."""
    ax = Figure().subplots()
    volume = torch.zeros(2, 4, 4, 4, dtype=torch.bool)
    volume[0, 1, 2, 1] = True
    volume[1, 1, 2, 1:3] = True
    plotting.voxel_grid(ax, volume, columns=2)
    (drawn,) = ax.collections
    assert len(drawn.get_paths()) == 3 + 5
    ax = Figure().subplots()
    volume = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    volume[0, 0, 0, 3] = volume[0, 0, 3, 0] = True
    plotting.voxel_grid(ax, volume)
    heights = [path.vertices[:, 1].mean() for path in ax.collections[0].get_paths()]
    assert min(heights[:3]) > max(heights[3:])  # what is behind is higher, and drawn first
    with pytest.raises(ValueError, match="no objects to draw"):
        plotting.voxel_grid(ax, volume[:0])
