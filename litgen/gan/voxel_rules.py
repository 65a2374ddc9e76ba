"""Who may move: a critic that waits while it is right too often.

Chapter: book/gan/voxel.md.  Proof: tests/gan/test_voxel_rules.py.
Reference: Wu et al., "Learning a Probabilistic Latent Space of Object Shapes via 3D
Generative-Adversarial Modeling" (2016), section 3.2: the critic is updated only if its accuracy in
the last batch is not higher than 80 %.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from litgen import processes
from litgen.shapes import Float

__all__ = ["Gate", "accuracy"]


@torch.no_grad()
def accuracy(
    real_logits: Float[Tensor, " real"], fake_logits: Float[Tensor, " fake"]
) -> Float[Tensor, ""]:
    """Return the share of right answers, data and samples counting half each.

    Implements eq:vox-accuracy. A logit of 0 is half an answer.

    Raises:
        ValueError: an empty batch.
    """
    if real_logits.numel() == 0 or fake_logits.numel() == 0:
        raise ValueError(
            f"{real_logits.numel()} real and {fake_logits.numel()} fake logits, need some of both"
        )
    right = (1 + real_logits.sign()).mean() + (1 - fake_logits.sign()).mean()
    return right / 4


class Gate(torch.optim.Optimizer):
    """An optimiser that takes its step only if the accuracy just seen is not above a threshold.

    It stands in an optimiser's place in `litgen.gan.game.adversaries`; `watching` wraps the
    critic's loss, which is where logits come by.

    Args:
        optimizer: the critic's.
        threshold: from 0 to 1; 1 lets every step pass. Implements eq:vox-gate.

    Attributes:
        taken: steps that passed.
        asked: steps that were asked for.

    Raises:
        ValueError: a threshold that is no share.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, threshold: float = 0.8):
        if not 0 <= threshold <= 1:
            raise ValueError(f"the threshold must lie between 0 and 1, got {threshold}")
        self.optimizer, self.threshold = optimizer, threshold  # state is the inner one's alone
        self.param_groups = optimizer.param_groups
        self.taken = self.asked = 0
        self.seen = torch.zeros(())

    def watching(
        self, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the same loss of logits of data and samples, which tells the gate what it saw."""

        def watched(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
            self.seen = processes.mean(accuracy(real_logits, fake_logits))
            return loss(real_logits, fake_logits)

        return watched

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step, or wait."""
        self.asked += 1
        if self.seen.item() <= self.threshold + 1e-6:  # a share in single precision is rounded
            self.taken += 1
            self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state and the counts, for a checkpoint."""
        counts = {"taken": self.taken, "asked": self.asked}
        return {"optimizer": self.optimizer.state_dict(), **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another one stood."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.param_groups = self.optimizer.param_groups
        self.taken, self.asked = state["taken"], state["asked"]
