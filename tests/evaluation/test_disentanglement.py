"""Proof for litgen/evaluation/disentanglement.py: quadrature, scikit-learn, a slow vote."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor
from torch.distributions import Normal

from litgen.evaluation import disentanglement
from tests import oracles

Draw = Callable[..., Tensor]


@pytest.fixture
def levels() -> Tensor:
    """Return a grid of two factors with 3 and 4 values, and one that occurs unevenly."""
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    return torch.cat([grid, (grid[:, :1] == 2).long()], dim=1)


def test_entropies_by_counting(levels: Tensor) -> None:
    """log 3, log 4, and that of shares 2/3 and 1/3."""
    uneven = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    found = disentanglement.entropies(levels)
    assert found.tolist() == pytest.approx([math.log(3), math.log(4), uneven])


def test_information_is_the_integral(levels: Tensor, normal: Draw) -> None:
    """eq:beta-information: entropy of the mixture minus that of each level's, by quadrature."""
    mean = torch.stack([levels[:, 0] + 0.2 * normal(12), levels[:, 1] - levels[:, 0]], dim=1)
    log_var = 0.5 * normal(12, 2) - 1

    def entropy(rows: Tensor, j: int) -> Tensor:
        law = Normal(mean[rows, j], log_var[rows, j].exp().sqrt())

        def inner(z: Tensor) -> Tensor:
            density = law.log_prob(z[:, None]).exp().mean(dim=1)
            return -torch.xlogy(density, density)

        return oracles.integrate(inner, -15, 15, 20_001)

    found = disentanglement.information(mean, log_var, levels)
    for j in range(2):
        for k in range(3):
            inside = [
                (levels[:, k] == v).double().mean() * entropy(levels[:, k] == v, j)
                for v in levels[:, k].unique()
            ]
            expected = entropy(torch.ones(12, dtype=torch.bool), j) - sum(inside)
            assert found[j, k].item() == pytest.approx(expected.item(), abs=1e-5)
    assert found.std() > 0.1


def test_information_of_extremes(levels: Tensor) -> None:
    """eq:beta-information: all of the entropy from sharp codes, none from a prior."""
    mean = torch.stack([levels[:, 1].double(), torch.zeros(12).double()], dim=1)
    log_var = torch.tensor([[1e-4, 1.0]]).double().log().expand(12, 2)
    found = disentanglement.information(mean, log_var, levels)
    assert found[0, 1].item() == pytest.approx(math.log(4), abs=1e-6)
    assert found[0, 0].item() == pytest.approx(0, abs=1e-6)
    assert found[1].abs().max() < 1e-6


@pytest.mark.parametrize("bins", [1, 3, 20])
def test_binned_information_by_scikit_learn(normal: Draw, bins: int) -> None:
    """eq:beta-binned: bins by numpy.histogram's edges, information by mutual_info_score."""
    codes = normal(300, 2)
    levels = torch.stack([(codes[:, 0] > 0).long(), (3 * codes[:, 1].sigmoid()).long()], dim=1)
    found = disentanglement.binned_information(codes, levels, bins)
    for j in range(2):
        edges = np.histogram_bin_edges(codes[:, j].numpy(), bins)
        place = np.digitize(codes[:, j].numpy(), edges[1:-1])
        for k in range(2):
            expected = mutual_info_score(levels[:, k].numpy(), place)
            assert found[j, k].item() == pytest.approx(expected, abs=1e-9)
    assert bins == 1 or found[0, 0] > found[1, 0] + 0.1


def test_a_constant_code_has_no_information(levels: Tensor) -> None:
    """eq:beta-binned at a range of zero."""
    found = disentanglement.binned_information(torch.ones(12, 2).double(), levels)
    assert (found == 0).all()


def test_the_gap_by_hand() -> None:
    """eq:beta-mig: best minus second, over the entropy, for each factor."""
    informed = torch.tensor([[0.9, 0.1], [0.2, 0.5], [0.4, 0.6]])
    found = disentanglement.information_gap(informed, torch.tensor([1.0, 0.5]))
    assert found.tolist() == pytest.approx([0.5, 0.2])


def slow_vote(codes: np.ndarray, levels: np.ndarray, groups: int, size: int) -> float:
    """Return the vote's accuracy with plain loops and another generator."""
    random = np.random.default_rng(0)
    used = codes[:, codes.var(axis=0, ddof=1) > 0.05]
    used = used / used.std(axis=0)
    tables = []
    for _ in range(2):
        table = np.zeros((used.shape[1], levels.shape[1]))
        for k in range(levels.shape[1]):
            for _ in range(groups):
                value = levels[random.integers(len(levels)), k]
                members = random.choice(np.flatnonzero(levels[:, k] == value), size)
                table[used[members].var(axis=0).argmin(), k] += 1
        tables.append(table)
    right = sum(tables[1][j, tables[0][j].argmax()] for j in range(used.shape[1]))
    return float(right / tables[1].sum())


def test_the_vote_by_loops(levels: Tensor, normal: Draw) -> None:
    """eq:beta-vote: a code that mixes factors, against plain loops, within sampling error."""
    grid = levels[:, :2].repeat(20, 1)
    turn = torch.tensor([[0.8, 0.6, 1e-4], [-0.6, 0.8, 1e-4]]).double()
    codes = grid.double() @ turn + 0.3 * normal(240, 3) * torch.tensor([1, 1, 1e-3])
    expected = slow_vote(codes.numpy(), grid.numpy(), 400, 12)
    draw = torch.Generator().manual_seed(0)
    found = disentanglement.vote_score(codes, grid, draw, votes=2_000, group=12)
    assert 0.55 < expected < 0.97
    assert found == pytest.approx(expected, abs=0.06)


def test_a_perfect_code_wins_every_vote(levels: Tensor) -> None:
    """eq:beta-vote: scales and order do not matter; a latent that is off has no vote."""
    grid = levels[:, :2].repeat(10, 1)
    draw = torch.Generator().manual_seed(0)
    codes = torch.stack([50 * grid[:, 1].double(), -grid[:, 0], 0 * grid[:, 0]], dim=1)
    assert disentanglement.vote_score(codes, grid, draw) == 1
    assert disentanglement.vote_score(codes[:, :1], grid, draw) == 0.5
    assert disentanglement.vote_score(0.01 * codes[:, 1:], grid, draw) == 0


def test_bad_input_is_refused(levels: Tensor, unchecked: None) -> None:
    """Each error names the numbers."""
    codes, draw = torch.zeros(11, 2), torch.Generator()
    message = "codes are of 11 data, levels of 12"
    with pytest.raises(ValueError, match=message):
        disentanglement.information(codes, codes, levels)
    with pytest.raises(ValueError, match=message):
        disentanglement.binned_information(codes, levels)
    with pytest.raises(ValueError, match=message):
        disentanglement.vote_score(codes, levels, draw)
    codes = torch.zeros(12, 2)
    with pytest.raises(ValueError, match="bins must be positive, got 0"):
        disentanglement.binned_information(codes, levels, 0)
    for votes, group in ((0, 5), (5, 1)):
        with pytest.raises(ValueError, match=f"got {votes} and {group}"):
            disentanglement.vote_score(codes, levels, draw, votes, group)
    with pytest.raises(ValueError, match="at least 2 latents, got 1"):
        disentanglement.information_gap(torch.ones(1, 2), torch.ones(2))
    with pytest.raises(ValueError, match="every factor must vary"):
        disentanglement.information_gap(torch.ones(2, 2), torch.tensor([1.0, 0.0]))


def test_a_vote_counts_the_stillest_latent_in_units_of_its_spread() -> None:
    """eq:beta-vote: with a wide tidy latent and a narrow noisy one, only the shares tell."""
    draw = torch.Generator().manual_seed(5)
    levels = torch.cartesian_prod(torch.arange(20), torch.arange(20))
    loose = torch.randn(len(levels), generator=draw)
    one, other = (column.float() for column in levels.T)
    # 30 times wider than the second latent, and still the one that stands for the first factor
    codes = torch.stack([30 * one, other + 2 * loose], dim=1)
    assert disentanglement.vote_score(codes, levels, draw, votes=300, group=20) > 0.97
    few = [
        disentanglement.vote_score(
            torch.randn(len(levels), 6, generator=draw), levels, draw, votes=3, group=20
        )
        for _ in range(60)
    ]
    # codes of nothing are judged on other votes than those that name the latents
    assert sum(few) / len(few) == pytest.approx(0.5, abs=0.12)
    mixed = torch.stack([one, other, one + other], dim=1)
    clear = disentanglement.vote_score(mixed, levels, draw, votes=300, group=20)
    assert clear > 0.99
    three = torch.stack([one, one + 0.2 * loose, other + one], dim=1)
    assert disentanglement.vote_score(three, levels, draw, votes=300, group=20) > 0.9
    cube = torch.cartesian_prod(*(torch.arange(8),) * 3)  # of two, the loudest tells as well
    assert disentanglement.vote_score(cube.float(), cube, draw, votes=100) == 1
