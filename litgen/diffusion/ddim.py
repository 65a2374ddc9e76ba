"""Fewer steps: the non-Markovian family, its deterministic member, and going back to noise.

Chapter: book/diffusion/ddim.md.  Proof: tests/diffusion/test_ddim.py.
Reference: Song, Meng & Ermon, "Denoising Diffusion Implicit Models" (2021), section 4.

Notation: the paper's sigma is written through ``eta``: 0 is DDIM, 1 is DDPM's posterior.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from litgen.diffusion.ddpm import Denoised, Model, Prediction, denoised
from litgen.diffusion.schedule import Schedule
from litgen.shapes import Float

__all__ = ["encode", "gaussian_flow", "sigma", "spherical", "step", "times", "trajectory"]


def times(schedule: Schedule, count: int) -> list[int]:
    """Return ``count`` + 1 times from T down to 0, as evenly spaced as whole numbers allow.

    Raises:
        ValueError: fewer than one step, or more than the schedule has.
    """
    if not 1 <= count <= schedule.steps:
        raise ValueError(f"steps must lie in 1..{schedule.steps}, got {count}")
    return [round(schedule.steps * k / count) for k in range(count, -1, -1)]


def sigma(schedule: Schedule, t: int, s: int, eta: float) -> float:
    """Return the standard deviation of the noise from t down to s < t. Implements eq:ddim-sigma.

    Raises:
        ValueError: times that do not fall, or a negative eta.
    """
    if not 0 <= s < t <= schedule.steps:
        raise ValueError(f"need 0 <= s < t <= {schedule.steps}, got t={t} and s={s}")
    if eta < 0:
        raise ValueError(f"eta must not be negative, got {eta}")
    now, then = (float(schedule.alpha_bar[k]) for k in (t, s))
    return eta * math.sqrt((1 - then) / (1 - now) * (1 - now / then))


def step(
    guess: Denoised,
    t: int,
    s: int,
    schedule: Schedule,
    eta: float = 0.0,
    noise: Tensor | None = None,
) -> Float[Tensor, "batch *dims"]:
    """Return x_s, given what the network says of x_t. Implements eq:ddim-step.

    Args:
        guess: the data and the noise that the network sees in x_t.
        t: time of x_t.
        s: time to go to, below t.
        schedule: the one that the model was trained with.
        eta: 0 for the deterministic step, 1 for DDPM's amount of noise.
        noise: standard normal; needed where eta > 0.

    Raises:
        ValueError: times that do not fall, a negative eta, or eta > 0 without noise.
    """
    deviation = sigma(schedule, t, s, eta)
    then = float(schedule.alpha_bar[s])
    direction = math.sqrt(max(0.0, 1 - then - deviation**2))
    mean: Tensor = math.sqrt(then) * guess.x + direction * guess.noise
    if eta == 0:
        return mean
    if noise is None:
        raise ValueError("eta > 0 needs noise")
    return mean + deviation * noise


def trajectory(
    model: Model,
    x_t: Float[Tensor, "batch *dims"],
    schedule: Schedule,
    times: Sequence[int],
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    prediction: Prediction = "noise",
    clip: float | None = None,
) -> Iterator[Float[Tensor, "batch *dims"]]:
    """Yield x at each of ``times`` after the first, started at the first one's noise level.

    Args:
        model: says ``prediction``, given (x_t, t).
        x_t: standard normal noise, if the first time is T.
        schedule: the one that the model was trained with.
        times: falling, such as those of `times`.
        eta: see `step`.
        generator: draws the steps' noise where eta > 0, on the device of ``x_t``.
        prediction: what the model says.
        clip: the guess of the data is cut to [-clip, clip], and the noise made to fit.
    """
    for t, s in itertools.pairwise(times):
        guess = _guess(model, x_t, t, schedule, prediction, clip)
        noise = None
        if eta > 0:
            noise = torch.randn(x_t.shape, generator=generator, device=x_t.device, dtype=x_t.dtype)
        x_t = step(guess, t, s, schedule, eta, noise)
        yield x_t


def encode(
    model: Model,
    x: Float[Tensor, "batch *dims"],
    schedule: Schedule,
    times: Sequence[int],
    prediction: Prediction = "noise",
) -> Float[Tensor, "batch *dims"]:
    """Run the deterministic step backwards, from data to x_T. Implements eq:ddim-encode.

    Exact only as the steps become small: the network is asked at the earlier, less noisy end.

    Args:
        model: says ``prediction``, given (x_t, t).
        x: data.
        schedule: the one that the model was trained with.
        times: falling, as for `trajectory`, and ending at 0; the first step up asks at time 1.
        prediction: what the model says.
    """
    rising = list(times)[::-1]
    for s, t in itertools.pairwise(rising):
        guess = _guess(model, x, max(s, 1), schedule, prediction, None)
        then = float(schedule.alpha_bar[t])
        x = math.sqrt(then) * guess.x + math.sqrt(1 - then) * guess.noise
    return x


def gaussian_flow(
    x_t: Float[Tensor, "batch dims"],
    t: int,
    s: int,
    mean: Float[Tensor, " dims"],
    scale: float,
    schedule: Schedule,
) -> Float[Tensor, "batch dims"]:
    """Return where infinitely small steps lead from t to s, up or down, for N(mean, scale^2 I).

    The point keeps its distance from the mean, in standard deviations of its time. Implements
    eq:ddim-gaussian-flow.
    """
    now, then = (float(schedule.alpha_bar[k]) for k in (t, s))
    spreads = [math.sqrt(share * scale**2 + 1 - share) for share in (now, then)]
    away = (x_t - math.sqrt(now) * mean) / spreads[0]
    return math.sqrt(then) * mean + spreads[1] * away


def spherical(
    start: Float[Tensor, "batch *dims"],
    end: Float[Tensor, "batch *dims"],
    share: float,
) -> Float[Tensor, "batch *dims"]:
    """Return the point at this share of the arc from start to end. Implements eq:ddim-spherical.

    Between two draws of noise of one length it keeps that length; a straight line does not.

    Raises:
        ValueError: an example whose two ends point the same way, or opposite ways.
    """
    one, other = start.flatten(1), end.flatten(1)
    cosine = torch.cosine_similarity(one, other, dim=1)
    if not (cosine.abs() < 1 - 1e-6).all():
        raise ValueError("an arc needs two ends in different directions, which are not opposite")
    angle = cosine.acos()[:, None]
    arc = ((1 - share) * angle).sin() * one + (share * angle).sin() * other
    point: Tensor = (arc / angle.sin()).view_as(start)
    return point


@torch.no_grad()
def _guess(
    model: Model,
    x_t: Tensor,
    time: int,
    schedule: Schedule,
    prediction: Prediction,
    clip: float | None,
) -> Denoised:
    t = torch.full((len(x_t),), time)
    found = denoised(model(x_t, t), x_t, t, schedule, prediction)
    if clip is None:
        return found
    return denoised(found.x.clamp(-clip, clip), x_t, t, schedule, "x")
