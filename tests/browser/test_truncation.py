"""The truncation slider cuts codes and runs the generator as PyTorch does."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from litgen import runs
from litgen.gan.truncation import truncated
from litgen.recipes.gan import biggan
from tests.browser import visits

pytestmark = pytest.mark.browser

CHAPTER = "book/gan/biggan.html"


def test_the_page_cuts_and_generates_as_pytorch_does(
    open_page: Callable[..., Any], real_data: None
) -> None:
    """Quantiles to 1e-5 at three thresholds; every pixel of four classes to 3e-3."""
    profile, _ = runs.planned("gan/biggan")
    run = runs.find("gan/biggan", profile)
    if run is None:
        visits.missing("no fresh run of gan/biggan: `make book` trains it")
    generator = biggan.restore(run).generator
    page = open_page(CHAPTER, formulas=False)
    page.locator('figure[data-widget="truncation"]').scroll_into_view_if_needed()
    page.locator('figure[data-widget="truncation"][data-ready] canvas').first.wait_for()
    draw = torch.Generator().manual_seed(6)
    u = torch.rand(40, generator=draw, dtype=torch.float64)
    for threshold in (0.05, 0.8, 3.0):
        found = page.evaluate(
            "([us, t]) => us.map((u) => litgen.widgets.truncation.quantile(u, t))",
            [u.tolist(), threshold],
        )
        expected = truncated(u, threshold)
        torch.testing.assert_close(torch.tensor(found).double(), expected, atol=1e-5, rtol=1e-5)
    z, labels = torch.randn(4, generator.latent, generator=draw), torch.tensor([0, 3, 7, 9])
    images = generator(z, labels).flatten(1)
    assert images.std(dim=0).max() > 0.3
    pictures = [
        page.evaluate("([z, y]) => litgen.widgets.truncation.compute(z, y)", [code, label])
        for code, label in zip(z.tolist(), labels.tolist(), strict=True)
    ]
    torch.testing.assert_close(torch.tensor(pictures), images, atol=3e-3, rtol=0)
    page.evaluate("litgen.widgets.truncation.choose(0.5, 8)")
    assert "t = 0.50, bag" in page.locator('figure[data-widget="truncation"] output').inner_text()
