"""Proof for litgen/evaluation/defects.py: counts of classes and copies, scipy's blur, moments."""

from collections.abc import Callable

import pytest
import scipy.ndimage
import torch
from torch import Tensor

from litgen.evaluation import defects

Draw = Callable[..., Tensor]
LABELS = torch.arange(2_000) % 10


def test_classes_are_left_out(generator: torch.Generator) -> None:
    """The last ones, and of the others each image at most once, every class about as often."""
    for strength, kept in ((0.0, 10), (0.3, 7), (0.29, 7), (0.9, 1)):
        chosen = defects.without_classes(LABELS, strength, 180, generator)
        assert len(chosen.unique()) == 180
        present = LABELS[chosen].bincount(minlength=10)
        assert (present[:kept] > 0).all()
        assert (present[kept:] == 0).all()
        assert present[:kept].max() < 2.5 * 180 / kept
    again = defects.without_classes(LABELS, 0.9, 180, generator)
    assert set(again.tolist()) != set(chosen.tolist())


def test_odds_of_classes(generator: torch.Generator) -> None:
    """(1 - strength)^c, to the whole number below; what is left goes to class 0."""
    chosen = defects.unbalanced(LABELS, 0.5, 200, generator)
    assert len(chosen.unique()) == len(chosen) == 200
    expected = [int(200 * 0.5**c / (2 - 0.5**9)) for c in range(10)]
    expected[0] += 200 - sum(expected)
    assert LABELS[chosen].bincount(minlength=10).tolist() == expected
    assert LABELS[defects.unbalanced(LABELS, 0.0, 200, generator)].bincount().tolist() == [20] * 10


def test_few_different_images(generator: torch.Generator) -> None:
    """A share of 1 - strength, each about as often."""
    for strength, different in ((0.0, 100), (0.75, 25), (1.0, 1), (0.5, 50)):
        chosen = defects.collapsed(LABELS, strength, 100, generator)
        _, counts = chosen.unique(return_counts=True)
        assert len(chosen) == 100
        assert len(counts) == different
        assert counts.max() - counts.min() <= 1
    assert len(defects.collapsed(LABELS, 0.4, 101, generator)) == 101


def test_blur_is_scipys(normal: Draw) -> None:
    """A Gaussian of 2 pixels at full strength; black beyond the edge."""
    images = normal(3, 1, 20, 20).abs().clamp(max=1)
    for strength, radius in ((1.0, 6), (0.5, 6)):
        expected = scipy.ndimage.gaussian_filter(
            images.numpy(),
            sigma=(0, 0, 2 * strength, 2 * strength),
            mode="constant",
            radius=(0, 0, radius, radius),
        )
        found = defects.blurred(images, strength)
        torch.testing.assert_close(found, torch.from_numpy(expected))
        assert not torch.allclose(found, images, atol=0.1)
    same = defects.blurred(images, 0.0)
    assert torch.equal(same, images)
    assert same.data_ptr() != images.data_ptr()


def test_white_stays_white() -> None:
    """Weights add up to one but for rounding, which must not lead out of [0, 1]."""
    white = torch.ones(1, 1, 30, 30)
    for step in range(1, 41):
        found = defects.blurred(white, step / 40)
        assert 0.999999 < found.max() <= 1


def test_who_draws_is_the_generator() -> None:
    """The same one gives the same noise and choice, whatever PyTorch's own stands at."""
    grey, found = torch.full((2, 1, 5, 5), 0.5), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        draw = torch.Generator().manual_seed(9)
        chosen = defects.without_classes(LABELS, 0.3, 20, draw)
        found.append((defects.noisy(grey, 0.1, draw), chosen))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_noise_has_the_strength_as_deviation(generator: torch.Generator) -> None:
    """On mid grey, where nothing is cut; and pixels stay in [0, 1]."""
    grey = torch.full((20, 1, 28, 28), 0.5)
    assert defects.noisy(grey, 0.1, generator).std() == pytest.approx(0.1, rel=0.03)
    assert defects.noisy(grey, 0.1, generator).mean() == pytest.approx(0.5, abs=0.005)
    strong = defects.noisy(grey, 1.0, generator)
    assert (strong.min(), strong.max()) == (0, 1)
    assert torch.equal(defects.noisy(grey, 0.0, generator), grey)


def test_foreign_images_take_places() -> None:
    """One at least; none at strength 0."""
    images, others = torch.zeros(50, 1, 2, 2), torch.ones(50, 1, 2, 2)
    for strength, number in ((0.0, 0), (0.001, 1), (0.1, 5), (0.11, 6), (1.0, 50)):
        found = defects.with_foreign(images, strength, others)
        assert found.shape == images.shape
        assert found.mean(dim=(1, 2, 3)).sum() == number
    images, others = torch.rand(2, 10, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = defects.with_foreign(images, 0.3, others)
    assert torch.equal(found, torch.stack([*others[:3], *images[3:]]))


def test_bad_input(unchecked: None, generator: torch.Generator) -> None:
    """Strengths outside [0, 1], pools that are too small, foreign images of other sizes."""
    images = torch.zeros(5, 1, 4, 4)
    for strength in (-0.1, 1.1, float("nan")):
        for call in (
            lambda s: defects.without_classes(LABELS, s, 5, generator),
            lambda s: defects.unbalanced(LABELS, s, 5, generator),
            lambda s: defects.collapsed(LABELS, s, 5, generator),
            lambda s: defects.blurred(images, s),
            lambda s: defects.noisy(images, s, generator),
            lambda s: defects.with_foreign(images, s, images),
        ):
            with pytest.raises(ValueError, match="strength is"):
                call(strength)
    with pytest.raises(ValueError, match="300 different images wanted"):
        defects.without_classes(LABELS, 0.9, 300, generator)
    with pytest.raises(ValueError, match="different images wanted of a pool with 0"):
        defects.without_classes(LABELS, 1.0, 5, generator)
    with pytest.raises(ValueError, match="0 different images wanted of a pool with 2000"):
        defects.without_classes(LABELS, 0.0, 0, generator)
    with pytest.raises(ValueError, match="foreign images needed"):
        defects.with_foreign(images, 1.0, images[:3])
    with pytest.raises(ValueError, match="foreign images needed"):
        defects.with_foreign(images, 0.2, torch.zeros(5, 1, 3, 3))
