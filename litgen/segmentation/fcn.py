"""A fully convolutional network: a classifier turned into coarse maps, enlarged and refined.

Chapter: book/segmentation/fcn.md.  Proof: tests/segmentation/test_fcn.py.
Reference: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation"
(2015), sections 3 and 4.

FCN-16s enlarges a map of stride 16, FCN-8s adds scores read from stride 8, FCN-4s those from
stride 4: the paper's 32s, 16s and 8s, for images of 64 instead of 500 pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen.segmentation.sliding import (
    convolutionalized,
    crop_offset,
    grid_after,
    grid_upsampled,
)
from litgen.segmentation.upsampling import margin, upsample
from litgen.shapes import Float, Int, UInt8

__all__ = ["FCN", "SIDE", "UNKNOWN", "check_masks", "classifier", "pixel_loss", "places"]

SIDE = 46
"""Height and width of the images that the classifier names."""

UNKNOWN = 255
"""The label of a pixel that nobody labelled."""


def classifier(widths: tuple[int, int, int], hidden: int, classes: int) -> nn.Sequential:
    """Return a stack that names colour images of SIDE by SIDE pixels; no layer pads.

    Raises:
        ValueError: a width, or a number of classes, below 1.
    """
    if min(*widths, hidden, classes) < 1:
        raise ValueError(f"widths must be positive, got {widths}, {hidden} and {classes}")
    first, second, third = widths
    return nn.Sequential(
        *(nn.Conv2d(3, first, 4, stride=2, bias=False), nn.BatchNorm2d(first), nn.ReLU()),
        *(nn.Conv2d(first, second, 3, bias=False), nn.MaxPool2d(2)),
        *(nn.BatchNorm2d(second), nn.ReLU()),
        *(nn.Conv2d(second, third, 3, bias=False), nn.MaxPool2d(2)),
        *(nn.BatchNorm2d(third), nn.ReLU()),
        *(nn.Conv2d(third, 2 * third, 2, stride=2, bias=False), nn.BatchNorm2d(2 * third)),
        *(nn.ReLU(), nn.Flatten()),
        *(nn.Linear(8 * third, hidden), nn.ReLU(), nn.Linear(hidden, classes)),
    )


class FCN(nn.Module):
    """Colour images of any size from SIDE on to one logit a class and pixel.

    Args:
        named: a classifier made by ``classifier``; its layers become part of this network.
        skips: 0 for FCN-16s, 1 for FCN-8s, 2 for FCN-4s.

    Raises:
        ValueError: another number of skips.
    """

    def __init__(self, named: nn.Sequential, skips: int = 0):
        if skips not in (0, 1, 2):
            raise ValueError(f"there are 0, 1 or 2 skips, not {skips}")
        super().__init__()
        net = convolutionalized(named, SIDE)
        self.fine, self.middle, self.head = net[:7], net[7:11], net[11:]
        self.grid = grid_after(net)
        # so much padding puts the first unit in the middle of the first block of pixels
        self.padding = int(self.grid.first - (self.grid.jump - 1) / 2)
        classes, third, second = _outputs(net[-1]), _outputs(net[7]), _outputs(net[3])
        self.skips = nn.ModuleList(
            nn.Conv2d(width, classes, 1) for width in (third, second)[:skips]
        )
        for parameter in self.skips.parameters():  # at first it is the net without skips
            nn.init.zeros_(parameter)
        self.stride = int(self.grid.jump) // 2**skips

    def coarse(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Return logits at the finest stride that is read. Implements eq:fcn-skip.

        Raises:
            ValueError: an image that is smaller than what one unit sees.
        """
        if min(x.shape[2:]) < self.grid.size:
            got, need = " by ".join(map(str, x.shape[2:])), self.grid.size
            raise ValueError(f"an image of {got} pixels is smaller than the {need} of a unit")
        more = [-n % int(self.grid.jump) for n in x.shape[2:]]  # whole blocks
        sides = (self.padding, self.padding + more[1], self.padding, self.padding + more[0])
        fine = self.fine(F.pad(x, sides))
        middle = self.middle(fine)
        scores: Tensor = self.head(middle)
        for skip, features, offset in zip(self.skips, (middle, fine), self.crops(), strict=False):
            scores = upsample(scores, 2)
            rows, columns = scores.shape[2:]
            read = skip(features)
            scores = scores + read[:, :, offset : offset + rows, offset : offset + columns]
        return scores

    def forward(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Return one logit a class for every pixel of the image."""
        return upsample(self.coarse(x), self.stride)[:, :, : x.shape[2], : x.shape[3]]

    def crops(self) -> list[int]:
        """Return how many units of each finer map lie before the first unit of the coarser one."""
        at = self.grid
        middle = grid_after(self.middle, grid_after(self.fine))
        found = []
        for finer in (middle, grid_after(self.fine)):
            at = grid_upsampled(at, 2, margin(2))
            found.append(crop_offset(at, finer))
        return found[: len(self.skips)]


def pixel_loss(
    logits: Float[Tensor, "batch classes height width"],
    mask: Int[Tensor, "batch height width"] | UInt8[Tensor, "batch height width"],
    weight: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, " batch"]:
    """Return each image's cross-entropy, the mean over its labelled pixels, in nats.

    Implements eq:fcn-loss.

    Args:
        logits: of the classes.
        mask: true classes, or UNKNOWN.
        weight: how much a pixel of each class counts in the mean; all alike unless given.
    """
    mask = mask.long()
    if weight is None:
        weight = logits.new_ones(logits.shape[1], dtype=torch.float32)
    known = mask != UNKNOWN
    loss = F.cross_entropy(logits.float(), mask, weight, ignore_index=UNKNOWN, reduction="none")
    counted = weight[mask.where(known, 0)] * known
    return loss.sum(dim=(1, 2)) / counted.sum(dim=(1, 2))


def check_masks(images: Float[Tensor, "..."], masks: Int[Tensor, "..."], classes: int) -> None:
    """Refuse masks that do not belong to images; call it where data enter.

    Raises:
        ValueError: other numbers or sizes of masks and of images, a label that is neither a class
            nor UNKNOWN, or a mask without a labelled pixel.
    """
    if masks.ndim != 3 or images.ndim != 4:
        got = f"{tuple(images.shape)} and {tuple(masks.shape)}"
        raise ValueError(f"(count, channels, height, width) and (count, height, width), got {got}")
    if len(images) != len(masks):
        raise ValueError(f"{len(images)} images do not go with {len(masks)} masks")
    if images.shape[2:] != masks.shape[1:]:
        sizes = (" by ".join(map(str, part.shape[-2:])) for part in (images, masks))
        raise ValueError("images have {} pixels, masks {}".format(*sizes))
    found = set(masks.unique().tolist())
    unknown = sorted(found - {*range(classes), UNKNOWN})
    if unknown:
        raise ValueError(f"labels are 0..{classes - 1} or {UNKNOWN}, the masks hold {unknown}")
    if (masks == UNKNOWN).flatten(1).all(dim=1).any():
        raise ValueError("a mask has no labelled pixel")


def places(masks: Int[Tensor, "count height width"], classes: int) -> list[Int[Tensor, "n 3"]]:
    """Return (image, row, column) of the pixels of each class, to draw examples of all alike.

    Raises:
        ValueError: a class that no pixel has.
    """
    found = [(masks == c).nonzero() for c in range(classes)]
    empty = [c for c, where in enumerate(found) if len(where) == 0]
    if empty:
        raise ValueError(f"no pixel of {len(masks)} masks has class {empty}")
    return found


def _outputs(layer: nn.Module) -> int:
    """Return a convolution's output channels."""
    assert isinstance(layer, nn.Conv2d)
    return layer.out_channels
