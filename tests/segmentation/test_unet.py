"""Proof for litgen/segmentation/unet.py: the paper's figure, sizes, gradients, a net by hand."""

import pytest
import torch
from torch import Tensor, nn

from litgen import winograd
from litgen.segmentation import unet
from litgen.segmentation.unet import UNet


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(skips: bool = True, padded: bool = True, levels: int = 3) -> UNet:
    """Return a network in evaluation mode whose normalisations do something."""
    torch.manual_seed(1)
    net = UNet(2, 3, (4, 6, 8, 10)[:levels], skips, padded).double().eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = noise(layer.num_features) * 0.1
            layer.running_var = noise(layer.num_features).square() + 0.5
            nn.init.normal_(layer.weight, 1, 0.2)
            nn.init.normal_(layer.bias, 0, 0.2)
    return net


# sizes without padding --------------------------------------------------------------------------


def test_the_papers_figure() -> None:
    """eq:unet-valid: 572 becomes 388 after five levels, as figure 1 of the paper says."""
    assert unet.valid_side(572, 5) == 388
    assert unet.valid_side(188, 5) == 4


@pytest.mark.parametrize("levels", [2, 3, 4, 5])
def test_sides_that_can_be_halved_evenly(levels: int) -> None:
    """eq:unet-valid: those that leave the same rest as -4, from the first that leaves a pixel."""
    taken = []
    for side in range(1, 400):
        try:
            left = unet.valid_side(side, levels)
        except ValueError:
            continue
        assert left == side - 2 * (3 * 2**levels - 4)
        taken.append(side)
    step = 2 ** (levels - 1)
    assert taken == [side for side in range(taken[0], 400) if (side + 4) % step == 0]
    assert taken[0] - 2 * (3 * 2**levels - 4) in range(1, step + 1)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_sizes_without_padding(levels: int) -> None:
    """eq:unet-valid: the network itself gives maps of that size, or both refuse."""
    net = small(padded=False, levels=levels)
    allowed = 0
    for side in range(8, 110, levels // 2):
        x = torch.zeros(1, 2, side, 76 if levels < 4 else 92, dtype=torch.float64)
        try:
            expected = unet.valid_side(side, levels)
            other = unet.valid_side(x.shape[3], levels)
        except ValueError:
            with pytest.raises(ValueError, match=f"a side of ({side}|{x.shape[3]}) has|is left"):
                net(x)
            continue
        allowed += 1
        assert net(x).shape == (1, 3, expected, other)
    assert allowed > 2


@pytest.mark.parametrize("side", [(8, 8), (9, 13), (17, 4), (4, 31), (25, 25)])
@pytest.mark.parametrize("skips", [True, False])
def test_with_padding_the_map_has_the_images_size(side: tuple[int, int], skips: bool) -> None:
    """Odd sizes and no powers of two included."""
    assert small(skips)(noise(2, 2, *side)).shape == (2, 3, *side)


def test_too_small_an_image_is_refused() -> None:
    """It would vanish on the way down."""
    with pytest.raises(ValueError, match="3x9 pixels is too small for 3 levels: at least 4x4"):
        small()(noise(1, 2, 3, 9))
    with pytest.raises(ValueError, match="at least two levels"):
        UNet(1, 1, (4,))


# what it computes -------------------------------------------------------------------------------


def by_hand(net: UNet, x: Tensor) -> Tensor:
    """Compute a padded network of three levels from its parameters, level by level."""
    state = net.state_dict()

    def both(name: str, x: Tensor) -> Tensor:
        for conv, norm in ((0, 1), (3, 4)):
            x = nn.functional.conv2d(x, state[f"{name}.{conv}.weight"], padding=1)
            part = f"{name}.{norm}"
            shift, scale = state[f"{part}.running_mean"], state[f"{part}.running_var"]
            x = (x - shift[:, None, None]) / (scale[:, None, None] + 1e-5).sqrt()
            x = x * state[f"{part}.weight"][:, None, None] + state[f"{part}.bias"][:, None, None]
            x = x.clamp(min=0)
        return x

    def halved(x: Tensor) -> Tensor:
        return x.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(-2, -1))

    def doubled(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]  # inputs outputs 2 2
        spread = torch.einsum("bihw,iokl->bohkwl", x, weight).flatten(4, 5).flatten(2, 3)
        return spread + state[f"{name}.bias"][:, None, None]

    first = both("down.0", x)
    second = both("down.1", halved(first))
    third = both("down.2", halved(second))
    x = both("join.0", torch.cat([second, doubled("up.0", third)], dim=1))
    x = both("join.1", torch.cat([first, doubled("up.1", x)], dim=1))
    head = state["head.weight"][:, :, 0, 0]
    return torch.einsum("oi,bihw->bohw", head, x) + state["head.bias"][:, None, None]


def test_a_network_of_three_levels_by_hand() -> None:
    """Two convolutions a level, a maximum of four, a step up, and what went across."""
    net, x = small(), noise(2, 2, 12, 16, seed=5)
    torch.testing.assert_close(net(x), by_hand(net, x))


def test_without_skips_nothing_goes_around_the_bottom() -> None:
    """With the bottom cut, the map no longer depends on the image; with skips it still does."""
    for skips in (True, False):
        net = small(skips)
        net.down[-1].register_forward_hook(lambda layer, given, found: found.detach())
        x = noise(1, 2, 8, 8).requires_grad_()
        found = net(x).square().sum()
        if skips:
            (gradient,) = torch.autograd.grad(found, x)
            assert gradient.abs().min() > 0
        else:
            assert torch.autograd.grad(found, x, allow_unused=True) == (None,)


def test_without_padding_the_inside_is_that_of_the_padded_network() -> None:
    """Both see the same pixels there: the crop takes the middle, not a corner.

    With two levels, that is; with more, the halvings no longer begin at the same pixels.
    """
    x = noise(1, 2, 30, 26, seed=2)
    free, padded = small(padded=False, levels=2), small(padded=True, levels=2)
    padded.load_state_dict(free.state_dict())
    sides = [unet.valid_side(side, 2) for side in x.shape[2:]]
    inner = unet.cropped(padded(x), *sides)
    torch.testing.assert_close(free(x), inner)


def test_the_middle_is_cut_out() -> None:
    """Of an odd rest the larger part goes below and to the right; more than there is, nowhere."""
    x = torch.arange(30.0).view(1, 1, 5, 6)
    assert unet.cropped(x, 2, 3).tolist() == [[[[7, 8, 9], [13, 14, 15]]]]
    assert torch.equal(unet.cropped(x, 5, 6), x)
    with pytest.raises(ValueError, match="cut 6x6 pixels out of 5x6"):
        unet.cropped(x, 6, 6)


def test_the_paths_are_as_wide_as_asked() -> None:
    """The paper's network: 31 million weights in its convolutions, counted layer by layer."""
    with torch.device("meta"):
        net = UNet(1, 2)
    counts = {name: p.numel() for name, p in net.named_parameters() if p.dim() == 4}
    widths = [64, 128, 256, 512, 1024]
    down = sum(9 * a * b + 9 * b * b for a, b in zip([1, *widths], widths, strict=False))
    up = sum(4 * 2 * w * w + 9 * 2 * w * w + 9 * w * w for w in widths[:-1])
    assert sum(counts.values()) == down + up + 2 * 64 == pytest.approx(31.0e6, rel=1e-2)


@pytest.mark.parametrize("padded", [True, False])
def test_folding_changes_nothing(padded: bool) -> None:
    """The copy has no normalisation left and gives the same logits; the network stays."""
    net, x = small(padded=padded), noise(2, 2, 44, 52, seed=3)
    expected = net(x)
    copy = unet.folded(net.train(), torch.float64)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in copy.modules())
    assert not any(p.requires_grad for p in copy.parameters())
    torch.testing.assert_close(copy(x), expected)
    assert net.training
    torch.testing.assert_close(net.eval()(x), expected)


def test_folding_into_half_the_bits() -> None:
    """The copy's weights are bfloat16, its logits those of the network to two digits."""
    net, x = small().float(), noise(2, 2, 20, 24, seed=4).float()
    expected = net(x)
    copy = unet.folded(net, torch.bfloat16)
    assert {p.dtype for p in copy.parameters()} == {torch.bfloat16}
    off = (copy(x.bfloat16()).float() - expected).square().mean()
    assert 0 < off < 4e-4 * expected.var()


def test_wide_convolutions_go_by_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 64 channels on 32x32 pixels, two levels; where folded, prepared, at 16x16 too."""
    net, x = UNet(1, 2, (64, 64)).double().eval(), noise(1, 1, 32, 32)
    monkeypatch.setattr(winograd, "WIDE", 1000)
    expected = net(x)
    monkeypatch.setattr(winograd, "WIDE", 64)
    ours, sides = winograd.convolve, []

    def noted(x: Tensor, matrices: Tensor, padding: int = 1) -> Tensor:
        sides.append(x.shape[2])
        return ours(x, matrices, padding)

    monkeypatch.setattr(winograd, "convolve", noted)
    torch.testing.assert_close(net(x), expected)
    assert sides == [32, 32, 32]
    sides.clear()
    torch.testing.assert_close(unet.folded(net, torch.float64)(x), expected)
    assert sides == [32, 16, 16, 32, 32]
    sides.clear()
    unet.folded(net, torch.bfloat16)(x.bfloat16())
    assert not sides


def test_an_odd_row_and_column_are_repeated_at_the_end() -> None:
    """Halving dropped the last ones: below and to the right the neighbour's value stands again."""
    x = torch.arange(16.0).view(1, 1, 4, 4)
    across = torch.zeros(1, 1, 5, 5)
    found = UNet(1, 1, (2, 2))._raised(x, across)[0, 0]
    assert torch.equal(found[:4, :4], x[0, 0])
    assert torch.equal(found[4, :4], x[0, 0, 3])
    assert torch.equal(found[:4, 4], x[0, 0, :, 3])
    assert torch.equal(UNet(1, 1, (2, 2))._raised(x, torch.zeros(1, 1, 4, 4)), x)
