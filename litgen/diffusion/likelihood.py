"""The density of a diffusion model as a flow: the deterministic way to noise, with its Jacobian.

Chapter: book/start/one_picture.md.  Proof: tests/diffusion/test_likelihood.py.
References: Song, Meng & Ermon, "Denoising Diffusion Implicit Models" (2021), section 4.3; Song et
al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), section
4.3, which integrates the trace of the Jacobian where this module multiplies exact determinants.

Each step of litgen.diffusion.ddim.encode is a map of the space to itself, close to the identity if
the step is small. Its exact Jacobian costs one backward pass a dimension: for a few dimensions.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.diffusion.ddpm import Model, Prediction, denoised
from litgen.diffusion.schedule import Schedule
from litgen.gaussian import standard_log_prob
from litgen.shapes import Bool, Float

__all__ = ["Encoded", "encode", "encode_step", "jacobian", "log_prob"]


class Encoded(NamedTuple):
    """Where data land among the noise.

    Attributes:
        z: x_T.
        log_det: log|det dz/dx|, positive where the way stretches.
        folded: whether a step's determinant was not positive, a step too long: where that is so,
            several x share one z, and the densities of `log_prob` are too large.
    """

    z: Float[Tensor, "batch dims"]
    log_det: Float[Tensor, " batch"]
    folded: Bool[Tensor, " batch"]


def log_prob(
    model: Model,
    x: Float[Tensor, "batch dims"],
    schedule: Schedule,
    times: Sequence[int],
    prediction: Prediction = "noise",
) -> Float[Tensor, " batch"]:
    """Return log p(x) in nats of the flow that encodes x to noise. Implements eq:onepic-encoded.

    It is the density of what `encode` takes to standard normal noise, and integrates to one if no
    step folds the space.

    Args:
        model: says ``prediction``, given (x_t, t), each example on its own.
        x: data.
        schedule: the one that the model was trained with.
        times: falling, such as those of ddim.times, and ending at 0.
        prediction: what the model says.

    Raises:
        ValueError: times that do not fall to 0.
    """
    found = encode(model, x, schedule, times, prediction)
    return standard_log_prob(found.z) + found.log_det


def encode(
    model: Model,
    x: Float[Tensor, "batch dims"],
    schedule: Schedule,
    times: Sequence[int],
    prediction: Prediction = "noise",
) -> Encoded:
    """Go step by step from data to noise, and add up the steps' log-determinants.

    The arguments are those of `log_prob`.

    Raises:
        ValueError: times that do not fall to 0.
    """
    rising = list(times)[::-1]
    if len(rising) < 2 or rising[0] != 0 or sorted(set(rising)) != rising:
        raise ValueError(f"times must fall and end at 0, got {list(times)}")
    total, folded = torch.zeros_like(x[:, 0]), torch.zeros(len(x), dtype=torch.bool).to(x.device)
    for s, t in itertools.pairwise(rising):
        with torch.enable_grad():
            here = x.detach().requires_grad_()
            there = encode_step(model, here, s, t, schedule, prediction)
            sign, log_det = torch.linalg.slogdet(jacobian(there, here))
        total, folded = total + log_det, folded | (sign <= 0)
        x = there.detach()
    return Encoded(x, total, folded)


def encode_step(
    model: Model,
    x: Float[Tensor, "batch dims"],
    s: int,
    t: int,
    schedule: Schedule,
    prediction: Prediction = "noise",
) -> Float[Tensor, "batch dims"]:
    """Return x_t, given x_s at an earlier time s < t. Implements eq:onepic-encode-step.

    The network is asked at time s, from s = 0 at time 1. Gradients flow through the step.
    """
    asked = torch.full((len(x),), max(s, 1))
    guess = denoised(model(x, asked), x, asked, schedule, prediction)
    then = float(schedule.alpha_bar[t])
    ahead: Tensor = math.sqrt(then) * guess.x + math.sqrt(1 - then) * guess.noise
    return ahead


def jacobian(
    y: Float[Tensor, "batch dims"], x: Float[Tensor, "batch dims"]
) -> Float[Tensor, "batch dims dims"]:
    """Return dy/dx of each example, where y was computed from x example by example.

    Row i holds the gradient of coordinate i.
    """
    last = y.shape[1] - 1
    rows = [
        torch.autograd.grad(y[:, i].sum(), x, retain_graph=i < last)[0] for i in range(last + 1)
    ]
    return torch.stack(rows, dim=1)
