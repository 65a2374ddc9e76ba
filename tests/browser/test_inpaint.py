"""The page fills holes as PyTorch does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from litgen import runs
from litgen.autoencoders import context as holes
from litgen.recipes import pictures
from litgen.recipes.autoencoders import context
from tests.browser import visits

pytestmark = pytest.mark.browser

CHAPTER = "book/autoencoders/context.html"


def test_the_page_fills_what_pytorch_fills(open_page: Callable[..., Any], real_data: None) -> None:
    """Three faces, holes at three places, every pixel to 2e-3; a click moves the hole."""
    profile, _ = runs.planned("autoencoders/context")
    run = runs.find("autoencoders/context", profile)
    if run is None:
        visits.missing("no fresh run of autoencoders/context: `make book` trains it")
    model = context.models(run)["roaming"]
    faces = pictures.load("drawn_faces")[1].images[:8]
    page = open_page(CHAPTER, formulas=False)
    figure = page.locator('figure[data-widget="inpaint"]')
    figure.scroll_into_view_if_needed()
    page.locator('figure[data-widget="inpaint"][data-ready] canvas').first.wait_for()
    for face, top, left in ((0, 0, 16), (3, 8, 8), (7, 16, 1)):
        hole = holes.square_hole(32, top, left, 16)
        expected = context.fills(model, faces[face : face + 1], hole)[0]
        found = page.evaluate(
            "([f, t, l]) => litgen.widgets.inpaint.compute(f, t, l)", [face, top, left]
        )
        torch.testing.assert_close(
            torch.tensor(found).view(3, 32, 32), expected, atol=2e-3, rtol=0
        )
        assert expected[:, hole].std() > 0.1
    canvas = figure.locator("canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.25 + 1, "y": box["height"] * 0.75})
    assert figure.locator("output").inner_text().startswith("row 16, column 0")
