"""Proof for litgen/music/gibbs.py: chi-squared against an enumerated joint, counts by hand."""

import itertools

import pytest
import scipy.stats
import torch
from torch import Tensor

from litgen.music import gibbs, stationary


def random_joint(*shape: int, seed: int = 0) -> Tensor:
    """Return positive probabilities in double precision, far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(*shape, generator=generator, dtype=torch.float64).exp()
    return raw / raw.sum()


def p_value(counts: Tensor, law: Tensor) -> float:
    """Return the chi-squared test's p-value."""
    expected = (law * counts.sum()).numpy()
    return float(scipy.stats.chisquare(counts.double().numpy(), expected).pvalue)


def numbers(state: Tensor, values: int) -> Tensor:
    """Return each state's number, the last note fastest."""
    index = torch.zeros(len(state), dtype=torch.long)
    for note in state.flatten(1).T:
        index = index * values + note
    return index


def test_the_chain_has_the_law_of_the_joint() -> None:
    """eq:bach-gibbs: 20,000 chains on two voices of two notes, after 60 rounds, by chi-squared."""
    joint = random_joint(3, 3, 3, 3)
    law = stationary.conditional_of(joint, 2, 2)
    generator = torch.Generator().manual_seed(0)
    start = torch.zeros(20_000, 2, 2, dtype=torch.long)
    *_, last = gibbs.sample(start, law, 80, generator)
    torch.rand(5)
    *_, again = gibbs.sample(start[:50], law, 8, torch.Generator().manual_seed(3))
    *_, same = gibbs.sample(start[:50], law, 8, torch.Generator().manual_seed(3))
    assert torch.equal(again, same)
    counts = torch.bincount(numbers(last, 3), minlength=81)
    assert p_value(counts, joint.flatten()) > 0.01
    assert p_value(counts, joint.flip(0).flatten()) < 1e-9
    assert (start == 0).all()


def test_drawing_several_at_once_gives_another_law() -> None:
    """eq:bach-gibbs with a block of two: chains follow their own matrix, not the joint."""
    joint = random_joint(3, 3, 3, seed=3)
    law = stationary.conditional_of(joint, 1, 3)
    generator = torch.Generator().manual_seed(0)
    start = torch.zeros(20_000, 1, 3, dtype=torch.long)
    *_, last = gibbs.sample(start, law, 60, generator, block=2)
    counts = torch.bincount(numbers(last, 3), minlength=27)
    matrix = stationary.random_scan(law, stationary.all_states(1, 3, 3), block=2)
    assert p_value(counts, stationary.stationary(matrix)) > 0.01
    assert p_value(counts, joint.flatten()) < 1e-6


def test_clamped_places_stay_and_the_rest_follows_them() -> None:
    """eq:bach-gibbs with the first voice given: the law is the joint's conditional."""
    joint = random_joint(3, 3, 3, 3, seed=1)
    law = stationary.conditional_of(joint, 2, 2)
    generator = torch.Generator().manual_seed(0)
    start = torch.tensor([[2, 1], [0, 0]]).expand(10_000, -1, -1)
    free = torch.tensor([[False, False], [True, True]])
    *_, last = gibbs.sample(start, law, 40, generator, free=free)
    assert (last[:, 0] == torch.tensor([2, 1])).all()
    expected = (joint[2, 1] / joint[2, 1].sum()).flatten()
    assert p_value(torch.bincount(numbers(last[:, 1:], 3), minlength=9), expected) > 0.01


def test_a_round_changes_a_block_of_one_voice_and_asks_for_it() -> None:
    """Every round yields; the places are different, of one voice, all of them free."""
    asked: list[tuple[int, Tensor]] = []

    def law(state: Tensor, voice: int, at: Tensor) -> Tensor:
        asked.append((voice, at))
        return torch.tensor([-100.0, 100.0]).expand(*at.shape, 2)  # always 1

    free = torch.ones(3, 6, dtype=torch.bool)
    free[1] = False
    free[2, :3] = False
    start = torch.zeros(4, 3, 6, dtype=torch.long)
    states = list(gibbs.sample(start, law, 40, torch.Generator().manual_seed(0), 3, free=free))
    assert len(states) == len(asked) == 40
    previous = start
    for state, (voice, at) in zip(states, asked, strict=True):
        expected = previous.clone()
        for chain, places in enumerate(at.tolist()):
            assert len(set(places)) == 3
            assert all(free[voice, t] for t in places)
            for t in places:
                expected[chain, voice, t] = 1
        assert torch.equal(state, expected)
        previous = state
    voices = [voice for voice, _ in asked]
    assert set(voices) == {0, 2}
    assert 10 < voices.count(0) < 30
    assert any(a == b for a, b in itertools.pairwise(voices))  # by chance, not in turn
    torch.rand(5)  # all that is drawn is drawn from the generator
    again = gibbs.sample(start, law, 40, torch.Generator().manual_seed(0), 3, free=free)
    assert all(torch.equal(a, b) for a, b in zip(again, states, strict=True))
    assert not torch.equal(asked[0][1][0], asked[0][1][1])  # each chain has its own places
    assert {t for voice, at in asked if voice == 0 for t in at.flatten().tolist()} == set(range(6))


def test_values_are_drawn_with_the_law_at_a_temperature() -> None:
    """eq:bach-temperature: a uniform grid meets the powers of the probabilities."""
    law = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    uniform = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    for temperature in (1.0, 0.5, 2.0):
        power = law ** (1 / temperature)
        drawn = gibbs.draw(law.log().expand(100_000, -1) + 7, uniform, temperature)
        shares = torch.bincount(drawn, minlength=3) / 100_000
        torch.testing.assert_close(shares.double(), power / power.sum(), atol=2e-5, rtol=0)
    assert gibbs.draw(law.log(), torch.tensor(0.79)) == 1
    assert gibbs.draw(law.log(), torch.tensor(0.81)) == 2
    assert gibbs.draw(law.log(), torch.tensor(1.0)) == 2
    assert gibbs.draw(torch.tensor([-2e3, 2e3, 1.9e3]), torch.tensor(0.5)) == 1
    even, places = torch.zeros(1_000, 1_000), torch.arange(1_000)
    just_below = (places.double() + 1 - 1e-6) / 1_000  # sums in float32 would not tell
    assert torch.equal(gibbs.draw(even, just_below), places)
    last = torch.tensor(1 - 2.0**-53, dtype=torch.float64)  # sums of shares may fall short of 1
    for count in range(2, 60):
        forbidden = torch.cat([torch.zeros(count), torch.tensor([-torch.inf])])
        assert gibbs.draw(forbidden, last) < count
    never = torch.tensor([-torch.inf, 0.0, -torch.inf])
    edges = torch.tensor([0.0, 0.999999999999], dtype=torch.float64)
    assert gibbs.draw(never.expand(2, -1), edges).tolist() == [1, 1]


def test_the_temperature_may_follow_the_round() -> None:
    """It is a function of the round, counted from 0."""
    seen: list[int] = []

    def cooling(turn: int) -> float:
        seen.append(turn)
        return 1.0 if turn < 2 else 1e-3

    law = stationary.conditional_of(random_joint(3, 3), 2, 1)
    start = torch.zeros(50, 2, 1, dtype=torch.long)
    *_, last = gibbs.sample(start, law, 30, torch.Generator().manual_seed(0), temperature=cooling)
    assert seen == list(range(30))
    assert len({tuple(s.flatten().tolist()) for s in last}) <= 3  # cold chains sit on modes


def test_places_are_equally_likely() -> None:
    """Pairs out of four free steps: six, each as often, by chi-squared."""
    free = torch.tensor([True, False, True, True, True])
    at = gibbs.chosen(free, 6_000, 2, torch.Generator().manual_seed(0))
    pairs = at.sort(dim=1).values
    keys, counts = torch.unique(pairs[:, 0] * 10 + pairs[:, 1], return_counts=True)
    assert keys.tolist() == [2, 3, 4, 23, 24, 34]
    assert p_value(counts, torch.full((6,), 1 / 6, dtype=torch.float64)) > 0.01


def test_what_cannot_be_sampled_is_refused() -> None:
    """The errors name numbers and shapes."""
    law = stationary.conditional_of(random_joint(2, 2, 2, 2), 2, 2)
    start, generator = torch.zeros(1, 2, 2, dtype=torch.long), torch.Generator()
    with pytest.raises(ValueError, match=r"free has shape \(2, 3\), a state \(2, 2\)"):
        next(gibbs.sample(start, law, 1, generator, free=torch.ones(2, 3, dtype=torch.bool)))
    with pytest.raises(ValueError, match="no place is free"):
        next(gibbs.sample(start, law, 1, generator, free=torch.zeros(2, 2, dtype=torch.bool)))
    with pytest.raises(ValueError, match=r"block of 3 places, but voices have \[2, 2\]"):
        next(gibbs.sample(start, law, 1, generator, block=3))
    few = torch.tensor([[True, False], [True, True]])
    with pytest.raises(ValueError, match=r"block of 2 places, but voices have \[1, 2\]"):
        next(gibbs.sample(start, law, 1, generator, block=2, free=few))
    with pytest.raises(ValueError, match="block of 0 places"):
        next(gibbs.sample(start, law, 1, generator, block=0))
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        gibbs.draw(torch.zeros(2), torch.tensor(0.5), 0.0)
