"""Solutions of the exercises of book/style/gatys.md, and what proves them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.style import gram, known

Draw = Callable[..., Tensor]


def rank_of(features: Tensor) -> int:
    """Return the rank of the Gram matrix of one picture's features."""
    return int(torch.linalg.matrix_rank(gram.gram(features[None])[0]))


def test_places_bound_the_rank(normal: Draw) -> None:
    """eq:gatys-gram: as many directions as places, or channels, whichever are fewer."""
    assert rank_of(normal(12, 2, 3)) == 6
    assert rank_of(normal(4, 5, 3)) == 4


def linear_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Return the squared distance of the means."""
    return (x.mean(dim=0) - y.mean(dim=0)).square().sum()


def test_a_linear_kernel_compares_means(normal: Draw) -> None:
    """eq:gatys-mmd with k(u, v) = u . v, pair by pair."""
    x, y = normal(5, 3), normal(7, 3) + 1
    pairs = [(x, x, 1), (y, y, 1), (x, y, -2)]
    loop = sum(
        s * sum((u @ v).item() for u in a for v in b) / (len(a) * len(b)) for a, b, s in pairs
    )
    assert linear_mmd(x, y).item() == pytest.approx(loop)


def scaled_channels(features: Tensor, wanted: Tensor) -> Tensor:
    """Return the closest features whose Gram matrix has the diagonal of A."""
    now = features.square().mean(dim=1)
    return features * (wanted.diagonal() / now).sqrt()[:, None]


def test_scaled_channels_have_the_diagonal_and_nothing_else(normal: Draw) -> None:
    """eq:gatys-gram: the diagonal agrees, the loss does not; full style is farther away."""
    features, wanted = normal(3, 40), gram.gram(normal(1, 3, 5, 9))[0]
    found = scaled_channels(features, wanted)
    moments = found @ found.T / 40
    torch.testing.assert_close(moments.diagonal(), wanted.diagonal())
    assert gram.style_loss(moments[None], wanted[None]).item() > 1e-3
    distance = (found - features).square().sum()
    assert distance < (known.closest(features, wanted) - features).square().sum()
    for _ in range(50):
        other = scaled_channels(normal(3, 40), wanted)
        assert distance < (other - features).square().sum()


def blended(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Return the Gram matrix that is best for two styles at once."""
    return share * first + (1 - share) * second


def test_the_best_of_two_styles_is_the_mean(normal: Draw) -> None:
    """eq:gatys-style-layer: slopes of the weighted losses cancel there, and features exist."""
    a, b = (gram.gram(normal(1, 3, 5, 9)) for _ in range(2))
    g = blended(a, b, 0.3).requires_grad_()
    loss = 0.3 * gram.style_loss(g, a) + 0.7 * gram.style_loss(g, b)
    (slope,) = torch.autograd.grad(loss.sum(), g)
    assert slope.abs().max() < 1e-12
    found = known.closest(normal(3, 40), g.detach()[0])
    torch.testing.assert_close(found @ found.T / 40, g.detach()[0])
