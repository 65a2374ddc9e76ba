"""Solutions to the exercises of book/gan/dcgan.md, each against another way to the same number."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen.gan import signal
from litgen.gan.networks import ConvCritic, ConvGenerator


def parameters_of_a_generator(
    latent: int, widths: tuple[int, ...], channels: int, side: int
) -> int:
    """Count weights, biases, gains and shifts of a DCGAN generator."""
    coarse = side // 2 ** len(widths)
    total = (latent + 1) * widths[0] * coarse**2 + 2 * widths[0]
    for a, b in itertools.pairwise(widths):
        total += 16 * a * b + 3 * b
    total += 16 * widths[-1] * channels + channels
    return total


@pytest.mark.parametrize(
    ("latent", "widths", "channels", "side"),
    [(20, (32, 16), 1, 28), (7, (6, 5, 4), 3, 40), (100, (128, 64, 32, 16), 3, 64)],
)
def test_parameters_of_a_generator(
    latent: int, widths: tuple[int, ...], channels: int, side: int
) -> None:
    """The count is the network's own."""
    network = ConvGenerator(latent, widths, channels, side)
    expected = sum(p.numel() for p in network.parameters())
    assert parameters_of_a_generator(latent, widths, channels, side) == expected


def resized_coverage(count: int) -> Tensor:
    """Return the taps of a 3-kernel that meet each pixel's inputs after doubling a line."""
    doubled = signal.reach(count, 2, 2, 0, transposed=True)  # each pixel is written twice
    return (signal.reach(2 * count, 3, 1, 1) @ doubled).sum(dim=1)


def test_resizing_first_covers_evenly() -> None:
    """torch's own doubling and convolution of ones; even inside."""
    ones = torch.ones(1, 1, 9)
    layer = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv1d(1, 1, 3, padding=1, bias=False))
    nn.init.ones_(layer[1].weight)
    found = resized_coverage(9)
    torch.testing.assert_close(found, layer(ones).detach()[0, 0])
    assert set(found[1:-1].tolist()) == {3.0}
    assert set(signal.overlap(9, 3, 2, 1).tolist()) == {1.0, 2.0}


def scale_that_keeps(channels: int, slope: float) -> float:
    """Return the weights' standard deviation that keeps mean squares through a halving stage."""
    return float((2 / ((1 + slope**2) * 16 * channels)) ** 0.5)


def test_a_scale_that_neither_grows_nor_falls() -> None:
    """By the formula of a stage, and by ten random stages of a wide critic without norms."""
    scale = scale_that_keeps(64, 0.2)
    inside = signal.after_convolution(torch.ones(16, 16), 64, 4, 2, 1, scale)[2:-2, 2:-2]
    torch.testing.assert_close(signal.after_rectifier(inside, 0.2), torch.ones(4, 4))
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(4, 64, 16, 16, generator=generator)
    h = h / h.square().mean().sqrt()
    for _ in range(10):
        weight = scale * torch.randn(64, 64, 4, 4, generator=generator)
        padded = F.pad(h, (1, 1, 1, 1), mode="circular")  # no borders, no halving: one to one
        h = F.leaky_relu(F.conv2d(F.pad(padded, (0, 1, 0, 1), mode="circular"), weight), 0.2)
    assert 0.3 < h.square().mean() < 3
    assert scale_that_keeps(64, 0.2) == pytest.approx(0.0433, abs=1e-4)


def moved_by_company(critic: nn.Module, real: Tensor, fakes: tuple[Tensor, Tensor]) -> float:
    """Return how far logits of data move when the samples in the same batch are exchanged."""
    critic.train()
    with torch.no_grad():
        one, other = (critic(torch.cat([real, fake]))[: len(real)] for fake in fakes)
    return (one - other).abs().mean().item()


def test_company_matters_with_batch_norm_only() -> None:
    """Black or noisy samples beside the same data; without norms nothing moves."""
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(8, 1, 28, 28, generator=generator) * 2 - 1
    fakes = -torch.ones(8, 1, 28, 28), torch.randn(8, 1, 28, 28, generator=generator).clamp(-1, 1)
    torch.manual_seed(0)
    assert moved_by_company(ConvCritic((4, 8)), real, fakes) > 1e-2
    assert moved_by_company(ConvCritic((4, 8), norm="none"), real, fakes) < 1e-6
    assert moved_by_company(ConvCritic((4, 8), norm="layer"), real, fakes) < 1e-6
