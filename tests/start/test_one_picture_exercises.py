"""Solutions of the exercises in book/start/one_picture.md, each with its proof."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from litgen.diffusion import ddim, ddpm, likelihood, schedule, score_matching
from litgen.diffusion.known import GaussianMixture
from litgen.gan import losses
from tests import oracles

Draw = Callable[..., Tensor]


def generator_gradients(gap: float) -> tuple[float, float]:
    """Return both losses' slopes in the mean of the model N(gap,1), at the best critic to N(0,1).

    The critic is held while the samples move, as in the game.
    """
    mean = torch.tensor(gap, dtype=torch.float64, requires_grad=True)
    noise = torch.linspace(-9, 9, 4_001, dtype=torch.float64)
    law = torch.exp(-noise.square() / 2) / (2 * math.pi) ** 0.5
    logits = gap**2 / 2 - gap * (mean + noise)  # log N(x; 0, 1) - log N(x; gap, 1)
    found = [
        torch.autograd.grad(torch.trapezoid(law * loss(logits), noise), mean, retain_graph=True)[0]
        for loss in (losses.saturating_loss, losses.generator_loss)
    ]
    return found[0].item(), found[1].item()


def test_what_the_two_losses_follow() -> None:
    """eq:gan-saturating follows 2 JS; eq:gan-non-saturating follows KL(q||p) - 2 JS."""

    def divergences(gap: float) -> tuple[float, float]:
        zero = torch.zeros((), dtype=torch.float64)
        p, q = Normal(zero, 1.0), Normal(zero + gap, 1.0)

        def from_middle(x: Tensor) -> Tensor:
            log_p, log_q = p.log_prob(x), q.log_prob(x)
            middle = torch.logaddexp(log_p, log_q) - math.log(2)
            return log_p.exp() * (log_p - middle) + log_q.exp() * (log_q - middle)

        twice_js = oracles.integrate(lambda x: from_middle(x.double()), -12, 16).item()
        return twice_js, gap**2 / 2

    step = 1e-4
    for gap in (0.5, 1.5, 4.0):
        high, low = divergences(gap + step), divergences(gap - step)
        js_slope, kl_slope = ((a - b) / (2 * step) for a, b in zip(high, low, strict=True))
        saturating, other = generator_gradients(gap)
        assert abs(saturating - js_slope) < 2e-5
        assert abs(other - (kl_slope - js_slope)) < 2e-5
        assert abs(kl_slope - gap) < 1e-6


def fit_by_score_matching(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and variance whose score (m - x) / v lowers the implicit loss most.

    With a = 1 / v the loss of one coordinate is -a + a^2 E(x - m)^2 / 2: lowest where m is the
    mean and a one over the variance, the same as by maximum likelihood.
    """
    return x.mean(dim=0), x.var(dim=0, correction=0)


def test_score_matching_fits_a_gaussian_as_likelihood_does(normal: Draw) -> None:
    """eq:score-implicit: no other mean or variance has a lower loss on the same points."""
    x = normal(300, 2) * torch.tensor([0.7, 1.9]) + torch.tensor([1.0, -2.0])
    mean, variance = fit_by_score_matching(x)

    def loss(m: Tensor, v: Tensor) -> float:
        return float(score_matching.implicit(lambda place: (m - place) / v, x).mean().detach())

    best = loss(mean, variance)
    for _ in range(20):
        moved, scaled = mean + 0.1 * normal(2), variance * torch.exp(0.2 * normal(2))
        assert loss(moved, variance) > best
        assert loss(mean, scaled) > best
    gradient = oracles.central_difference(lambda v: torch.tensor(loss(mean, v)).double(), variance)
    assert gradient.abs().max() < 1e-5


def denoise(x: Tensor, score: Tensor, scale: float) -> Tensor:
    """Return E[clean | noisy x], given the score of the noisy density there: Tweedie's formula."""
    return x + scale**2 * score


def test_the_score_denoises(normal: Draw) -> None:
    """eq:score-vincent turned around: the posterior mean of a Gaussian, by precisions."""
    sd, scale, x = 0.8, 0.5, normal(6, 1)
    score = (0.3 - x) / (sd**2 + scale**2)
    expected = (0.3 / sd**2 + x / scale**2) / (1 / sd**2 + 1 / scale**2)
    torch.testing.assert_close(denoise(x, score, scale), expected)


def estimated_divergence(y: Tensor, x: Tensor, probe: Tensor) -> Tensor:
    """Return probe^T (dy/dx) probe: in the mean over probes of +1 and -1 the trace."""
    (product,) = torch.autograd.grad((y * probe).sum(), x, retain_graph=True)
    return (product * probe).sum(dim=1)


def test_one_random_probe_estimates_the_trace(normal: Draw) -> None:
    """The average over all four probes of the plane is the trace; single ones differ from it."""
    weight, x = normal(2, 2), normal(5, 2).requires_grad_()
    y = torch.sin(x @ weight) * x.flip(-1)
    exact = score_matching.divergence(y, x).detach()
    probes = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double()
    found = torch.stack([estimated_divergence(y, x, probe.expand(5, 2)) for probe in probes])
    torch.testing.assert_close(found.mean(dim=0), exact)
    assert (found - exact).abs().max() > 0.1


def decode_step(
    model: ddpm.Model,
    x: Tensor,
    s: int,
    t: int,
    levels: schedule.Schedule,
    rounds: int = 30,
) -> Tensor:
    """Return the x_s that `encode_step` takes to x_t, by repeated correction.

    The step is close to stretching by sqrt(alpha_bar[t] / alpha_bar[s]), so the remaining error,
    divided by that, is added until nothing is left.
    """
    stretch = math.sqrt(float(levels.alpha_bar[t] / levels.alpha_bar[s]))
    guess = x / stretch
    for _ in range(rounds):
        guess = guess + (x - likelihood.encode_step(model, guess, s, t, levels)) / stretch
    return guess


def test_the_encoder_can_be_run_backwards(normal: Draw) -> None:
    """eq:onepic-encode-step: the found point encodes to the given one; DDIM's step only nearly."""
    levels = schedule.cosine(1_000)
    data = GaussianMixture(torch.tensor([0.4, 0.6]).double(), normal(2, 2), 0.4)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        return data.noise(x_t, t, levels)

    x = normal(5, 2)
    found = decode_step(model, x, 480, 500, levels)
    torch.testing.assert_close(likelihood.encode_step(model, found, 480, 500, levels), x)
    at = torch.full((5,), 500)
    usual = ddim.step(ddpm.denoised(model(x, at), x, at, levels), 500, 480, levels)
    assert 1e-5 < (usual - found).abs().max() < 0.05
