"""Proof for litgen/segmentation/fcn.py: its parts one by one, losses by hand, bad input."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen.segmentation import fcn
from litgen.segmentation.fcn import FCN, SIDE, UNKNOWN


def network(skips: int, seed: int = 0) -> FCN:
    """Return a small network in double precision, no weight of which is zero."""
    torch.manual_seed(seed)
    net = FCN(fcn.classifier((3, 4, 5), 6, 4), skips).double().eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    for parameter in net.skips.parameters():
        nn.init.normal_(parameter)
    return net.requires_grad_(False)


def some(*shape: int) -> Tensor:
    """Return seeded numbers in double precision."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def doubled(x: Tensor) -> Tensor:
    """Return maps twice as large: torch's transposed convolution with the kernel 1 3 3 1 / 4."""
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25], dtype=torch.float64)
    kernel = torch.outer(taps, taps)[None, None].expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_a_network_is_its_parts(skips: int) -> None:
    """eq:fcn-skip: padded by 15, scores of stride 16, plus what strides 8 and 4 say, cropped."""
    net, x = network(skips), some(2, 3, 64, 80)
    fine = net.fine(F.pad(x, (15, 15, 15, 15)))
    middle = net.middle(fine)
    scores = net.head(middle)
    assert scores.shape == (2, 4, 4, 5)
    if skips > 0:
        scores = doubled(scores) + net.skips[0](middle)[:, :, 1:-1, 1:-1]
    if skips > 1:
        scores = doubled(scores) + net.skips[1](fine)[:, :, 3:-3, 3:-3]
    torch.testing.assert_close(net.coarse(x), scores, rtol=0, atol=1e-12)
    assert net.stride == 16 // 2**skips
    full = F.interpolate(scores, scale_factor=net.stride, mode="bilinear")
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(net(x)[inside], full[inside], rtol=0, atol=1e-12)
    assert net(x).std() > 1e-3


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_units_are_centred_on_their_pixels(skips: int) -> None:
    """eq:fcn-crop: a square that is moved by a stride moves the map by one unit, and a mirrored
    image has the mirrored map if all kernels are symmetric: nothing is off by a pixel."""
    net = network(skips)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 4:
                parameter.copy_((parameter + parameter.flip(3)) / 2)
    x = some(1, 3, 64, 64)
    mirrored = net(x.flip(3)).flip(3)
    torch.testing.assert_close(net(x), mirrored, rtol=0, atol=1e-12)
    big = some(1, 3, 192, 208)
    moved = net.coarse(big[:, :, :, 16:])
    shift = 2**skips
    part = (..., slice(3 * shift, -3 * shift), slice(3 * shift, -3 * shift))
    later = net.coarse(big)[..., shift:]
    torch.testing.assert_close(moved[part], later[part], rtol=0, atol=1e-12)


def test_skips_begin_as_nothing() -> None:
    """A new FCN-4s says what FCN-16s of the same weights says, enlarged four times by tents."""
    torch.manual_seed(0)
    named = fcn.classifier((3, 4, 5), 6, 4)
    plain, both = FCN(named).eval(), FCN(named, 2).eval()
    x = some(1, 3, 64, 64).float()
    with torch.no_grad():
        expected = doubled(doubled(plain.coarse(x).double()))
        torch.testing.assert_close(both.coarse(x).double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(46, 46), (47, 63), (65, 81), (49, 100)])
@pytest.mark.parametrize("skips", [0, 1, 2])
def test_any_size_comes_back(size: tuple[int, int], skips: int) -> None:
    """Odd ones too; pixels do not depend on how far beyond their view the image goes."""
    net, x = network(skips), some(1, 3, *size)
    found = net(x)
    assert found.shape == (1, 4, *size)
    more = (0, 16 - size[1] % 16, 0, 32 - size[0] % 16)  # grey, as the padding; whole blocks
    larger = net(F.pad(x, more))
    torch.testing.assert_close(found[..., :16, :16], larger[..., :16, :16], rtol=0, atol=1e-12)


def test_small_images_and_strange_networks_are_refused() -> None:
    """The message names the sizes."""
    with pytest.raises(ValueError, match="45 by 90 pixels is smaller than the 46 of a unit"):
        network(0)(some(1, 3, 45, 90))
    with pytest.raises(ValueError, match="0, 1 or 2 skips, not 3"):
        FCN(fcn.classifier((3, 4, 5), 6, 4), 3)
    with pytest.raises(ValueError, match="widths must be positive"):
        fcn.classifier((3, 0, 5), 6, 4)


def test_the_classifier_names_one_window() -> None:
    """SIDE by SIDE pixels and no others give one row of logits."""
    net = fcn.classifier((3, 4, 5), 6, 4).eval()
    assert net(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, 4)
    with pytest.raises(RuntimeError):
        net(torch.zeros(2, 3, SIDE + 16, SIDE))


@pytest.mark.parametrize("weight", [None, [0.3, 1.0, 2.0]])
def test_the_loss_is_a_mean_over_labelled_pixels(weight: list[float] | None) -> None:
    """eq:fcn-loss: pixel by pixel, weighted by class; unknown pixels count nowhere."""
    logits = some(2, 3, 4, 5)
    mask = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(2))
    mask[0, 1, :3] = UNKNOWN
    each = weight or [1.0] * 3
    expected = []
    for scores, labels in zip(logits, mask, strict=True):
        total = count = 0.0
        for i in range(4):
            for j in range(5):
                c = int(labels[i, j])
                if c != UNKNOWN:
                    powers = [math.exp(v) for v in scores[:, i, j].tolist()]
                    total -= each[c] * math.log(powers[c] / sum(powers))
                    count += each[c]
        expected.append(total / count)
    found = fcn.pixel_loss(logits, mask, torch.tensor(weight) if weight else None)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    flat = fcn.pixel_loss(torch.zeros(2, 3, 4, 5), mask.to(torch.uint8))
    assert flat.tolist() == pytest.approx([math.log(3)] * 2)


def test_masks_that_do_not_fit_are_refused() -> None:
    """Numbers, sizes, labels, and a mask in which nothing is labelled."""
    images, masks = torch.zeros(2, 3, 6, 7), torch.zeros(2, 6, 7, dtype=torch.long)
    blank = masks.index_fill(0, torch.tensor(1), UNKNOWN)
    masks[0, 0, 0] = UNKNOWN
    fcn.check_masks(images, masks, 3)
    cases = {
        "2 images do not go with 1 masks": (images, masks[:1]),
        "images have 6 by 7 pixels, masks 7 by 6": (images, masks.mT),
        r"got \(2, 3, 6, 7\) and \(2, 1, 6, 7\)": (images, masks[:, None]),
        r"labels are 0..2 or 255, the masks hold \[3, 7\]": (
            images,
            masks + torch.tensor([3, 7])[:, None, None] * (masks == 0),
        ),
        "a mask has no labelled pixel": (images, blank),
    }
    for message, (x, y) in cases.items():
        with pytest.raises(ValueError, match=message):
            fcn.check_masks(x, y, 3)
    with pytest.raises(ValueError, match=r"hold \[-1, 254\]"):
        fcn.check_masks(images, masks - 1, 3)


def test_places_of_a_class() -> None:
    """Every pixel once, under its class; a class without pixels is named."""
    mask = torch.tensor([[[0, 1, 1], [2, 0, 1]], [[0, 0, 0], [0, 2, 0]]])
    found = fcn.places(mask, 3)
    assert found[1].tolist() == [[0, 0, 1], [0, 0, 2], [0, 1, 2]]
    assert found[2].tolist() == [[0, 1, 0], [1, 1, 1]]
    assert sum(map(len, found)) == mask.numel()
    with pytest.raises(ValueError, match=r"no pixel of 2 masks has class \[3, 4\]"):
        fcn.places(mask, 5)
