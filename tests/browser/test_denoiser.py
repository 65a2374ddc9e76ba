"""The denoiser in the page computes what PyTorch computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from litgen import runs
from litgen.recipes.autoencoders import denoising_any
from tests.browser import visits

pytestmark = pytest.mark.browser

CHAPTER = "book/autoencoders/denoising.html"


def test_the_page_denoises_what_pytorch_denoises(
    open_page: Callable[..., Any], real_data: None
) -> None:
    """Noisy pieces of clothing, every pixel to 2e-3; the controls are answered."""
    profile, _ = runs.planned("autoencoders/denoising_any")
    run = runs.find("autoencoders/denoising_any", profile)
    if run is None:
        visits.missing("no fresh run of autoencoders/denoising_any: `make book` trains it")
    model = denoising_any.restore(run)
    page = open_page(CHAPTER, formulas=False)
    page.locator('figure[data-widget="denoiser"]').scroll_into_view_if_needed()
    page.locator('figure[data-widget="denoiser"][data-ready] canvas').first.wait_for()
    x = run.tensors["examples.x"][:4].float() / 255
    y = x + 0.5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(6))
    expected = model(y)
    assert expected.std(dim=0).max() > 0.3
    found = [page.evaluate("(y) => litgen.widgets.denoiser.compute(y)", one) for one in y.tolist()]
    torch.testing.assert_close(torch.tensor(found), expected, atol=2e-3, rtol=0)
    page.evaluate("litgen.widgets.denoiser.choose(3, 0)")
    assert "no noise before" in page.evaluate("litgen.widgets.denoiser.text()")
    page.evaluate("litgen.widgets.denoiser.choose(3, 0.5)")
    before = float(page.evaluate("litgen.widgets.denoiser.text()").split(": ")[1].split(" dB")[0])
    assert abs(before - 6.02) < 1
