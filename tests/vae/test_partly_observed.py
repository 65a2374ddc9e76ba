"""Proof for litgen/vae/partly_observed.py: what judges others is judged first."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from litgen.vae.linear_gaussian import LinearGaussian
from litgen.vae.partly_observed import PartlyObserved
from tests import oracles

Draw = Callable[..., Tensor]
SCALE, GIVEN, REST, LATENT, BATCH = 0.6, 2, 3, 2, 4


@pytest.fixture
def part(normal: Draw) -> PartlyObserved:
    """Five coordinates, random weights: nothing is diagonal."""
    return PartlyObserved(LinearGaussian(normal(5, LATENT), normal(5), SCALE), GIVEN)


def test_prior_and_posterior_are_conditioned_blocks(part: PartlyObserved, normal: Draw) -> None:
    """eq:cvae-known-prior and eq:cvae-known-posterior: the joint law of (z, y, x), conditioned."""
    m = part.model
    condition, x = normal(BATCH, GIVEN), normal(BATCH, REST)
    seen = oracles.JointGaussian(m.weight[:GIVEN], m.bias[:GIVEN], SCALE).posterior(condition)
    whole = oracles.JointGaussian(m.weight, m.bias, SCALE).posterior(
        torch.cat([condition, x], dim=1)
    )
    for found, expected in (
        (part.prior(condition), seen),
        (part.posterior(x, condition), whole),
    ):
        torch.testing.assert_close(found[0], expected.mean)
        torch.testing.assert_close(found[1].expand(BATCH, -1, -1), expected.covariance_matrix)
    assert (seen.mean - whole.mean).abs().min() > 1e-3


def test_the_conditional_is_joint_over_marginal(part: PartlyObserved, normal: Draw) -> None:
    """eq:cvae-known-conditional: log p(y, x) - log p(y)."""
    m = part.model
    condition, x = normal(BATCH, GIVEN), normal(BATCH, REST)
    cov = m.weight @ m.weight.T + SCALE**2 * torch.eye(5, dtype=torch.float64)
    joint = MultivariateNormal(m.bias, cov).log_prob(torch.cat([condition, x], dim=1))
    marginal = MultivariateNormal(m.bias[:GIVEN], cov[:GIVEN, :GIVEN]).log_prob(condition)
    expected = joint - marginal
    assert expected.std() > 0.1
    torch.testing.assert_close(part.log_conditional(x, condition), expected)


def test_decode_returns_the_rest(part: PartlyObserved, normal: Draw) -> None:
    """The last coordinates of W z + b, whatever the condition says."""
    z = normal(6, BATCH, LATENT)
    expected = torch.einsum("sbk,dk->sbd", z, part.model.weight[2:]) + part.model.bias[2:]
    torch.testing.assert_close(part.decode(z), expected)
    torch.testing.assert_close(part.decode(z, normal(BATCH, GIVEN)), expected)


@pytest.mark.parametrize("given", [0, 5, -1])
def test_nothing_given_or_left_is_an_error(part: PartlyObserved, given: int) -> None:
    """The message says what is possible."""
    with pytest.raises(ValueError, match=f"between 1 and 4 coordinates can be given, got {given}"):
        PartlyObserved(part.model, given)
