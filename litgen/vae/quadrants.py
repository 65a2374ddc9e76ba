"""Images cut into quadrants: what is seen, what is to be completed, and a guess by neighbours.

Chapter: book/vae/conditional.md.  Proof: tests/vae/test_quadrants.py.
Reference: Sohn, Lee & Yan (2015), section 5.1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.shapes import Bool, Float, Int, UInt8

__all__ = ["ORDER", "Quadrants", "nearest", "neighbour_probabilities"]

ORDER = ("bottom left", "top left", "bottom right")
"""Quadrants in the order in which they are shown; the top right one always stays hidden."""


@dataclass(frozen=True)
class Quadrants:
    """A square image's pixels in two parts: the condition and the rest.

    Attributes:
        side: height and width of the image, even.
        count: quadrants that are seen, 1 to 3, in the order of ORDER.

    Raises:
        ValueError: a side that is not even and positive, or a count that is not 1, 2 or 3.
    """

    side: int
    count: int

    def __post_init__(self) -> None:
        """Check what the user gave."""
        if self.side < 2 or self.side % 2:
            raise ValueError(f"side must be even and positive, got {self.side}")
        if self.count not in (1, 2, 3):
            raise ValueError(f"1, 2 or 3 quadrants can be seen, got {self.count}")

    @property
    def seen(self) -> Bool[Tensor, " pixels"]:
        """True where a pixel belongs to the condition."""
        half = self.side // 2
        mask = torch.zeros(self.side, self.side, dtype=torch.bool)
        for name in ORDER[: self.count]:
            rows = slice(half) if name.startswith("top") else slice(half, None)
            columns = slice(half) if name.endswith("left") else slice(half, None)
            mask[rows, columns] = True
        return mask.flatten()

    def split(
        self, images: Float[Tensor, "*batch pixels"] | UInt8[Tensor, "*batch pixels"]
    ) -> tuple[Tensor, Tensor]:
        """Return (x, condition): hidden pixels (..., rest) and seen ones (..., given), row by row.

        Raises:
            ValueError: images with another number of pixels.
        """
        if images.shape[-1] != self.side**2:
            raise ValueError(
                f"images have shape {tuple(images.shape)}, expected (..., {self.side**2})"
            )
        seen = self.seen.to(images.device)
        return images[..., ~seen], images[..., seen]

    def join(
        self, x: Float[Tensor, "*batch rest"], condition: Float[Tensor, "*batch given"]
    ) -> Float[Tensor, "*batch pixels"]:
        """Put the two parts back together; the inverse of ``split``.

        Raises:
            ValueError: parts that do not belong to such an image.
        """
        seen = self.seen.to(x.device)
        given = int(seen.sum())
        if (x.shape[-1], condition.shape[-1]) != (len(seen) - given, given):
            raise ValueError(
                f"x and condition have {x.shape[-1]} and {condition.shape[-1]} pixels, expected "
                f"{len(seen) - given} and {given}"
            )
        images = x.new_empty(*x.shape[:-1], len(seen))
        images[..., seen], images[..., ~seen] = condition, x
        return images


def nearest(
    condition: Float[Tensor, "batch given"],
    known: Float[Tensor, "examples given"],
    neighbours: int,
) -> Int[Tensor, "batch neighbours"]:
    """Return which examples' seen pixels are nearest in squared distance, the nearest first.

    Raises:
        ValueError: other pixels than the examples have, or fewer examples than neighbours.
    """
    if condition.shape[-1] != known.shape[-1]:
        raise ValueError(
            f"conditions have {condition.shape[-1]} pixels, the examples {known.shape[-1]}"
        )
    if not 1 <= neighbours <= len(known):
        raise ValueError(f"{neighbours} neighbours asked for among {len(known)} examples")
    # |y - y'|^2 without the term |y|^2, which does not change the order
    distance = known.square().sum(dim=1) - 2 * condition @ known.T
    return distance.topk(neighbours, dim=1, largest=False).indices


def neighbour_probabilities(
    x: Float[Tensor, "examples rest"],
    chosen: Int[Tensor, "batch neighbours"],
    pseudo_count: float,
) -> Float[Tensor, "batch rest"]:
    """Average the hidden pixels of the chosen examples. Implements eq:cvae-neighbour.

    ``pseudo_count`` white and as many black pixels are added, so that no probability is 0 or 1.

    Raises:
        ValueError: a pseudo-count that is not positive.
    """
    if not pseudo_count > 0:
        raise ValueError(f"pseudo_count must be positive, got {pseudo_count}")
    total = torch.stack([x[column] for column in chosen.T]).sum(dim=0)
    return (total + pseudo_count) / (chosen.shape[1] + 2 * pseudo_count)
