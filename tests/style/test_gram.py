"""Proof for litgen/style/gram.py."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.style import gram as module
from litgen.style.gram import content_loss, gram, quadratic_mmd, style_gradient, style_loss

Draw = Callable[..., Tensor]


def test_gram_is_a_double_loop(normal: Draw) -> None:
    """Place by place, channel by channel. eq:gatys-gram."""
    features = normal(2, 3, 4, 5)
    found = gram(features)
    for b in range(2):
        for i in range(3):
            for j in range(3):
                total = 0.0
                for y in range(4):
                    for x in range(5):
                        total += features[b, i, y, x].item() * features[b, j, y, x].item()
                assert found[b, i, j].item() == pytest.approx(total / 20)


def test_shuffled_places_have_the_same_gram(normal: Draw, generator: torch.Generator) -> None:
    """All channels shuffled alike: the same. One on its own: not the same. eq:gatys-gram."""
    features = normal(2, 3, 4, 5)
    order = torch.randperm(20, generator=generator)
    shuffled = features.flatten(2)[:, :, order].view_as(features)
    torch.testing.assert_close(gram(shuffled), gram(features))
    alone = features.clone()
    alone[:, 0] = shuffled[:, 0]
    assert not torch.allclose(gram(alone), gram(features))


def test_a_picture_laid_twice_has_the_same_gram(normal: Draw) -> None:
    """Sizes do not count. eq:gatys-gram."""
    features = normal(1, 3, 4, 5)
    torch.testing.assert_close(gram(torch.cat([features, features], dim=3)), gram(features))


def test_style_loss_by_hand(normal: Draw) -> None:
    """Two by two matrices; the paper's form, unnormalised products. eq:gatys-style-layer."""
    found = torch.tensor([[[1.0, 2.0], [2.0, 5.0]], [[0.0, 0.0], [0.0, 0.0]]])
    wanted = torch.tensor([[[0.0, 2.0], [2.0, 3.0]]])
    expected = torch.tensor([(1 + 4) / 16, (4 + 4 + 9) / 16])
    torch.testing.assert_close(style_loss(found, wanted), expected)
    one, other = normal(2, 3, 4, 5), normal(2, 3, 4, 5)
    g, a = (torch.einsum("bihw,bjhw->bij", f, f) for f in (one, other))
    paper = (g - a).square().sum(dim=(1, 2)) / (4 * 3**2 * 20**2)
    torch.testing.assert_close(style_loss(gram(one), gram(other)), paper)
    assert torch.equal(style_loss(gram(one), gram(one)), torch.zeros(2, dtype=torch.float64))


def test_content_loss_by_hand(normal: Draw) -> None:
    """A loop over all numbers of each example. eq:gatys-content."""
    found, wanted = normal(2, 3, 4, 5), normal(2, 3, 4, 5)
    for one in (wanted, wanted[:1]):
        loss = content_loss(found, one)
        assert loss.shape == (2,)
        for b in range(2):
            other = one[b % len(one)].flatten().tolist()
            pairs = zip(found[b].flatten().tolist(), other, strict=True)
            assert loss[b].item() == pytest.approx(sum((x - y) ** 2 for x, y in pairs) / (2 * 60))
    assert content_loss(found, found).abs().max() == 0


def test_the_slope_is_autograds(normal: Draw) -> None:
    """The closed form and the differentiated loss; one style for all too. eq:gatys-style-slope."""
    features = normal(2, 3, 4, 5).requires_grad_()
    for wanted in (gram(normal(2, 3, 6, 7)), gram(normal(1, 3, 6, 7))):
        (expected,) = torch.autograd.grad(style_loss(gram(features), wanted).sum(), features)
        assert expected.abs().mean() > 1e-3
        torch.testing.assert_close(style_gradient(features.detach(), wanted), expected)


def test_the_slope_is_that_of_finite_differences(normal: Draw) -> None:
    """Without autograd. eq:gatys-style-slope."""
    features, wanted, direction = normal(1, 3, 4, 5), gram(normal(1, 3, 4, 5)), normal(1, 3, 4, 5)
    step = 1e-5
    up, down = (style_loss(gram(features + s * step * direction), wanted) for s in (1, -1))
    along = (style_gradient(features, wanted) * direction).sum()
    assert along.item() == pytest.approx(((up - down) / (2 * step)).item(), rel=1e-6)


def test_the_kernel_distance_is_the_grams(normal: Draw) -> None:
    """Kernel by kernel in a loop; 4 N^2 times the style loss. eq:gatys-mmd, eq:gatys-kernel."""
    x, y = normal(1, 3, 2, 5), normal(1, 3, 4, 2)
    rows, others = (f.flatten(2)[0].T for f in (x, y))

    def mean(one: Tensor, other: Tensor) -> float:
        pairs = [(a @ b).item() ** 2 for a in one for b in other]
        return sum(pairs) / len(pairs)

    loop = mean(rows, rows) + mean(others, others) - 2 * mean(rows, others)
    found = quadratic_mmd(rows, others)
    assert found.item() == pytest.approx(loop)
    assert found.item() == pytest.approx(36 * style_loss(gram(x), gram(y)).item())
    assert loop > 0.1


def test_errors_name_both_shapes(normal: Draw, unchecked: None) -> None:
    """Nothing is broadcast in silence."""
    g = gram(normal(2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"Gram matrices are \(2, 3, 3\), wanted are \(3, 3, 3\)"):
        style_loss(g, gram(normal(3, 3, 4, 5)))
    with pytest.raises(ValueError, match=r"are \(2, 3, 3\), wanted are \(1, 1, 1\)"):
        style_loss(g, g[:1, :1, :1])
    with pytest.raises(ValueError, match=r"features are \(2, 3, 4, 5\), wanted are \(2, 3, 4, 1"):
        content_loss(normal(2, 3, 4, 5), normal(2, 3, 4, 1))
    with pytest.raises(ValueError, match=r"Gram matrices are \(2, 3, 3\), wanted are \(2, 4, 4\)"):
        style_gradient(normal(2, 3, 4, 5), gram(normal(2, 4, 4, 5)))
    with pytest.raises(ValueError, match=r"got \(4, 3\), \(4, 2\)"):
        quadratic_mmd(normal(4, 3), normal(4, 2))
    with pytest.raises(ValueError, match=r"got \(0, 3\), \(4, 3\)"):
        quadratic_mmd(normal(4, 3)[:0], normal(4, 3))
    assert set(module.__all__) >= {"gram", "style_loss", "content_loss"}


def test_coarse_features_have_fine_moments(normal: Draw) -> None:
    """Sums in float32 of features in bfloat16; their slope is theirs, rounded. eq:gatys-gram."""
    features = normal(1, 3, 40, 50).to(torch.bfloat16).requires_grad_()
    wanted = gram(normal(1, 3, 6, 7))
    found = gram(features)
    assert found.dtype == torch.float32
    exact = gram(features.detach().double())
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)
    (slope,) = torch.autograd.grad(style_loss(found, wanted.float()).sum(), features)
    assert slope.dtype == torch.bfloat16
    expected = style_gradient(features.detach().double(), wanted)
    torch.testing.assert_close(slope.double(), expected, rtol=0.02, atol=1e-6)


def test_the_moments_slope_for_any_use(normal: Draw) -> None:
    """A loss that is not symmetric in i and j: differences agree with the slope. eq:gatys-gram."""
    weights = normal(3, 3)
    features = normal(2, 3, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: (gram(f) * weights).sum(), features)


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0)])
def test_a_set_without_vectors_has_no_distance(sizes: tuple[int, int]) -> None:
    """The first set or the second."""
    with pytest.raises(ValueError, match="sets of vectors of one length, got"):
        quadratic_mmd(*(torch.ones(size, 3) for size in sizes))
