"""Solutions of book/music/deepbach.md's exercises, and their judges."""

import itertools
import math

import pytest
import scipy.stats
import torch
from torch import Tensor

from litgen.music import gibbs, stationary
from tests.music.test_gibbs import random_joint


def odds_ratio(table: Tensor) -> float:
    """Return the odds ratio of two rows of two probabilities."""
    return (table[0, 0] * table[1, 1] / (table[0, 1] * table[1, 0])).item()


def joint_of(first: Tensor, second: Tensor) -> Tensor:
    """Return the joint of two compatible tables: rows of ``first`` are given the second note."""
    weights = second[0] / first[:, 0]  # p(b | a=0) / p(a=0 | b) = p(b) / p(a=0)
    marginal = weights / weights.sum()
    return (first * marginal[:, None]).T


def test_two_tables_belong_together_if_their_odds_ratios_agree() -> None:
    """eq:bach-cycle: tables of a joint have one odds ratio, and give the joint back."""
    joint = random_joint(2, 2)
    first, second = (joint / joint.sum(0)).T, joint / joint.sum(1, keepdim=True)
    assert odds_ratio(first) == pytest.approx(odds_ratio(second))
    torch.testing.assert_close(joint_of(first, second), joint)
    other = random_joint(2, 2, seed=1)
    assert odds_ratio(other / other.sum(1, keepdim=True)) != pytest.approx(
        odds_ratio(first), rel=0.1
    )


def entropies(joint: Tensor) -> tuple[float, float]:
    """Return the entropy of a joint and the sum of its notes' conditional entropies, in nats."""
    total = -(joint * joint.log()).sum().item()
    notes = range(joint.dim())
    each = [-(joint * (joint / joint.sum(dim=n, keepdim=True)).log()).sum().item() for n in notes]
    return total, sum(each)


def test_the_nats_of_a_dependency_network_are_fewer() -> None:
    """eq:bach-entropy: never more than the joint's entropy, equal for independent notes."""
    for seed in range(5):
        total, given = entropies(random_joint(3, 3, 3, seed=seed))
        assert given < total
    p, q = random_joint(3), random_joint(4, seed=1)
    total, given = entropies(p[:, None] * q)
    assert given == pytest.approx(total)
    assert total == pytest.approx(sum(scipy.stats.entropy(x) for x in (p, q)))


def rounds_until_all(notes: int, block: int = 1) -> float:
    """Return how many rounds pass on average until every note of one voice was drawn.

    By inclusion and exclusion over notes that are still missing.
    """
    total = 0.0
    for k in range(1, notes + 1):
        missed = math.comb(notes - k, block) / math.comb(notes, block)
        total += (-1) ** (k + 1) * math.comb(notes, k) / (1 - missed)
    return total


def test_all_notes_are_drawn_after_a_while() -> None:
    """Against the harmonic sum for single notes, and 4,000 simulated chains for blocks."""
    harmonic = 16 * sum(1 / k for k in range(1, 17))
    assert rounds_until_all(16) == pytest.approx(harmonic, rel=1e-6)
    assert round(harmonic) == 54
    assert rounds_until_all(8, 8) == pytest.approx(1)
    generator, free = torch.Generator().manual_seed(0), torch.ones(8, dtype=torch.bool)
    seen, rounds = torch.zeros(4_000, 8, dtype=torch.bool), torch.zeros(4_000)
    while not seen.all():
        rounds += ~seen.all(dim=1)
        seen.scatter_(1, gibbs.chosen(free, 4_000, 3, generator), True)
    assert rounds.mean().item() == pytest.approx(rounds_until_all(8, 3), rel=0.02)


def coldest(joint: Tensor) -> list[tuple[int, ...]]:
    """Return the states that a chain at temperature 0 never leaves: no note gains by changing."""
    stuck = []
    for state in itertools.product(*(range(n) for n in joint.shape)):
        index: list[int | slice]
        best = True
        for n, value in enumerate(state):
            index = list(state)
            index[n] = slice(None)
            best = best and int(joint[tuple(index)].argmax()) == value
        if best:
            stuck.append(state)
    return stuck


def test_a_cold_chain_stops_at_local_maxima() -> None:
    """eq:bach-temperature at 0.01: each of 200 chains ends stuck, not always at the best."""
    joint = torch.full((2, 2, 2, 2), 0.02, dtype=torch.float64)
    joint[0, 0, 0, 0], joint[1, 1, 1, 1] = 0.5, 0.22
    assert joint.sum() == pytest.approx(1)
    law = stationary.conditional_of(joint, 2, 2)
    generator = torch.Generator().manual_seed(0)
    start = torch.randint(0, 2, (200, 2, 2), generator=generator)
    *_, last = gibbs.sample(start, law, 80, generator, temperature=0.01)
    ends = {tuple(s.flatten().tolist()) for s in last}
    assert ends == set(coldest(joint)) == {(0, 0, 0, 0), (1, 1, 1, 1)}


def answers_needed(share: float, level: float = 0.05, power: float = 0.8) -> int:
    """Return how many answers tell a share of right ones from guessing, one-sided.

    The fewest for which the binomial test at this level finds it with this power.
    """
    for count in range(1, 10_000):
        least = int(scipy.stats.binom.isf(level, count, 0.5)) + 1
        if scipy.stats.binom.sf(least - 1, count, share) >= power:
            return count
    raise ValueError("more than 10,000 answers")


def test_a_listening_test_needs_many_answers() -> None:
    """Against the normal approximation, and the exact level at the count."""
    for share in (0.6, 0.7):
        z = scipy.stats.norm.isf(0.05) * 0.5 + scipy.stats.norm.isf(0.2) * math.sqrt(
            share * (1 - share)
        )
        rough = (z / (share - 0.5)) ** 2
        assert answers_needed(share) == pytest.approx(rough, rel=0.12)
    count = answers_needed(0.6)
    assert count > 150
    assert 30 < answers_needed(0.7) < 45
    found = scipy.stats.binomtest(math.ceil(0.6 * count), count, 0.5, alternative="greater")
    assert found.pvalue < 0.05
    assert answers_needed(0.6) > answers_needed(0.7) > answers_needed(0.9)
