"""A network that reads a style off a picture: gains and biases that nobody trained for it.

Chapter: book/style/arbitrary.md.  Proof: tests/style/test_prediction.py.
Paper: Ghiasi, Lee, Kudlur, Dumoulin & Shlens, "Exploring the structure of a real-time, arbitrary
neural artistic stylization network" (2017).

    u      statistics of a picture's features: mean and deviation of every channel
    e      a bottleneck of a few numbers, linear in u
    s      the style: gains and biases, linear in e
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.shapes import Float
from litgen.style.instance_norm import moments

__all__ = ["StylePredictor", "statistics"]


def statistics(features: Sequence[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch numbers"]:
    """Return means, then deviations, of channels, layer by layer. Implements eq:arb-statistics.

    Raises:
        ValueError: no features.
    """
    if not features:
        raise ValueError("no features to take statistics of")
    parts = [part.flatten(1) for x in features for part in moments(x.float(), 0.0)]
    return torch.cat(parts, dim=1)


class StylePredictor(nn.Module):
    """Statistics of pictures to styles, through a narrow bottleneck. Implements eq:arb-predict.

    Args:
        mean: of each statistic over pictures.
        sd: of each statistic over pictures; statistics are divided by it.
        bottleneck: numbers in e.
        plain: the style that is predicted for mean statistics at first.

    Raises:
        ValueError: a mean and deviations of different lengths, or one that is not positive.
    """

    mean: Tensor
    sd: Tensor

    def __init__(
        self,
        mean: Float[Tensor, " numbers"],
        sd: Float[Tensor, " _"],
        bottleneck: int,
        plain: Float[Tensor, " outputs"],
    ):
        super().__init__()
        if mean.shape != sd.shape or not bool((sd > 0).all()):
            raise ValueError(
                f"a mean of {len(mean)} numbers needs as many positive deviations, got {len(sd)} "
                f"from {sd.min().item():.3g} on"
            )
        self.register_buffer("mean", mean.clone())
        self.register_buffer("sd", sd.clone())
        self.narrow = nn.Linear(len(mean), bottleneck)
        self.wide = nn.Linear(bottleneck, len(plain))
        nn.init.normal_(self.wide.weight, std=0.1 / bottleneck**0.5)
        self.wide.bias.data = plain.clone()

    def embed(self, numbers: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch bottleneck"]:
        """Return e, by which styles can be compared and between which one can walk."""
        embedded: Tensor = self.narrow((numbers - self.mean) / self.sd / len(self.mean) ** 0.5)
        return embedded

    def forward(self, numbers: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch outputs"]:
        """Return gains and biases."""
        styles: Tensor = self.wide(self.embed(numbers))
        return styles
