"""EM in the page takes the steps that litgen takes, and answers its buttons and the theme."""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from litgen.density import mixture
from tests.browser.visits import SETTLE, eventually, show_theme, stop_the_clock

pytestmark = pytest.mark.browser

CHAPTER = "book/density/mixture.html"


@pytest.fixture
def figure(open_page: Callable[..., Any]) -> Any:
    """Return the figure on a page of its own, running."""
    page = open_page(CHAPTER, formulas=False)
    found = page.locator('figure[data-widget="em-steps"]')
    found.scroll_into_view_if_needed()
    page.locator('figure[data-widget="em-steps"][data-ready] canvas').last.wait_for()
    return found


def payload(figure: Any, site: Path) -> tuple[Tensor, list[mixture.Mixture]]:
    """Return the page's own points and starts."""
    source = (site / "book" / "density" / figure.get_attribute("data-src")).resolve()
    data = json.loads(re.search(r"\{.*\}", source.read_text("utf8"), re.S)[0])  # type: ignore[index]
    raw = np.frombuffer(base64.b64decode(data["points"]), dtype=np.float16)
    points = torch.from_numpy(raw.astype(np.float64)).view(-1, 2)
    eye = data["variance"] * torch.eye(2, dtype=torch.float64).repeat(3, 1, 1)
    third = torch.full((3,), 1 / 3, dtype=torch.float64)
    means = [torch.tensor(start, dtype=torch.float64) for start in data["starts"]]
    return points, [mixture.Mixture(third, mean, eye) for mean in means]


def picture(canvas: Any) -> np.ndarray:
    """Return a canvas's pixels."""
    data = canvas.evaluate("(canvas) => canvas.toDataURL()").partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
        return np.asarray(opened.convert("RGBA")).astype(int)


def test_the_page_takes_litgens_steps(figure: Any, site: Path) -> None:
    """Twelve steps from two starts: weights, means, covariances, likelihoods to 1e-9."""
    points, starts = payload(figure, site)
    for index in (0, 3):
        state = figure.evaluate(
            """(_, index) => {
              const em = litgen.widgets["em-steps"];
              em.choose(index);
              for (let i = 0; i < 12; i++) em.once();
              return em.state();
            }""",
            index,
        )
        steps = list(mixture.em(points, starts[index], 12))
        values = [mixture.log_prob(points, starts[index]).mean(), *(v for _, v in steps)]
        model = steps[-1][0]
        assert values[-1] - values[0] > 0.05
        assert state["values"] == pytest.approx([v.item() for v in values], abs=1e-9)
        for c, part in enumerate(state["parts"]):
            cov = model.covariances[c]
            assert part["weight"] == pytest.approx(model.weights[c].item(), abs=1e-9)
            assert part["mean"] == pytest.approx(model.means[c].tolist(), abs=1e-9)
            expected = [cov[0, 0].item(), cov[0, 1].item(), cov[1, 1].item()]
            assert part["cov"] == pytest.approx(expected, abs=1e-9)


def test_buttons_step_play_and_choose(figure: Any) -> None:
    """Step takes one, Play goes on until it pauses, Other start begins anew; keys work."""
    page, text = figure.page, figure.locator("output")
    heaps, curve = figure.locator("canvas").all()
    step, play, other = figure.get_by_role("button").all()
    stop_the_clock(page)
    seen = [(picture(heaps), picture(curve))]
    assert text.inner_text().startswith("start 1 of 6, step 0:")
    step.click()
    assert "step 1:" in text.inner_text()
    seen.append((picture(heaps), picture(curve)))
    assert all((a != b).any() for a, b in zip(*seen, strict=True))
    step.focus()
    page.keyboard.press("Enter")
    assert "step 2:" in text.inner_text()
    play.click()
    assert (play.inner_text(), "step 3:" in text.inner_text()) == ("Pause", True)
    page.clock.run_for(900)
    assert "step 5:" in text.inner_text()
    play.click()
    page.clock.run_for(2_000)
    assert (play.inner_text(), "step 5:" in text.inner_text()) == ("Play", True)
    other.click()
    assert text.inner_text().startswith("start 2 of 6, step 0:")
    play.click()
    page.clock.run_for(60_000)
    assert play.inner_text() == "Play"


def test_it_redraws_with_the_theme(figure: Any) -> None:
    """The frame takes the text's colour."""
    canvas = figure.locator("canvas").first

    def frame() -> float:
        return float(picture(canvas)[1, 5:100, :3].mean())

    show_theme(figure.page, "light")
    assert eventually(lambda: frame() < 100)
    show_theme(figure.page, "dark")
    assert eventually(lambda: frame() > 150)
    names = figure.locator("canvas").evaluate_all("all => all.map((c) => c.ariaLabel || '')")
    assert min(map(len, names)) > 20
    assert figure.page.evaluate(SETTLE, False) is None
