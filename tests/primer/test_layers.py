"""Proof for litgen/primer/layers.py; the chapter is book/primer/networks.md.

The judges are torch.nn's modules and functions, and sums written out by hand.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen.primer import layers

Draw = Callable[..., Tensor]


def test_linear_is_a_sum_for_each_output(normal: Draw) -> None:
    """eq:net-linear, one output at a time, and torch's own."""
    x, weight, bias = normal(5, 3, 4), normal(2, 4), normal(2)
    found = layers.linear(x, weight, bias)
    for i in range(2):
        by_hand = sum(weight[i, j] * x[..., j] for j in range(4)) + bias[i]
        torch.testing.assert_close(found[..., i], by_hand)
    torch.testing.assert_close(found, F.linear(x, weight, bias))


def test_activations_are_those_of_torch(normal: Draw) -> None:
    """eq:net-activations on both sides of zero, and where exp() would overflow."""
    x = 3 * normal(50)
    assert (x > 0).any()
    assert (x < 0).any()
    torch.testing.assert_close(layers.relu(x), F.relu(x), rtol=0, atol=0)
    torch.testing.assert_close(layers.sigmoid(x), 1 / (1 + torch.exp(-x)))
    torch.testing.assert_close(layers.silu(x), F.silu(x))
    far = torch.tensor([-1000.0, 1000.0])
    assert layers.sigmoid(far).tolist() == [0, 1]
    assert layers.silu(far).tolist() == [0, 1000]


def test_embedding_is_a_linear_layer_on_indicators(normal: Draw) -> None:
    """eq:net-embedding: row i of the table is the product of indicator i with the table."""
    table, index = normal(6, 3), torch.tensor([[5, 0], [2, 2]])
    found = layers.embedding(index, table)
    torch.testing.assert_close(found, F.one_hot(index, 6).double() @ table)
    torch.testing.assert_close(found, F.embedding(index, table))


@pytest.mark.parametrize("index", [[0, 6], [-1, 2]])
def test_embedding_refuses_an_index_without_a_row(index: list[int], normal: Draw) -> None:
    """Python's negative indices would be taken from the end."""
    with pytest.raises(ValueError, match=f"from {min(index)} to {max(index)}, the table has 6"):
        layers.embedding(torch.tensor(index), normal(6, 3))


def test_norms_are_those_of_torch(normal: Draw) -> None:
    """eq:net-norm over features and over the batch, with scale, shift and a large eps."""
    x, scale, shift = 2 + 3 * normal(7, 5), normal(5), normal(5)
    torch.testing.assert_close(
        layers.layer_norm(x, scale, shift), F.layer_norm(x, (5,), scale, shift)
    )
    torch.testing.assert_close(
        layers.layer_norm(x[0], scale, shift, eps=0.3),
        F.layer_norm(x[0], (5,), scale, shift, 0.3),
    )
    torch.testing.assert_close(
        layers.batch_norm(x, scale, shift),
        F.batch_norm(x, None, None, scale, shift, training=True),
    )
    torch.testing.assert_close(
        layers.batch_norm(x, scale, shift, eps=0.3),
        F.batch_norm(x, None, None, scale, shift, training=True, eps=0.3),
    )


def test_norms_leave_mean_0_and_variance_1(normal: Draw) -> None:
    """eq:net-norm without scale and shift: each example, or each feature."""
    x, one, zero = 2 + 3 * normal(40, 30), torch.ones(30).double(), torch.zeros(30).double()
    for norm, axis in ((layers.layer_norm, 1), (layers.batch_norm, 0)):
        y = norm(x, one, zero)
        torch.testing.assert_close(y.mean(dim=axis), torch.zeros_like(y.mean(dim=axis)))
        var = y.var(dim=axis, correction=0)
        torch.testing.assert_close(var, torch.ones_like(var), rtol=1e-5, atol=0)


def test_dropout_keeps_the_mean() -> None:
    """eq:net-dropout: averaged over the masks' law, x itself; with torch's own masks, torch's."""
    x, rate = torch.tensor([1.5, -2.0], dtype=torch.float64), 0.3
    masks = torch.tensor([[a, b] for a in (True, False) for b in (True, False)])
    chance = torch.where(masks, 1 - rate, rate).double().prod(dim=1)
    outputs = torch.stack([layers.dropout(x, mask, rate) for mask in masks])
    torch.testing.assert_close((chance[:, None] * outputs).sum(dim=0), x)
    torch.manual_seed(3)
    theirs = F.dropout(torch.ones(200).double(), rate)
    torch.testing.assert_close(layers.dropout(torch.ones(200).double(), theirs > 0, rate), theirs)
    assert 0.1 < (theirs == 0).double().mean() < 0.5


def test_parameters_are_counted_as_the_formulas_say() -> None:
    """Linear: inputs times outputs plus outputs; frozen numbers are not learned."""
    assert layers.parameter_count(nn.Linear(7, 3)) == 7 * 3 + 3
    assert layers.parameter_count(nn.Conv2d(2, 5, 3)) == 2 * 5 * 9 + 5
    assert layers.parameter_count(nn.Embedding(11, 4)) == 11 * 4
    assert layers.parameter_count(nn.BatchNorm1d(6)) == 2 * 6  # running averages are no parameters
    assert layers.parameter_count(nn.Sequential(nn.Linear(7, 3), nn.ReLU(), nn.Dropout())) == 24
    assert layers.parameter_count(nn.Linear(7, 3).requires_grad_(False)) == 0


@pytest.mark.usefixtures("unchecked")
def test_layers_refuse_what_does_not_fit(normal: Draw) -> None:
    """Sizes, a batch of one, rates that are no probability."""
    with pytest.raises(ValueError, match="x has 3 inputs, the weight takes 4"):
        layers.linear(normal(2, 3), normal(5, 4), normal(5))
    with pytest.raises(ValueError, match="at least 2 examples, got 1"):
        layers.batch_norm(normal(1, 3), normal(3), normal(3))
    for rate in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
            layers.dropout(normal(3), torch.ones(3).bool(), rate)
