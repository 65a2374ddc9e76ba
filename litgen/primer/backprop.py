"""Reverse-mode differentiation in a page: every value remembers what it was made of.

Chapter: book/primer/networks.md.  Proof: tests/primer/test_backprop.py.
Reference: Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors"
(1986); the idea of a tape is older (Linnainmaa 1970).

Notation: the derivative of the output with respect to a value is its ``adjoint``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Node", "add", "adjoints", "exp", "leaf", "log", "matmul", "multiply", "relu", "total"]

Pull = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Node:
    """A value, and for each value it was made of a way to pull its adjoint back.

    Attributes:
        value: the result.
        parents: pairs of a node and the function that maps this node's adjoint to what the parent
            receives: the transposed Jacobian, applied and never written down.
    """

    value: Tensor
    parents: tuple[tuple["Node", Pull], ...] = ()


def leaf(value: Tensor) -> Node:
    """Return a node that was made of nothing: data or a parameter."""
    return Node(value)


def add(a: Node, b: Node) -> Node:
    """Return a + b; what was broadcast is summed on the way back. Implements eq:net-pull."""
    return Node(
        a.value + b.value,
        ((a, lambda g: g.sum_to_size(a.value.shape)), (b, lambda g: g.sum_to_size(b.value.shape))),
    )


def multiply(a: Node, b: Node) -> Node:
    """Return a b, entry by entry. Implements eq:net-pull."""
    return Node(
        a.value * b.value,
        (
            (a, lambda g: (g * b.value).sum_to_size(a.value.shape)),
            (b, lambda g: (g * a.value).sum_to_size(b.value.shape)),
        ),
    )


def matmul(a: Node, b: Node) -> Node:
    """Return the matrix product. Implements eq:net-pull-matmul."""
    return Node(a.value @ b.value, ((a, lambda g: g @ b.value.T), (b, lambda g: a.value.T @ g)))


def relu(a: Node) -> Node:
    """Return max(a, 0). Implements eq:net-pull."""
    return Node(a.value.clamp(min=0), ((a, lambda g: g * (a.value > 0)),))


def exp(a: Node) -> Node:
    """Return e^a. Implements eq:net-pull."""
    value = a.value.exp()
    return Node(value, ((a, lambda g: g * value),))


def log(a: Node) -> Node:
    """Return log a. Implements eq:net-pull."""
    return Node(a.value.log(), ((a, lambda g: g / a.value),))


def total(a: Node, keep_rows: bool = False) -> Node:
    """Return the sum of all entries, or of each row as a column. Implements eq:net-pull."""
    value = a.value.sum(dim=1, keepdim=True) if keep_rows else a.value.sum()
    return Node(value, ((a, lambda g: g.expand(a.value.shape)),))


def adjoints(output: Node) -> dict[Node, Tensor]:
    """Return the derivative of one number with respect to every node. Implements eq:net-chain.

    Goes backwards through the nodes; what arrives at a node over several ways is added up.

    Raises:
        ValueError: the output is not one number.
    """
    if output.value.numel() != 1:
        raise ValueError(f"the output has shape {tuple(output.value.shape)}, not ()")
    found = {output: torch.ones_like(output.value)}
    for node in reversed(_in_order(output)):
        for parent, pull in node.parents:
            arriving = pull(found[node])
            found[parent] = found[parent] + arriving if parent in found else arriving
    return found


def _in_order(output: Node) -> list[Node]:
    """Return all nodes, parents before children."""
    order: list[Node] = []
    seen: set[Node] = set()

    def visit(node: Node) -> None:
        if node in seen:
            return
        seen.add(node)
        for parent, _ in node.parents:
            visit(parent)
        order.append(node)

    visit(output)
    return order
