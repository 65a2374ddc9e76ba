"""The one small convolutional network of the book: it names what a 28x28 image shows.

Chapter: book/primer/convolution.md.  Proof: tests/test_classifier.py.
Reference: LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document
Recognition" (1998); Ioffe & Szegedy, "Batch Normalization" (2015).

Trained by the recipes primer/classifier (clothes) and primer/digit_classifier. Guidance asks it
for gradients of a class's log-probability, evaluation for its features.
"""

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = ["FEATURES", "SIDE", "Classifier"]

SIDE = 28
"""Height and width of the images that it takes."""

FEATURES = 128
"""Numbers that describe an image in the layer before the logits."""


class Classifier(nn.Module):
    """Three stages of convolution and pooling, then two linear layers.

    Images have grey values in [0, 1]; others must be mapped there: (x + 1) / 2 from [-1, 1].
    After training call ``eval()``: batch normalisation and dropout behave otherwise.

    Args:
        width: channels of the first stage; the second has twice, the third four times as many.
        depth: convolutions in a stage.
        classes: logits.
        dropout: part of the features that training hides from the last layer.

    Raises:
        ValueError: a width, a depth or a number of classes below 1.
    """

    def __init__(self, width: int = 16, depth: int = 1, classes: int = 10, dropout: float = 0.2):
        if min(width, depth, classes) < 1:
            raise ValueError(
                f"width, depth and classes must be positive, got {width}, {depth}, {classes}"
            )
        super().__init__()
        self.stages = nn.Sequential(
            _stage(1, width, depth, kernel=5),
            _stage(width, 2 * width, depth),
            _stage(2 * width, 4 * width, depth),
        )
        pixels = (SIDE // 2 // 2 // 2) ** 2
        self.embed = nn.Sequential(
            nn.Flatten(), nn.Linear(4 * width * pixels, FEATURES), nn.ReLU()
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(FEATURES, classes)

    def features(self, x: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 128"]:
        """Return what the last layer sees: 128 numbers an image, none of them negative."""
        found: Tensor = self.embed(self.stages(x))
        return found

    def forward(self, x: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch classes"]:
        """Return one logit a class; their softmax is the probability of each."""
        logits: Tensor = self.head(self.dropout(self.features(x)))
        return logits

    def layers(self) -> nn.Sequential:
        """Return the same layers as one flat stack: ``forward`` without detours."""
        stages = [layer for stage in self.stages.children() for layer in stage.children()]
        return nn.Sequential(*stages, *self.embed, self.dropout, self.head)

    @torch.no_grad()
    def probabilities(
        self, x: Float[Tensor, "images 1 28 28"], batch_size: int = 500
    ) -> Float[Tensor, "images classes"]:
        """Return the probability of each class, batch by batch, in the mode the network is in."""
        return torch.cat([self(part).softmax(dim=1) for part in x.split(batch_size)])


def _stage(inputs: int, outputs: int, depth: int, kernel: int = 3) -> nn.Sequential:
    """Return convolutions that keep height and width, each normalised; the last one is pooled.

    Pooling comes before normalisation and ReLU, which then touch a quarter of the pixels.
    """
    layers: list[nn.Module] = []
    for i in range(depth):
        size = kernel if i == 0 else 3
        layers.append(
            nn.Conv2d(inputs if i == 0 else outputs, outputs, size, padding=size // 2, bias=False)
        )
        if i == depth - 1:
            layers.append(nn.MaxPool2d(2))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)
