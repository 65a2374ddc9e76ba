"""The playground of metrics computes what litgen computes, and answers sliders and theme."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.evaluation import manifolds
from litgen.evaluation.frechet import frechet_distance
from litgen.evaluation.kernel import kernel_distance
from tests.browser.visits import SETTLE, eventually, show_theme

pytestmark = pytest.mark.browser

CHAPTER = "book/evaluation/metrics.html"
SETTINGS = [
    {"moved": 0.0, "width": 1.0, "clusters": 3, "copied": 0.0},
    {"moved": 1.3, "width": 1.0, "clusters": 3, "copied": 0.0},
    {"moved": -0.4, "width": 0.3, "clusters": 2, "copied": 0.25},
    {"moved": 0.0, "width": 0.0, "clusters": 1, "copied": 0.0},
    {"moved": 2.0, "width": 2.5, "clusters": 2, "copied": 1.0},
]


@pytest.fixture
def figure(open_page: Callable[..., Any]) -> Any:
    """Return the figure on a page of its own, running."""
    page = open_page(CHAPTER, formulas=False)
    found = page.locator('figure[data-widget="judged-plane"]')
    found.scroll_into_view_if_needed()
    page.locator('figure[data-widget="judged-plane"][data-ready] canvas').wait_for()
    return found


def points(data: dict[str, Any], name: str) -> Tensor:
    """Return points of the page's own payload."""
    raw = np.frombuffer(base64.b64decode(data[name]), dtype=np.float16)
    return torch.from_numpy(raw.astype(np.float64)).view(-1, 2)


def test_the_page_computes_litgens_numbers(figure: Any, site: Path) -> None:
    """Six metrics at five settings, to 1e-6."""
    source = (site / "book" / "evaluation" / figure.get_attribute("data-src")).resolve()
    payload = json.loads(re.search(r"\{.*\}", source.read_text("utf8"), re.S)[0])  # type: ignore[index]
    data, noise = points(payload, "data"), points(payload, "noise")
    centres = torch.tensor(payload["centres"], dtype=torch.float64)
    seen = []
    for setting in SETTINGS:
        which = torch.arange(len(data)) % setting["clusters"]
        samples = centres[which] + setting["width"] * payload["sd"] * noise
        samples[:, 0] += setting["moved"]
        copies = payload["order"][: round(setting["copied"] * len(data))]
        samples[copies] = data[copies]
        found = figure.evaluate(
            "(_, setting) => litgen.widgets['judged-plane'].compute(setting)", setting
        )
        assert found["frechet"] == pytest.approx(frechet_distance(data, samples).item(), abs=1e-6)
        assert found["kernel"] == pytest.approx(kernel_distance(data, samples).item(), abs=1e-6)
        shares = manifolds.compare(data, samples, payload["k"])._asdict()
        if setting["width"] and setting["copied"] < 1:  # ties are broken by rounding
            assert {name: found[name] for name in shares} == pytest.approx(shares, abs=1e-6)
        seen.append(tuple(found.values()))
    assert len(set(seen)) == len(SETTINGS)
    assert seen[-1][:2] == pytest.approx((0, 0), abs=0.5)


def test_sliders_change_numbers_and_picture(figure: Any) -> None:
    """By the keyboard; each of the four."""
    page, text, canvas = figure.page, figure.locator("output"), figure.locator("canvas")
    sliders = figure.locator("input").all()
    assert len(sliders) == 4
    for slider, key in zip(
        sliders, ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowRight"), strict=True
    ):
        before = text.inner_text(), canvas.evaluate("(c) => c.toDataURL()")
        slider.focus()
        for _ in range(2):
            page.keyboard.press(key)
        assert text.inner_text() != before[0]
        assert canvas.evaluate("(c) => c.toDataURL()") != before[1]


def test_it_redraws_with_the_theme(figure: Any) -> None:
    """The frame takes the text's colour."""
    canvas = figure.locator("canvas")

    def drawn() -> str:
        return str(canvas.evaluate("(c) => c.toDataURL()"))

    show_theme(figure.page, "light")
    figure.page.wait_for_timeout(200)
    light = drawn()
    show_theme(figure.page, "dark")
    assert eventually(lambda: drawn() != light)
    assert figure.page.evaluate(SETTLE, False) is None
