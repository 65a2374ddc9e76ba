"""Any picture as the network wants it: three colours in [0, 1], a square of a chosen side.

Chapter: book/style/gatys.md.  Proof: tests/style/test_pictures.py.
"""

import torch
from torch import Tensor, nn

__all__ = ["prepared"]

SMALLEST = 8  # pixels: below this there is nothing to see
STRIP = 64.0  # sides whose ratio is beyond this are a mistake rather than a picture


def prepared(image: Tensor, side: int) -> Tensor:
    """Return (1, 3, side, side) in [0, 1]: on white, in colour, the square in the middle, resized.

    Args:
        image: (height, width) or (channels, height, width), whole numbers 0..255 (uint8) or
            floating point in [0, 1]. One channel is grey, two are grey and opacity, three are red,
            green and blue, four these and opacity.
        side: of the result in pixels; large pictures are averaged down, small ones interpolated.

    Raises:
        ValueError: other shapes or types, values out of range, fewer than 8 pixels a side, or
            sides of very different length.
    """
    if side < 1:
        raise ValueError(f"side must be positive, got {side}")
    if image.dim() == 2:
        image = image[None]
    if image.dim() != 3 or image.shape[0] not in (1, 2, 3, 4):
        shape = tuple(image.shape)
        raise ValueError(f"a picture is (1 to 4 channels, height, width), got {shape}")
    _, height, width = image.shape
    if min(height, width) < SMALLEST or max(height, width) > STRIP * min(height, width):
        raise ValueError(f"a picture of {height}x{width} is too small or too narrow a strip")
    x = image.float() / 255 if image.dtype == torch.uint8 else image
    if not x.is_floating_point() or not bool((x >= 0).all() and (x <= 1).all()):
        raise ValueError(f"values are bytes, or numbers in [0, 1]; these are {image.dtype}")
    if len(x) in (2, 4):
        x, opacity = x[:-1], x[-1:]
        x = x * opacity + 1 - opacity
    x = x.expand(3, height, width)
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    square = x[None, :, top : top + least, left : left + least]
    found = nn.functional.interpolate(square, (side, side), mode="bilinear", antialias=True)
    return found.clamp(0, 1)
