"""Proof for litgen/gan/orthogonal.py: double loops over pairs of filters, autograd, QR."""

import pytest
import torch
from torch import Tensor, nn

from litgen.gan import orthogonal
from tests import oracles


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def by_pairs(weight: Tensor, with_lengths: bool) -> float:
    """Add up squared products of all ordered pairs of rows; a row with itself should give one."""
    total = 0.0
    for i, a in enumerate(weight.tolist()):
        for j, b in enumerate(weight.tolist()):
            product = sum(x * y for x, y in zip(a, b, strict=True))
            if i != j:
                total += product**2
            elif with_lengths:
                total += (product - 1) ** 2
    return total


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6), (6, 1)])
def test_the_penalties_are_sums_over_pairs_of_filters(shape: tuple[int, int]) -> None:
    """eq:big-orthogonal, eq:big-off-diagonal, eq:big-gram: by a double loop, wide and tall."""
    weight = random(*shape)
    found = orthogonal.orthogonal_penalty(weight), orthogonal.off_diagonal_penalty(weight)
    assert found[0].item() == pytest.approx(by_pairs(weight, True), rel=1e-12)
    assert found[1].item() == pytest.approx(by_pairs(weight, False), rel=1e-12, abs=1e-12)
    assert found[0] > found[1] + 0.01 or shape == (1, 6)


def test_stacks_keep_their_axes() -> None:
    """eq:big-orthogonal, eq:big-off-diagonal: one number for each matrix of a stack."""
    stack = random(2, 3, 4, 5)
    for penalty in (orthogonal.orthogonal_penalty, orthogonal.off_diagonal_penalty):
        found = penalty(stack)
        assert found.shape == (2, 3)
        torch.testing.assert_close(found[1, 2], penalty(stack[1, 2]))
        assert found.std() > 0.1


def test_orthogonal_filters_cost_nothing_and_longer_ones_only_in_the_strict_form() -> None:
    """eq:big-orthogonal, eq:big-off-diagonal: rows of Q; then rows of any length; then twins."""
    rows = torch.linalg.qr(random(6, 4)).Q.T
    lengths = torch.tensor([0.5, 1.0, 2.0, 3.0]).double()
    stretched = lengths[:, None] * rows
    assert orthogonal.orthogonal_penalty(rows).item() == pytest.approx(0, abs=1e-12)
    assert orthogonal.off_diagonal_penalty(stretched).item() == pytest.approx(0, abs=1e-12)
    expected = (lengths.square() - 1).square().sum().item()
    assert orthogonal.orthogonal_penalty(stretched).item() == pytest.approx(expected)
    twins = torch.stack([rows[0], rows[0]])
    assert orthogonal.off_diagonal_penalty(twins).item() == pytest.approx(2)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_the_slope_is_known(shape: tuple[int, int]) -> None:
    """eq:big-orthogonal-slope: 4 (WW' - I) W, and with the diagonal of WW' left out."""
    weight = random(*shape).requires_grad_()
    gram = weight @ weight.T
    for penalty, wanted in (
        (orthogonal.orthogonal_penalty, gram - torch.eye(shape[0])),
        (orthogonal.off_diagonal_penalty, gram - torch.diag(gram.diagonal())),
    ):
        (slope,) = torch.autograd.grad(penalty(weight), weight)
        torch.testing.assert_close(slope, 4 * wanted @ weight)
        differences = oracles.central_difference(penalty, weight.detach())
        torch.testing.assert_close(slope, differences, atol=1e-5, rtol=1e-5)


def test_filters_are_what_one_output_channel_is_made_of() -> None:
    """A channel of a layer's output is its row times a window, in either kind of convolution."""
    x = random(1, 3, 4, 4)
    for layer in (nn.Conv2d(3, 5, 4).double(), nn.ConvTranspose2d(3, 5, 4).double()):
        rows = orthogonal.filters(layer)
        assert rows.shape == (5, 48)
        whole = layer(x)
        assert layer.bias is not None
        if isinstance(layer, nn.Conv2d):
            expected = rows @ x.flatten() + layer.bias
            torch.testing.assert_close(whole.flatten(), expected)
        else:  # one lit pixel paints the kernel of each output channel
            lit = torch.zeros(1, 3, 1, 1).double()
            lit[0, 1] = 1
            painted = (layer(lit) - layer.bias[:, None, None])[0].flatten(1)
            torch.testing.assert_close(painted, rows.view(5, 3, 16)[:, 1])
    dense = nn.Linear(4, 2)
    assert torch.equal(orthogonal.filters(dense), dense.weight)


def test_a_network_pays_for_all_layers_but_embeddings() -> None:
    """The sum of eq:big-off-diagonal over layers of three kinds, and nothing else."""
    torch.manual_seed(0)
    layers = [nn.Linear(3, 4), nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(2, 3, 4)]
    net = nn.Sequential(*layers, nn.Embedding(5, 2), nn.BatchNorm2d(3)).double()
    expected = sum(by_pairs(orthogonal.filters(layer).detach(), False) for layer in layers)
    assert orthogonal.total_penalty(net).item() == pytest.approx(expected)
    (slope,) = torch.autograd.grad(orthogonal.total_penalty(net), layers[1].weight)
    assert slope.abs().max() > 1e-3


def test_layers_within_layers_pay_too() -> None:
    """A block inside a block counts, and a network that is one layer is its own sum."""
    torch.manual_seed(0)
    layers = [nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)]
    deep = nn.Sequential(layers[0], nn.Sequential(layers[1], nn.Sequential(layers[2]))).double()
    expected = sum(by_pairs(layer.weight.detach(), False) for layer in layers)
    assert orthogonal.total_penalty(deep).item() == pytest.approx(expected)
    alone = orthogonal.total_penalty(layers[0]).item()
    assert 0 < alone < expected
    assert alone == pytest.approx(by_pairs(layers[0].weight.detach(), False))


def test_what_has_no_filters_is_refused() -> None:
    """The errors name the kind of layer."""
    with pytest.raises(ValueError, match="no filters in a BatchNorm2d"):
        orthogonal.filters(nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="no filters in a Embedding"):
        orthogonal.filters(nn.Embedding(3, 2))
    with pytest.raises(ValueError, match="no layer with filters in a ReLU"):
        orthogonal.total_penalty(nn.ReLU())
