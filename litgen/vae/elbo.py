"""The evidence lower bound, its importance-weighted relatives and its two gradient estimators.

Chapter: book/vae/elbo.md.  Proof: tests/vae/test_elbo.py.
References: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014); Burda, Grosse &
Salakhutdinov,
"Importance Weighted Autoencoders" (2016).

Notation: the paper's q(z|x) is what ``encoder`` returns, (mean, log_var); log p(x|z) is
``log_likelihood(x, decoder(z))``; epsilon is ``noise``. Everything is in nats, one number per
example.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from litgen import gaussian
from litgen.shapes import Float

__all__ = [
    "Decoder",
    "Elbo",
    "Encoder",
    "LogLikelihood",
    "elbo",
    "importance_log_weights",
    "importance_weighted_bound",
    "log_evidence",
    "score_function_surrogate",
]

Encoder = Callable[[Tensor], tuple[Tensor, Tensor]]
Decoder = Callable[[Tensor], Tensor]
LogLikelihood = Callable[[Tensor, Tensor], Tensor]


class Elbo(NamedTuple):
    """The two terms of the bound, in nats, one number per example.

    Attributes:
        reconstruction: log p(x|z) at the sampled z; larger is better.
        kl: KL(q(z|x) || p(z)), the price of the code; smaller is better.
    """

    reconstruction: Float[Tensor, " batch"]
    kl: Float[Tensor, " batch"]

    @property
    def bound(self) -> Float[Tensor, " batch"]:
        """The bound on log p(x): reconstruction minus kl. Implements eq:elbo."""
        return self.reconstruction - self.kl


def elbo(
    x: Float[Tensor, "batch pixels"],
    encoder: Encoder,
    decoder: Decoder,
    log_likelihood: LogLikelihood,
    noise: Float[Tensor, "batch latent"],
) -> Elbo:
    """Estimate the bound with one latent sample per example. Implements eq:elbo-estimator.

    The KL is exact; only the reconstruction is sampled. To train, lower
    ``-elbo(...).bound.mean()``: the mean runs over examples, never over pixels or latents.
    """
    mean, log_var = encoder(x)
    z = gaussian.reparameterize(mean, log_var, noise)
    return Elbo(log_likelihood(x, decoder(z)), gaussian.kl_to_standard(mean, log_var))


def importance_log_weights(
    x: Float[Tensor, "batch pixels"],
    encoder: Encoder,
    decoder: Decoder,
    log_likelihood: LogLikelihood,
    noise: Float[Tensor, "samples batch latent"],
) -> Float[Tensor, "samples batch"]:
    """Return log p(x, z) - log q(z|x) for z drawn from q. Implements eq:importance-weights."""
    mean, log_var = encoder(x)
    z = gaussian.reparameterize(mean, log_var, noise)
    log_joint = log_likelihood(x, decoder(z)) + gaussian.standard_log_prob(z)
    return log_joint - gaussian.log_prob(z, mean, log_var)


def importance_weighted_bound(
    log_weights: Float[Tensor, "samples batch"],
) -> Float[Tensor, " batch"]:
    """Return the log of the average weight. Implements eq:importance-bound.

    One sample gives the ELBO (with a sampled KL); more samples never lower the bound in
    expectation.
    """
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))


@torch.no_grad()
def log_evidence(
    x: Float[Tensor, "batch pixels"],
    encoder: Encoder,
    decoder: Decoder,
    log_likelihood: LogLikelihood,
    samples: int,
    generator: torch.Generator,
    chunk: int | None = None,
) -> Float[Tensor, " batch"]:
    """Estimate log p(x) from below with many samples, ``chunk`` at a time, without gradients.

    Args:
        x: a batch; memory grows with chunk times batch times pixels.
        encoder: x to (mean, log_var).
        decoder: z to the likelihood's parameters; must accept (samples, batch, latent).
        log_likelihood: (x, parameters) to nats per example.
        samples: importance samples per example.
        generator: draws the noise, on x's device.
        chunk: samples decoded together; unless given, so many that about 1,000 images are, which
            stay in a CPU's cache, or 20,000 on other devices.

    Raises:
        ValueError: ``samples`` or ``chunk`` is not positive.
    """
    if chunk is None:
        chunk = max(1, (1_000 if x.device.type == "cpu" else 20_000) // max(1, len(x)))
    if samples < 1 or chunk < 1:
        raise ValueError(f"samples and chunk must be positive, got {samples} and {chunk}")
    mean, log_var = encoder(x)
    log_weights = []
    for start in range(0, samples, chunk):
        shape = (min(chunk, samples - start), *mean.shape)
        noise = torch.randn(shape, generator=generator, device=x.device, dtype=mean.dtype)
        log_weights.append(
            importance_log_weights(x, lambda _: (mean, log_var), decoder, log_likelihood, noise)
        )
    return importance_weighted_bound(torch.cat(log_weights))


def score_function_surrogate(
    value: Float[Tensor, "*samples"],
    z: Float[Tensor, "*samples latent"],
    mean: Float[Tensor, "*#samples latent"],
    log_var: Float[Tensor, "*#samples latent"],
) -> Float[Tensor, "*samples"]:
    """Return numbers whose gradient in (mean, log_var) is the score-function estimator.

    Implements eq:score-function-gradient: each gradient is value times that of log q(z). ``value``
    and ``z`` are taken as given; no gradient flows through them.
    """
    return value.detach() * gaussian.log_prob(z.detach(), mean, log_var)
