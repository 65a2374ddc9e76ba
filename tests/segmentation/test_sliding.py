"""Proof for litgen/segmentation/sliding.py: single windows, gradients, the authors' offsets."""

import pytest
import torch
from torch import Tensor, nn

from litgen.segmentation import sliding
from litgen.segmentation.fcn import SIDE, classifier
from litgen.segmentation.sliding import PIXELS, Grid


def named(seed: int = 0) -> nn.Sequential:
    """Return a small classifier in double precision whose moments and weights are not trivial."""
    torch.manual_seed(seed)
    net = classifier((3, 4, 5), 6, 4).double()
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.3)
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return net.eval().requires_grad_(False)


def some(*shape: int) -> Tensor:
    """Return seeded numbers in double precision."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
def test_a_fully_connected_layer_is_a_convolution(bias: bool) -> None:
    """eq:fcn-reshaped: on a map of just its size, the layer on the flattened map."""
    torch.manual_seed(0)
    linear = nn.Linear(3 * 2 * 5, 7, bias=bias).double()
    x = some(4, 3, 2, 5)
    found = sliding.as_convolution(linear, 2, 5)(x)
    torch.testing.assert_close(found[:, :, 0, 0], linear(x.flatten(1)), rtol=0, atol=1e-14)
    by_hand = torch.einsum("ochw,bchw->bo", linear.weight.view(7, 3, 2, 5), x)
    by_hand = by_hand + (linear.bias if bias else 0)
    torch.testing.assert_close(found[:, :, 0, 0], by_hand, rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="30 inputs are no channels of 4 by 4"):
        sliding.as_convolution(linear, 4, 4)


@pytest.mark.parametrize("size", [(SIDE, SIDE), (78, 62), (81, 110), (46, 77), (61, 77)])
def test_one_pass_is_the_classifier_slid_over_the_image(size: tuple[int, int]) -> None:
    """eq:fcn-sliding: every window's logits, at every place of the stride, and no others."""
    net, x = named(), some(2, 3, *size)
    whole = sliding.convolutionalized(net, SIDE)
    stride = int(sliding.grid_after(whole).jump)
    slid = sliding.slide(net, x, SIDE, stride)
    torch.testing.assert_close(whole(x), slid, rtol=0, atol=1e-12)
    assert slid.std() > 1e-3
    last = x[:, :, (slid.shape[2] - 1) * stride :, (slid.shape[3] - 1) * stride :]
    torch.testing.assert_close(net(last[:, :, :SIDE, :SIDE]), slid[..., -1, -1])


def test_padding_inside_the_classifier_spoils_it() -> None:
    """A window's own zeros are not the big image's pixels: the reason why no layer pads."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten())
    net = nn.Sequential(*net, nn.Linear(4 * 4 * 4, 3)).double()
    x = some(1, 3, 14, 14)
    difference = sliding.convolutionalized(net, 8)(x) - sliding.slide(net, x, 8, 2)
    assert difference.abs().max() > 1e-2


def test_the_layers_are_shared_and_what_cannot_be_convolved_is_refused() -> None:
    """Layers before the flattening are the same objects; two errors say what is missing."""
    net = named()
    assert sliding.convolutionalized(net, SIDE)[0] is net[0]
    with pytest.raises(ValueError, match="flattens nothing"):
        sliding.convolutionalized(nn.Sequential(nn.Conv2d(3, 4, 3)), 8)
    with pytest.raises(ValueError, match="no channels of 3 by 3"):
        sliding.convolutionalized(net, SIDE + 16)
    with pytest.raises(ValueError, match="no window of 46 by 46 fits into 45 by 90 pixels"):
        sliding.slide(net, some(1, 3, 45, 90), SIDE, 16)


def test_multiplications_are_counted() -> None:
    """eq:fcn-work: a small stack by hand, and the ratio of many windows to one pass."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.MaxPool2d(2), nn.Flatten())
    net = nn.Sequential(*net, nn.Linear(4 * 2 * 2, 5))
    conv = 4 * 3 * 3 * 3
    assert sliding.multiplications(net, 9, 9) == 16 * conv + 80
    whole = sliding.convolutionalized(net, 9)
    assert sliding.multiplications(whole, 9, 9) == 16 * conv + 80
    assert sliding.multiplications(whole, 17, 13) == 8 * 6 * conv + 3 * 2 * 80
    with pytest.raises(ValueError, match="too small for MaxPool2d"):
        sliding.multiplications(whole, 4, 9)
    big = classifier((16, 32, 64), 128, 5)
    whole, side = sliding.convolutionalized(big, SIDE), SIDE + 16 * 199
    windows = 200**2 * sliding.multiplications(big, SIDE, SIDE)
    ratio = windows / sliding.multiplications(whole, side, side)
    assert 0.5 * (SIDE / 16) ** 2 < ratio < (SIDE / 16) ** 2


def test_a_grid_says_what_gradients_say() -> None:
    """eq:fcn-grid: the pixels that move a unit, their middle and the step to the next unit."""
    net = nn.Sequential(
        nn.Conv2d(1, 1, 5, stride=2, padding=1),
        nn.MaxPool2d(2),
        nn.Conv2d(1, 1, 3, padding=1),
        nn.MaxPool2d(3, stride=2, padding=1),
    ).double()
    means = [  # a maximum has one gradient; a mean over the same window has all
        nn.AvgPool2d(m.kernel_size, m.stride, m.padding) if isinstance(m, nn.MaxPool2d) else m
        for m in net
    ]
    smooth = nn.Sequential(*means)
    grid = sliding.grid_after(net)
    x = some(1, 1, 90, 90).requires_grad_()
    units = smooth(x)
    for u in (4, 5):
        gradient = torch.autograd.grad(units[0, 0, u, u], x, retain_graph=True)[0][0, 0]
        seen = (gradient.abs().sum(dim=0) > 0).nonzero().flatten()
        assert len(seen) == grid.size
        assert seen.double().mean() == grid.first + u * grid.jump


@pytest.mark.parametrize(("factor", "margin"), [(2, 0), (2, 1), (3, 1), (8, 4), (5, 0)])
def test_upsampled_units_lie_where_they_were(factor: int, margin: int) -> None:
    """eq:fcn-upsampled-grid: the centre of mass of a lit unit's tent stays in its place."""
    lit = torch.zeros(1, 1, 9, dtype=torch.float64)
    lit[0, 0, 4] = 1
    taps = 2 * factor - factor % 2
    tent = 1 - (torch.arange(taps).double() - (taps - 1) / 2).abs() / factor
    layer = nn.functional.conv_transpose1d(lit, tent[None, None], stride=factor, padding=margin)
    middle = (layer[0, 0] * torch.arange(layer.shape[2])).sum() / layer.sum()
    coarse = Grid(12.5, 32.0, 1)
    fine = sliding.grid_upsampled(coarse, factor, margin)
    assert fine.first + fine.jump * float(middle) == pytest.approx(12.5 + 4 * 32)
    assert fine.jump == 32 / factor


def vgg(stages: int) -> nn.Sequential:
    """Return the geometry of the authors' network: 100 pixels around, as many stages as asked."""
    layers: list[nn.Module] = []
    for stage, depth in enumerate((2, 2, 3, 3, 3)[:stages]):
        for i in range(depth):
            layers.append(nn.Conv2d(1, 1, 3, padding=100 if stage == i == 0 else 1))
        layers.append(nn.MaxPool2d(2, stride=2))
    return nn.Sequential(*layers)


def test_the_offsets_of_the_authors_network() -> None:
    """eq:fcn-crop: their released FCN-32s crops 19 pixels; 5, 9, 27, 31 follow for the others."""
    score = sliding.grid_after([nn.Conv2d(1, 1, 7)], sliding.grid_after(vgg(5)))
    assert sliding.crop_offset(PIXELS, sliding.grid_upsampled(score, 32)) == 19
    twice = sliding.grid_upsampled(score, 2)
    assert sliding.crop_offset(twice, sliding.grid_after(vgg(4))) == 5
    assert sliding.crop_offset(PIXELS, sliding.grid_upsampled(twice, 16)) == 27
    again = sliding.grid_upsampled(twice, 2)
    assert sliding.crop_offset(again, sliding.grid_after(vgg(3))) == 9
    assert sliding.crop_offset(PIXELS, sliding.grid_upsampled(again, 8)) == 31


def test_grids_that_never_meet_are_refused() -> None:
    """Other steps, half a unit, or a map that begins too late; and windows that are not square."""
    for kept, cropped in (
        (Grid(0, 2, 1), Grid(0, 4, 1)),
        (Grid(0, 2, 1), Grid(-1, 2, 1)),
        (Grid(0, 2, 1), Grid(2, 2, 1)),
    ):
        with pytest.raises(ValueError, match="cannot be cropped"):
            sliding.crop_offset(kept, cropped)
    for layer in (nn.Conv2d(1, 1, (3, 5)), nn.Conv2d(1, 1, 3, dilation=2)):
        with pytest.raises(ValueError, match="only square windows without dilation"):
            sliding.grid_after([layer])
