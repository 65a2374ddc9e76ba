"""The page's own cheapest pairing agrees with scipy's, and points move by mouse and keys."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from tests.browser.visits import eventually

pytestmark = pytest.mark.browser

CHAPTER = "/book/gan/wasserstein.html"


@pytest.fixture
def figure(open_page: Callable[..., Any]) -> Any:
    """Return the figure on a page of its own, running."""
    page = open_page(CHAPTER, formulas=False)
    found = page.locator('figure[data-widget="transport-plan"]')
    found.scroll_into_view_if_needed()
    page.locator('figure[data-widget="transport-plan"][data-ready] canvas').wait_for()
    found.locator(".litgen-panes").scroll_into_view_if_needed()
    return found


def state(figure: Any) -> dict[str, Any]:
    """Return the points and which is chosen."""
    found: dict[str, Any] = figure.page.evaluate("litgen.widgets['transport-plan'].state()")
    return found


@pytest.mark.parametrize("count", [1, 2, 5, 8, 20])
def test_the_pairing_is_scipys(figure: Any, count: int) -> None:
    """Random sets: the same value, and a permutation that has it."""
    g = np.random.default_rng(count)
    x, y = g.normal(size=(2, count, 2))
    found = figure.page.evaluate(
        "([x, y]) => litgen.widgets['transport-plan'].solve(x, y)", [x.tolist(), y.tolist()]
    )
    cost = np.linalg.norm(x[:, None] - y[None], axis=2)
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    assert found["cost"] == pytest.approx(cost[rows, columns].mean(), rel=1e-9)
    assert sorted(found["order"]) == list(range(count))
    assert cost[range(count), found["order"]].mean() == pytest.approx(found["cost"], rel=1e-9)


def test_points_follow_buttons_and_keys(figure: Any) -> None:
    """The button chooses the next point, arrow keys move it, the other button starts again."""
    start = state(figure)
    said = figure.locator("output").inner_text()
    figure.get_by_role("button", name="Next point").click()
    assert state(figure)["chosen"] == 1
    figure.locator("canvas").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        figure.page.keyboard.press(key)
    moved = np.array(state(figure)["points"]) - np.array(start["points"])
    np.testing.assert_allclose(moved[1], [0.1, 0.05], atol=1e-9)
    assert np.abs(np.delete(moved, 1, axis=0)).max() == 0
    assert figure.locator("output").inner_text() != said
    figure.get_by_role("button", name="Start again").click()
    assert state(figure) == start
    assert figure.locator("output").inner_text() == said


def test_points_follow_the_mouse(figure: Any) -> None:
    """A drag takes the nearest point along, and no further than the frame."""
    canvas = figure.locator("canvas")
    box = canvas.bounding_box()
    start = state(figure)["points"]
    at = [(start[8][0] / 2 + 1) / 2 * box["width"], (1 - start[8][1] / 2) / 2 * box["height"]]
    mouse = figure.page.mouse
    mouse.move(box["x"] + at[0], box["y"] + at[1])
    mouse.down()
    mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"], steps=4)
    mouse.up()
    now = state(figure)
    assert now["chosen"] == 8
    np.testing.assert_allclose(now["points"][8], [1, 1], atol=0.03)
    figure.page.evaluate("litgen.widgets['transport-plan'].move(8, 9, -9)")
    np.testing.assert_allclose(state(figure)["points"][8], [1.92, -1.92])


def test_it_redraws_with_the_theme(figure: Any) -> None:
    """Ink of the frame is dark on light and light on dark."""
    read = "c => [...c.getContext('2d').getImageData(1, 300, 1, 1).data].slice(0, 3)"
    canvas = figure.locator("canvas")

    def shade() -> float:
        return float(sum(canvas.evaluate(read)) / 3)

    figure.page.evaluate("document.documentElement.dataset.theme = 'light'")
    figure.page.wait_for_timeout(200)
    light = shade()
    figure.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert eventually(lambda: shade() > light + 80)
