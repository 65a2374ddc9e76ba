"""Proof for litgen/primer/backprop.py; the chapter is book/primer/networks.md.

The judges are autograd and differences of the value itself.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.primer import backprop as bp

Draw = Callable[..., Tensor]


def network(x: bp.Node, y: bp.Node, weights: list[bp.Node]) -> bp.Node:
    """Return the summed cross-entropy of a network with one hidden layer."""
    w1, b1, w2, b2 = weights
    hidden = bp.relu(bp.add(bp.matmul(x, w1), b1))
    logits = bp.add(bp.matmul(hidden, w2), b2)
    log_sum = bp.log(bp.total(bp.exp(logits), keep_rows=True))
    minus = bp.leaf(torch.tensor(-1.0).double())
    return bp.add(bp.total(log_sum), bp.multiply(minus, bp.total(bp.multiply(y, logits))))


@pytest.fixture
def leaves(normal: Draw) -> list[bp.Node]:
    """Return data, one-hot labels, and the four parameters."""
    y = torch.nn.functional.one_hot(torch.arange(5) % 3, 3).double()
    return [
        bp.leaf(v) for v in (normal(5, 4), y, normal(4, 6), normal(6), normal(6, 3), normal(3))
    ]


def test_adjoints_of_a_network_are_autograds(leaves: list[bp.Node]) -> None:
    """eq:net-chain, eq:net-pull and eq:net-pull-matmul at once: all parameters, and the data."""
    output = network(leaves[0], leaves[1], leaves[2:])
    found = bp.adjoints(output)
    x, y, w1, b1, w2, b2 = (node.value.clone().requires_grad_() for node in leaves)
    logits = (x @ w1 + b1).relu() @ w2 + b2
    loss = -(y * logits.log_softmax(dim=1)).sum()
    torch.testing.assert_close(output.value, loss.detach())
    for node, expected in zip(
        leaves, torch.autograd.grad(loss, [x, y, w1, b1, w2, b2]), strict=True
    ):
        if node is leaves[1]:
            continue  # log_softmax multiplies the log-sum by y as well; here y sums to one
        assert expected.std() > 1e-3
        torch.testing.assert_close(found[node], expected)


def test_adjoints_are_slopes_of_the_value(leaves: list[bp.Node]) -> None:
    """eq:net-chain: a small change of a parameter changes the output as its adjoint says."""
    found = bp.adjoints(network(leaves[0], leaves[1], leaves[2:]))
    for i in (2, 3, 4, 5):
        for place in range(2):
            moved = []
            for step in (1e-5, -1e-5):
                value = leaves[i].value.clone()
                value.view(-1)[place] += step
                others = [bp.leaf(value) if j == i else leaf for j, leaf in enumerate(leaves)]
                moved.append(network(others[0], others[1], others[2:]).value)
            slope = (moved[0] - moved[1]) / 2e-5
            torch.testing.assert_close(
                found[leaves[i]].view(-1)[place], slope, rtol=1e-6, atol=1e-8
            )


def test_ways_add_up(normal: Draw) -> None:
    """eq:net-chain: a value that is used three times receives three parts."""
    a = bp.leaf(normal(3))
    output = bp.total(bp.add(bp.multiply(a, a), bp.exp(a)))
    torch.testing.assert_close(bp.adjoints(output)[a], 2 * a.value + a.value.exp())


@pytest.mark.parametrize(
    "shapes", [((4, 3), (3,)), ((3,), (4, 3)), ((4, 3), (4, 1)), ((4, 3), ())]
)
@pytest.mark.parametrize("ours", [bp.add, bp.multiply])
def test_what_was_broadcast_is_summed(
    ours: Callable[..., bp.Node], shapes: tuple[tuple[int, ...], ...], normal: Draw
) -> None:
    """eq:net-pull for biases and factors that several entries share."""
    theirs = torch.add if ours is bp.add else torch.mul
    a, b = (bp.leaf(normal(*shape)) for shape in shapes)
    weights = normal(4, 3)
    found = bp.adjoints(bp.total(bp.multiply(bp.leaf(weights), ours(a, b))))
    left, right = (node.value.clone().requires_grad_() for node in (a, b))
    expected = torch.autograd.grad((weights * theirs(left, right)).sum(), [left, right])
    for node, gradient in zip((a, b), expected, strict=True):
        assert found[node].shape == node.value.shape
        torch.testing.assert_close(found[node], gradient)


def test_only_one_number_can_be_differentiated(normal: Draw) -> None:
    """Of a vector there is no gradient."""
    with pytest.raises(ValueError, match=r"the output has shape \(3,\), not \(\)"):
        bp.adjoints(bp.exp(bp.leaf(normal(3))))
