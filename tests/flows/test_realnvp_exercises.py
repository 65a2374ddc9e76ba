"""Solutions of the exercises of book/flows/realnvp.md, and what proves them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from litgen.flows import dequantization
from litgen.flows.realnvp import RealNVP
from litgen.gaussian import bits_per_dim
from tests import oracles

Draw = Callable[..., Tensor]


def slope_gap(slope: float) -> float:
    """Return what uniform noise loses in a cell where log p rises by ``slope``, in nats."""
    return math.log(math.expm1(slope) / slope) - slope / 2


@pytest.mark.parametrize("slope", [-3.0, 0.2, 2.0])
def test_the_gap_of_a_slope_is_the_integrals(slope: float) -> None:
    """eq:dequantize-bound: log of the mean less mean of the log; close to slope^2 / 24."""
    exact = oracles.integrate(lambda u: (slope * u).exp(), 0, 1).log().item()
    mean = oracles.integrate(lambda u: slope * u, 0, 1).item()
    assert slope_gap(slope) == pytest.approx(exact - mean, abs=1e-6)
    assert slope_gap(0.2) == pytest.approx(0.2**2 / 24, rel=0.01)
    assert slope_gap(-3.0) == pytest.approx(slope_gap(3.0))


def tighter_bound(log_densities: Tensor, pixels: int, levels: int) -> Tensor:
    """Return log (1/K) sum_k P_k of (draws, images) log-densities: one number per image."""
    each = dequantization.image_log_prob(log_densities.flatten(), pixels, levels)
    each = each.view(log_densities.shape)
    return torch.logsumexp(each, dim=0) - math.log(len(each))


def test_more_draws_tighten_the_bound(generator: torch.Generator) -> None:
    """For p(x) = 2 x and 8 levels, where the first cell has probability 1/64."""
    means = []
    for draws in (1, 4, 64):
        u = torch.rand(draws, 20_000, generator=generator, dtype=torch.float64)
        means.append(tighter_bound((2 * u / 8).log(), 1, 8).mean().item())
    exact = -math.log(64)
    assert means[0] == pytest.approx(math.log(2) - 1 - 2 * math.log(8), abs=0.03)
    assert means[0] < means[1] - 0.05 < means[2] < exact
    assert exact - means[2] < 0.01


def mix_channels(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply each pixel's channels by one matrix; return y and log|det dy/dx|."""
    y = nn.functional.conv2d(x, weight[:, :, None, None])
    pixels = x.shape[-2] * x.shape[-1]
    return y, pixels * torch.linalg.slogdet(weight).logabsdet


def test_mixing_channels_has_autograds_determinant(normal: Draw) -> None:
    """The Jacobian of the whole image; and the inverse is the inverse matrix."""
    x, weight = normal(1, 3, 2, 2), normal(3, 3)
    y, log_det = mix_channels(x, weight)
    jacobian = torch.func.jacrev(lambda v: mix_channels(v, weight)[0])(x).view(12, 12)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet)
    assert log_det.abs() > 0.1
    torch.testing.assert_close(mix_channels(y, torch.linalg.inv(weight))[0], x)


def histogram_bits(train: Tensor, test: Tensor, levels: int = 256) -> float:
    """Return bits per pixel of a code that knows each place's own histogram, and nothing else."""
    rows = torch.arange(train[0].numel())
    counts = torch.ones(len(rows), levels)  # one for each level, so that none is impossible
    for image in train.flatten(1).long():
        counts[rows, image] += 1
    log_prob = (counts / counts.sum(dim=1, keepdim=True)).log()
    chosen = log_prob[rows, test.flatten(1).long()].sum(dim=1)
    return bits_per_dim(chosen, len(rows)).mean().item()


def test_a_histogram_needs_the_entropy_of_each_place(generator: torch.Generator) -> None:
    """Noise needs all its bits, a constant pixel nearly none."""
    noise = torch.randint(0, 4, (4_000, 1, 2, 2), generator=generator)
    noise[:, :, 0, 0] = 3
    found = histogram_bits(noise[:3_000], noise[3_000:], 4)
    assert found == pytest.approx(3 / 4 * 2, abs=0.01)


def learned_noise_bits(flow: RealNVP, net: nn.Module, images: Tensor, noise: Tensor) -> Tensor:
    """Return bits per dimension of 8-bit images; the net reads them and shapes the noise."""
    mean, log_scale = net(images.to(noise.dtype) / 255).chunk(2, dim=1)
    u, log_q = dequantization.logit_noise(mean, log_scale, noise)
    y, by_logit = dequantization.to_logit(dequantization.uniform(images, u))
    log_density = flow.log_prob(y) + by_logit
    pixels = images[0].numel()
    return bits_per_dim(dequantization.variational_bound(log_density, log_q, pixels), pixels)


def test_learned_noise_on_images_is_the_whole_maps_density(normal: Draw) -> None:
    """eq:dequantize-variational, eq:dequantize-noise: the noise's Jacobian takes one log off."""
    torch.manual_seed(0)
    flow, net = RealNVP(1, 4, 2, 1, 4, 0).double(), nn.Conv2d(1, 2, 3, padding=1).double()
    for parameter in flow.parameters():
        nn.init.normal_(parameter, 0, 0.1, generator=torch.Generator().manual_seed(1))
    images = torch.randint(0, 256, (2, 1, 4, 4), generator=torch.Generator().manual_seed(2))
    noise = normal(2, 1, 4, 4)
    found = learned_noise_bits(flow, net, images.to(torch.uint8), noise)

    def whole(eps: Tensor, value: Tensor) -> Tensor:
        """Map the noise to z: its Jacobian holds every slope, that of 1/256 too."""
        mean, log_scale = net(value[None] / 255)[0].chunk(2)
        inner = 0.05 + 0.9 * (value + (mean + log_scale.exp() * eps).sigmoid()) / 256
        return flow((inner / (1 - inner)).log()[None])[0][0]

    for i in range(2):
        value = images[i].double()
        jacobian = torch.func.jacrev(whole)(noise[i], value).view(16, 16)
        nats = Normal(0.0, 1.0).log_prob(whole(noise[i], value)).sum()
        nats = nats + torch.linalg.slogdet(jacobian).logabsdet
        nats = nats - Normal(0.0, 1.0).log_prob(noise[i]).sum()
        torch.testing.assert_close(found[i], -nats / 16 / math.log(2))
    assert (found[0] - found[1]).abs() > 0.01
    found.sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
