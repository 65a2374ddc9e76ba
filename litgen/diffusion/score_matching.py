"""Learn the gradient of a log-density: three losses with one optimum, and a sampler that needs it.

Chapter: book/start/one_picture.md.  Proof: tests/diffusion/test_score_matching.py.
References: Hyvarinen, "Estimation of Non-Normalized Statistical Models by Score Matching" (2005),
theorem 1; Vincent, "A Connection Between Score Matching and Denoising Autoencoders" (2011),
section 4; Song & Ermon, "Generative Modeling by Estimating Gradients of the Data Distribution"
(2019), section 2.2, for Langevin's walk.

Notation: Hyvarinen's psi is ``score``, a function of x alone; sigma is ``scale``.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = ["Score", "denoising", "divergence", "explicit", "implicit", "langevin"]

Score = Callable[[Float[Tensor, "batch dims"]], Float[Tensor, "batch dims"]]


def explicit(
    found: Float[Tensor, "batch dims"], known: Float[Tensor, "batch dims"]
) -> Float[Tensor, " batch"]:
    """Return half the squared distance between two scores, summed over dimensions.

    Implements eq:score-explicit.
    """
    return 0.5 * (found - known).square().sum(dim=1)


def implicit(score: Score, x: Float[Tensor, "batch dims"]) -> Float[Tensor, " batch"]:
    """Return div psi plus half its squared norm at data. Implements eq:score-implicit.

    No density is needed, but one backward pass a dimension. The result carries gradients to the
    score's parameters.
    """
    with torch.enable_grad():
        here = x.detach().requires_grad_()
        found = score(here)
        return divergence(found, here) + 0.5 * found.square().sum(dim=1)


def divergence(
    y: Float[Tensor, "batch dims"], x: Float[Tensor, "batch dims"]
) -> Float[Tensor, " batch"]:
    """Return the trace of dy/dx, for y computed from x example by example; differentiable."""
    traces = [
        torch.autograd.grad(y[:, i].sum(), x, create_graph=True)[0][:, i]
        for i in range(y.shape[1])
    ]
    return torch.stack(traces).sum(dim=0)


def denoising(
    score: Score,
    x: Float[Tensor, "batch dims"],
    noise: Float[Tensor, "batch dims"],
    scale: float,
) -> Float[Tensor, " batch"]:
    """Return half the squared norm of psi(x + scale noise) + noise / scale.

    Implements eq:score-denoising. Lowest in the mean at the score of the *blurred* data, x +
    scale noise (eq:score-vincent).

    Args:
        score: the function that learns.
        x: data.
        noise: standard normal.
        scale: standard deviation of the blur.

    Raises:
        ValueError: a scale that is not positive.
    """
    if scale <= 0:
        raise ValueError(f"the blur's scale must be positive, got {scale}")
    return explicit(score(x + scale * noise), -noise / scale)


def langevin(
    score: Score, x: Float[Tensor, "batch dims"], step: float, generator: torch.Generator
) -> Iterator[Float[Tensor, "batch dims"]]:
    """Yield the states of Langevin's walk for ever. Implements eq:score-langevin.

    Args:
        score: the gradient of the log-density to be drawn from.
        x: where the walks start.
        step: its size; the smaller, the closer the law of the walk comes to the density.
        generator: draws the noise, on the device of ``x``.

    Raises:
        ValueError: a step that is not positive.
    """
    if step <= 0:
        raise ValueError(f"the step must be positive, got {step}")
    while True:
        with torch.no_grad():
            noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            x = x + step * score(x) + (2 * step) ** 0.5 * noise
        yield x
