"""The grid in the page pools and unpools as litgen does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from litgen.segmentation import unpooling

pytestmark = pytest.mark.browser

CHAPTER = "book/segmentation/segnet.html"
FIGURE = 'figure[data-widget="unpooling"]'


def test_the_page_unpools_what_pytorch_unpools(open_page: Callable[..., Any]) -> None:
    """Maxima, slots and unpooled grids of random numbers with many ties; an edited cell."""
    page = open_page(CHAPTER, formulas=False)
    page.locator(FIGURE).scroll_into_view_if_needed()
    page.locator(f"{FIGURE}[data-ready] input").first.wait_for()
    x = torch.randint(-3, 4, (20, 1, 4, 4), generator=torch.Generator().manual_seed(4)).float()
    maxima, places = unpooling.pool(x)
    slots = unpooling.slots_of(places, 4)
    corners = unpooling.places_of(torch.zeros_like(slots), 4)
    for i, values in enumerate(x.flatten(1).tolist()):
        for corner in (0, 1):
            found = page.evaluate(
                "([v, c]) => litgen.widgets.unpooling.compute(v, c)", [values, corner]
            )
            assert found["maxima"] == maxima[i].flatten().tolist()
            assert found["slots"] == slots[i].flatten().tolist()
            where = corners if corner else places
            expected = unpooling.unpool(maxima, where, (4, 4))[i]
            assert found["unpooled"] == expected.flatten().tolist()
    page.evaluate("litgen.widgets.unpooling.choose(Array(16).fill(1))")
    page.locator(f"{FIGURE} input").nth(5).fill("8")
    said = page.locator(f"{FIGURE} output").inner_text()
    assert said.startswith("4 of 4 maxima stand where they were; 4 of 4")
    page.locator(f"{FIGURE} select").select_option("1")
    assert page.locator(f"{FIGURE} output").inner_text().startswith("3 of 4 maxima stand")
