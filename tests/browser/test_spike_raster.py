"""The raster of spike trains computes what PyTorch computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from litgen import runs
from litgen.recipes.applications import spikes
from tests.browser import visits

pytestmark = pytest.mark.browser

CHAPTER = "book/applications/neurobiology.html"
NAME = "spike-raster"


def test_the_page_draws_what_pytorch_draws(open_page: Callable[..., Any], real_data: None) -> None:
    """Probabilities to 2e-3; Fano factors fall with the code's strength; buttons draw anew."""
    profile, _ = runs.planned("applications/spikes")
    run = runs.find("applications/spikes", profile)
    if run is None:
        visits.missing("no fresh run of applications/spikes: `make book` trains it")
    generator = spikes.restore(run).generator
    page = open_page(CHAPTER, formulas=False)
    figure = page.locator(f'figure[data-widget="{NAME}"]')
    figure.scroll_into_view_if_needed()
    page.locator(f'figure[data-widget="{NAME}"][data-ready] canvas').first.wait_for()
    z = torch.randn(4, generator.latent, generator=torch.Generator().manual_seed(6))
    expected = generator.probabilities(z).flatten(1)
    assert expected.std(dim=0).max() > 0.1
    found = [
        page.evaluate(f"z => Array.from(litgen.widgets['{NAME}'].compute(z))", a)
        for a in z.tolist()
    ]
    torch.testing.assert_close(torch.tensor(found), expected, atol=2e-3, rtol=0)
    ask = (
        f"s => {{ const w = litgen.widgets['{NAME}']; w.strength.value = s; return w.fano(300) }}"
    )
    held, free = page.evaluate(ask, 0), page.evaluate(ask, 1)
    assert held < 1.05 < free
    before = page.locator(f'figure[data-widget="{NAME}"] output').inner_text()
    page.get_by_role("button", name="Fano factor of 300 trials").click()
    after = page.locator(f'figure[data-widget="{NAME}"] output').inner_text()
    assert "Fano factor" in after != before
