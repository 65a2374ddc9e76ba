"""Denoising diffusion: the forward process, its posterior, the losses and the reverse step.

Chapter: book/diffusion/ddpm.md.  Proof: tests/diffusion/test_ddpm.py.
References: Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models" (2020); Salimans & Ho,
"Progressive Distillation for Fast Sampling of Diffusion Models" (2022), for v.

Notation: the paper's x_0 is ``x``, x_t is ``x_t``, epsilon is ``noise``. ``t`` has one entry per
example and runs from 1 to T; alpha_bar[0] is 1 (see litgen.diffusion.schedule).
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from litgen.diffusion.schedule import Schedule
from litgen.gaussian import kl_divergence, kl_to_standard
from litgen.shapes import Float, Int

__all__ = [
    "Denoised",
    "Model",
    "Prediction",
    "bound_terms",
    "decoder_log_prob",
    "denoised",
    "diffuse",
    "posterior",
    "prior_term",
    "reverse_step",
    "score",
    "simple_loss",
    "target",
    "trajectory",
]

Prediction = Literal["noise", "x", "v"]
Model = Callable[[Float[Tensor, "batch *dims"], Int[Tensor, " batch"]], Tensor]


def diffuse(
    x: Float[Tensor, "batch *dims"],
    t: Int[Tensor, " batch"],
    noise: Float[Tensor, "batch *dims"],
    schedule: Schedule,
) -> Float[Tensor, "batch *dims"]:
    """Return x_t = sqrt(alpha_bar) x + sqrt(1 - alpha_bar) noise. Implements eq:ddpm-forward.

    Raises:
        ValueError: a time outside 0..T.
    """
    alpha_bar = schedule.at(t, x)
    return alpha_bar.sqrt() * x + (1 - alpha_bar).sqrt() * noise


def target(
    x: Float[Tensor, "batch *dims"],
    t: Int[Tensor, " batch"],
    noise: Float[Tensor, "batch *dims"],
    schedule: Schedule,
    prediction: Prediction = "noise",
) -> Float[Tensor, "batch *dims"]:
    """Return what a network of this kind should say. Implements eq:ddpm-v.

    Raises:
        ValueError: an unknown kind of prediction.
    """
    if prediction == "noise":
        return noise
    if prediction == "x":
        return x
    _check_kind(prediction)
    alpha_bar = schedule.at(t, x)
    return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * x


class Denoised(NamedTuple):
    """What a network's answer says of a noisy batch."""

    x: Tensor
    noise: Tensor


def denoised(
    output: Float[Tensor, "batch *dims"],
    x_t: Float[Tensor, "batch *dims"],
    t: Int[Tensor, " batch"],
    schedule: Schedule,
    prediction: Prediction = "noise",
) -> Denoised:
    """Read the data and the noise off a network's output. Implements eq:ddpm-denoised.

    Raises:
        ValueError: an unknown kind of prediction, or a time outside 1..T.
    """
    _check_kind(prediction)
    schedule.check(t, first=1)
    alpha_bar = schedule.at(t, x_t)
    signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    if prediction == "noise":
        return Denoised((x_t - spread * output) / signal, output)
    if prediction == "x":
        return Denoised(output, (x_t - signal * output) / spread)
    return Denoised(signal * x_t - spread * output, spread * x_t + signal * output)


def score(
    noise: Float[Tensor, "batch *dims"], t: Int[Tensor, " batch"], schedule: Schedule
) -> Float[Tensor, "batch *dims"]:
    """Return the gradient of log q(x_t), given the mean noise. Implements eq:ddpm-score."""
    schedule.check(t, first=1)
    return -noise / (1 - schedule.at(t, noise)).sqrt()


def simple_loss(
    model: Model,
    x: Float[Tensor, "batch *dims"],
    t: Int[Tensor, " batch"],
    noise: Float[Tensor, "batch *dims"],
    schedule: Schedule,
    prediction: Prediction = "noise",
) -> Float[Tensor, " batch"]:
    """Return each example's squared error, averaged over dimensions. Implements eq:ddpm-simple."""
    schedule.check(t, first=1)
    output = model(diffuse(x, t, noise, schedule), t)
    wanted = target(x, t, noise, schedule, prediction)
    return (output.to(x.dtype) - wanted).square().flatten(1).mean(dim=1)


def posterior(
    x: Float[Tensor, "batch *dims"],
    x_t: Float[Tensor, "batch *dims"],
    t: Int[Tensor, " batch"],
    schedule: Schedule,
) -> tuple[Float[Tensor, "batch *dims"], Float[Tensor, "batch *ones"]]:
    """Return mean and variance of q(x_{t-1} | x_t, x). Implements eq:ddpm-posterior.

    The variance is 0 at t = 1, where x_0 is x itself.

    Raises:
        ValueError: a time outside 1..T.
    """
    schedule.check(t, first=1)
    now, before = schedule.at(t, x_t), schedule.at(t - 1, x_t)
    alpha = now / before
    mean_x = before.sqrt() * (1 - alpha) / (1 - now) * x
    mean_x_t = alpha.sqrt() * (1 - before) / (1 - now) * x_t
    return mean_x + mean_x_t, (1 - alpha) * (1 - before) / (1 - now)


def reverse_step(
    x: Float[Tensor, "batch *dims"],
    x_t: Float[Tensor, "batch *dims"],
    t: Int[Tensor, " batch"],
    noise: Float[Tensor, "batch *dims"],
    schedule: Schedule,
) -> Float[Tensor, "batch *dims"]:
    """Return x_{t-1}, given the network's guess x of the data. Implements eq:ddpm-reverse.

    The variance is the posterior's, so the last step, t = 1, adds no noise.
    """
    mean, variance = posterior(x, x_t, t, schedule)
    return mean + variance.sqrt() * noise


def trajectory(
    model: Model,
    x_t: Float[Tensor, "batch *dims"],
    schedule: Schedule,
    generator: torch.Generator,
    prediction: Prediction = "noise",
    clip: float | None = None,
) -> Iterator[Float[Tensor, "batch *dims"]]:
    """Yield x_{T-1}, ..., x_0 of the reverse process, started at noise x_T.

    Args:
        model: says ``prediction``, given (x_t, t).
        x_t: standard normal noise.
        schedule: the one that the model was trained with.
        generator: draws the noise of the steps, on the device of ``x_t``.
        prediction: what the model says.
        clip: the guess of the data is cut to [-clip, clip] before each step.
    """
    for time in range(schedule.steps, 0, -1):
        t = torch.full((len(x_t),), time)
        with torch.no_grad():
            guess = denoised(model(x_t, t), x_t, t, schedule, prediction).x
            guess = guess if clip is None else guess.clamp(-clip, clip)
            noise = torch.randn(x_t.shape, generator=generator, device=x_t.device, dtype=x_t.dtype)
            x_t = reverse_step(guess, x_t, t, noise, schedule)
        yield x_t


def prior_term(x: Float[Tensor, "batch *dims"], schedule: Schedule) -> Float[Tensor, " batch"]:
    """Return KL(q(x_T | x) || N(0, I)) in nats, summed over dimensions.

    Implements eq:ddpm-prior.
    """
    last = schedule.at(torch.full((len(x),), schedule.steps), x)
    mean = (last.sqrt() * x).flatten(1)
    return kl_to_standard(mean, (1 - last).log().view(-1, 1).expand_as(mean))


def bound_terms(
    x: Float[Tensor, "batch *dims"],
    guess: Float[Tensor, "batch *dims"],
    x_t: Float[Tensor, "batch *dims"],
    t: Int[Tensor, " batch"],
    schedule: Schedule,
) -> Float[Tensor, " batch"]:
    """Return KL(q(x_{t-1} | x_t, x) || p(x_{t-1} | x_t)) in nats. Implements eq:ddpm-kl.

    Summed over dimensions, for t >= 2: at t = 1 the posterior is a point, and the decoder of
    `decoder_log_prob` takes its place.

    Raises:
        ValueError: a time outside 2..T.
    """
    schedule.check(t, first=2)
    mean, variance = posterior(x, x_t, t, schedule)
    model_mean, _ = posterior(guess, x_t, t, schedule)
    log_var = variance.log().expand_as(mean).flatten(1)
    return kl_divergence(mean.flatten(1), log_var, model_mean.flatten(1), log_var)


def decoder_log_prob(
    x: Float[Tensor, "batch *dims"],
    guess: Float[Tensor, "batch *dims"],
    schedule: Schedule,
    levels: int = 256,
) -> Float[Tensor, " batch"]:
    """Return log p(x | x_1) in nats for values on a grid of [-1, 1]. Implements eq:ddpm-decoder.

    A Gaussian around the guess with variance beta_1, integrated over each value's cell; the
    outermost cells reach to infinity, so the probabilities of all levels sum to one.

    Raises:
        ValueError: data outside [-1, 1].
    """
    if not ((x >= -1) & (x <= 1)).all():
        raise ValueError("data lie outside [-1, 1]")
    scale = math.sqrt(float(schedule.betas[0]))
    half = 1 / (levels - 1)
    upper = torch.where(x > 1 - half, math.inf, (x + half - guess) / scale)
    lower = torch.where(x < -1 + half, -math.inf, (x - half - guess) / scale)
    # mirror the cells of the right tail to the left, where small probabilities keep their digits
    flip = lower > 0
    low, high = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    cell = log_high + torch.log1p(-torch.exp((log_low - log_high).clamp(max=-1e-12)))
    total: Tensor = cell.flatten(1).sum(dim=1)
    return total


def _check_kind(prediction: str) -> None:
    if prediction not in ("noise", "x", "v"):
        raise ValueError(f"prediction must be noise, x or v, got {prediction!r}")
