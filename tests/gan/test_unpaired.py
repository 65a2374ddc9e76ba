"""Proof for litgen/gan/unpaired.py: laws, inverses and errors of maps between known domains."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import linalg, stats
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from litgen.gan import unpaired

Normal = Callable[..., Tensor]


@pytest.fixture
def domains(normal: Normal) -> tuple[Tensor, Tensor]:
    """Return two covariances that share no axes."""
    roots = normal(2, 3, 3)
    return roots[0] @ roots[0].T + 0.1 * torch.eye(3), roots[1] @ roots[1].T + 0.2 * torch.eye(3)


def orthogonal(normal: Normal, count: int) -> Tensor:
    """Return random orthogonal matrices, some of which mirror."""
    return torch.linalg.qr(normal(count, 3, 3)).Q


def test_rearranged_ranks_are_uniform_and_distinct() -> None:
    """eq:cycle-line: a grid of ranks comes back as the same grid in another order."""
    ranks = (torch.arange(20, dtype=torch.float64) + 0.5) / 20
    for shift, flipped in ((0.0, False), (0.0, True), (0.35, False), (0.6, True)):
        found = unpaired.rearranged(ranks, shift, flipped)
        torch.testing.assert_close(found.sort().values, ranks)
    assert unpaired.rearranged(ranks, 0.25)[0].item() == pytest.approx(0.275)
    assert unpaired.rearranged(ranks, 0.25, True)[0].item() == pytest.approx(0.225)
    x = stats.gamma(3).rvs(4_000, random_state=0)
    moved = unpaired.rearranged(torch.from_numpy(stats.gamma(3).cdf(x)), 0.3, True)
    assert (
        stats.kstest(stats.norm(2, 0.5).ppf(moved.numpy()), stats.norm(2, 0.5).cdf).pvalue > 0.01
    )


def test_roots_are_scipys(domains: tuple[Tensor, Tensor]) -> None:
    """Powers of a covariance, against Schur's method; a flat one is refused."""
    for power in (0.5, -0.5, 0.3):
        expected = linalg.fractional_matrix_power(domains[0].numpy(), power)
        torch.testing.assert_close(unpaired.root(domains[0], power), torch.from_numpy(expected))
    with pytest.raises(ValueError, match="positive definite, has 0"):
        unpaired.root(torch.zeros(2, 2).double())
    with pytest.raises(ValueError, match="positive definite, has -1"):
        unpaired.root(torch.diag(torch.tensor([2.0, -1.0])))


def test_every_turn_matches_both_domains(domains: tuple[Tensor, Tensor], normal: Normal) -> None:
    """eq:cycle-family: the law arrives, the inverse leads back, the turn can be read off."""
    cov_x, cov_y = domains
    turns = orthogonal(normal, 5)
    there = unpaired.solution(cov_x, cov_y, turns)
    back = torch.linalg.inv(there)
    for a, b in zip(there, back, strict=True):
        torch.testing.assert_close(a @ cov_x @ a.T, cov_y)
        torch.testing.assert_close(b @ cov_y @ b.T, cov_x)
    torch.testing.assert_close(unpaired.turn_of(there, cov_x, cov_y), turns)
    torch.testing.assert_close(back, unpaired.solution(cov_y, cov_x, turns.mT))
    found = unpaired.mismatch(there, back, cov_x, cov_y)
    for part in found:
        torch.testing.assert_close(part, torch.zeros(5).double())
    assert (there[0] - there[1]).abs().max() > 0.1


def test_mismatch_is_divergence_and_cycle(domains: tuple[Tensor, Tensor], normal: Normal) -> None:
    """eq:cycle-linear: torch.distributions' divergences, and cycles by averaging samples."""
    cov_x, cov_y = domains
    there, back = normal(3, 3), normal(3, 3)
    found = unpaired.mismatch(there, back, cov_x, cov_y)

    def centred(cov: Tensor) -> MultivariateNormal:
        return MultivariateNormal(torch.zeros(3).double(), cov)

    made_y, made_x = there @ cov_x @ there.T, back @ cov_y @ back.T
    torch.testing.assert_close(found.there, kl_divergence(centred(made_y), centred(cov_y)))
    torch.testing.assert_close(found.back, kl_divergence(centred(made_x), centred(cov_x)))
    x = normal(200_000, 3) @ torch.linalg.cholesky(cov_x).T
    y = normal(200_000, 3) @ torch.linalg.cholesky(cov_y).T
    loops = (x @ there.T @ back.T - x).square().sum(1).mean()
    loops += (y @ back.T @ there.T - y).square().sum(1).mean()
    assert found.cycle.item() == pytest.approx(loops.item(), rel=0.02)


def test_the_hidden_error_is_an_average(domains: tuple[Tensor, Tensor], normal: Normal) -> None:
    """eq:cycle-error: by samples; and between two solutions by the turn alone."""
    cov_x, cov_y = domains
    one, other = orthogonal(normal, 2)
    there, true = (unpaired.solution(cov_x, cov_y, turn) for turn in (one, other))
    x = normal(200_000, 3) @ torch.linalg.cholesky(cov_x).T
    mean = (x @ there.T - x @ true.T).square().sum(1).mean()
    found = unpaired.hidden_error(there, true, cov_x)
    assert found.item() == pytest.approx(mean.item(), rel=0.02)
    by_turn = 2 * cov_y.trace() - 2 * (cov_y.double() @ one @ other.T).trace()
    half = unpaired.root(cov_y)
    by_turn = 2 * cov_y.trace() - 2 * (half @ one @ other.T @ half).trace()
    torch.testing.assert_close(found, by_turn)


def test_the_nearest_map_moves_least(domains: tuple[Tensor, Tensor], normal: Normal) -> None:
    """eq:cycle-nearest: among 500 solutions none moves points less, and its cost is Bures's."""
    cov_x, cov_y = domains
    best = unpaired.nearest(cov_x, cov_y)
    torch.testing.assert_close(best @ cov_x @ best.T, cov_y)
    eye = torch.eye(3).double()
    cost = unpaired.hidden_error(best, eye, cov_x)
    others = unpaired.hidden_error(
        unpaired.solution(cov_x, cov_y, orthogonal(normal, 500)), eye, cov_x
    )
    assert cost < others.min()
    half = torch.from_numpy(linalg.sqrtm(cov_x.numpy()))
    inner = torch.from_numpy(linalg.sqrtm((half @ cov_y @ half).numpy()).real)
    torch.testing.assert_close(cost, cov_x.trace() + cov_y.trace() - 2 * inner.trace())


def test_noise_comes_back_amplified(domains: tuple[Tensor, Tensor], normal: Normal) -> None:
    """eq:cycle-gain: by samples, for a way back that is the inverse of the way there."""
    cov_x, cov_y = domains
    there = unpaired.solution(cov_x, 0.01 * cov_y, orthogonal(normal, 1)[0])
    back = torch.linalg.inv(there)
    x = normal(100_000, 3) @ torch.linalg.cholesky(cov_x).T
    noisy = x @ there.T + 0.03 * normal(100_000, 3)
    error = (noisy @ back.T - x).square().sum(1).mean()
    found = unpaired.noise_through(back, 0.03)
    assert found.item() == pytest.approx(error.item(), rel=0.02)
    assert math.sqrt(found.item()) > 0.03
