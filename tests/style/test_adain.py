"""Proof for litgen/style/adain.py: moments, scipy's matrix root, samples, gradient descent."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from litgen.style.adain import adain, gaussian_cost, gaussian_map, root

Normal = Callable[..., Tensor]


def covariance(normal: Normal, size: int) -> Tensor:
    """Return a random covariance of full rank."""
    factor = normal(size, 2 * size)
    return factor @ factor.T / size


def test_the_output_has_the_styles_moments(normal: Normal) -> None:
    """eq:arb-adain: mean and deviation of every channel, for pictures of other sizes."""
    content, style = normal(3, 4, 8, 9) * 2 + 1, normal(3, 4, 5, 7) * normal(3, 4, 1, 1) - 2
    found = adain(content, style, eps=0.0)
    torch.testing.assert_close(found.mean((2, 3)), style.mean((2, 3)))
    torch.testing.assert_close(found.std((2, 3), correction=0), style.std((2, 3), correction=0))
    one = adain(content, style[1:2], eps=0.0)
    torch.testing.assert_close(one.mean((2, 3)), style[1:2].mean((2, 3)).expand(3, 4))
    flat = adain(torch.ones(3, 4, 8, 9).double(), style)  # no contrast: the style's mean
    torch.testing.assert_close(flat, style.mean((2, 3), keepdim=True).expand(-1, -1, 8, 9))
    close = adain(content, style)
    torch.testing.assert_close(close, found, rtol=1e-4, atol=1e-4)


def test_it_is_the_same_place_by_place(normal: Normal) -> None:
    """eq:arb-adain by a loop over pictures and channels; strength goes along a straight line."""
    content, style = normal(2, 3, 4, 5), 3 * normal(2, 3, 6, 6) + 1
    found = adain(content, style, eps=0.0)
    for i in range(2):
        for c in range(3):
            f, g = content[i, c].numpy(), style[i, c].numpy()
            expected = g.std() * (f - f.mean()) / f.std() + g.mean()
            np.testing.assert_allclose(found[i, c].numpy(), expected)
            rough = adain(content, style, eps=0.7)[i, c].numpy()
            expected = g.std() * (f - f.mean()) / (f.var() + 0.7) ** 0.5 + g.mean()
            np.testing.assert_allclose(rough, expected)
    assert torch.equal(adain(content, style, 0.0), content)
    part = adain(content, style, 0.3, eps=0.0)
    torch.testing.assert_close(part, content + 0.3 * (found - content))
    torch.testing.assert_close(adain(content, content, eps=0.0), content)


@pytest.mark.usefixtures("unchecked")
def test_features_that_do_not_fit() -> None:
    """Other channels, or two styles for three pictures."""
    for shape in ((3, 5, 4, 4), (2, 4, 4, 4)):
        with pytest.raises(ValueError, match=r"style has shape .* content \(3, 4, 6, 6\)"):
            adain(torch.rand(3, 4, 6, 6), torch.rand(shape))


def test_a_root_is_a_root(normal: Normal) -> None:
    """Squared it is the matrix, and scipy finds the same; what has no root is named."""
    matrix = covariance(normal, 4)
    np.testing.assert_allclose(root(matrix).numpy(), scipy.linalg.sqrtm(matrix.numpy()), atol=1e-9)
    torch.testing.assert_close(root(torch.zeros(2, 2)), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="the matrix is not symmetric"):
        root(torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="the matrix has the eigenvalue -1"):
        root(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    # rounding may push a zero below itself, in proportion to the largest
    for most, least in ((1.0, -1e-6), (1_000.0, -1e-3)):
        nearly = torch.diag(torch.tensor([most, least]).double())
        expected = torch.diag(torch.tensor([most**0.5, 0.0]).double())
        torch.testing.assert_close(root(nearly), expected)
    with pytest.raises(ValueError, match="the matrix has the eigenvalue -1e-06"):
        root(torch.diag(torch.tensor([1e-3, -1e-6]).double()))


def test_the_map_makes_the_wanted_covariance_and_is_symmetric(normal: Normal) -> None:
    """eq:arb-map: A S A' = T, A symmetric and positive: by these it is the only one."""
    cov, wanted = covariance(normal, 4), covariance(normal, 4)
    a = gaussian_map(cov, wanted)
    torch.testing.assert_close(a @ cov @ a.T, wanted)
    torch.testing.assert_close(a, a.T)
    assert torch.linalg.eigvalsh(a).min() > 0
    assert (a @ wanted @ a.T - cov).abs().max() > 0.1


def test_no_other_map_is_cheaper(normal: Normal) -> None:
    """eq:arb-cost: the map's own mean squared way; turned maps that arrive as well cost more."""
    cov, wanted, mean, there = covariance(normal, 3), covariance(normal, 3), normal(3), normal(3)
    cost = gaussian_cost(mean, cov, there, wanted)
    half, goal = root(cov), root(wanted)

    def way(matrix: Tensor) -> Tensor:
        move = matrix - torch.eye(3).double()
        return (move @ cov @ move.T).trace() + (mean - there).square().sum()

    torch.testing.assert_close(way(gaussian_map(cov, wanted)), cost)
    for _ in range(20):
        turn, _ = torch.linalg.qr(normal(3, 3))
        other = goal @ turn @ torch.linalg.inv(half)
        torch.testing.assert_close(other @ cov @ other.T, wanted)
        assert way(other) >= cost - 1e-9
    assert cost > 0.5
    torch.testing.assert_close(
        gaussian_cost(mean, cov, mean, cov), torch.zeros(()).double(), atol=1e-9, rtol=0
    )


@pytest.mark.usefixtures("unchecked")
def test_gaussians_that_do_not_fit() -> None:
    """Covariances of different sizes, and a mean of another length."""
    with pytest.raises(ValueError, match=r"shapes \(4, 4\), \(3, 3\)"):
        gaussian_map(torch.eye(4), torch.eye(3))
    for which in range(4):
        parts = [torch.zeros(3), torch.eye(3), torch.zeros(3), torch.eye(3)]
        parts[which] = torch.eye(2) if which % 2 else torch.zeros(2)
        with pytest.raises(ValueError, match="means and covariances have shapes"):
            gaussian_cost(*parts)


def test_adain_is_the_map_of_diagonal_gaussians(normal: Normal) -> None:
    """eq:arb-diagonal: without covariances the map is a stretch of each channel, AdaIN's."""
    content = normal(1, 3, 40, 40) * torch.tensor([0.5, 1, 3.0]).view(3, 1, 1)
    style = normal(1, 3, 30, 30) * torch.tensor([2, 1, 0.3]).view(3, 1, 1) + 1
    flat, goal = (x[0].flatten(1) for x in (content, style))
    diagonals = [torch.diag(x.var(1, correction=0)) for x in (flat, goal)]
    a = gaussian_map(*diagonals)
    moved = a @ (flat - flat.mean(1, keepdim=True)) + goal.mean(1, keepdim=True)
    torch.testing.assert_close(adain(content, style, eps=0.0)[0].flatten(1), moved)
    cost = gaussian_cost(flat.mean(1), diagonals[0], goal.mean(1), diagonals[1])
    by_hand = (flat.mean(1) - goal.mean(1)).square().sum()
    by_hand += (flat.std(1, correction=0) - goal.std(1, correction=0)).square().sum()
    torch.testing.assert_close(cost, by_hand)
    torch.testing.assert_close((moved - flat).square().sum(0).mean(), cost)
