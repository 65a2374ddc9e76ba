"""Conditional VAEs: the bound on log p(x|y), its estimates by samples, and ranks that judge them.

Chapter: book/vae/conditional.md.  Proof: tests/vae/test_conditional.py.
References: Sohn, Lee & Yan, "Learning Structured Output Representation using Deep Conditional
Generative Models" (2015); Kingma, Rezende, Mohamed & Welling, "Semi-Supervised Learning with Deep
Generative Models" (2014).

Notation: ``x`` is generated, y is given: ``condition``, a vector for each example. (Sohn et al.
say x for what is given and y for what is generated.) p(z|y) is ``prior``, q(z|x, y) is
``encoder``, log p(x|z, y) is ``log_likelihood(x, decoder(z, condition))``. Everything is in nats,
one number per example.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from litgen import gaussian
from litgen.shapes import Float
from litgen.vae.elbo import Elbo, LogLikelihood, importance_weighted_bound

__all__ = [
    "ConditionalDecoder",
    "ConditionalEncoder",
    "Prior",
    "conditional_elbo",
    "from_prior",
    "log_conditional",
    "log_weights",
    "randomized_rank",
    "reliability",
]

ConditionalEncoder = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps (x, condition) to mean and log-variance of the code."""

Prior = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps a condition to mean and log-variance of the code."""

ConditionalDecoder = Callable[[Tensor, Tensor], Tensor]
"""Maps (z, condition) to the likelihood's parameters; z may have samples before the batch."""


def conditional_elbo(
    x: Float[Tensor, "batch pixels"],
    condition: Float[Tensor, "batch given"],
    encoder: ConditionalEncoder,
    prior: Prior,
    decoder: ConditionalDecoder,
    log_likelihood: LogLikelihood,
    noise: Float[Tensor, "batch latent"],
) -> Elbo:
    """Estimate the bound on log p(x|y) with one code per example. Implements eq:cvae-estimator.

    Both terms of eq:cvae-elbo; the KL is exact and runs from q(z|x, y) to p(z|y). With
    ``from_prior(prior)`` as the encoder the KL is zero, which is the objective of the paper's
    Gaussian stochastic network.

    Raises:
        ValueError: another number of conditions than examples.
    """
    _check_count(x, condition)
    mean, log_var = encoder(x, condition)
    z = gaussian.reparameterize(mean, log_var, noise)
    kl = gaussian.kl_divergence(mean, log_var, *prior(condition))
    return Elbo(log_likelihood(x, decoder(z, condition)), kl)


def log_weights(
    x: Float[Tensor, "batch pixels"],
    condition: Float[Tensor, "batch given"],
    proposal: ConditionalEncoder,
    prior: Prior,
    decoder: ConditionalDecoder,
    log_likelihood: LogLikelihood,
    noise: Float[Tensor, "samples batch latent"],
) -> Float[Tensor, "samples batch"]:
    """Return log p(x, z|y) - log r(z) for z from the proposal r. Implements eq:cvae-weights.

    Raises:
        ValueError: another number of conditions than examples.
    """
    _check_count(x, condition)
    mean, log_var = proposal(x, condition)
    z = gaussian.reparameterize(mean, log_var, noise)
    log_joint = log_likelihood(x, decoder(z, condition)) + gaussian.log_prob(z, *prior(condition))
    return log_joint - gaussian.log_prob(z, mean, log_var)


def from_prior(prior: Prior) -> ConditionalEncoder:
    """Turn the prior into a proposal that does not look at x. Implements eq:cvae-monte-carlo.

    Its weights are p(x|z, y) alone: their average is the paper's Monte Carlo estimate.
    """
    return lambda _x, condition: prior(condition)


@torch.no_grad()
def log_conditional(
    x: Float[Tensor, "batch pixels"],
    condition: Float[Tensor, "batch given"],
    proposal: ConditionalEncoder,
    prior: Prior,
    decoder: ConditionalDecoder,
    log_likelihood: LogLikelihood,
    samples: int,
    generator: torch.Generator,
    chunk: int | None = None,
) -> Float[Tensor, " batch"]:
    """Estimate log p(x|y) from below with many codes. Implements eq:cvae-importance.

    Args:
        x: a batch of what is generated; memory grows with chunk times batch times pixels.
        condition: what is given, in the same order.
        proposal: where codes are drawn: the encoder, or ``from_prior(prior)``.
        prior: p(z|y).
        decoder: (z, condition) to the likelihood's parameters.
        log_likelihood: (x, parameters) to nats per example.
        samples: codes per example.
        generator: draws the noise, on x's device.
        chunk: codes decoded together; unless given, so many that about 1,000 examples are on a
            CPU, 20,000 on other devices.

    Raises:
        ValueError: ``samples`` or ``chunk`` is not positive, or another number of conditions than
            examples.
    """
    if chunk is None:
        chunk = max(1, (1_000 if x.device.type == "cpu" else 20_000) // max(1, len(x)))
    if samples < 1 or chunk < 1:
        raise ValueError(f"samples and chunk must be positive, got {samples} and {chunk}")
    _check_count(x, condition)
    chosen, known = proposal(x, condition), prior(condition)
    parts = []
    for start in range(0, samples, chunk):
        shape = (min(chunk, samples - start), *chosen[0].shape)
        noise = torch.randn(shape, generator=generator, device=x.device, dtype=chosen[0].dtype)
        parts.append(
            log_weights(
                *(x, condition, lambda *_: chosen, lambda _: known),
                *(decoder, log_likelihood, noise),
            )
        )
    return importance_weighted_bound(torch.cat(parts))


def randomized_rank(
    truth: Float[Tensor, " batch"],
    drawn: Float[Tensor, "samples batch"],
    uniform: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Return where the truth stands among samples, in [0, 1). Implements eq:cvae-rank.

    Uniform if truth and samples are exchangeable, whatever the law; ties are broken by
    ``uniform``, numbers from [0, 1).
    """
    below = (drawn < truth).sum(dim=0)
    ties = (drawn == truth).sum(dim=0)
    return (below + uniform * (ties + 1)) / (len(drawn) + 1)


def reliability(
    probability: Float[Tensor, " events"], happened: Float[Tensor, " events"], bins: int = 10
) -> tuple[Float[Tensor, " bins"], Float[Tensor, " bins"], Float[Tensor, " bins"]]:
    """Return each bin's mean probability, its frequency of ones, and its events.

    Bins of equal width hold their lower edge; empty ones hold zeros. Implements
    eq:cvae-reliability.

    Raises:
        ValueError: no bins, or not one outcome for each probability.
    """
    if bins < 1:
        raise ValueError(f"bins must be positive, got {bins}")
    if probability.shape != happened.shape:
        raise ValueError(f"{len(probability)} probabilities, {len(happened)} outcomes")
    which = (probability * bins).long().clamp(max=bins - 1)
    zeros = probability.new_zeros(bins)
    events = zeros.index_add(0, which, torch.ones_like(probability))
    said = zeros.index_add(0, which, probability) / events.clamp(min=1)
    frequency = zeros.index_add(0, which, happened.to(probability)) / events.clamp(min=1)
    return said, frequency, events


def _check_count(x: Tensor, condition: Tensor) -> None:
    if len(x) != len(condition):
        raise ValueError(f"{len(x)} examples, {len(condition)} conditions")
