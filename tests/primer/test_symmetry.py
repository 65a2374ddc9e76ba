"""Proof for litgen/primer/symmetry.py; the chapter is book/primer/networks.md.

The judge is torch.nn with torch.optim.SGD, one network at a time.
"""

import torch
from torch import nn

from litgen.primer import symmetry


def test_patterns_are_all_rows_and_their_symmetry() -> None:
    """64 different rows, 8 of which read the same backwards."""
    rows, targets = symmetry.patterns()
    assert len({tuple(row) for row in rows.tolist()}) == 64
    assert targets.sum() == 8
    for row, target in zip(rows.tolist(), targets.tolist(), strict=True):
        assert (row == row[::-1]) == bool(target)


def test_training_is_that_of_torch(generator: torch.Generator) -> None:
    """eq:net-sum-squared: errors and weights of 30 sweeps, for each of three networks."""
    start = [p.double() for p in symmetry.initial(3, generator)]
    assert all(p.abs().max() <= 0.3 for p in start)
    assert start[0].min() < -0.2 < 0.2 < start[0].max()
    found = symmetry.train(start, 30, learning_rate=0.3, momentum=0.8)
    rows, targets = (t.double() for t in symmetry.patterns())
    for i in range(3):
        model = nn.Sequential(nn.Linear(6, 2), nn.Sigmoid(), nn.Linear(2, 1), nn.Sigmoid())
        model = model.double()
        with torch.no_grad():
            for mine, value in zip(model.parameters(), start, strict=True):
                mine.copy_(value[i].T if mine.dim() == 2 else value[i, 0])
        sgd = torch.optim.SGD(model.parameters(), 0.3, momentum=0.8)
        for sweep in range(30):
            sgd.zero_grad()
            error = 0.5 * (model(rows)[:, 0] - targets).square().sum()
            torch.testing.assert_close(found.error[sweep, i], error.detach())
            error.backward()
            sgd.step()
        for mine, value in zip(model.parameters(), found.parameters, strict=True):
            expected = value[i].T if mine.dim() == 2 else value[i, 0]
            torch.testing.assert_close(mine.detach(), expected)


def test_defaults_are_the_papers(generator: torch.Generator) -> None:
    """eq:net-sum-squared lowered with learning rate 0.1 and momentum 0.9."""
    start = symmetry.initial(2, generator)
    found, same, other = (symmetry.train(start, 5, *args) for args in ((), (0.1, 0.9), (0.1, 0.8)))
    assert torch.equal(found.error, same.error)
    assert not torch.equal(found.error, other.error)


def test_solved_is_the_first_sweep_with_all_patterns_right() -> None:
    """A network that begins right needs no sweep; zeros are not right at all."""
    rows, targets = symmetry.patterns()
    weight = torch.tensor([1.0, 2.0, 4.0, -4.0, -2.0, -1.0])
    solution = [
        8 * torch.stack([weight, -weight], dim=1)[None],
        torch.full((1, 1, 2), -4.0),
        torch.full((1, 2, 1), -20.0),
        torch.full((1, 1, 1), 10.0),
    ]
    assert torch.equal((symmetry.outputs(solution, rows)[0] > 0.5).float(), targets)
    wrong = [torch.zeros_like(p) for p in solution]
    both = [torch.cat(pair) for pair in zip(solution, wrong, strict=True)]
    assert symmetry.train(both, 3, learning_rate=1e-6).solved.tolist() == [0, -1]


def test_the_task_is_learned_and_the_sweep_is_counted(generator: torch.Generator) -> None:
    """Some of eight starts solve it; after as many sweeps all is right, one before it is not."""
    start = symmetry.initial(8, generator)
    found = symmetry.train(start, 600)
    network = int(found.solved.argmax())
    sweeps = int(found.solved[network])
    assert sweeps > 100
    rows, targets = symmetry.patterns()
    one = [p[network : network + 1] for p in start]
    for count, expected in ((sweeps - 1, False), (sweeps, True)):
        output = symmetry.outputs(symmetry.train(one, count).parameters, rows)[0]
        assert torch.equal(output > 0.5, targets > 0.5) == expected
