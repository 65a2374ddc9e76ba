"""Data whose noisy versions have a known density: Gaussian mixtures, and their exact denoiser.

Chapter: book/diffusion/ddpm.md.  Proof: tests/diffusion/test_known.py.

If x comes from a mixture of Gaussians, x_t comes from another one, with means and spreads moved
by the schedule. Everything that a network has to learn then has a closed form.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.diffusion.schedule import Schedule
from litgen.shapes import Float, Int

__all__ = ["GaussianMixture"]


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture of round Gaussians that share one standard deviation.

    Attributes:
        weights: (components,), positive, with sum 1.
        means: (components, dims).
        scale: standard deviation in every direction.

    Raises:
        ValueError: weights that are no probabilities, other counts, or a scale that is not
            positive.
    """

    weights: Float[Tensor, " components"]
    means: Float[Tensor, "components dims"]
    scale: float

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.means) or self.scale <= 0:
            raise ValueError(
                f"{len(self.weights)} weights, {len(self.means)} means, scale {self.scale}"
            )
        if not (self.weights > 0).all() or abs(float(self.weights.sum()) - 1) > 1e-6:
            raise ValueError("weights must be positive and have sum 1")

    def sample(
        self, component: Int[Tensor, " batch"], noise: Float[Tensor, "batch dims"]
    ) -> Float[Tensor, "batch dims"]:
        """Return a point of each component."""
        return self.means[component] + self.scale * noise

    def joint_log_prob(
        self, x_t: Float[Tensor, "batch dims"], t: Int[Tensor, " batch"], schedule: Schedule
    ) -> Float[Tensor, "batch components"]:
        """Return log q(x_t, component) in nats. Implements eq:ddpm-mixture."""
        alpha_bar = schedule.at(t, x_t)
        variance = alpha_bar * self.scale**2 + 1 - alpha_bar
        gap = x_t[:, None] - alpha_bar.sqrt()[..., None] * self.means
        log_normal = -0.5 * gap.square().sum(dim=-1) / variance
        log_normal = log_normal - 0.5 * x_t.shape[1] * (2 * math.pi * variance).log()
        return log_normal + self.weights.log()

    def log_prob(
        self, x_t: Float[Tensor, "batch dims"], t: Int[Tensor, " batch"], schedule: Schedule
    ) -> Float[Tensor, " batch"]:
        """Return log q(x_t) in nats."""
        return self.joint_log_prob(x_t, t, schedule).logsumexp(dim=1)

    def class_log_prob(
        self, x_t: Float[Tensor, "batch dims"], t: Int[Tensor, " batch"], schedule: Schedule
    ) -> Float[Tensor, "batch components"]:
        """Return log q(component | x_t): the classifier that guidance needs, exactly."""
        return self.joint_log_prob(x_t, t, schedule).log_softmax(dim=1)

    def noise(
        self, x_t: Float[Tensor, "batch dims"], t: Int[Tensor, " batch"], schedule: Schedule
    ) -> Float[Tensor, "batch dims"]:
        """Return E[noise | x_t], what a perfect network says. Implements eq:ddpm-mixture-noise."""
        share = self.class_log_prob(x_t, t, schedule).exp()
        alpha_bar = schedule.at(t, x_t)
        variance = alpha_bar * self.scale**2 + 1 - alpha_bar
        gap = x_t - alpha_bar.sqrt() * (share @ self.means)
        return (1 - alpha_bar).sqrt() * gap / variance

    def component(self, index: int) -> "GaussianMixture":
        """Return one component as a mixture of its own: the data of one class."""
        one = torch.ones_like(self.weights[:1])
        return GaussianMixture(one, self.means[index : index + 1], self.scale)
