"""Maps over scenes show what the recipe's networks predict."""

from collections.abc import Callable
from typing import Any

import pytest

from litgen import runs
from litgen.data import scenes
from litgen.recipes.segmentation import fcn
from tests.browser import visits

pytestmark = pytest.mark.browser

CHAPTER = "book/segmentation/fcn.html"
SHOWN = [0, 3, 5, 8, 11, 14]


def test_the_page_counts_the_pixels_that_pytorch_has_right(
    real_data: None, open_page: Callable[..., Any]
) -> None:
    """Every network on every scene that the page has; the truth is right everywhere; the opacity
    leads from the scene's own pixels to the map's colours."""
    profile, _ = runs.planned("segmentation/fcn")
    run = runs.find("segmentation/fcn", profile)
    if run is None:
        visits.missing("no fresh run of segmentation/fcn: `make book` trains it")
    test = scenes.load("test")
    page = open_page(CHAPTER, formulas=False)
    figure = page.locator('figure[data-widget="class-map"]')
    figure.scroll_into_view_if_needed()
    page.locator('figure[data-widget="class-map"][data-ready] canvas').first.wait_for()
    maps = {
        i + 2: fcn.predict(m, test.images[SHOWN]) for i, m in enumerate(fcn.models(run).values())
    }
    choose = "([o, i, p]) => litgen.widgets['class-map'].choose(o, i, p)"
    for option, found in maps.items():
        for i, chosen in enumerate(SHOWN):
            right = (found[i] == test.classes[chosen]).double().mean().item()
            assert page.evaluate(choose, [option, i, 50]) == pytest.approx(right, abs=2e-3)
    assert page.evaluate(choose, [0, 2, 0]) == 1
    read = "node => [...node.getContext('2d').getImageData(0, 0, 64, 64).data]"
    seen = figure.locator("canvas").first.evaluate(read)
    assert seen[:3] == test.images[SHOWN[2], :, 0, 0].tolist()
    page.evaluate(choose, [0, 2, 100])
    seen = figure.locator("canvas").first.evaluate(read)
    assert seen[:3] == [140, 140, 140]
