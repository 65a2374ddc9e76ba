"""Remedies against codes that say nothing: a price that starts low, and a rate that is free.

Chapter: book/vae/beta.md.  Proof: tests/vae/test_remedies.py.
References: Bowman et al., "Generating Sentences from a Continuous Space" (2016), for the warm-up;
Kingma et al., "Improved Variational Inference with Inverse Autoregressive Flow" (2016), for
free bits; Fu et al., "Cyclical Annealing Schedule" (2019).
"""

from torch import Tensor

from litgen.shapes import Float
from litgen.vae.beta import rate_by_dimension

__all__ = ["active_dimensions", "cyclical", "free_bits", "warm_up"]


def free_bits(
    mean: Float[Tensor, "batch latent"], log_var: Float[Tensor, "batch latent"], floor: float
) -> Float[Tensor, ""]:
    """Return the price of a batch of codes in nats, where each latent has some nats free.

    Implements eq:beta-free-bits: the KL of a latent is averaged over the batch first; below
    ``floor`` nats it costs ``floor`` and has no gradient. With ``floor`` 0 it is the mean KL.

    Raises:
        ValueError: ``floor`` is below 0.
    """
    if floor < 0:
        raise ValueError(f"floor must be 0 or more, got {floor}")
    return rate_by_dimension(mean, log_var).mean(dim=0).clamp(min=floor).sum()


def warm_up(turn: int, ramp: int, beta: float = 1.0) -> float:
    """Return the weight of the KL after ``turn`` steps: it rises evenly, then stays at beta.

    Implements eq:beta-warm-up.

    Raises:
        ValueError: a negative turn or beta, or a ramp without steps.
    """
    if turn < 0 or ramp < 1 or beta < 0:
        raise ValueError(f"turn {turn}, ramp {ramp} and beta {beta} must be 0, 1 and 0 or more")
    return beta * min(1.0, turn / ramp)


def cyclical(turn: int, period: int, share: float = 0.5, beta: float = 1.0) -> float:
    """Return the weight of the KL when the warm-up starts again every ``period`` steps.

    Implements eq:beta-cyclical: it rises evenly in the first ``share`` of a period.

    Raises:
        ValueError: a negative turn or beta, a period without steps, a share outside (0, 1].
    """
    if turn < 0 or period < 1 or beta < 0 or not 0 < share <= 1:
        raise ValueError(
            f"turn {turn}, period {period}, share {share} and beta {beta} must be 0 or more, "
            "1 or more, in (0, 1] and 0 or more"
        )
    return beta * min(1.0, turn % period / (share * period))


def active_dimensions(
    mean: Float[Tensor, "data latent"], log_var: Float[Tensor, "data latent"], least: float = 0.1
) -> int:
    """Count the latents whose mean KL exceeds ``least`` nats."""
    return int((rate_by_dimension(mean, log_var).mean(dim=0) > least).sum())
