"""What a Gibbs chain on a few notes tends to, exactly: transition matrices by enumeration.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_stationary.py.
Reference: Heckerman, Chickering, Meek, Rounthwaite & Kadie, "Dependency Networks for Inference,
Collaborative Filtering, and Data Visualization" (2000).

A state is a grid of voices by steps, as in litgen/music/gibbs.py; there are
values^(voices * steps) of them, numbered with the last note fastest.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from litgen.music.gibbs import Conditional
from litgen.shapes import Float, Int

__all__ = [
    "all_states",
    "conditional_of",
    "cycle",
    "kernel",
    "pairwise",
    "random_scan",
    "stationary",
    "variation",
]

Matrix = Float[Tensor, "states states"]
LIMIT = 4096
"""States of which a matrix is still made."""


def all_states(voices: int, steps: int, values: int) -> Int[Tensor, "states voices steps"]:
    """Return every state, the last voice's last step changing fastest.

    Raises:
        ValueError: more than 4,096 states.
    """
    if values ** (voices * steps) > LIMIT:
        raise ValueError(f"{values}^{voices * steps} states are more than {LIMIT}")
    grid = itertools.product(range(values), repeat=voices * steps)
    return torch.tensor(list(grid)).view(-1, voices, steps)


def conditional_of(joint: Float[Tensor, "..."], voices: int, steps: int) -> Conditional:
    """Return the conditionals of a joint law, for ``gibbs.sample``.

    Args:
        joint: probabilities, one axis a note, voice by voice, all of one size.
        voices: of the grid.
        steps: of each voice.

    Raises:
        ValueError: another number of axes, or probabilities that are not positive.
    """
    if joint.dim() != voices * steps:
        raise ValueError(f"a joint with {joint.dim()} axes for {voices} x {steps} notes")
    if not bool((joint > 0).all()):
        raise ValueError("a Gibbs chain reaches every state only where all are possible")
    logs, values = joint.log(), joint.shape[0]
    strides = [values ** (voices * steps - 1 - k) for k in range(voices * steps)]
    stride = torch.tensor(strides, device=joint.device)

    def conditional(state: Tensor, voice: int, at: Tensor) -> Tensor:
        """Return joint log-probabilities with one note replaced by every value."""
        flat = state.flatten(1)
        note = voice * steps + at
        rest = (flat * stride).sum(dim=1, keepdim=True) - flat.gather(1, note) * stride[note]
        index = (
            rest[..., None] + torch.arange(values, device=state.device) * stride[note][..., None]
        )
        return logs.flatten()[index]

    return conditional


def kernel(
    conditional: Conditional,
    states: Int[Tensor, "states voices steps"],
    voice: int,
    steps: Sequence[int],
) -> Matrix:
    """Return probabilities of going from each state (row) to each other (column) in one round.

    The notes of ``voice`` at ``steps`` are drawn at once. Implements eq:bach-kernel.
    """
    at = torch.tensor(list(steps)).expand(len(states), -1)
    law = conditional(states, voice, at).double().softmax(dim=-1)
    matrix = torch.ones(len(states), len(states), dtype=torch.float64)
    for k, step in enumerate(steps):
        matrix *= law[:, k][:, states[:, voice, step]]
    others = torch.ones(states.shape[1:], dtype=torch.bool)
    others[voice, list(steps)] = False
    rest = states[:, others]
    return matrix * (rest[:, None] == rest[None]).all(dim=-1)


def random_scan(
    conditional: Conditional, states: Int[Tensor, "states voices steps"], block: int = 1
) -> Matrix:
    """Return the matrix of one round of ``gibbs.sample``: voice and steps by chance.

    Implements eq:bach-random-scan.
    """
    _, voices, steps = states.shape
    blocks = list(itertools.combinations(range(steps), block))
    each = [kernel(conditional, states, i, at) for i in range(voices) for at in blocks]
    return torch.stack(each).mean(dim=0)


def stationary(matrix: Matrix) -> Float[Tensor, " states"]:
    """Return the law that a transition matrix leaves alone. Implements eq:bach-stationary.

    Raises:
        ValueError: rows that do not sum to one, or more than one such law.
    """
    size = len(matrix)
    if not torch.allclose(matrix.sum(dim=1), torch.ones(size, dtype=matrix.dtype), atol=1e-6):
        raise ValueError(f"rows sum to {matrix.sum(dim=1).tolist()}, not to 1")
    system = torch.cat([matrix.T - torch.eye(size, dtype=matrix.dtype), matrix.new_ones(1, size)])
    if int(torch.linalg.matrix_rank(system[:-1], rtol=1e-10)) < size - 1:
        raise ValueError("the chain has several stationary laws: some states are never reached")
    right = matrix.new_zeros(size + 1)
    right[-1] = 1
    solved: Tensor = torch.linalg.lstsq(system, right[:, None], driver="gelsd").solution
    return solved[:, 0]


def variation(p: Float[Tensor, "*states"], q: Float[Tensor, "*states"]) -> Float[Tensor, ""]:
    """Return half the sum of absolute differences of two laws, in [0, 1]: eq:bach-variation."""
    return 0.5 * (p - q).abs().sum()


def pairwise(
    first: Float[Tensor, "seconds firsts"], second: Float[Tensor, "rows columns"]
) -> Conditional:
    """Return conditionals of two notes, one a voice, from two tables: a dependency network.

    Args:
        first: row b: probabilities of the first note where the second is b.
        second: row a: probabilities of the second note where the first is a.

    Raises:
        ValueError: tables that do not fit each other.
    """
    if first.shape != second.shape or first.shape[0] != first.shape[1]:
        raise ValueError(f"tables of shapes {tuple(first.shape)} and {tuple(second.shape)}")
    tables = first.log(), second.log()

    def conditional(state: Tensor, voice: int, at: Tensor) -> Tensor:
        """Return log-probabilities of one note given the other."""
        return tables[voice][state[:, 1 - voice, 0]][:, None].expand(-1, at.shape[1], -1)

    return conditional


def cycle(
    conditional: Conditional,
    state: Int[Tensor, "chains voices steps"],
    places: tuple[tuple[int, int], tuple[int, int]],
    other: tuple[Int[Tensor, " chains"], Int[Tensor, " chains"]],
) -> Float[Tensor, " chains"]:
    """Return the sum of log-ratios around a square of four states, in nats: eq:bach-cycle.

    It is zero wherever the conditionals belong to one joint law.

    Args:
        conditional: the law of a voice's tokens given everything else.
        state: the corner where it starts.
        places: two notes, each a voice and a step.
        other: the value to which each of them goes and from which it comes back.
    """
    (v, s), (w, t) = places
    a, b = state[:, v, s], state[:, w, t]
    moved = state.clone()
    moved[:, v, s] = other[0]
    turned = state.clone()
    turned[:, w, t] = other[1]

    def ratio(at: Tensor, voice: int, step: int, to: Tensor, come: Tensor) -> Tensor:
        """Return log p(to) - log p(come) of one note in a state."""
        logits = conditional(at, voice, torch.full((len(at), 1), step, device=at.device))[:, 0]
        return (logits.gather(1, to[:, None]) - logits.gather(1, come[:, None]))[:, 0]

    forth = ratio(state, v, s, other[0], a) + ratio(moved, w, t, other[1], b)
    back = ratio(turned, v, s, a, other[0]) + ratio(state, w, t, b, other[1])
    return forth + back
