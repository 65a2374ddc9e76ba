"""The sweep through classes and styles computes what PyTorch computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from litgen import runs
from litgen.recipes.vae import conditional_digits
from tests.browser import visits

pytestmark = pytest.mark.browser

CHAPTER = "book/vae/conditional.html"


def test_the_page_decodes_what_pytorch_decodes(
    open_page: Callable[..., Any], real_data: None
) -> None:
    """Styles and classes, whole and shared between two, every pixel to 2e-3."""
    profile, _ = runs.planned("vae/conditional_digits")
    run = runs.find("vae/conditional_digits", profile)
    if run is None:
        visits.missing("no fresh run of vae/conditional_digits: `make book` trains it")
    model = conditional_digits.restore(run)
    page = open_page(CHAPTER, formulas=False)
    page.locator('figure[data-widget="class-sweep"]').scroll_into_view_if_needed()
    page.locator('figure[data-widget="class-sweep"][data-ready] canvas').first.wait_for()
    latent = run.provenance["config"]["latent"]
    z = torch.randn(4, latent, generator=torch.Generator().manual_seed(6))
    shares = torch.eye(10)[[0, 3, 7, 9]]
    shares[1] = (torch.eye(10)[3] + torch.eye(10)[4]) / 2
    expected = 2 * torch.sigmoid(model.decoder(z, shares)) - 1
    assert expected.std(dim=0).max() > 0.3
    found = [
        page.evaluate("([z, s]) => litgen.widgets['class-sweep'].compute(z, s)", [a, b])
        for a, b in zip(z.tolist(), shares.tolist(), strict=True)
    ]
    torch.testing.assert_close(torch.tensor(found), expected, atol=2e-3, rtol=0)
