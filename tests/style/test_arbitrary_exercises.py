"""Solutions of the exercises in book/style/arbitrary.md, and their proofs."""

from collections.abc import Callable

import torch
from torch import Tensor

from litgen.style.adain import gaussian_cost, root
from litgen.style.instance_norm import blend
from litgen.style.transfer_network import TransferNetwork

Normal = Callable[..., Tensor]


def darkened(network: TransferNetwork, images: Tensor, a: float, b: float) -> float:
    """Return how much a picture's painting changes when it is made a times as bright, plus b."""
    style = network.plain()[None]
    return (network(a * images + b, style) - network(images, style)).abs().max().item()


def test_brightness_is_not_noticed(normal: Normal) -> None:
    """eq:arb-instance-norm undoes it, but for epsilon; a change of one half alone is noticed."""
    torch.manual_seed(0)
    network = TransferNetwork().eval()
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert darkened(network, images, 0.6, 0.1) < 0.01
        other = images.clone()
        other[..., :16] *= 0.6
        style = network.plain()[None]
        assert (network(other, style) - network(images, style)).abs().max() > 0.02


def beyond(first: Tensor, second: Tensor) -> Tensor:
    """Return the style as far beyond the first as the second lies before it."""
    return blend(torch.stack([first, second]), torch.tensor([[2.0, -1.0]]).to(first))[0]


def test_a_caricature_lies_on_the_line(normal: Normal) -> None:
    """eq:arb-blend outside of the segment; a gain can change its sign there."""
    first, second = normal(7), normal(7)
    torch.testing.assert_close(beyond(first, second) - first, first - second)
    assert beyond(torch.tensor([0.5]), torch.tensor([1.5])).item() == -0.5


def surplus(cov: Tensor, wanted: Tensor) -> float:
    """Return how much more whitening and colouring costs than the cheapest map."""
    move = root(wanted) @ torch.linalg.inv(root(cov)) - torch.eye(len(cov)).to(cov)
    zero = torch.zeros(len(cov)).to(cov)
    return ((move @ cov @ move.T).trace() - gaussian_cost(zero, cov, zero, wanted)).item()


def test_whitening_costs_more_unless_covariances_commute(normal: Normal) -> None:
    """eq:arb-cost: zero for diagonal covariances, positive for most others."""
    factors = normal(2, 3, 6)
    assert surplus(*(f @ f.T for f in factors)) > 0.01
    a, b = (torch.diag(normal(3).abs() + 0.1) for _ in range(2))
    assert abs(surplus(a, b)) < 1e-9
