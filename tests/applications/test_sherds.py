"""Proof for litgen/applications/sherds.py: grids, scipy, and a posterior that is known."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from litgen.applications import sherds
from litgen.applications.sherds import Gaussian

DOUBLE: dict[str, Any] = {"dtype": torch.double}


def draws(seed: int) -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(seed)


def a_gaussian(dims: int = 5) -> Gaussian:
    """Return one whose covariance is full."""
    root = torch.randn(dims, dims, generator=draws(1), **DOUBLE)
    return Gaussian(torch.randn(dims, generator=draws(2), **DOUBLE), root @ root.T + torch.eye(5))


SEEN = torch.tensor([True, False, True, False, False])


def test_the_conditional_by_joint_over_marginal() -> None:
    """eq:pot-conditional and eq:pot-evidence: p(x) = p(x_s) p(x_m | x_s), all by scipy."""
    law = a_gaussian()
    x = torch.randn(7, 5, generator=draws(3), **DOUBLE)
    left = law.given(x[:, SEEN], SEEN)
    evidence = law.log_evidence(x[:, SEEN], SEEN)
    assert evidence.std() > 0.1
    joint = scipy.stats.multivariate_normal(law.mean, law.covariance).logpdf(x)
    shown = scipy.stats.multivariate_normal(law.mean[SEEN], law.covariance[SEEN][:, SEEN])
    assert evidence.numpy() == pytest.approx(shown.logpdf(x[:, SEEN]))
    for row, mean, total, known in zip(x, left.mean, joint, evidence, strict=True):
        other = scipy.stats.multivariate_normal(mean, left.covariance).logpdf(row[~SEEN])
        assert total == pytest.approx(other + known.item())


def test_the_conditional_by_the_precision() -> None:
    """eq:pot-conditional: the missing block of the precision is the covariance's inverse."""
    law = a_gaussian()
    left = law.given(torch.zeros(1, 2, **DOUBLE), SEEN)
    precision = torch.linalg.inv(law.covariance)
    expected = torch.linalg.inv(precision[~SEEN][:, ~SEEN])
    torch.testing.assert_close(left.covariance, expected)
    shift = expected @ precision[~SEEN][:, SEEN] @ law.mean[SEEN]
    torch.testing.assert_close(left.mean[0], law.mean[~SEEN] + shift)


def test_samples_of_a_gaussian_and_its_fit() -> None:
    """Mean and covariance of many samples; the fit is numpy's, with the noise added."""
    law = a_gaussian()
    samples = law.sample(torch.randn(40_000, 5, generator=draws(4), **DOUBLE))
    found = sherds.fitted(samples, 0.3)
    expected = np.cov(samples.numpy().T, bias=True) + 0.3 * np.eye(5)
    assert found.covariance.numpy() == pytest.approx(expected)
    torch.testing.assert_close(found.mean, law.mean, atol=0.1, rtol=0)
    torch.testing.assert_close(
        found.covariance, law.covariance + 0.3 * torch.eye(5), atol=0.5, rtol=0
    )


def test_the_hand_is_normal_about_the_clean_radii() -> None:
    """eq:pot-hand: scipy's density, summed over the last axis."""
    values, clean = torch.rand(2, 3, 4, generator=draws(5), **DOUBLE)
    found = sherds.hand_log_prob(values, clean, 0.2)
    expected = scipy.stats.norm(clean, 0.2).logpdf(values).sum(axis=-1)
    assert found.numpy() == pytest.approx(expected)


def test_coins_are_binomial() -> None:
    """eq:pot-coins: scipy's masses, minus infinity just beyond them, summed over the last axis."""
    off = torch.arange(-6, 7)
    found = sherds.coins_log_prob(off[:, None], 8)
    expected = scipy.stats.binom.logpmf(off.numpy() + 4, 8, 0.5)
    assert found.numpy() == pytest.approx(expected)
    assert found.exp().sum().item() == pytest.approx(1)
    pair = sherds.coins_log_prob(torch.tensor([[1, -3], [0, 40]]), 8)
    assert pair[0].item() == pytest.approx(expected[7] + expected[3])
    assert pair[1] == -math.inf
    assert sherds.coins_log_prob(torch.tensor([-40]), 8) == -math.inf


def test_effective_counts_by_hand() -> None:
    """eq:pot-effective: equal weights count fully, one alone counts 1, (2, 1, 1) counts 8/3."""
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [2.0, 1.0, 1.0]], **DOUBLE).log() + 50
    expected = torch.tensor([3.0, 1.0, 16 / 6], **DOUBLE)
    torch.testing.assert_close(sherds.effective_count(rows), expected)


def test_members_are_drawn_by_their_weights() -> None:
    """eq:pot-weights: frequencies by chi-squared, each row by its own weights."""
    weights = torch.tensor([[1.0, 2.0, 5.0], [4.0, 4.0, 0.0]], **DOUBLE)
    rows = sherds.resampled(weights.log() - 300, 4000, draws(6))
    assert rows.shape == (4000, 2)
    counts = torch.stack([torch.bincount(row, minlength=3) for row in rows.T])
    assert counts[1, 2] == 0
    expected = 4000 * weights / weights.sum(dim=1, keepdim=True)
    assert scipy.stats.chisquare(counts[0], expected[0]).pvalue > 1e-3
    assert scipy.stats.chisquare(counts[1, :2], expected[1, :2]).pvalue > 1e-3


def test_classes_are_equally_common_whatever_the_bank() -> None:
    """eq:pot-class: by hand, with twice as many members of one class as of the other."""
    weights = torch.tensor([[1.0, 3.0, 6.0], [2.0, 2.0, 2.0]], **DOUBLE)
    labels = torch.tensor([0, 0, 1])
    found = sherds.class_posterior(weights.log() - 900, labels, 2)
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75], [0.5, 0.5]], **DOUBLE))


def test_slice_moves_keep_a_known_posterior() -> None:
    """eq:pot-slice: from exact draws to exact draws, of a Gaussian with a far likelihood."""
    posterior_mean, sd = 0.8 * 2.5, math.sqrt(0.2)  # prior N(0, 1), value 2.5, variance 1/4
    z = posterior_mean + sd * torch.randn(6000, 1, generator=draws(7), **DOUBLE)
    start, steps, generator = z, 4, draws(8)
    for _ in range(steps):
        z = sherds.slice_move(z, lambda at: -2 * (at[:, 0] - 2.5) ** 2, generator)
    assert scipy.stats.kstest(z[:, 0].numpy(), "norm", (posterior_mean, sd)).pvalue > 1e-3
    assert abs(np.corrcoef(start[:, 0], z[:, 0])[0, 1]) < 0.5
    from_prior = torch.randn(3000, 1, generator=draws(9), **DOUBLE)
    for _ in range(60):
        from_prior = sherds.slice_move(
            from_prior, lambda at: -2 * (at[:, 0] - 2.5) ** 2, generator
        )
    found = scipy.stats.kstest(from_prior[:, 0].numpy(), "norm", (posterior_mean, sd))
    assert found.pvalue > 1e-3


def test_a_slice_move_of_two_modes_weighs_them() -> None:
    """eq:pot-slice where the posterior is lopsided: its density on a grid is met."""

    def log_likelihood(at: Tensor) -> Tensor:
        """Return one that rises to the right and has a dip at the middle."""
        return 1.5 * at[:, 0] - 3 * torch.exp(-8 * at[:, 0] ** 2)

    z, generator = torch.randn(8000, 1, generator=draws(10), **DOUBLE), draws(11)
    for _ in range(25):
        z = sherds.slice_move(z, log_likelihood, generator)
    grid = torch.linspace(-6, 8, 4001, **DOUBLE)
    density = (log_likelihood(grid[:, None]) - grid**2 / 2).exp()
    mass = (density / density.sum()).cumsum(0)
    found = np.interp(z[:, 0].numpy(), grid.numpy(), mass.numpy())
    assert scipy.stats.kstest(found, "uniform").pvalue > 1e-3


def test_a_code_without_a_better_place_stays() -> None:
    """Where no try is likely enough the code is kept, and the others move."""
    z = torch.randn(50, 2, generator=draws(12), **DOUBLE)
    here = z.clone()

    def log_likelihood(at: Tensor) -> Tensor:
        """Return 0 at the first 25 codes themselves and minus infinity elsewhere."""
        inside = (at == here).all(dim=1) | (torch.arange(50) >= 25)
        return torch.where(inside, 0.0, -math.inf).double()

    moved = sherds.slice_move(z, log_likelihood, draws(13), tries=5)
    assert (moved[:25] == z[:25]).all()
    assert (moved[25:] != z[25:]).any(dim=1).all()


def linear() -> tuple[Tensor, Tensor]:
    """Return offsets of two classes and a weight: a generator with a posterior in closed form."""
    offsets = torch.randn(2, 6, generator=draws(14), **DOUBLE)
    return offsets, torch.randn(6, 2, generator=draws(15), **DOUBLE)


def test_completions_of_a_linear_generator_are_the_closed_form() -> None:
    """eq:pot-posterior and eq:pot-generator: mean and covariance by eq:pot-conditional's law."""
    offsets, weight = linear()
    scale, seen = 0.3, torch.tensor([True, True, False, True, False, False])
    generator = draws(16)

    def generate(z: Tensor, labels: Tensor) -> Tensor:
        """Return clean vessels."""
        return offsets[labels] + z @ weight.T

    laws = [
        Gaussian(offset, weight @ weight.T + scale**2 * torch.eye(6, **DOUBLE))
        for offset in offsets
    ]
    values = torch.stack([offsets[0] + 0.4, (offsets[0] + offsets[1]) / 2])[:, seen]
    bank = torch.randn(20_000, 2, generator=generator, **DOUBLE), torch.arange(20_000) % 2
    log_prior = torch.tensor([0.7, 0.3], **DOUBLE).log()[bank[1]][None]
    found = sherds.complete(
        values,
        seen,
        generate,
        lambda v, clean: sherds.hand_log_prob(v, clean, scale),
        bank,
        generator,
        count=4000,
        moves=3,
        log_prior=log_prior,
    )
    assert (found.clean == generate(found.z, found.labels)).all()
    assert found.log_weights.shape == (2, 20_000)
    evidence = torch.stack([law.log_evidence(values, seen) for law in laws], dim=1)
    exact = torch.softmax(evidence + torch.tensor([0.7, 0.3], **DOUBLE).log(), dim=1)
    shares = (found.labels == 1).double().mean(dim=0)
    torch.testing.assert_close(shares, exact[:, 1], atol=0.04, rtol=0)
    assert exact[:, 1].std() > 0.05
    for sherd, label in itertools.product(range(2), range(2)):
        chosen = found.labels[:, sherd] == label
        if chosen.sum() < 300:
            continue
        noise = torch.randn(int(chosen.sum()), 3, generator=generator, **DOUBLE)
        missing = found.clean[:, sherd][chosen][:, ~seen] + scale * noise
        left = laws[label].given(values[sherd], seen)
        off = (missing.mean(dim=0) - left.mean).abs() / left.covariance.diagonal().sqrt()
        assert off.max() < 0.15
        ratio = missing.T.cov().diagonal() / left.covariance.diagonal()
        assert (ratio - 1).abs().max() < 0.2


def test_codes_are_moved_as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at all, or three times; draws come from the generator that was given."""
    offsets, weight = linear()
    seen = torch.tensor([True, True, False, True, False, False])
    bank = torch.randn(50, 2, generator=draws(20), **DOUBLE), torch.arange(50) % 2
    moved: list[Tensor] = []
    plain = sherds.slice_move

    def moving(z: Tensor, *rest: Any) -> Tensor:
        moved.append(z)
        return plain(z, *rest)

    monkeypatch.setattr(sherds, "slice_move", moving)
    for moves in (0, 3):
        one, again = (
            sherds.complete(
                torch.zeros(2, 3, **DOUBLE),
                seen,
                lambda z, labels: offsets[labels] + z @ weight.T,
                lambda v, clean: sherds.hand_log_prob(v, clean, 1.0),
                bank,
                draws(21),
                count=6,
                moves=moves,
            )
            for _ in range(2)
        )
        assert len(moved) == 2 * moves
        assert torch.equal(one.z, again.z)
        drawn = (one.z[:, :, None] == bank[0]).all(dim=3).any(dim=2)
        assert bool(drawn.all()) is (moves == 0)


def test_the_nearest_vessel_is_that_of_the_smallest_error() -> None:
    """Only what is seen counts; by brute force."""
    known = torch.randn(30, 5, generator=draws(17), **DOUBLE)
    x = torch.randn(9, 2, generator=draws(18), **DOUBLE)
    found = sherds.nearest(x, SEEN, known)
    for one, place in zip(x, found.tolist(), strict=True):
        errors = [((row[0] - one[0]) ** 2 + (row[2] - one[1]) ** 2).item() for row in known]
        assert place == errors.index(min(errors))


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named() -> None:
    """Each error says what does not fit."""
    law = a_gaussian()
    with pytest.raises(ValueError, match="2 of 5 dimensions seen, 3 values"):
        law.given(torch.zeros(1, 3, **DOUBLE), SEEN)
    with pytest.raises(ValueError, match="0 of 5 dimensions seen, 0 values"):
        law.log_evidence(torch.zeros(1, 0, **DOUBLE), SEEN & False)
    with pytest.raises(ValueError, match="nothing is missing"):
        law.given(torch.zeros(1, 5, **DOUBLE), SEEN | True)
    with pytest.raises(ValueError, match="two data and noise of at least 0, got 1 and 0"):
        sherds.fitted(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"got 4 and -0\.1"):
        sherds.fitted(torch.zeros(4, 3), -0.1)
    with pytest.raises(ValueError, match="scale must be positive, got 0"):
        sherds.hand_log_prob(torch.zeros(2), torch.zeros(2), 0)
    with pytest.raises(ValueError, match="2 values seen, 1 clean radii"):
        sherds.hand_log_prob(torch.zeros(2), torch.zeros(1), 1)
    for coins in (0, 7):
        with pytest.raises(ValueError, match=f"coins must be even, got {coins}"):
            sherds.coins_log_prob(torch.zeros(1, dtype=torch.long), coins)
    none = torch.full((3, 4), -math.inf)
    none[1] = 0
    with pytest.raises(ValueError, match=r"made sherds \[0, 2\]"):
        sherds.resampled(none, 3, draws(1))
    with pytest.raises(ValueError, match=r"\[3, 0\] members of 2 classes"):
        sherds.class_posterior(torch.zeros(1, 3), torch.zeros(3, dtype=torch.long), 2)
    with pytest.raises(ValueError, match=r"\[1, 1, 1\] members of 2 classes"):
        sherds.class_posterior(torch.zeros(1, 3), torch.arange(3), 2)
