"""Proof for litgen/applications/paired.py: scipy's quantiles, coverage, and permutation test."""

import numpy as np
import pytest
import scipy.stats
import torch

from litgen.applications import paired


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 30])
@pytest.mark.parametrize("probability", [0.02, 0.5, 0.9, 0.975, 0.998])
def test_quantiles_are_scipys(freedom: int, probability: float) -> None:
    """For few and many degrees of freedom, either side: eq:med-student."""
    expected = scipy.stats.t.ppf(probability, freedom)
    assert paired.student_quantile(probability, freedom) == pytest.approx(
        expected, rel=1e-5, abs=1e-7
    )


def test_a_quantile_below_the_tables_first_angle() -> None:
    """With one degree of freedom the density is even in the angle: eq:med-student."""
    assert paired.student_quantile(1e-6, 1) == pytest.approx(scipy.stats.t.ppf(1e-6, 1), rel=1e-4)


def test_an_interval_is_scipys() -> None:
    """Five differences; mean, standard error and quantile as in scipy: eq:med-interval."""
    values = torch.tensor([0.3, -0.1, 0.4, 0.25, 0.7])
    found = paired.paired_interval(values, 0.9)
    plain = values.double().numpy()
    error = scipy.stats.sem(plain)
    expected = scipy.stats.t.interval(0.9, 4, loc=plain.mean(), scale=error)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-5)
    assert found.mean == pytest.approx(plain.mean(), rel=1e-12), "in double precision"
    assert found.apart_from_zero() == (expected[0] > 0)
    assert paired.paired_interval(-values, 0.9).apart_from_zero() == found.apart_from_zero()
    assert not paired.Interval(0.1, -0.1, 0.3).apart_from_zero()
    assert paired.Interval(-0.2, -0.3, -0.1).apart_from_zero()
    assert not paired.Interval(0.1, 0.0, 0.2).apart_from_zero()
    assert not paired.Interval(-0.1, -0.2, 0.0).apart_from_zero()
    assert paired.paired_interval(values) == paired.paired_interval(values, 0.95, 1)


def test_twelve_intervals_hold_together() -> None:
    """With the error divided, all of them hold in 95 % of trials at least: eq:med-bonferroni."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(4_000, 12, 5, generator=generator, dtype=torch.float64)
    error = draws.std(dim=2) / 5**0.5
    misses = {}
    for comparisons in (1, 12):
        one = paired.paired_interval(draws[0, 0], 0.95, comparisons)
        t = (one.high - one.mean) / error[0, 0]
        misses[comparisons] = (draws.mean(dim=2).abs() > t * error).any(dim=1).double().mean()
    assert 0.035 < misses[12] < 0.06
    assert misses[1] > 0.4


def test_flipping_signs_is_scipys_permutation_test() -> None:
    """All 32 patterns of five differences, two-sided: eq:med-flips."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        values = torch.randn(5, generator=generator, dtype=torch.float64) + 0.4
        expected = scipy.stats.permutation_test(
            (values.numpy(),), np.mean, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert paired.sign_flip_p(values) == pytest.approx(expected)
        assert paired.sign_flip_p(-values) == pytest.approx(expected)


def test_five_seeds_cannot_reach_five_percent() -> None:
    """All differences of one sign give the least p-value, 2^(1 - k): eq:med-smallest."""
    for seeds in (1, 3, 5, 6):
        least = paired.sign_flip_p(torch.arange(1.0, seeds + 1))
        assert least == paired.smallest_p(seeds)
    assert paired.smallest_p(5) == 0.0625
    assert paired.smallest_p(6) < 0.05
    assert paired.sign_flip_p(torch.zeros(4)) == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: paired.student_quantile(1.0, 4), "probability"),
        (lambda: paired.student_quantile(0.5, 0), "freedom"),
        (lambda: paired.paired_interval(torch.zeros(1)), "at least 2 differences"),
        (lambda: paired.paired_interval(torch.zeros(3), 0.95, 0), "1 comparison"),
        (lambda: paired.sign_flip_p(torch.zeros(0)), "1 to 20"),
        (lambda: paired.sign_flip_p(torch.zeros(21)), "1 to 20"),
        (lambda: paired.smallest_p(0), "at least one seed"),
    ],
)
def test_bad_input_is_named(call: object, said: str) -> None:
    """Too few numbers, or probabilities that are none."""
    with pytest.raises(ValueError, match=said):
        call()  # type: ignore[operator]
