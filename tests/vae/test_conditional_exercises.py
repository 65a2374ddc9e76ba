"""Solutions of the exercises in book/vae/conditional.md, and what shows that they are right."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Normal, kl_divergence

from litgen import gaussian
from litgen.vae import conditional
from litgen.vae.conditional_networks import Decoder, LearnedPrior, StandardPrior
from litgen.vae.likelihoods import bernoulli
from tests import oracles


def price_of_independence(probability: Tensor, images: Tensor) -> Tensor:
    """Return the nats that independent pixels cost: sum_j H(x_j) - H(x), for a table of p(x)."""
    on = probability @ images
    each = torch.special.entr(on) + torch.special.entr(1 - on)
    return each.sum() - torch.special.entr(probability).sum()


def absorbed(
    prior: conditional.Prior, decoder: conditional.ConditionalDecoder
) -> conditional.ConditionalDecoder:
    """Return the decoder that makes of a standard code what the two make of a learned one."""

    def decode(z: Tensor, condition: Tensor) -> Tensor:
        return decoder(gaussian.reparameterize(*prior(condition), z), condition)

    return decode


def hybrid(x: Tensor, y: Tensor, model: tuple, noise: Tensor, share: float) -> Tensor:
    """Return the mixture of the two bounds; model is (encoder, prior, decoder, likelihood)."""
    encoder, prior, *rest = model
    plain = conditional.conditional_elbo(x, y, encoder, prior, *rest, noise)
    stochastic = conditional.conditional_elbo(
        x, y, conditional.from_prior(prior), prior, *rest, noise
    )
    return share * plain.bound + (1 - share) * stochastic.bound


def information_from_probe(log_probs: Tensor, labels: Tensor) -> Tensor:
    """Return a lower bound on I(z; y) in nats: the labels' entropy minus the probe's loss."""
    frequency = torch.bincount(labels, minlength=log_probs.shape[1]) / len(labels)
    loss = -log_probs.gather(1, labels[:, None]).mean()
    return torch.special.entr(frequency).sum() - loss


def test_price_of_independence_is_the_divergence_from_the_product() -> None:
    """Exercise 1, eq:cvae-correlation: by enumeration; copies of a coin cost (D - 1) log 2."""
    images = oracles.all_binary(4)
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(16, generator=generator, dtype=torch.float64).softmax(dim=0)
    p = p**6 / (p**6).sum()
    on = p @ images
    product = torch.where(images == 1, on, 1 - on).prod(dim=1)
    expected = kl_divergence(Categorical(p), Categorical(product))
    assert expected > 0.02
    torch.testing.assert_close(price_of_independence(p, images), expected)
    copies = torch.zeros(16, dtype=torch.float64)
    copies[[0, 15]] = 0.5
    assert price_of_independence(copies, images).item() == pytest.approx(3 * math.log(2))


def test_an_absorbed_prior_changes_no_likelihood() -> None:
    """Exercise 2, eq:cvae-absorb: same noise, same estimate of log p(x|y)."""
    torch.manual_seed(0)
    prior, decoder = LearnedPrior(3, [8], 2), Decoder(2, 3, [8], 5)
    y = torch.randn(4, 3)
    x = (torch.rand(4, 5) > 0.5).float()
    found = [
        conditional.log_conditional(
            *(x, y, conditional.from_prior(p), p, d, bernoulli),
            *(50, torch.Generator().manual_seed(1)),
        )
        for p, d in ((prior, decoder), (StandardPrior(2), absorbed(prior, decoder)))
    ]
    assert found[0].std() > 1e-2
    torch.testing.assert_close(found[1], found[0])


def test_the_hybrid_is_a_bound_whose_gap_is_a_mixture() -> None:
    """Exercise 3, eq:cvae-hybrid: one latent, one pixel, everything Gaussian."""
    x, y = torch.tensor([[0.7], [-1.2]]).double(), torch.tensor([[0.4], [1.1]]).double()
    known = torch.stack([0.8 * y, torch.full_like(y, math.log(0.5))])
    q = torch.stack([0.3 * x + 0.1, torch.full_like(y, math.log(0.3))])

    def likelihood(x: Tensor, mean: Tensor) -> Tensor:
        return Normal(mean, 0.6).log_prob(x).sum(dim=-1)

    model = (lambda *_: tuple(q), lambda _: tuple(known), lambda z, _: 1.5 * z, likelihood)
    points, weights = oracles.normal_nodes(1)
    noise = [point.expand(2, 1) for point in points]
    found = sum(w * hybrid(x, y, model, e, 0.3) for e, w in zip(noise, weights, strict=True))
    variance = 1 / (1 / 0.5 + 1.5**2 / 0.36)
    posterior = Normal(variance * (known[0] / 0.5 + 1.5 * x / 0.36), math.sqrt(variance))
    exact = Normal(1.5 * known[0], math.sqrt(1.5**2 * 0.5 + 0.36)).log_prob(x)
    gaps = [kl_divergence(Normal(m, (0.5 * v).exp()), posterior) for m, v in (q, known)]
    expected = exact - 0.3 * gaps[0] - 0.7 * gaps[1]
    assert (gaps[0] - gaps[1]).abs().min() > 0.1
    torch.testing.assert_close(found, expected[:, 0])


def test_a_probe_never_finds_more_information_than_there_is() -> None:
    """Exercise 4, eq:cvae-leak: the true posterior finds I(z; y), any other probe finds less."""
    joint = torch.tensor([[0.30, 0.10], [0.05, 0.25], [0.10, 0.20]], dtype=torch.float64)
    counts = (joint * 100).round().long()
    z, labels = (
        t.repeat_interleave(counts.flatten())
        for t in (torch.arange(3).repeat_interleave(2), torch.arange(2).repeat(3))
    )
    product = joint.sum(dim=1, keepdim=True) * joint.sum(dim=0, keepdim=True)
    truth = (joint * (joint / product).log()).sum()
    log_posterior = (joint / joint.sum(dim=1, keepdim=True)).log()
    found = information_from_probe(log_posterior[z], labels)
    torch.testing.assert_close(found.double(), truth, atol=1e-6, rtol=0)
    softer = (0.7 * log_posterior).log_softmax(dim=1)
    assert information_from_probe(softer[z], labels) < found - 1e-3
