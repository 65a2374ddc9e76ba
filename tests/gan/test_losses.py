"""Proof for litgen/gan/losses.py: plain logarithms, tables of probabilities, and quadrature."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MixtureSameFamily, Normal

from litgen.gan import losses
from tests import oracles

LOG_2 = math.log(2)
P = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
Q = torch.tensor([0.1, 0.1, 0.3, 0.5], dtype=torch.float64)


def probability(logit: float) -> float:
    """Return the critic's probability of "data", as defined."""
    return 1 / (1 + math.exp(-logit))


def test_the_losses_are_logarithms_of_probabilities() -> None:
    """eq:gan-value, eq:gan-saturating, eq:gan-non-saturating: written out number by number."""
    real, fake = [0.3, -1.2, 2.0], [-0.7, 1.9]
    r, f = (torch.tensor(v, dtype=torch.float64) for v in (real, fake))
    expected = -sum(math.log(probability(v)) for v in real) / 3
    expected -= sum(math.log(1 - probability(v)) for v in fake) / 2
    assert losses.discriminator_loss(r, f).item() == pytest.approx(expected, rel=1e-12)
    saturating = torch.tensor([math.log(1 - probability(v)) for v in fake], dtype=torch.float64)
    other = torch.tensor([-math.log(probability(v)) for v in fake], dtype=torch.float64)
    torch.testing.assert_close(losses.saturating_loss(f), saturating)
    torch.testing.assert_close(losses.generator_loss(f), other)
    assert losses.discriminator_loss(0 * r, 0 * f).item() == pytest.approx(2 * LOG_2)


def test_no_logit_is_too_large() -> None:
    """A thousand either way: losses and their gradients stay finite, in single precision too."""
    logits = torch.tensor([-1_000.0, -100.0, 0.0, 100.0, 1_000.0], requires_grad=True)
    total = losses.discriminator_loss(logits, logits)
    total = total + losses.saturating_loss(logits).sum() + losses.generator_loss(logits).sum()
    (gradient,) = torch.autograd.grad(total, logits)
    assert total.isfinite()
    assert gradient.isfinite().all()
    assert losses.generator_loss(torch.tensor(-1_000.0)).item() == 1_000
    assert losses.saturating_loss(torch.tensor(1_000.0)).item() == -1_000


def test_the_slopes_in_the_logit() -> None:
    """eq:gan-slopes: -D for the saturating loss, D - 1 for the other; one of them vanishes."""
    values = [-9.0, -1.0, 0.4, 6.0]
    logits = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    (vanishing,) = torch.autograd.grad(losses.saturating_loss(logits).sum(), logits)
    (steady,) = torch.autograd.grad(losses.generator_loss(logits).sum(), logits)
    d = torch.tensor([probability(v) for v in values], dtype=torch.float64)
    torch.testing.assert_close(vanishing, -d)
    torch.testing.assert_close(steady, d - 1)
    assert -2e-4 < vanishing[0] < 0
    assert steady[0] < -0.999


def test_the_best_critic_of_a_table_is_the_log_ratio() -> None:
    """eq:gan-optimal: Newton's minimiser of the loss over four free logits."""
    logits = torch.zeros(4, dtype=torch.float64)
    for _ in range(30):  # the loss is a sum over places, so Newton works place by place
        d = torch.sigmoid(logits)
        logits = logits - ((P + Q) * d - P) / ((P + Q) * d * (1 - d))
    torch.testing.assert_close(losses.optimal_logits(P.log(), Q.log()), logits)
    assert logits.std() > 1


def sample_table(weights: Tensor, count: int = 1_000) -> Tensor:
    """Return places of a table, each as often as its probability says, without chance."""
    return torch.repeat_interleave(torch.arange(4), (weights * count).round().long())


def test_the_best_value_is_the_jensen_shannon_divergence() -> None:
    """eq:gan-js: against its definition by two divergences from the middle; any other is less."""
    middle = (P + Q) / 2
    kl = [float((a * (a / middle).log()).sum()) for a in (P, Q)]
    best = losses.optimal_logits(P.log(), Q.log())
    at_p, at_q = sample_table(P), sample_table(Q)
    found = losses.jensen_shannon(best[at_p], best[at_q]).item()
    assert found == pytest.approx(sum(kl) / 2, rel=1e-9)
    assert 0.05 < found < LOG_2
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = best + torch.randn(4, generator=generator, dtype=torch.float64)
        assert losses.jensen_shannon(other[at_p], other[at_q]).item() < found
    far = torch.tensor([60.0]), torch.tensor([-60.0])
    assert losses.jensen_shannon(*far).item() == pytest.approx(LOG_2)


def test_jensen_shannon_is_an_f_divergence() -> None:
    """eq:onepic-f-divergence with the f of the text, and KL with u log u, on a table."""
    u = P / Q

    def divergence(f: Tensor) -> float:
        return float((Q * f).sum())

    kl = divergence(u * u.log())
    assert kl == pytest.approx(float((P * (P.log() - Q.log())).sum()))
    js = divergence((u * u.log() - (u + 1) * ((u + 1) / 2).log()) / 2)
    best = losses.optimal_logits(P.log(), Q.log())
    expected = losses.jensen_shannon(best[sample_table(P)], best[sample_table(Q)])
    assert js == pytest.approx(expected.item())


DATA = MixtureSameFamily(
    torch.distributions.Categorical(torch.tensor([0.3, 0.7], dtype=torch.float64)),
    Normal(torch.tensor([-1.0, 1.5], dtype=torch.float64), 0.5),
)
MODEL = Normal(torch.tensor(0.4, dtype=torch.float64), 0.9)


def test_the_logits_gradient_is_a_difference_of_scores() -> None:
    """eq:gan-logit-gradient: against central differences of both log-densities."""
    x = torch.linspace(-2, 3, 7, dtype=torch.float64, requires_grad=True)
    logits = losses.optimal_logits(DATA.log_prob(x), MODEL.log_prob(x))
    (found,) = torch.autograd.grad(logits.sum(), x)
    with torch.no_grad():
        scores = [
            oracles.central_difference(lambda v, p=p: p.log_prob(v).sum(), x.detach())
            for p in (DATA, MODEL)
        ]
    torch.testing.assert_close(found, scores[0] - scores[1], rtol=1e-6, atol=1e-7)


def test_empty_batches_are_refused() -> None:
    """An average over nothing would be nan."""
    with pytest.raises(ValueError, match="3 real and 0 fake"):
        losses.discriminator_loss(torch.zeros(3), torch.zeros(0))
    with pytest.raises(ValueError, match="0 real"):
        losses.jensen_shannon(torch.zeros(0), torch.zeros(3))
