"""Proof of the solutions in book/diffusion/guidance.md's exercises; guidance.py is what they use.

Reference: Kynkaanniemi, Aittala, Karras, Laine, Aila & Lehtinen (2024), for the interval.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from litgen.diffusion import ddpm, guidance, schedule
from litgen.diffusion.ddpm import Model
from litgen.diffusion.schedule import Schedule

Draw = Callable[..., Tensor]
TIMES = schedule.linear(50)


# exercise 1 --------------------------------------------------------------------------------------


def class_pull(x: Tensor, wanted: Tensor, other: Tensor, variance: float, prior: float) -> Tensor:
    """Return the gradient of log p(wanted | x) for two round Gaussians of one variance."""
    direction = (wanted - other) / variance
    log_odds = (x - (wanted + other) / 2) @ direction + torch.tensor(prior).logit()
    return torch.sigmoid(-log_odds)[:, None] * direction


def test_class_pull(normal: Draw) -> None:
    """By autograd through Bayes' rule; next to nothing where the classifier is sure."""
    x, wanted, other = normal(6, 3), normal(3), normal(3)
    place = x.clone().requires_grad_()
    logs = [Normal(m, 0.7).log_prob(place).sum(dim=1) for m in (wanted, other)]
    own = logs[0] + torch.tensor(0.2).double().log()
    rest = logs[1] + torch.tensor(0.8).double().log()
    expected = torch.autograd.grad((own - torch.logaddexp(own, rest)).sum(), place)[0]
    found = class_pull(x, wanted, other, 0.49, 0.2)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    sure = wanted + 100 * (wanted - other)
    assert class_pull(sure[None], wanted, other, 0.49, 0.2).abs().max() < 1e-6


# exercise 2 --------------------------------------------------------------------------------------


def ratio_of_shifts(times: Schedule, t: int) -> float:
    """Return the ancestral shift by the mean over that by the noise, at time t."""
    now, before = times.alpha_bar[t], times.alpha_bar[t - 1]
    return float((now / before).sqrt() * (1 - before) / (1 - now))


def test_ratio_of_shifts(normal: Draw) -> None:
    """Both steps taken; the ratio goes to 1 with the length of the step, and is 0 at t = 1."""
    for t in (1, 2, 20, 50):
        x_t, noise, gradient, zero = normal(2, 3), normal(2, 3), normal(2, 3), torch.zeros(2, 3)
        now = torch.tensor([t, t])
        spread = (1 - TIMES.alpha_bar[t]).sqrt()
        guess = ddpm.denoised(noise, x_t, now, TIMES).x
        moved = ddpm.denoised(noise - 1.5 * spread * gradient, x_t, now, TIMES).x
        plain = ddpm.reverse_step(guess, x_t, now, zero.double(), TIMES)
        by_noise = ddpm.reverse_step(moved, x_t, now, zero.double(), TIMES) - plain
        by_mean = (
            guidance.guided_step(guess, x_t, now, zero.double(), gradient, TIMES, 1.5) - plain
        )
        torch.testing.assert_close(by_mean, ratio_of_shifts(TIMES, t) * by_noise)
    fine = schedule.linear(1_000)
    assert ratio_of_shifts(TIMES, 1) == 0
    assert ratio_of_shifts(TIMES, 20) < 0.95
    assert 0.99 < ratio_of_shifts(fine, 400) < 1


# exercise 3 --------------------------------------------------------------------------------------


def test_guidance_may_mix_what_the_network_says(normal: Draw) -> None:
    """Noise, x or v: mixing any of them mixes the others, since each is linear in each."""
    x_t, none, given = normal(4, 3), normal(4, 3), normal(4, 3)
    t = torch.tensor([1, 10, 30, 50])
    for kind in ("noise", "x", "v"):
        both = (ddpm.denoised(said, x_t, t, TIMES, kind) for said in (none, given))
        first, second = both
        mixed = guidance.classifier_free(none, given, 3.0)
        found = ddpm.denoised(mixed, x_t, t, TIMES, kind)
        torch.testing.assert_close(
            found.noise, guidance.classifier_free(first.noise, second.noise, 3.0)
        )
        torch.testing.assert_close(found.x, guidance.classifier_free(first.x, second.x, 3.0))


# exercise 4 --------------------------------------------------------------------------------------


def two_spreads(own: float, whole: float, scale: float) -> tuple[float, float]:
    """Return the tempered law's standard deviation, and the one that guided DDIM reaches."""
    precision = scale / own**2 + (1 - scale) / whole**2
    return precision**-0.5, own**scale * whole ** (1 - scale)


def test_two_spreads() -> None:
    """The first by quadrature of p(x) p(y|x)^scale; the second is smaller beyond scale 1."""
    x = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    own, whole = Normal(0.0, 0.6).log_prob(x), Normal(0.0, 1.3).log_prob(x)
    for scale in (0.0, 0.5, 1.0, 2.0, 5.0):
        law = guidance.tempered(whole, own - whole, scale).softmax(dim=0)
        found = two_spreads(0.6, 1.3, scale)
        assert found[0] == pytest.approx((law * x.square()).sum().sqrt().item(), rel=1e-6)
        if scale in (0.0, 1.0):
            assert found[0] == pytest.approx(found[1])
        else:
            assert (found[1] < found[0]) == (scale > 1)


# exercise 5 --------------------------------------------------------------------------------------


def guided_between(
    network: Callable[[Tensor, Tensor, Tensor], Tensor],
    labels: Tensor,
    scale: float,
    classes: int,
    first: int,
    last: int,
) -> Model:
    """Return a model that is guided at times first..last, and conditional at all others."""
    guided = guidance.guided_model(network, labels, scale, classes)
    plain = guidance.guided_model(network, labels, 1.0, classes)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        return guided(x_t, t) if first <= int(t[0]) <= last else plain(x_t, t)

    return model


def test_guided_between(normal: Draw) -> None:
    """Guided at both ends of the interval; outside one evaluation, that with the class."""
    asked: list[int] = []

    def network(x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        asked.append(len(x_t))
        return x_t * (1.0 + labels[:, None])

    x_t, labels = normal(2, 3), torch.tensor([0, 1])
    model = guided_between(network, labels, 3.0, 2, 10, 20)
    given, none = x_t * (1.0 + labels[:, None]), 3 * x_t
    for t, guided in ((9, False), (10, True), (20, True), (21, False)):
        expected = none + 3 * (given - none) if guided else given
        torch.testing.assert_close(model(x_t, torch.tensor([t, t])), expected)
    assert asked == [2, 4, 4, 2]
