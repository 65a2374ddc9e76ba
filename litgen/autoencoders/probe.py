"""A linear probe: how much of the labels a straight line can read off a code.

Chapter: book/autoencoders/dense.md.  Proof: tests/autoencoders/test_probe.py.
Reference: Alain & Bengio, "Understanding intermediate layers using linear classifier probes"
(2016).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = ["Probe", "fit_probe", "probe_loss"]


@dataclass(frozen=True, eq=False)
class Probe:
    """A softmax regression on standardised features.

    Attributes:
        mean: of the features that it was fitted to.
        scale: their standard deviations.
        weight: one row a class.
        bias: one number a class.
    """

    mean: Float[Tensor, " dims"]
    scale: Float[Tensor, " dims"]
    weight: Float[Tensor, "classes dims"]
    bias: Float[Tensor, " classes"]

    def logits(self, features: Float[Tensor, "count dims"]) -> Float[Tensor, "count classes"]:
        """Return one logit a class."""
        return (features - self.mean) / self.scale @ self.weight.T + self.bias

    def accuracy(
        self, features: Float[Tensor, "count dims"], labels: Int[Tensor, " count"]
    ) -> float:
        """Return the share of features whose class has the largest logit."""
        return (self.logits(features).argmax(dim=1) == labels).double().mean().item()


def probe_loss(
    weight: Float[Tensor, "classes dims"],
    bias: Float[Tensor, " classes"],
    features: Float[Tensor, "count dims"],
    labels: Int[Tensor, " count"],
    penalty: float,
) -> Float[Tensor, ""]:
    """Return mean cross-entropy in nats plus the penalty on squared weights.

    Implements eq:ae-probe: convex, so that where it ends depends on no start and no seed.
    """
    return F.cross_entropy(features @ weight.T + bias, labels) + penalty * weight.square().sum()


def fit_probe(
    features: Float[Tensor, "count dims"],
    labels: Int[Tensor, " labels"],
    classes: int = 10,
    penalty: float = 1e-4,
    steps: int = 100,
) -> Probe:
    """Return the probe with the least `probe_loss` on standardised features, by L-BFGS.

    A feature that never varies is left as it is.

    Raises:
        ValueError: other numbers of features and labels, labels that are no class, or a feature
            that is not finite.
    """
    if len(features) != len(labels) or not len(labels):
        raise ValueError(f"{len(features)} features, {len(labels)} labels")
    if not features.isfinite().all():
        raise ValueError("a feature is not finite")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels are {labels.min()} to {labels.max()}, classes 0 to {classes - 1}"
        )
    mean, scale = features.mean(dim=0), features.std(dim=0, correction=0)
    scale = torch.where(scale > 0, scale, 1)
    standard = (features - mean) / scale
    weight = torch.zeros(classes, features.shape[1], dtype=features.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=features.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = probe_loss(weight, bias, standard, labels, penalty)
        loss.backward()
        return loss

    optimizer.step(closure)
    return Probe(mean, scale, weight.detach(), bias.detach())
