"""Proof for litgen/music/stationary.py: loops over states, powers of matrices, laws by hand."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from litgen.music import stationary
from tests.music.test_gibbs import random_joint


def rows(seed: int, size: int = 3) -> Tensor:
    """Return a table of positive probabilities, rows summing to one."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, size, generator=generator, dtype=torch.float64).mul(1.5).softmax(1)


def test_states_are_all_there_in_order() -> None:
    """Numbers written in a base, the last note fastest."""
    states = stationary.all_states(2, 2, 3)
    expected = [list(s) for s in itertools.product(range(3), repeat=4)]
    assert states.flatten(1).tolist() == expected
    assert states.shape == (81, 2, 2)
    with pytest.raises(ValueError, match=r"3\^8 states are more than 4096"):
        stationary.all_states(2, 4, 3)
    assert len(stationary.all_states(3, 4, 2)) == 4_096


def test_conditionals_are_the_joints() -> None:
    """Slices of the joint, normalised, at every note of every state."""
    joint = random_joint(3, 3, 3, 3)
    law = stationary.conditional_of(joint, 2, 2)
    for state in stationary.all_states(2, 2, 3)[::7]:
        for voice, step in itertools.product(range(2), range(2)):
            index: list[int | slice] = state.flatten().tolist()
            index[2 * voice + step] = slice(None)
            expected = joint[tuple(index)] / joint[tuple(index)].sum()
            found = law(state[None], voice, torch.tensor([[step]]))[0, 0].softmax(0)
            torch.testing.assert_close(found, expected)


def test_a_kernel_is_a_product_over_the_notes_drawn() -> None:
    """eq:bach-kernel, entry by entry, for one note and for both notes of a voice."""
    joint = random_joint(2, 2, 2, 2)
    law, states = stationary.conditional_of(joint, 2, 2), stationary.all_states(2, 2, 2)
    for voice, steps in ((0, [1]), (1, [0, 1])):
        found = stationary.kernel(law, states, voice, steps)
        torch.testing.assert_close(found.sum(dim=1), torch.ones(16, dtype=torch.float64))
        for a, b in itertools.product(range(16), repeat=2):
            expected = 1.0
            for i, t in itertools.product(range(2), range(2)):
                x, y = states[a, i, t], int(states[b, i, t])
                if i == voice and t in steps:
                    index: list[int | slice] = states[a].flatten().tolist()
                    index[2 * i + t] = slice(None)
                    expected *= (joint[tuple(index)][y] / joint[tuple(index)].sum()).item()
                elif x != y:
                    expected = 0.0
            assert found[a, b].item() == pytest.approx(expected, abs=1e-12)


def test_the_joint_is_stationary_whatever_the_scan() -> None:
    """eq:bach-random-scan, eq:bach-stationary: random and ordered scans keep the exact joint."""
    joint = random_joint(3, 3, 3, 3)
    law, states = stationary.conditional_of(joint, 2, 2), stationary.all_states(2, 2, 3)
    matrix = stationary.random_scan(law, states)
    torch.testing.assert_close(stationary.stationary(matrix), joint.flatten())
    torch.testing.assert_close(joint.flatten() @ matrix, joint.flatten())
    places = list(itertools.product(range(2), range(2)))
    for order in (places, places[::-1]):
        ordered = torch.eye(81, dtype=torch.float64)
        for voice, step in order:
            ordered = ordered @ stationary.kernel(law, states, voice, [step])
        torch.testing.assert_close(stationary.stationary(ordered), joint.flatten())
    each = [stationary.kernel(law, states, i, [t]) for i, t in places]
    torch.testing.assert_close(matrix, sum(each[1:], each[0]) / 4)


def test_a_stationary_law_is_where_powers_go() -> None:
    """eq:bach-stationary: rows of a high power of a matrix that no joint made."""
    matrix = rows(0, 6)
    found = stationary.stationary(matrix)
    torch.testing.assert_close(found, torch.linalg.matrix_power(matrix, 200)[3])
    assert found.max() - found.min() > 0.02


def test_tables_of_two_notes() -> None:
    """A dependency network's conditionals are read from the row of the other note."""
    first, second = rows(1), rows(2)
    law = stationary.pairwise(first, second)
    state = torch.tensor([[[2], [1]]])
    at = torch.zeros(1, 1, dtype=torch.long)
    torch.testing.assert_close(law(state, 0, at)[0, 0].exp(), first[1])
    torch.testing.assert_close(law(state, 1, at)[0, 0].exp(), second[2])


def test_without_a_joint_the_order_decides() -> None:
    """eq:bach-order: after an ordered scan the law of the last table holds, of the other not."""
    first, second = rows(1), rows(2)
    law, states = stationary.pairwise(first, second), stationary.all_states(2, 1, 3)
    one, two = (stationary.kernel(law, states, i, [0]) for i in (0, 1))
    last_second = stationary.stationary(one @ two).view(3, 3)
    last_first = stationary.stationary(two @ one).view(3, 3)
    random = stationary.stationary(0.5 * (one + two)).view(3, 3)
    torch.testing.assert_close(last_second / last_second.sum(1, keepdim=True), second)
    torch.testing.assert_close((last_first / last_first.sum(0)).T, first)
    assert stationary.variation(last_first, last_second) > 0.05
    torch.testing.assert_close(random, 0.5 * (last_first + last_second))
    marginal = stationary.stationary(second @ first)  # of the first note, from a to b to a
    torch.testing.assert_close(last_second.sum(1), marginal)


def test_all_at_once_forgets_that_notes_belong_together() -> None:
    """eq:bach-parallel: two notes drawn at once end in the product of their marginals."""
    joint = random_joint(3, 3, seed=5)
    law = stationary.conditional_of(joint, 1, 2)
    states = stationary.all_states(1, 2, 3)
    found = stationary.stationary(stationary.random_scan(law, states, block=2)).view(3, 3)
    torch.testing.assert_close(found, joint.sum(1)[:, None] * joint.sum(0)[None])
    assert stationary.variation(found, joint) > 0.05


def test_variation_is_the_largest_difference_of_an_event() -> None:
    """eq:bach-variation: over all events of five states."""
    p, q = random_joint(5), random_joint(5, seed=1)
    best = 0.0
    for event in itertools.product((0.0, 1.0), repeat=5):
        best = max(best, abs((torch.tensor(event).double() @ (p - q)).item()))
    assert stationary.variation(p, q).item() == pytest.approx(best)


def test_a_cycle_is_zero_for_a_joint_and_a_log_odds_ratio_otherwise() -> None:
    """eq:bach-cycle: of two tables, the difference of their log odds ratios, by hand."""
    joint = random_joint(3, 3, 3, 3)
    state = stationary.all_states(2, 2, 3)[[5, 40, 77]]
    other = torch.tensor([2, 0, 1]), torch.tensor([1, 2, 0])
    law = stationary.conditional_of(joint, 2, 2)
    zero = stationary.cycle(law, state, ((0, 1), (1, 0)), other)
    torch.testing.assert_close(zero, torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    first, second = rows(1), rows(2)
    pair = stationary.pairwise(first, second)
    found = stationary.cycle(
        pair,
        torch.tensor([[[0], [1]]]),
        ((0, 0), (1, 0)),
        (torch.tensor([2]), torch.tensor([0])),
    )
    of_first = math.log(first[1, 2] / first[1, 0] * first[0, 0] / first[0, 2])
    of_second = math.log(second[2, 0] / second[2, 1] * second[0, 1] / second[0, 0])
    assert found.item() == pytest.approx(of_first + of_second)
    assert abs(found.item()) > 0.1


def test_what_has_no_answer_is_refused() -> None:
    """The errors name shapes and sums."""
    with pytest.raises(ValueError, match="a joint with 2 axes for 2 x 2 notes"):
        stationary.conditional_of(random_joint(2, 2), 2, 2)
    with pytest.raises(ValueError, match="only where all are possible"):
        stationary.conditional_of(torch.tensor([[0.5, 0.5], [0.0, 0.0]]), 2, 1)
    with pytest.raises(ValueError, match="not to 1"):
        stationary.stationary(torch.full((2, 2), 0.6, dtype=torch.float64))
    with pytest.raises(ValueError, match="several stationary laws"):
        stationary.stationary(torch.eye(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="several stationary laws"):
        stationary.stationary(torch.block_diag(rows(0), rows(1)))
    with pytest.raises(ValueError, match=r"\(3, 3\) and \(2, 2\)"):
        stationary.pairwise(rows(0), rows(0, 2))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 3\)"):
        stationary.pairwise(rows(0)[:2], rows(0)[:2])
