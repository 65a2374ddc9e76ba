"""Proof for litgen/segmentation/tiles.py: sizes of real networks, numpy's mirror, whole images."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from litgen.segmentation import tiles
from litgen.segmentation.unet import UNet, valid_side

WIDTHS = {2: (3, 4), 3: (3, 4, 5), 4: (2, 2, 3, 3)}


def network(levels: int, padded: bool, seed: int = 0) -> UNet:
    """Return a U-Net of random weights in double precision, in evaluation mode."""
    torch.manual_seed(seed)
    model = UNet(1, 2, WIDTHS[levels], padded=padded).double()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.3, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.bias, 0.1, 0.6)  # no dead rectifiers
    return model.eval().requires_grad_(False)


def picture(height: int, width: int) -> Tensor:
    """Return two random images."""
    generator = torch.Generator().manual_seed(6)
    return torch.randn(2, 1, height, width, generator=generator, dtype=torch.float64)


def test_the_paper_s_sizes() -> None:
    """eq:unet-down, eq:unet-up: the numbers written into figure 1 of the paper."""
    figure = [572, 570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28]
    figure += [56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388]
    assert tiles.path(572) == figure
    assert tiles.margin() == (572 - 388) // 2 == 92
    assert tiles.fitting(572) == 572


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_sizes_are_those_of_the_layers(levels: int) -> None:
    """eq:unet-down, eq:unet-up, eq:unet-margin: hooks on a network's layers see the same sides."""
    model = network(levels, padded=False)
    side = tiles.fitting(0, levels) + 2 ** (levels - 1)
    seen: list[int] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.register_forward_hook(lambda _, x, y: seen.extend([x[0].shape[2], y.shape[2]]))
    out = model(picture(side, side))
    expected = tiles.path(side, levels)
    threes = [expected[i : i + 3] for i in range(0, 3 * levels, 3)]
    threes += [expected[i : i + 3] for i in range(3 * levels, len(expected), 3)]
    assert seen == [s for a, b, c in threes for s in (a, b, b, c)]
    assert out.shape[2] == expected[-1] == side - 2 * tiles.margin(levels)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_fitting_sides_are_those_that_a_network_takes(levels: int) -> None:
    """eq:unet-fitting: the smallest side from each one on that can be halved to the end."""

    def takes(side: int) -> bool:
        try:
            return valid_side(side, levels) > 0
        except ValueError:
            return False

    for side in range(0, 420, 7):
        expected = next(s for s in range(max(side, 1), 1000) if takes(s))
        assert tiles.fitting(side, levels) == expected
    fits = tiles.fitting(150, levels)
    assert (
        tiles.path(fits, levels)[-1] == valid_side(fits, levels) == fits - 2 * tiles.margin(levels)
    )


@pytest.mark.parametrize(("height", "width"), [(5, 8), (2, 3), (9, 4)])
def test_the_mirror_is_numpy_s(height: int, width: int) -> None:
    """eq:unet-mirror: the same as numpy's, also where the mirror is mirrored again."""
    x = picture(height, width)
    found = tiles.mirrored(x, 11, (3, 14))
    judge = np.pad(x.numpy(), ((0, 0), (0, 0), (11, 3), (11, 14)), mode="reflect")
    torch.testing.assert_close(found, torch.from_numpy(judge), rtol=0, atol=0)


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("padded", [False, True])
def test_tiles_are_the_whole_mirrored_image_exactly(levels: int, padded: bool) -> None:
    """eq:unet-tiles: every pixel, for an image whose sides are no multiples of anything."""
    model, period = network(levels, padded), 2 ** (levels - 1)
    x = picture(37, 50)
    lost = 0 if padded else tiles.margin(levels)
    edge = -(-tiles.reach(levels) // period) * period
    tile = 4 * period
    window = tiles.fitting(tile + 2 * edge, levels)
    found = tiles.stitched(model, x, tile, edge, window)
    whole = tiles.fitting(50 + 2 * edge + period, levels)
    wide = tiles.mirrored(x, edge, (whole - edge - 37, whole - edge - 50))
    start = edge - lost
    expected = model(wide)[..., start : start + 37, start : start + 50]
    assert found.shape == (2, 2, 37, 50)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert expected.std() > 1e-3


def test_away_from_the_border_tiles_are_the_plain_image() -> None:
    """eq:unet-tiles: with padding, equal beyond the margin from the border, different before."""
    levels, x = 2, picture(44, 48)
    model, reach = network(levels, padded=True), tiles.reach(2)
    found = tiles.stitched(model, x, 8, reach, 8 + 2 * reach)
    plain = model(x)
    apart = (found - plain).abs().amax(dim=(0, 1))
    assert apart[reach:-reach, reach:-reach].max() < 1e-10
    assert apart[0].max() > 1e-4
    assert apart[:, 0].max() > 1e-4


@pytest.mark.parametrize("levels", [2, 3])
def test_an_edge_is_felt_as_far_as_the_reach(levels: int) -> None:
    """eq:unet-reach: gradients of every row; the last that sees beyond the edge is one before."""
    model, period = network(levels, padded=True), 2 ** (levels - 1)
    edge = period * (-(-tiles.reach(levels) // period) + 2)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(12, 1, 3 * edge, 2 * period, generator=generator, dtype=torch.float64)
    x.requires_grad_()
    answers = model(x)
    seen = []
    for place in range(edge, edge + tiles.reach(levels) + period):
        (grad,) = torch.autograd.grad(answers[:, :, place].sum(), x, retain_graph=True)
        seen.append(int(grad.abs().amax(dim=(0, 1, 3)).nonzero()[:, 0].min()) < edge)
    assert seen == [i < tiles.reach(levels) for i in range(len(seen))]


def test_the_reach_grows_with_the_levels() -> None:
    """eq:unet-reach: by hand for one, two and three levels; two pixels above the margin later."""
    assert [tiles.reach(levels) for levels in (1, 2, 3, 4, 5)] == [2, 8, 22, 46, 94]
    assert [tiles.margin(levels) for levels in (1, 2, 3, 4, 5)] == [2, 8, 20, 44, 92]


def test_too_little_edge_or_a_crooked_tile_shows() -> None:
    """Both conditions are needed: an edge that is a pooling pair short, a tile that is odd."""
    model, x = network(3, padded=True), picture(40, 40)
    edge = 24
    right = tiles.stitched(model, x, 8, edge, 56)
    for tile, before, window in ((8, 8, 24), (8, 20, 48), (7, edge, 56), (6, edge, 56)):
        wrong = tiles.stitched(model, x, tile, before, window)
        assert (wrong - right).abs().max() > 1e-9, (tile, before)
    same = tiles.stitched(model, x, 16, edge, 64)
    torch.testing.assert_close(same, right, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused() -> None:
    """Each error names what does not fit."""
    with pytest.raises(
        ValueError, match=r"side 571 does not fit 5 levels; the next that does has 572"
    ):
        tiles.path(571)
    with pytest.raises(ValueError, match=r"side 100 does not fit 5 levels; .* has 188"):
        tiles.path(100)
    with pytest.raises(ValueError, match=r"at least one level, got 0"):
        tiles.fitting(10, 0)
    with pytest.raises(ValueError, match=r"cannot mirror 1x5 pixels by 2"):
        tiles.mirrored(picture(1, 5), 2, (2, 2))
    with pytest.raises(ValueError, match=r"cannot mirror 4x5 pixels by -1"):
        tiles.mirrored(picture(4, 5), -1, (2, 2))
    model = network(2, padded=False)
    with pytest.raises(ValueError, match=r"no tile of 30 after 8 pixels in a window of 28"):
        tiles.stitched(model, picture(20, 20), 30, 8, 28)
    with pytest.raises(
        ValueError, match=r"answers of 8 to windows of 24 lack a tile of 16 after 8"
    ):
        tiles.stitched(nn.AvgPool2d(17, 1), picture(20, 20), 16, 8, 24)
    with pytest.raises(
        ValueError, match=r"answers of 12 to windows of 28 lack a tile of 8 after 6"
    ):
        tiles.stitched(model, picture(20, 20), 8, 6, 28)
