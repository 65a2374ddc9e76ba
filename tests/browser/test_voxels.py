"""The object that can be turned shows the faces that numpy counts, from wherever it is seen."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.browser.visits import eventually

pytestmark = pytest.mark.browser

CHAPTER = "book/gan/voxel.html"


def test_an_object_is_turned_by_keys_and_dragging(open_page: Callable[..., Any]) -> None:
    """Angles change, buttons play and reset, the slider names every object."""
    page = open_page(CHAPTER, formulas=False)
    figure = page.locator('figure[data-widget="voxels"]')
    figure.scroll_into_view_if_needed()
    canvas = page.locator('figure[data-widget="voxels"][data-ready] canvas').first
    canvas.wait_for()
    start = page.evaluate("litgen.widgets.voxels.angles()")
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    found = page.evaluate("litgen.widgets.voxels.angles()")
    np.testing.assert_allclose(np.subtract(found, start), [0.1, -0.1])
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 120)
    page.mouse.up()
    dragged = page.evaluate("litgen.widgets.voxels.angles()")
    np.testing.assert_allclose(np.subtract(dragged, found), [-0.5, 0.2], atol=0.02)
    figure.get_by_text("Front").click()
    assert page.evaluate("litgen.widgets.voxels.angles()") == start
    figure.get_by_text("Play").click()
    assert eventually(lambda: page.evaluate("litgen.widgets.voxels.angles()")[0] > start[0])
    figure.get_by_text("Pause").click()
    slider = figure.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    assert "12 of 12: vessel" in figure.locator("output").inner_text()
    upper = page.evaluate("litgen.widgets.voxels.faces(0)")
    page.evaluate("litgen.widgets.voxels.rotate(3.14159, 0)")
    assert upper > 20
    assert page.evaluate("litgen.widgets.voxels.faces(0)") > 20
