"""Proof for litgen/style/pictures.py."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from litgen.style.pictures import prepared


def drawn(channels: int, height: int, width: int) -> Tensor:
    """Return random bytes."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (channels, height, width), generator=generator).to(torch.uint8)


@pytest.mark.parametrize(("height", "width", "side"), [(40, 40, 16), (60, 37, 16), (20, 31, 48)])
def test_it_is_pillows_square_and_filter(height: int, width: int, side: int) -> None:
    """The middle, larger or smaller, within a level of rounding."""
    image = drawn(3, height, width)
    least, top, left = min(height, width), (height - min(height, width)) // 2, 0
    left = (width - least) // 2
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    square = picture.crop((left, top, left + least, top + least))
    expected = np.asarray(square.resize((side, side), Image.Resampling.BILINEAR))
    found = prepared(image, side)
    assert found.shape == (1, 3, side, side)
    error = (found[0] * 255).permute(1, 2, 0).numpy() - expected
    assert np.abs(error).max() <= 1.01
    assert expected.std() > 10


def test_transparent_parts_are_white() -> None:
    """Colour times opacity, and white for the rest; grey the same in all colours."""
    image = drawn(4, 16, 16)
    x, opacity = image[:3].double() / 255, image[3:].double() / 255
    expected = (x * opacity + (1 - opacity)).float()
    torch.testing.assert_close(prepared(image, 16)[0], expected)
    grey = prepared(image[:2], 16)[0]
    a, b = image[0].double() / 255, image[1].double() / 255
    for channel in grey:
        torch.testing.assert_close(channel, (a * b + 1 - b).float())
    image[3] = 0
    assert torch.equal(prepared(image, 8), torch.ones(1, 3, 8, 8))
    assert prepared(torch.ones(3, 13, 14), 12).max() <= 1  # though weights round to more


def test_grey_and_numbers() -> None:
    """Without an axis of channels, with one; floating point is taken as it is."""
    image = drawn(1, 16, 16)
    once = prepared(image, 16)
    torch.testing.assert_close(prepared(image[0], 16), once)
    torch.testing.assert_close(prepared(image.double() / 255, 16), once.double())
    for channel in once[0]:
        torch.testing.assert_close(channel, image[0].float() / 255)


def test_huge_pictures_are_averaged() -> None:
    """A board of single pixels becomes grey, not a choice of pixels."""
    board = ((torch.arange(2000)[:, None] + torch.arange(2000)) % 2).to(torch.uint8) * 255
    found = prepared(board, 20)
    torch.testing.assert_close(
        found[..., 2:-2, 2:-2], torch.full((1, 3, 16, 16), 0.5), atol=0.01, rtol=0
    )


def test_errors() -> None:
    """Each names what is wrong."""
    image = drawn(3, 16, 16)
    with pytest.raises(ValueError, match="side must be positive, got 0"):
        prepared(image, 0)
    with pytest.raises(ValueError, match=r"got \(5, 16, 16\)"):
        prepared(drawn(5, 16, 16), 8)
    with pytest.raises(ValueError, match=r"got \(1, 3, 16, 16\)"):
        prepared(image[None], 8)
    for height, width in ((7, 16), (16, 7), (8, 513), (1, 1)):
        with pytest.raises(ValueError, match=f"a picture of {height}x{width} is too small"):
            prepared(drawn(3, height, width), 8)
    assert prepared(drawn(3, 8, 512), 8).shape == (1, 3, 8, 8)
    for wrong in (
        image.float(),
        image.int(),
        (image > 127).int(),
        image > 127,
        image.float() / 255 - 0.5,
        image * torch.nan,
    ):
        with pytest.raises(ValueError, match=r"bytes, or numbers in \[0, 1\]; these are torch"):
            prepared(wrong, 8)
