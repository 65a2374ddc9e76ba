"""Proof for litgen/style/known.py."""

from collections.abc import Callable

import pytest
import scipy.linalg
import scipy.optimize
import torch
from torch import Tensor

from litgen.style import gram, known
from litgen.style.memory import LimitedMemory

Draw = Callable[..., Tensor]


def moments(features: Tensor) -> Tensor:
    """Return the Gram matrix of (channels, places)."""
    return torch.einsum("ik,jk->ij", features, features) / features.shape[1]


def test_the_root_is_scipys(normal: Draw) -> None:
    """Symmetric, and its square is the matrix."""
    a = moments(normal(4, 9))
    expected = torch.from_numpy(scipy.linalg.sqrtm(a.numpy()).real)
    torch.testing.assert_close(known.root(a), expected)
    nearly = torch.diag(torch.tensor([4.0, -1e-6]).double())  # a zero after rounding
    torch.testing.assert_close(known.root(nearly), torch.diag(torch.tensor([2.0, 0.0]).double()))


def test_the_closest_features_have_the_gram_and_nothing_is_closer(normal: Draw) -> None:
    """Every other root of A gives features farther away. eq:gatys-closest."""
    features, wanted = normal(3, 40), moments(normal(3, 50) * torch.tensor([[1.0], [2.0], [0.5]]))
    found = known.closest(features, wanted)
    torch.testing.assert_close(moments(found), wanted)
    distance = (found - features).square().sum()
    whitened = scipy.linalg.solve_triangular(
        torch.linalg.cholesky(moments(features)).numpy(), features.numpy(), lower=True
    )
    for _ in range(200):
        turn = torch.linalg.qr(normal(3, 3))[0]
        other = torch.linalg.cholesky(wanted) @ turn @ torch.from_numpy(whitened)
        torch.testing.assert_close(moments(other), wanted)
        assert (other - features).square().sum() >= distance - 1e-9
    assert distance > 1


def test_the_closest_is_the_distance_of_gaussians(normal: Draw) -> None:
    """Its mean square is the Bures distance tr G + tr A - 2 tr (G A)^(1/2). eq:gatys-closest."""
    features, wanted = normal(3, 40), moments(normal(3, 50) + 1)
    g = moments(features)
    cross = scipy.linalg.sqrtm((g @ wanted).numpy()).real
    expected = g.trace() + wanted.trace() - 2 * cross.trace()
    moved = (known.closest(features, wanted) - features).square().sum() / 40
    assert moved.item() == pytest.approx(float(expected))


def test_descent_with_little_content_ends_there(normal: Draw) -> None:
    """The losses of the chapter on free features, style a thousand times content."""
    features, wanted = normal(3, 40), moments(normal(3, 50))
    x = features.clone().view(1, 3, 5, 8).requires_grad_()
    optimizer = LimitedMemory(x)
    for _ in range(300):
        style = gram.style_loss(gram.gram(x), wanted[None])
        content = gram.content_loss(x, features.view(1, 3, 5, 8))
        optimizer.zero_grad()
        (content + 1e4 * style).sum().backward()
        optimizer.step()
    expected = known.closest(features, wanted)
    error = (x.detach().view(3, 40) - expected).norm() / (expected - features).norm()
    assert error < 1e-3


@pytest.mark.parametrize(
    ("power", "wanted", "ratio"),
    [
        (1.0, 4.0, 0.3),
        (2.0, 0.5, 7.0),
        (0.7, 0.0, 2.0),
        (1.0, 9.0, 50.0),
        (3.0, 3.0, 5.0),
        (4.0, 0.1, 1e4),
    ],
)
def test_the_stretch_is_the_minimum(power: float, wanted: float, ratio: float) -> None:
    """Scipy's search over t, the two losses written out. eq:gatys-cubic."""

    def cost(t: float) -> float:
        content = power * (t - 1) ** 2 / (2 * 4)
        return float(content + ratio * (power * t * t - wanted) ** 2 / (4 * 4**2))

    grid = min((i / 100 for i in range(1000)), key=cost)
    bounds = (max(0, grid - 0.1), grid + 0.1)
    best = scipy.optimize.minimize_scalar(cost, bounds=bounds, options={"xatol": 1e-10}).x
    assert known.stretch(power, wanted, ratio, 4) == pytest.approx(best, abs=1e-6)


def test_errors(normal: Draw, unchecked: None) -> None:
    """Shapes, dependent channels, numbers out of range."""
    features = normal(3, 40)
    with pytest.raises(ValueError, match=r"3 channels, Gram matrix \(2, 2\)"):
        known.closest(features, torch.eye(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="the 3 channels depend on each other"):
        known.closest(features[[0, 1, 1]], torch.eye(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="the 3 channels depend on each other"):
        known.closest(features.mul(torch.tensor([[1.0], [1.0], [1e-6]])), torch.eye(3).double())
    for wrong in ((0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, 0.0)):
        with pytest.raises(ValueError, match="wanted p, ratio > 0 and a >= 0"):
            known.stretch(*wrong, 3)
