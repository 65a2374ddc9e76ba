"""Proof for litgen/style/perceptual.py: loops over a made-up network's features."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from litgen.style.perceptual import Judge, Parts

Normal = Callable[..., Tensor]


def features(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Stand for VGG: pictures themselves, their squares, and their sums of two rows."""
    known = {
        "same": images,
        "square": images**2,
        "rows": images[:, :, ::2] + images[:, :, 1::2],
    }
    return {name: known[name] for name in layers}


JUDGE = Judge(features, "square", ("same", "rows"), 2.5)


def test_the_loss_is_content_plus_weighted_style(normal: Normal) -> None:
    """eq:arb-loss by loops over channels and places; one number a picture."""
    x, content, painting = normal(2, 3, 4, 6), normal(2, 3, 4, 6), normal(1, 3, 8, 8)
    found = JUDGE(x, JUDGE.content(content), JUDGE.style(painting))
    for b in range(2):
        kept = sum(
            ((p**2 - q**2) ** 2).item()
            for p, q in zip(x[b].flatten(), content[b].flatten(), strict=True)
        )
        assert found.content[b].item() == pytest.approx(kept / (2 * 3 * 24), rel=1e-5)
        taken = 0.0
        for name in ("same", "rows"):
            f, g = features(x, [name])[name][b], features(painting, [name])[name][0]
            for i in range(3):
                for j in range(3):
                    gap = (f[i] * f[j]).mean() - (g[i] * g[j]).mean()
                    taken += gap.item() ** 2 / (4 * 9)
        assert found.style[b].item() == pytest.approx(taken, rel=1e-4)
        assert found.total[b].item() == pytest.approx(
            found.content[b].item() + 2.5 * found.style[b].item(), rel=1e-6
        )


def test_the_content_itself_costs_no_content_and_the_style_no_style(normal: Normal) -> None:
    """eq:arb-loss: each term is 0 where it should be, and moves what it should."""
    x = normal(2, 3, 4, 6)
    own = JUDGE(x, JUDGE.content(x), JUDGE.style(x))
    assert own.total.abs().max() < 1e-9
    y = x.clone().requires_grad_()
    other = JUDGE(y, JUDGE.content(normal(2, 3, 4, 6)), JUDGE.style(x[:1]))
    other.total.sum().backward()
    assert y.grad is not None
    assert y.grad.abs().min() > 0
    assert other.style[0] < 1e-9 < other.style[1]
    z = x.clone().requires_grad_()
    parts = JUDGE(z, JUDGE.content(normal(2, 3, 4, 6)), JUDGE.style(normal(1, 3, 4, 6)))
    for term in (parts.content, parts.style):  # both can be lowered by the pictures
        (slope,) = torch.autograd.grad(term.sum(), z, retain_graph=True)
        assert slope.abs().flatten(1).max(dim=1).values.min() > 1e-4


def test_coarse_features_are_judged_in_full_precision(normal: Normal) -> None:
    """eq:arb-loss: features in bfloat16 cost what their numbers cost in float32; slopes, too."""
    x, content, painting = (normal(2, 3, 4, 6).bfloat16() for _ in range(3))

    def plain(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        return {name: images * (2 if name == "twice" else 1) for name in layers}

    judge, slopes = Judge(plain, "twice", ("once",), 2.5), []
    for kind in (torch.bfloat16, torch.float32):
        y = x.to(kind).requires_grad_()
        kept, taken = judge.content(content.to(kind)), judge.style(painting.to(kind))
        found = judge(y, kept, taken)
        assert {part.dtype for part in (*taken, found.content, found.style)} == {torch.float32}
        terms = torch.stack([found.content, found.style])
        slopes.append((terms, torch.autograd.grad(found.style.sum(), y)[0]))
    (coarse, rough), (fine, smooth) = slopes
    torch.testing.assert_close(coarse, fine, rtol=1e-6, atol=0)
    assert torch.equal(rough, smooth.bfloat16())  # rounded once


def test_matrices_that_do_not_fit(normal: Normal) -> None:
    """One Gram matrix for two layers is an error, not half a loss."""
    x = normal(2, 3, 4, 6)
    with pytest.raises(ValueError, match="1 Gram matrices for 2 layers"):
        JUDGE(x, JUDGE.content(x), JUDGE.style(x)[:1])


def test_parts_add_up() -> None:
    """The weight is on the style."""
    assert Parts(torch.tensor([1.0]), torch.tensor([10.0]), 0.1).total.item() == pytest.approx(2.0)
