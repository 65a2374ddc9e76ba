"""Proof for litgen/diffusion/ddpm.py: Bayes' rule by quadrature, chains by hand, Gaussians."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from litgen.diffusion import ddpm, schedule
from litgen.diffusion.ddpm import Prediction
from litgen.diffusion.known import GaussianMixture
from litgen.diffusion.schedule import Schedule

Draw = Callable[..., Tensor]
FEW = schedule.from_betas(torch.tensor([0.1, 0.3, 0.4, 0.6, 0.8], dtype=torch.float64))
KINDS: list[Prediction] = ["noise", "x", "v"]


def test_diffuse_has_the_law_of_the_steps(normal: Draw) -> None:
    """eq:ddpm-forward: mean and variance of x_t by going x -> x_1 -> ... -> x_t one at a time."""
    x, noise = normal(3, 2), normal(3, 2)
    for t in range(1, 6):
        mean, variance = x, torch.zeros((), dtype=torch.float64)
        for beta in FEW.betas[:t]:
            mean, variance = (1 - beta).sqrt() * mean, (1 - beta) * variance + beta
        found = ddpm.diffuse(x, torch.full((3,), t), noise, FEW)
        torch.testing.assert_close(found, mean + variance.sqrt() * noise)
    assert torch.equal(ddpm.diffuse(x, torch.zeros(3).long(), noise, FEW), x)


@pytest.mark.parametrize("t", [2, 3, 5])
def test_posterior_is_bayes_rule(t: int) -> None:
    """eq:ddpm-posterior: q(x_{t-1}|x) q(x_t|x_{t-1}), normalised by quadrature."""
    x, x_t = 0.7, -0.4
    before = math.prod(1 - b for b in FEW.betas[: t - 1].tolist())
    beta = FEW.betas[t - 1].item()
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    prior = Normal(math.sqrt(before) * x, math.sqrt(1 - before)).log_prob(grid)
    step = Normal(math.sqrt(1 - beta) * grid, math.sqrt(beta)).log_prob(
        torch.tensor(x_t, dtype=torch.float64)
    )
    density = (prior + step).exp()
    density = density / torch.trapezoid(density, grid)
    mean = torch.trapezoid(density * grid, grid)
    variance = torch.trapezoid(density * (grid - mean) ** 2, grid)
    found = ddpm.posterior(
        torch.tensor([[x]]).double(), torch.tensor([[x_t]]).double(), torch.tensor([t]), FEW
    )
    torch.testing.assert_close(found[0].squeeze(), mean)
    torch.testing.assert_close(found[1].squeeze(), variance)


def test_posterior_at_the_last_step_is_the_data(normal: Draw) -> None:
    """eq:ddpm-posterior at t = 1: x itself, no variance, so no noise is added."""
    x, x_t, noise = normal(4, 3), normal(4, 3), normal(4, 3)
    t = torch.ones(4).long()
    mean, variance = ddpm.posterior(x, x_t, t, FEW)
    torch.testing.assert_close(mean, x)
    assert (variance == 0).all()
    torch.testing.assert_close(ddpm.reverse_step(x, x_t, t, noise, FEW), x)


def test_reverse_step_has_the_posteriors_law(normal: Draw) -> None:
    """eq:ddpm-reverse: back to the step's noise by the judge's mean and variance."""
    x, x_t, noise = normal(5, 2), normal(5, 2), normal(5, 2)
    t = torch.tensor([2, 3, 4, 5, 2])
    found = ddpm.reverse_step(x, x_t, t, noise, FEW)
    for n in range(5):
        before = math.prod(1 - b for b in FEW.betas[: t[n] - 1].tolist())
        beta = FEW.betas[t[n] - 1].item()
        precision = 1 / (1 - before) + (1 - beta) / beta  # two Gaussians multiplied
        mean = math.sqrt(before) * x[n] / (1 - before) + math.sqrt(1 - beta) * x_t[n] / beta
        expected = mean / precision + noise[n] / math.sqrt(precision)
        torch.testing.assert_close(found[n], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_read_back(kind: Prediction, normal: Draw) -> None:
    """eq:ddpm-denoised: a network that says the target exactly reveals the data and the noise."""
    x, noise, t = normal(5, 3), normal(5, 3), torch.tensor([1, 2, 3, 4, 5])
    x_t = ddpm.diffuse(x, t, noise, FEW)
    said = ddpm.target(x, t, noise, FEW, kind)
    found = ddpm.denoised(said, x_t, t, FEW, kind)
    torch.testing.assert_close(found.x, x)
    torch.testing.assert_close(found.noise, noise)


def test_v_is_the_velocity_along_the_circle(normal: Draw) -> None:
    """eq:ddpm-v: with cos a = sqrt(alpha_bar), v is the derivative of x_t by the angle a."""
    x, noise, t = normal(4, 2), normal(4, 2), torch.tensor([1, 2, 4, 5])
    angle = torch.acos(FEW.alpha_bar[t].sqrt())[:, None].expand(4, 2).clone().requires_grad_()
    x_t = angle.cos() * x + angle.sin() * noise
    velocity = torch.autograd.grad(x_t.sum(), angle)[0]
    torch.testing.assert_close(ddpm.target(x, t, noise, FEW, "v"), velocity)
    assert torch.equal(ddpm.target(x, t, noise, FEW, "noise"), noise)
    assert torch.equal(ddpm.target(x, t, noise, FEW, "x"), x)


def test_score_is_the_gradient_of_the_log_density(normal: Draw) -> None:
    """eq:ddpm-score: of q(x_t|x), by autograd through torch.distributions."""
    x, noise, t = normal(4, 2), normal(4, 2), torch.tensor([1, 2, 4, 5])
    x_t = ddpm.diffuse(x, t, noise, FEW).requires_grad_()
    alpha_bar = FEW.alpha_bar[t][:, None]
    log_q = Normal(alpha_bar.sqrt() * x, (1 - alpha_bar).sqrt()).log_prob(x_t).sum()
    expected = torch.autograd.grad(log_q, x_t)[0]
    torch.testing.assert_close(ddpm.score(noise, t, FEW), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_simple_loss_is_the_mean_square(kind: Prediction, normal: Draw) -> None:
    """eq:ddpm-simple: one number per example, averaged over its pixels, by a loop."""
    x, noise, t = normal(3, 1, 2, 2), normal(3, 1, 2, 2), torch.tensor([5, 1, 3])
    answer = normal(3, 1, 2, 2)
    asked = []

    def model(x_t: Tensor, times: Tensor) -> Tensor:
        asked.append((x_t, times))
        return answer

    found = ddpm.simple_loss(model, x, t, noise, FEW, kind)
    wanted = ddpm.target(x, t, noise, FEW, kind)
    for n in range(3):
        squares = [
            (a - b) ** 2 for a, b in zip(answer[n].flatten(), wanted[n].flatten(), strict=True)
        ]
        assert found[n].item() == pytest.approx(sum(squares).item() / 4)
    torch.testing.assert_close(asked[0][0], ddpm.diffuse(x, t, noise, FEW))
    assert torch.equal(asked[0][1], t)


def test_the_simple_loss_is_smallest_at_the_exact_denoiser() -> None:
    """eq:ddpm-simple: the closed-form noise of a mixture beats itself moved a little."""
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.5]], dtype=torch.float64)
    data = GaussianMixture(weights, means, 0.3)
    generator = torch.Generator().manual_seed(0)
    component = torch.multinomial(weights, 20_000, replacement=True, generator=generator)
    x, noise = (torch.randn(2, 20_000, 2, generator=generator, dtype=torch.float64)).unbind()
    x = data.sample(component, x)
    t = torch.randint(1, 6, (20_000,), generator=generator)

    def loss(factor: float, offset: float) -> float:
        def model(x_t: Tensor, times: Tensor) -> Tensor:
            return factor * data.noise(x_t, times, FEW) + offset

        return ddpm.simple_loss(model, x, t, noise, FEW).mean().item()

    best = loss(1.0, 0.0)
    assert best < min(loss(0.9, 0.0), loss(1.1, 0.0), loss(1.0, 0.1), loss(1.0, -0.1))


def gaussian_model(mean: float, scale: float, times: Schedule) -> ddpm.Model:
    """Return the exact denoiser of N(mean, scale^2) in one dimension."""
    data = GaussianMixture(
        torch.ones(1).double(), torch.tensor([[mean]], dtype=torch.float64), scale
    )
    return lambda x_t, t: data.noise(x_t, t, times)


def test_the_sampler_returns_the_datas_mean_and_variance(generator: torch.Generator) -> None:
    """With Gaussian data and the exact denoiser, the chain ends at the data's law.

    The mean is exact; the variance falls short of it by what T steps cost, which is computed by
    propagating mean and variance through the chain in closed form.
    """
    times = schedule.linear(200)
    count, mean, scale = 40_000, 1.3, 0.6
    x_t = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    *_, x = ddpm.trajectory(gaussian_model(mean, scale, times), x_t, times, generator)
    spread = x.std()
    assert (x.mean() - mean).abs() < 5 * scale / count**0.5 + 0.01
    assert (spread / scale - 1).abs() < 0.02 + 5 / (2 * count) ** 0.5


def test_trajectory_is_reverse_steps_from_the_last_time_to_the_first(normal: Draw) -> None:
    """T states, ending at x_0; each the reverse step of the one before, with the same draws."""
    model = gaussian_model(0.5, 0.7, FEW)
    start = normal(4, 1)
    states = list(ddpm.trajectory(model, start, FEW, torch.Generator().manual_seed(1)))
    assert len(states) == 5
    generator, x_t = torch.Generator().manual_seed(1), start
    for time in (5, 4, 3, 2, 1):
        t = torch.full((4,), time)
        noise = torch.randn(4, 1, generator=generator, dtype=torch.float64)
        guess = (x_t - (1 - FEW.alpha_bar[time]).sqrt() * model(x_t, t)) / FEW.alpha_bar[
            time
        ].sqrt()
        x_t = ddpm.reverse_step(guess, x_t, t, noise, FEW)
        torch.testing.assert_close(states[5 - time], x_t)


def test_clipping_cuts_the_guess_of_the_data(normal: Draw) -> None:
    """The last state is the last guess, so it lies in the range."""
    model = gaussian_model(5.0, 0.1, FEW)
    *_, free = ddpm.trajectory(model, normal(4, 1), FEW, torch.Generator().manual_seed(1))
    *_, cut = ddpm.trajectory(model, normal(4, 1), FEW, torch.Generator().manual_seed(1), clip=1.0)
    assert (free > 2).all()
    torch.testing.assert_close(cut, torch.ones_like(cut))


def test_prior_term_is_torchs_divergence(normal: Draw) -> None:
    """eq:ddpm-prior: KL of each pixel's Gaussian from N(0, 1), summed."""
    x = normal(3, 1, 2, 2)
    last = FEW.alpha_bar[-1]
    law = Normal(last.sqrt() * x, (1 - last).sqrt().expand_as(x))
    expected = kl_divergence(law, Normal(0.0, 1.0)).flatten(1).sum(dim=1)
    assert expected.std() > 1e-4
    torch.testing.assert_close(ddpm.prior_term(x, FEW), expected)


def test_bound_terms_are_torchs_divergences(normal: Draw) -> None:
    """eq:ddpm-kl: between the posteriors of the data and of the guess, summed over pixels."""
    x, guess, x_t = normal(4, 3), normal(4, 3), normal(4, 3)
    t = torch.tensor([2, 3, 4, 5])
    found = ddpm.bound_terms(x, guess, x_t, t, FEW)
    for n in range(4):
        before, now = FEW.alpha_bar[t[n] - 1], FEW.alpha_bar[t[n]]
        beta = FEW.betas[t[n] - 1]
        variance = beta * (1 - before) / (1 - now)
        gap = before.sqrt() * beta / (1 - now) * (x[n] - guess[n])
        expected = (gap.square() / (2 * variance)).sum()
        torch.testing.assert_close(found[n], expected)


def joint_covariance(factors: list[float], variances: list[float], first: float) -> Tensor:
    """Return the covariance of a chain y_0 ~ N(0, first), y_k = factor_k y_{k-1} + noise_k."""
    size = len(factors) + 1
    mixing = torch.zeros(size, size, dtype=torch.float64)  # y in terms of independent noises
    mixing[0, 0] = math.sqrt(first)
    for k, (factor, variance) in enumerate(zip(factors, variances, strict=True), start=1):
        mixing[k] = factor * mixing[k - 1]
        mixing[k, k] = math.sqrt(variance)
    return mixing @ mixing.T


def test_the_terms_add_up_to_the_bound_of_two_whole_chains() -> None:
    """eq:ddpm-bound: for Gaussian data both chains are Gaussians in T + 1 dimensions.

    The judge writes down their covariances, and the bound as the mean of
    log q(x_1..T|x_0) - log p(x_0..T) under q,
    by traces and determinants. It lies above the entropy of the data.
    """
    scale, betas = 0.5, FEW.betas.tolist()
    q = joint_covariance([math.sqrt(1 - b) for b in betas], betas, scale**2)
    factors, variances = [], []
    for t in range(5, 0, -1):
        before, now = (math.prod(1 - b for b in betas[:k]) for k in (t - 1, t))
        guess = math.sqrt(now) * scale**2 / (now * scale**2 + 1 - now)  # E[x|x_t] / x_t
        beta = betas[t - 1]
        if t == 1:
            factors, variances = [*factors, guess], [*variances, beta]
            continue
        precision = 1 / (1 - before) + (1 - beta) / beta
        mean = math.sqrt(before) * guess / (1 - before) + math.sqrt(1 - beta) / beta
        factors, variances = [*factors, mean / precision], [*variances, 1 / precision]
    p = joint_covariance(factors, variances, 1.0).flip(0, 1)  # from x_T first to x_0 first
    cross = 0.5 * (6 * math.log(2 * math.pi) + torch.logdet(p) + (torch.linalg.inv(p) @ q).trace())
    entropy = 0.5 * (5 * math.log(2 * math.pi * math.e) + torch.logdet(q) - math.log(scale**2))
    data_entropy = 0.5 * math.log(2 * math.pi * math.e * scale**2)
    assert cross - entropy > data_entropy + 0.01

    generator, count = torch.Generator().manual_seed(3), 100_000
    x = scale * torch.randn(count, 1, generator=generator, dtype=torch.float64)
    model = gaussian_model(0.0, scale, FEW)
    total = ddpm.prior_term(x, FEW)
    for time in range(1, 6):
        t = torch.full((count,), time)
        noise = torch.randn(count, 1, generator=generator, dtype=torch.float64)
        x_t = ddpm.diffuse(x, t, noise, FEW)
        guess_x = ddpm.denoised(model(x_t, t), x_t, t, FEW).x
        if time > 1:
            total = total + ddpm.bound_terms(x, guess_x, x_t, t, FEW)
        else:
            total = total - Normal(guess_x, math.sqrt(betas[0])).log_prob(x).sum(dim=1)
    error = total.std() / count**0.5
    assert (total.mean() - (cross - entropy)).abs() < 5 * error
    assert error < 0.01


def test_decoder_is_a_distribution_over_the_levels() -> None:
    """eq:ddpm-decoder: 256 probabilities that add up to one, wherever the guess lies."""
    levels = torch.linspace(-1, 1, 256, dtype=torch.float64)[:, None]
    times = schedule.linear(1_000)
    for guess in (-1.4, -1.0, 0.013, 0.9, 1.2):
        log_p = ddpm.decoder_log_prob(levels, torch.full_like(levels, guess), times)
        assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-9)
        nearest = (levels[:, 0] - guess).abs().argmin()
        assert log_p.argmax() == nearest
        assert log_p.isfinite().all()


def test_decoder_is_the_integral_over_the_cell() -> None:
    """eq:ddpm-decoder: a Gaussian with variance beta_1 over the width of one level."""
    times = schedule.linear(1_000, first=1e-3)
    scale, guess = math.sqrt(1e-3), 0.1
    for level in (120, 140, 141, 160):
        x = -1 + 2 * level / 255
        grid = torch.linspace(x - 1 / 255, x + 1 / 255, 2_001, dtype=torch.float64)
        area = torch.trapezoid(Normal(guess, scale).log_prob(grid).exp(), grid)
        found = ddpm.decoder_log_prob(
            torch.tensor([[x]]).double(), torch.tensor([[guess]]).double(), times
        )
        torch.testing.assert_close(found[0], area.log(), rtol=1e-6, atol=1e-6)


def test_decoder_sums_over_pixels(normal: Draw) -> None:
    """Independent pixels: log-probabilities add."""
    times = schedule.linear(1_000)
    x = (normal(2, 1, 2, 2) / 4).clamp(-1, 1)
    guess = x + 0.01 * normal(2, 1, 2, 2)
    whole = ddpm.decoder_log_prob(x, guess, times)
    parts = ddpm.decoder_log_prob(x.view(8, 1), guess.view(8, 1), times).view(2, 4).sum(dim=1)
    torch.testing.assert_close(whole, parts)


def test_bad_input(unchecked: None, normal: Draw) -> None:
    """Times outside the schedule, unknown predictions, data outside the range."""
    x = normal(2, 1)
    good = torch.tensor([1, 2])
    for bad in (torch.tensor([0, 1]), torch.tensor([1, 6])):
        with pytest.raises(ValueError, match=r"1\.\.5"):
            ddpm.posterior(x, x, bad, FEW)
        with pytest.raises(ValueError, match=r"1\.\.5"):
            ddpm.simple_loss(lambda x_t, t: x_t, x, bad, x, FEW)
        with pytest.raises(ValueError, match=r"1\.\.5"):
            ddpm.denoised(x, x, bad, FEW)
    with pytest.raises(ValueError, match=r"2\.\.5"):
        ddpm.bound_terms(x, x, x, good, FEW)
    with pytest.raises(ValueError, match="prediction"):
        ddpm.target(x, good, x, FEW, "score")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prediction"):
        ddpm.denoised(x, x, good, FEW, "score")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="outside"):
        ddpm.decoder_log_prob(torch.tensor([[1.1]]), torch.tensor([[1.0]]), FEW)
