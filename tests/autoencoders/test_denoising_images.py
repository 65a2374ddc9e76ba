"""Proof for litgen/autoencoders/denoising_images.py."""

import math

import pytest
import scipy.ndimage
import torch
from torch import Tensor

from litgen.autoencoders import denoising_images as images


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Return seeded numbers in [0, 1), in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def test_decibels_by_hand() -> None:
    """eq:dae-psnr: an error of 0.1 everywhere is 20 dB, half of the pixels wrong by 1 is 3."""
    x = uniform(2, 1, 4, 4)
    wrong = x.clone()
    wrong[0] += 0.1
    wrong[1, :, :2] -= 1
    expected = [20.0, -10 * math.log10(0.5)]
    assert images.psnr(x, wrong).tolist() == pytest.approx(expected)
    assert images.psnr(x.flatten(1), wrong.flatten(1)).tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match="clean images"):
        images.psnr(x, wrong[:1])


def test_noise_of_half_the_range_is_six_decibels() -> None:
    """eq:dae-psnr: the noisy image's number is -20 log10 of the standard deviation."""
    noise = torch.randn(1, 300_000, generator=torch.Generator().manual_seed(1)).double()
    x = uniform(1, 300_000)
    assert images.psnr(x, x + 0.5 * noise).item() == pytest.approx(6.0206, abs=0.05)


@pytest.mark.parametrize("width", [0.4, 1.0, 1.7, 6.0])
def test_the_filter_is_scipys(width: float) -> None:
    """eq:dae-filter: an oblong image, black beyond the border, cut off at four widths."""
    x = uniform(3, 2, 9, 14, seed=2)
    found = images.gaussian_filter(x, width)
    for i in range(3):
        for c in range(2):
            expected = scipy.ndimage.gaussian_filter(
                x[i, c].numpy(), width, mode="constant", truncate=4.0
            )
            torch.testing.assert_close(
                found[i, c], torch.from_numpy(expected), atol=1e-7, rtol=1e-7
            )
    assert (found - x).abs().max() > 0.01


def test_a_width_must_be_positive() -> None:
    """Zero would divide by zero."""
    for width in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="width must be positive"):
            images.gaussian_filter(uniform(1, 1, 4, 4), width)


def test_the_tied_layer_by_loops() -> None:
    """eq:dae-tied: one weight serves both ways, in and back."""
    model = images.TiedAutoencoder(5, 3, torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        model.hidden_bias.copy_(uniform(3, seed=4))
        model.visible_bias.copy_(uniform(5, seed=5))
    y, weight = uniform(2, 5, seed=6), model.requires_grad_(False).weight
    features, logits = model.features(y), model(y)
    for n in range(2):
        hidden = []
        for j in range(3):
            total = model.hidden_bias[j] + sum(weight[j, i] * y[n, i] for i in range(5))
            hidden.append(1 / (1 + math.exp(-float(total))))
            assert features[n, j].item() == pytest.approx(hidden[j])
        for i in range(5):
            total = model.visible_bias[i] + sum(weight[j, i] * hidden[j] for j in range(3))
            assert logits[n, i].item() == pytest.approx(float(total))
    assert logits.std() > 0.05


def test_the_tied_layers_weights_come_from_the_generator() -> None:
    """Two of one seed are equal, their entries lie within the bound and fill it."""
    one, two = (images.TiedAutoencoder(40, 30, torch.Generator().manual_seed(7)) for _ in "ab")
    torch.testing.assert_close(one.weight, two.weight, rtol=0, atol=0)
    bound = math.sqrt(6 / 70)
    assert 0.95 * bound < one.weight.abs().max() <= bound
    assert one.weight.min() < -0.9 * bound


@pytest.mark.parametrize(
    ("network", "widths", "parameters"),
    [("dense", (7,), 64 * 7 + 7 + 7 * 64 + 64), ("unet", (8, 8), 0)],
)
def test_denoisers_map_vectors_of_pixels_to_such(
    network: str, widths: tuple[int, ...], parameters: int
) -> None:
    """Both kinds; answers may leave [0, 1]; every pixel in the middle can reach every answer."""
    torch.manual_seed(8)
    model = images.Denoiser(network, widths, 64)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    y = torch.randn(3, 64, requires_grad=True)
    answer = model(y)
    assert answer.shape == (3, 64)
    assert answer.min() < 0 or answer.max() > 1
    (slope,) = torch.autograd.grad(answer[1, 27], y)
    assert slope[1].abs().sum() > 0
    assert slope[0].abs().sum() == 0
    count = sum(p.numel() for p in model.parameters())
    assert not parameters or count == parameters


def test_denoisers_that_cannot_be_built() -> None:
    """The message names the pixels or the network."""
    with pytest.raises(ValueError, match="63 pixels make no square"):
        images.Denoiser("dense", (4,), 63)
    with pytest.raises(ValueError, match="unknown network 'wide'"):
        images.Denoiser("wide", (4,), 64)
