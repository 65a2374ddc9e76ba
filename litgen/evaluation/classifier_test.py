"""Train a classifier to tell two sets of points apart, and count how often it is right on others.

Chapter: book/evaluation/traps.md.  Proof: tests/evaluation/test_classifier_test.py.
Reference: Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample Tests" (2017).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from litgen.blocks import MLP
from litgen.shapes import Float
from litgen.training import Minibatches, Player, play

__all__ = ["Told", "trained_accuracy"]


class Told(NamedTuple):
    """How well two sets are told apart, on points that were not trained on.

    Attributes:
        accuracy: share of these points that are put into the right set.
        judged: how many of these points there are, half from either set.
    """

    accuracy: float
    judged: int


def trained_accuracy(
    data: Float[Tensor, "count dims"],
    samples: Float[Tensor, "count dims"],
    generator: torch.Generator,
    hidden: int = 32,
    turns: int = 400,
) -> Told:
    """Train on half of both sets, judge on the rest. Implements eq:two-sample-rule.

    Args:
        data: points of one set; centred and scaled by the training half's moments.
        samples: as many of the other.
        generator: draws the halves, the first weights and the batches.
        hidden: units of the classifier's one hidden layer.
        turns: steps of Adam with batches of 100 points.

    Raises:
        ValueError: sets that are not of one shape, of fewer than 100 points, or not finite.
    """
    if data.shape != samples.shape or data.dim() != 2 or len(data) < 100:
        raise ValueError(
            "two sets of equal shape with at least 100 points, "
            f"got {tuple(data.shape)} and {tuple(samples.shape)}"
        )
    if not (data.isfinite().all() and samples.isfinite().all()):
        raise ValueError("a coordinate is not finite")
    half = len(data) // 2
    sets = [p[torch.randperm(len(p), generator=generator)].float() for p in (data, samples)]
    halves = [points.tensor_split([half]) for points in sets]
    seen, unseen = (torch.cat(parts) for parts in zip(*halves, strict=True))
    mean, sd = seen.mean(dim=0), seen.std(dim=0).clamp_min(1e-6)
    rule = _classifier(data.shape[1], hidden, generator)
    labelled = torch.cat([(seen - mean) / sd, (torch.arange(2 * half) < half)[:, None]], dim=1)

    def loss(batch: Tensor) -> Tensor:
        logits = rule(batch[:, :-1]).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(logits, batch[:, -1])

    adam = torch.optim.AdamW(rule.parameters(), lr=3e-3, weight_decay=1e-2, fused=True)
    for _ in play([Player("rule", adam, loss)], Minibatches(labelled, 100, generator), turns):
        pass
    with torch.no_grad():
        says_data = rule((unseen - mean) / sd).squeeze(1) > 0
    is_data = torch.arange(len(unseen)) < len(unseen) // 2
    return Told((says_data == is_data).double().mean().item(), len(unseen))


def _classifier(dims: int, hidden: int, generator: torch.Generator) -> MLP:
    """Return an MLP with weights of the generator's."""
    rule = MLP([dims, hidden, 1])
    for layer in rule:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
    return rule
