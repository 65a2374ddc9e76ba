"""Noise schedules: how much of the data is left after t steps.

Chapter: book/diffusion/ddpm.md.  Proof: tests/diffusion/test_schedule.py.
References: Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models" (2020), section 2; Nichol
& Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), section 3.2.

Time runs from t = 0, the data, to t = T, almost pure noise. ``alpha_bar`` has T + 1 entries, so
``alpha_bar[t]`` belongs to x_t, and ``alpha_bar[0]`` is 1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = ["Schedule", "cosine", "from_betas", "linear"]

NEAR_NOISE = 0.05
"""The share of the data's variance that may be left at t = T."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """What is left of the data at each time.

    Attributes:
        alpha_bar: share of the signal's variance at t = 0, ..., T; falls from 1 to almost 0.

    Raises:
        ValueError: alpha_bar does not start at 1, does not fall strictly, reaches 0, or does not
            end near noise.
    """

    alpha_bar: Float[Tensor, " times"]

    def __post_init__(self) -> None:
        values = self.alpha_bar
        if values.dim() != 1 or len(values) < 2 or values[0] != 1:
            raise ValueError("alpha_bar must be a list that starts with 1, at t = 0")
        if not (values.diff() < 0).all() or not values[-1] > 0:
            raise ValueError("alpha_bar must fall from step to step and stay above 0")
        if values[-1] > NEAR_NOISE:
            raise ValueError(
                f"the schedule does not end near noise: {values[-1]:.3f} of the data's variance "
                f"is left after {self.steps} steps, at most {NEAR_NOISE} may be"
            )

    @property
    def steps(self) -> int:
        """T, the number of steps from data to noise."""
        return len(self.alpha_bar) - 1

    def at(self, t: Int[Tensor, " batch"], like: Tensor) -> Float[Tensor, "batch *ones"]:
        """Return alpha_bar[t], shaped to multiply a batch such as ``like``.

        Raises:
            ValueError: a time outside 0..T.
        """
        self.check(t)
        values = self.alpha_bar.to(like)[t.to(like.device)]
        return values.view(-1, *[1] * (like.dim() - 1))

    def check(self, t: Int[Tensor, " batch"], first: int = 0) -> None:
        """Raise ValueError if a time lies outside first..T.

        The check waits for the device; times are few, and best kept on the CPU.
        """
        if len(t) and not (first <= int(t.min()) and int(t.max()) <= self.steps):
            raise ValueError(
                f"t must lie in {first}..{self.steps}, got {int(t.min())}..{int(t.max())}"
            )

    @property
    def betas(self) -> Float[Tensor, " steps"]:
        """beta_t for t = 1, ..., T: the share of variance that step t replaces by noise."""
        return 1 - self.alpha_bar[1:] / self.alpha_bar[:-1]


def from_betas(betas: Float[Tensor, " steps"]) -> Schedule:
    """Return the schedule whose step t keeps 1 - beta_t. Implements eq:alpha-bar.

    Raises:
        ValueError: a beta outside (0, 1), or a schedule that does not end near noise.
    """
    if not ((betas > 0) & (betas < 1)).all():
        raise ValueError("each beta must lie between 0 and 1")
    one = torch.ones(1, dtype=torch.float64)
    return Schedule(torch.cat([one, (1 - betas.double()).cumprod(dim=0)]))


def linear(steps: int = 1_000, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """Return betas that grow linearly, as in the DDPM paper. Implements eq:schedule-linear.

    With other than 1,000 steps the betas are scaled so that as much noise comes in all together.
    """
    scale = 1_000 / steps
    return from_betas(torch.linspace(first * scale, last * scale, steps, dtype=torch.float64))


def cosine(steps: int = 1_000, offset: float = 0.008, largest: float = 0.999) -> Schedule:
    """Return alpha_bar as a squared cosine, betas cut at ``largest``.

    Implements eq:schedule-cosine.
    """
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((t + offset) / (1 + offset) * math.pi / 2).square()
    return from_betas((1 - f[1:] / f[:-1]).clamp(max=largest))
