"""Solutions of the exercises in book/primer/networks.md, and what shows that they are right."""

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.primer import losses

Draw = Callable[..., Tensor]


def mlp_parameters(sizes: list[int]) -> int:
    """Return the number of weights and biases of linear layers of these widths."""
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))


def collapsed(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the one linear layer that two in a row are."""
    return w2 @ w1, w2 @ b1 + b2


def smoothed_cross_entropy(label: Tensor, logits: Tensor, smoothing: float) -> Tensor:
    """Return the loss of each example when the label is right with 1 - smoothing only."""
    mean_log_prob = F.log_softmax(logits, dim=-1).mean(dim=-1)
    return (1 - smoothing) * losses.categorical(label, logits) - smoothing * mean_log_prob


def temperature(label: Tensor, logits: Tensor) -> float:
    """Return the T with which logits / T explain held-out labels best."""
    grid = torch.logspace(-1, 1, 401, dtype=logits.dtype)
    scores = [losses.categorical(label, logits / t).mean() for t in grid]
    return float(grid[torch.stack(scores).argmin()])


def test_parameters_of_an_mlp() -> None:
    """Exercise 1: counted by torch."""
    model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.Linear(128, 10))
    assert mlp_parameters([784, 128, 10]) == sum(p.numel() for p in model.parameters()) == 101_770


def test_two_linear_layers_are_one(normal: Draw) -> None:
    """Exercise 2: the same outputs for any input."""
    w1, b1, w2, b2 = normal(5, 4), normal(5), normal(3, 5), normal(3)
    weight, bias = collapsed(w1, b1, w2, b2)
    x = normal(10, 4)
    torch.testing.assert_close(F.linear(x, weight, bias), F.linear(F.linear(x, w1, b1), w2, b2))


def test_smoothing_is_torchs(normal: Draw) -> None:
    """Exercise 3: F.cross_entropy's label_smoothing; its floor is the entropy of the target."""
    logits, label = normal(6, 4), torch.arange(6) % 4
    found = smoothed_cross_entropy(label, logits, 0.1)
    expected = F.cross_entropy(logits, label, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(found, expected)
    best = torch.full((1, 4), 0.1 / 4, dtype=torch.float64)
    best[0, 2] += 0.9
    floor = smoothed_cross_entropy(torch.tensor([2]), best.log(), 0.1).item()
    entropy = -(best * best.log()).sum().item()
    assert math.isclose(floor, entropy, rel_tol=1e-9)


def test_temperature_finds_what_was_exaggerated(normal: Draw, generator: torch.Generator) -> None:
    """Exercise 4: labels drawn from the probabilities, logits then made three times as large."""
    logits = 2 * normal(20_000, 5)
    label = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    assert abs(temperature(label, 3 * logits) / 3 - 1) < 0.05
