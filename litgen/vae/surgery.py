"""The rate taken apart: what the code says of its datum, ties between latents, bent marginals.

Chapter: book/vae/beta.md.  Proof: tests/vae/test_surgery.py.
References: Hoffman & Johnson, "ELBO surgery: yet another way to carve up the variational evidence
lower bound" (2016); Chen et al., "Isolating Sources of Disentanglement in Variational
Autoencoders" (2018), section 3 and appendix C.

Notation: q(z) is the *aggregate*, the mean of q(z|x_n) over all N data. Rows of ``mean`` and
``log_var`` are the q(z|x_n) of which it is made, its *components*.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litgen import gaussian
from litgen.shapes import Float

__all__ = ["Surgery", "exhaustive_log_weights", "gaussian_surgery", "log_aggregate"]
__all__ += ["minibatch_log_weights", "surgery"]


class Surgery(NamedTuple):
    """Three parts of the rate, in nats, each at least 0 when exact.

    Attributes:
        mutual_information: between a datum's index and its code; at most log N.
        total_correlation: KL from the product of the aggregate's marginals; 0 if independent.
        dimension_wise_kl: KL of the aggregate's marginals from the prior's, summed over latents.
    """

    mutual_information: Float[Tensor, ""]
    total_correlation: Float[Tensor, ""]
    dimension_wise_kl: Float[Tensor, ""]

    @property
    def rate(self) -> Float[Tensor, ""]:
        """The sum of all three. Implements eq:beta-surgery."""
        return self.mutual_information + self.total_correlation + self.dimension_wise_kl


def gaussian_surgery(
    weight: Float[Tensor, "latent dims"],
    bias: Float[Tensor, " latent"],
    posterior_var: Float[Tensor, " latent"],
    covariance: Float[Tensor, "dims dims"],
) -> Surgery:
    """Return the exact parts for Gaussian data and a linear encoder.

    Implements eq:beta-gaussian-surgery.

    Args:
        weight: V of q(z|x) = N(V x + c, diag(s^2)).
        bias: c.
        posterior_var: s^2, the same for every x, positive.
        covariance: of the centred Gaussian data.

    Raises:
        ValueError: a ``posterior_var`` that is not positive.
    """
    if not bool((posterior_var > 0).all()):
        raise ValueError(f"posterior_var must be positive, got {posterior_var.tolist()}")
    aggregate = weight @ covariance @ weight.T + posterior_var.diag()
    log_det = torch.linalg.slogdet(aggregate).logabsdet
    marginal = aggregate.diagonal()
    return Surgery(
        mutual_information=0.5 * (log_det - posterior_var.log().sum()),
        total_correlation=0.5 * (marginal.log().sum() - log_det),
        dimension_wise_kl=gaussian.kl_to_standard(bias, marginal.log()),
    )


def log_aggregate(
    z: Float[Tensor, "samples latent"],
    mean: Float[Tensor, "components latent"],
    log_var: Float[Tensor, "components latent"],
    log_weights: Float[Tensor, "#samples components"],
) -> tuple[Float[Tensor, " samples"], Float[Tensor, "samples latent"]]:
    """Return log q(z) and log q(z_j) of each latent, from weighted components.

    Implements eq:beta-aggregate; memory grows with samples times components times latents.
    """
    each = [
        gaussian.log_prob(z[:, None, j, None], mean[:, j, None], log_var[:, j, None])
        for j in range(z.shape[1])
    ]
    together = torch.logsumexp(torch.stack(each).sum(dim=0) + log_weights, dim=1)
    alone = [torch.logsumexp(log_prob + log_weights, dim=1) for log_prob in each]
    return together, torch.stack(alone, dim=1)


def exhaustive_log_weights(components: int) -> Float[Tensor, "1 components"]:
    """Return -log N for every component: the aggregate itself."""
    return torch.full((1, components), -math.log(components))


def minibatch_log_weights(batch: int, count: int) -> Float[Tensor, "batch batch"]:
    """Return weights with which a batch of M from N data stands for all of them.

    Implements eq:beta-minibatch: sample i, drawn from q(z|x_i), certainly meets its own component,
    which has the weight 1/N; the M - 1 others share (N - 1)/N. Then the weighted density is q(z)
    in expectation over batches, which weights of 1/(NM) for all are not.

    Raises:
        ValueError: a batch of fewer than 2 data, or of more than there are.
    """
    if not 2 <= batch <= count:
        raise ValueError(f"a batch has 2 to {count} of {count} data, got {batch}")
    others = math.log(count - 1) - math.log(count) - math.log(batch - 1)
    weights = torch.full((batch, batch), others)
    return weights.fill_diagonal_(-math.log(count))


def surgery(
    mean: Float[Tensor, "components latent"],
    log_var: Float[Tensor, "components latent"],
    noise: Float[Tensor, "components latent"],
    log_weights: Float[Tensor, "#components components"],
) -> Surgery:
    """Estimate the three parts with one code from each component. Implements eq:beta-parts.

    Args:
        mean: of q(z|x_n), a row for each datum.
        log_var: its log-variance.
        noise: standard normal, turned into one code for each datum.
        log_weights: of the components: exhaustive where the rows are all data, else of a batch.
    """
    z = gaussian.reparameterize(mean, log_var, noise)
    log_own = gaussian.log_prob(z, mean, log_var)
    log_q, log_marginals = log_aggregate(z, mean, log_var, log_weights.to(z))
    log_product = log_marginals.sum(dim=1)
    return Surgery(
        mutual_information=(log_own - log_q).mean(),
        total_correlation=(log_q - log_product).mean(),
        dimension_wise_kl=(log_product - gaussian.standard_log_prob(z)).mean(),
    )
