"""The page weighs profiles as PyTorch does, and says which classes fit the chosen sherd."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from litgen import runs
from litgen.applications import sherds
from litgen.data import pottery
from litgen.recipes.applications import vessels
from tests.browser import visits

pytestmark = pytest.mark.browser

CHAPTER = "book/applications/archaeology.html"


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    """Return the chapter's page with its widget running."""
    found = open_page(CHAPTER, formulas=False)
    found.locator('figure[data-widget="sherd"]').scroll_into_view_if_needed()
    found.locator('figure[data-widget="sherd"][data-ready] canvas').wait_for()
    return found


def test_the_page_weighs_profiles_as_pytorch_does(page: Any, real_data: None) -> None:
    """Weights, effective number and class shares of three sherds."""
    profile, _ = runs.planned("applications/vessels")
    run = runs.find("applications/vessels", profile)
    if run is None:
        visits.missing("no fresh run of applications/vessels: `make book` trains it")
    model = vessels.restore(run)
    z = torch.randn(6_000, model.latent, generator=torch.Generator().manual_seed(5))
    labels = torch.arange(6_000) % 5
    bank = (255 * model(z, labels)).round().clamp(0, 255)
    test_set = pottery.load("test")
    picked = torch.cat([(test_set.labels == c).nonzero()[2:4, 0] for c in (4, 3, 2, 1, 0)])
    y = (255 * vessels.measured(test_set)[picked]).round()
    scales = [factor * 255 * vessels.HAND for factor in (1.0, 1.5, 2.0, 2.5)]
    for vessel, first, last in ((0, 0, 9), (4, 24, 31), (9, 10, 10)):
        found = page.evaluate("a => litgen.widgets.sherd.choose(...a)", [vessel, first, last])
        seen = torch.zeros(33, dtype=torch.bool)
        seen[first : last + 1] = seen[32] = True
        weights = torch.tensor(found["weights"])
        likely = [
            sherds.hand_log_prob(y[vessel][seen], bank[:, seen], scale).softmax(dim=0)
            for scale in scales
        ]
        expected = min(likely, key=lambda w: (w - weights).abs().max().item())
        torch.testing.assert_close(weights, expected, atol=2e-3, rtol=0)
        shares = [weights[labels == c].sum().item() for c in range(5)]
        assert found["shares"] == pytest.approx(shares, abs=1e-4)
        assert found["effective"] == pytest.approx(1 / weights.square().sum().item(), rel=1e-3)


def test_the_controls_choose_the_sherd(page: Any) -> None:
    """The sliders may be crossed; the words follow; the truth can be shown."""
    figure = page.locator('figure[data-widget="sherd"]')
    said = figure.locator("output").inner_text()
    page.evaluate("litgen.widgets.sherd.choose(2, 31, 24)")
    assert "heights 25 to 32 of 32" in figure.locator("output").inner_text()
    assert figure.locator("output").inner_text() != said
    read = "c => c.toDataURL()"
    before = figure.locator("canvas").evaluate(read)
    figure.locator('input[type="checkbox"]').check()
    assert figure.locator("canvas").evaluate(read) != before
