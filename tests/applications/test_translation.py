"""Proof for litgen/applications/translation.py: moments, least movement, a lesion by hand."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from litgen.applications import translation


def two_sets(dims: int = 3) -> tuple[Tensor, Tensor]:
    """Return two unpaired sets with different means and covariances."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, dims, generator=generator, dtype=torch.float64) for n in (50, 70))
    mix = torch.randn(2, dims, dims, generator=generator, dtype=torch.float64)
    return a @ mix[0] + 1, b @ mix[1] - 2


def test_what_is_translated_has_the_targets_moments() -> None:
    """Mean and covariance, as numpy finds them in both sets: eq:med-translate."""
    a, b = two_sets()
    made = translation.fit_translator(a, b)(a).numpy()
    np.testing.assert_allclose(made.mean(axis=0), b.numpy().mean(axis=0))
    np.testing.assert_allclose(
        np.cov(made, rowvar=False), np.cov(b.numpy(), rowvar=False), rtol=1e-8
    )
    assert np.abs(np.cov(made, rowvar=False) - np.cov(a.numpy(), rowvar=False)).max() > 0.1


def test_it_is_the_map_that_moves_least() -> None:
    """Scipy's roots give the same; turned about the target, it moves more: eq:med-monge."""
    a, b = two_sets()
    first, second = (np.cov(x.numpy(), rowvar=False) + 0.1 * np.eye(3) for x in (a, b))
    half = np.real(scipy.linalg.sqrtm(first))
    inverse = np.linalg.inv(half)
    expected = inverse @ np.real(scipy.linalg.sqrtm(half @ second @ half)) @ inverse
    found = translation.fit_translator(a, b, ridge=0.1).matrix
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7)
    root = np.real(scipy.linalg.sqrtm(second))
    moved = []
    for turn in [
        np.eye(3),
        *(np.linalg.qr(np.random.default_rng(k).normal(size=(3, 3)))[0] for k in range(5)),
    ]:
        other = root @ turn @ np.linalg.inv(half)  # any such matrix matches the covariances
        np.testing.assert_allclose(other @ first @ other.T, second, rtol=1e-7)
        moved.append(np.trace((other - np.eye(3)) @ first @ (other - np.eye(3)).T))
    least = np.trace((expected - np.eye(3)) @ first @ (expected - np.eye(3)).T)
    assert least < min(moved) - 1e-3


def test_a_root_is_scipys() -> None:
    """Symmetric and positive."""
    matrix = torch.cov(two_sets(4)[0].mT)
    np.testing.assert_allclose(
        translation.root(matrix).numpy(), scipy.linalg.sqrtm(matrix.numpy()), rtol=1e-8
    )
    few = torch.cov(two_sets(4)[0][:2].mT)  # of rank one: rounding leaves values below zero
    assert torch.linalg.eigvalsh(few).min() <= 0
    torch.testing.assert_close(translation.root(few) @ translation.root(few), few)


def test_a_feature_that_the_target_lacks_shrinks() -> None:
    """A fitted translator of one direction keeps the share of eq:med-kept."""
    generator = torch.Generator().manual_seed(1)
    there = (torch.rand(200_000, 1, generator=generator, dtype=torch.float64) < 0.3).double()
    noise = torch.randn(2, 200_000, 1, generator=generator, dtype=torch.float64)
    found = translation.fit_translator(3.0 * there + 0.7 * noise[0], 0.7 * noise[1]).matrix.item()
    assert found == pytest.approx(translation.kept_share(0.3, 3.0, 0.7), rel=0.01)
    assert translation.kept_share(0.0, 3.0, 0.7) == translation.kept_share(1.0, 3.0, 0.7) == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: translation.fit_translator(torch.zeros(3, 2), torch.zeros(3, 4)), "two sets"),
        (lambda: translation.fit_translator(torch.zeros(1, 2), torch.zeros(3, 2)), "two sets"),
        (lambda: translation.fit_translator(torch.zeros(3, 2), torch.zeros(1, 2)), "two sets"),
        (lambda: translation.kept_share(1.2, 1.0, 1.0), "a probability"),
        (lambda: translation.kept_share(0.2, 1.0, 0.0), "positive noise"),
    ],
)
def test_bad_input_is_named(call: object, said: str) -> None:
    """Sets that do not fit together, shares that are none."""
    with pytest.raises(ValueError, match=said):
        call()  # type: ignore[operator]
