"""What a picture in a style costs: content, style, and nothing else.

Chapter: book/style/arbitrary.md.  Proof: tests/style/test_perceptual.py.
Paper: Johnson, Alahi & Fei-Fei, "Perceptual losses for real-time style transfer and
super-resolution" (2016); the terms are of Gatys, Ecker & Bethge (2015), `litgen.style.gram`.

The loss of a picture that an optimiser moves, and of one that a network painted, is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from litgen.shapes import Float
from litgen.style.gram import content_loss, gram, style_loss

__all__ = ["Judge", "Parts"]

Features = Callable[[Tensor, Sequence[str]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Parts:
    """The two terms of a loss, one number an example each, and their weight.

    Attributes:
        content: see `gram.content_loss`.
        style: the sum of `gram.style_loss` over layers.
        style_weight: lambda.
    """

    content: Float[Tensor, " batch"]
    style: Float[Tensor, " batch"]
    style_weight: float

    @property
    def total(self) -> Float[Tensor, " batch"]:
        """Return content plus lambda times style. Implements eq:arb-loss."""
        return self.content + self.style_weight * self.style


@dataclass(frozen=True, eq=False)
class Judge:
    """A network's features, the layers that count, and the weight of style.

    Attributes:
        features: such as `litgen.style.features.VGG`: pictures and names of layers to features.
        content_layer: whose features are the content.
        style_layers: whose Gram matrices are the style.
        style_weight: lambda of eq:arb-loss.
    """

    features: Features
    content_layer: str
    style_layers: tuple[str, ...]
    style_weight: float

    def content(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch _ _ _"]:
        """Return what a picture in a style must keep."""
        return self.features(images, (self.content_layer,))[self.content_layer]

    def style(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch _ _"], ...]:
        """Return what it must take on: Gram matrices, layer by layer, in full precision."""
        found = self.features(images, self.style_layers)
        return tuple(gram(found[name]) for name in self.style_layers)

    def __call__(
        self,
        images: Float[Tensor, "batch 3 height width"],
        content: Float[Tensor, "#batch _ _ _"],
        style: Sequence[Float[Tensor, "#batch _ _"]],
    ) -> Parts:
        """Return what pictures cost, for the content and the style that they should have.

        Raises:
            ValueError: not one Gram matrix for each layer, or shapes that do not fit.
        """
        if len(style) != len(self.style_layers):
            raise ValueError(f"{len(style)} Gram matrices for {len(self.style_layers)} layers")
        found = self.features(images, (*self.style_layers, self.content_layer))
        kept = content_loss(found[self.content_layer].float(), content.float())
        losses = [
            style_loss(gram(found[name].float()), wanted)
            for name, wanted in zip(self.style_layers, style, strict=True)
        ]
        taken: Tensor = sum(losses[1:], losses[0])
        return Parts(kept, taken, self.style_weight)
