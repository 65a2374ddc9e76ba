"""The page paints what PyTorch paints, in any blend of styles."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from litgen import runs
from litgen.recipes.style import fast
from tests.browser import visits

pytestmark = pytest.mark.browser

CHAPTER = "book/style/arbitrary.html"


def test_the_page_paints_what_pytorch_paints(
    open_page: Callable[..., Any], real_data: None
) -> None:
    """A photograph in single styles and in blends, every level to 0.005; controls are answered."""
    profile, _ = runs.planned("style/fast")
    run = runs.find("style/fast", profile)
    if run is None:
        visits.missing("no fresh run of style/fast: `make book` trains it")
    painter = fast.restore(run)
    page = open_page(CHAPTER, formulas=False)
    page.locator('figure[data-widget="style-blend"]').scroll_into_view_if_needed()
    page.locator('figure[data-widget="style-blend"][data-ready] canvas').first.wait_for()
    widget = 'litgen.widgets["style-blend"]'
    image = page.evaluate(f"{widget}.chosen()")
    side = round((len(image) / 3) ** 0.5)
    x = torch.tensor(image).view(1, 3, side, side)
    count = len(painter.styles)
    blends = [[1.0, 0.0], [0.0, 1.0], [0.35, 0.65]]
    pictures = []
    for pair in blends:
        weights = pair + [0.0] * (count - 2)
        expected = painter(x, torch.tensor([weights]))[0]
        arguments = [image, weights]
        found = page.evaluate(f"([image, weights]) => {widget}.compute(image, weights)", arguments)
        torch.testing.assert_close(
            torch.tensor(found).view_as(expected), expected, atol=5e-3, rtol=0
        )
        shown = page.evaluate(f"(share) => {widget}.choose(0, 0, 1, share)", pair[1])
        levels = torch.tensor(shown).view(side, side, 4)[..., :3].permute(2, 0, 1) / 255
        torch.testing.assert_close(levels, expected, atol=8e-3, rtol=0)
        pictures.append(expected)
    assert (pictures[0] - pictures[1]).abs().mean() > 0.02
    assert "65 %" in page.evaluate(f"{widget}.text()")
    slider = page.locator('figure[data-widget="style-blend"] input[type=range]')
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") is not None
    assert float(slider.input_value()) == pytest.approx(0.7)
