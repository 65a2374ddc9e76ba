"""Proof for litgen/evaluation/features.py: hooks on the classifier, each metric called alone."""

import math

import pytest
import torch
from torch import Tensor

from litgen.classifier import FEATURES, Classifier
from litgen.evaluation import manifolds
from litgen.evaluation.features import Described, describe, judge
from litgen.evaluation.frechet import frechet_distance
from litgen.evaluation.inception_score import inception_score
from litgen.evaluation.kernel import kernel_distance


@pytest.fixture
def classifier() -> Classifier:
    """Return a small classifier that was never trained, in evaluation mode."""
    torch.manual_seed(0)
    return Classifier(width=2).eval()


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    """Return 70 random pictures."""
    return torch.rand(70, 1, 28, 28, generator=generator)


def test_features_are_what_the_last_layer_sees(classifier: Classifier, images: Tensor) -> None:
    """Caught by a hook at the head's input; the logits are the network's own."""
    seen: list[Tensor] = []
    classifier.head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    logits = classifier(images)
    found = describe(classifier, images)
    torch.testing.assert_close(found.features, seen[0])
    torch.testing.assert_close(found.logits, logits)
    assert found.features.shape == (70, FEATURES)
    assert found.features.std(dim=0).max() > 1e-3
    assert not found.features.requires_grad


def test_black_and_white_are_grey_values(classifier: Classifier, images: Tensor) -> None:
    """0 and 1 themselves are inside, and no pixel is changed on the way."""
    edges = images.round()
    assert edges.unique().tolist() == [0, 1]
    torch.testing.assert_close(describe(classifier, edges).features, classifier.features(edges))


@pytest.mark.parametrize("batch_size", [1, 32, 70, 500])
def test_batches_change_nothing(classifier: Classifier, images: Tensor, batch_size: int) -> None:
    """Each image is described as if it were alone."""
    whole = describe(classifier, images)
    parts = describe(classifier, images, batch_size)
    torch.testing.assert_close(parts.features, whole.features)
    torch.testing.assert_close(parts.logits, whole.logits)


def described(generator: torch.Generator, count: int, shift: float = 0.0) -> Described:
    """Return random numbers in place of features and logits."""
    features = torch.randn(count, 6, generator=generator) + shift
    return Described(features, 2 * torch.randn(count, 4, generator=generator) + shift)


def test_each_number_is_its_own_metric(generator: torch.Generator) -> None:
    """Data first, samples second, each metric in the field of its name."""
    data, samples = described(generator, 60), described(generator, 60, shift=0.8)
    found = judge(data, samples, k=3)
    shares = manifolds.compare(data.features, samples.features, 3)
    assert found.frechet == frechet_distance(data.features, samples.features).item()
    assert found.kernel == kernel_distance(data.features, samples.features).item()
    assert found.score == inception_score(samples.logits).item()
    assert found[3:] == shares
    assert (found.precision, found.recall) == (shares.precision, shares.recall)
    assert (found.density, found.coverage) == (shares.density, shares.coverage)
    other = judge(samples, data, k=3)
    assert found.precision == other.recall != found.recall
    assert found.score != inception_score(data.logits).item()
    assert judge(data, samples)[3:] == manifolds.compare(data.features, samples.features, 5)


def test_few_samples_are_judged_too(generator: torch.Generator) -> None:
    """Fewer than dimensions: every number is finite, and the distance is the covariances'."""
    x = torch.randn(30, 128, generator=generator, dtype=torch.float64)
    y = 1.5 * torch.randn(30, 128, generator=generator, dtype=torch.float64)
    logits = torch.randn(30, 10, generator=generator, dtype=torch.float64)
    found = judge(Described(x, logits), Described(y, logits))
    assert all(math.isfinite(value) for value in found)
    cov_x, cov_y = x.T.cov(), y.T.cov()
    root = torch.linalg.eigvals(cov_x @ cov_y).real.clamp_min(0).sqrt().sum()
    expected = (x.mean(dim=0) - y.mean(dim=0)).square().sum() + cov_x.trace() + cov_y.trace()
    assert found.frechet == pytest.approx((expected - 2 * root).item(), rel=1e-3)


def test_identical_samples_have_numbers(generator: torch.Generator) -> None:
    """All samples one point: no recall, and the distance of a point mass."""
    data = described(generator, 40)
    one = Described(*(part[:1].expand(40, -1) for part in data))
    found = judge(data, one)
    assert found.score == pytest.approx(1)
    assert found.recall == pytest.approx(1 / 40)  # the very datum
    assert found.precision == 1
    gap = (data.features - data.features[0]).double()
    expected = gap.mean(dim=0).square().sum() + gap.var(dim=0).sum()
    assert found.frechet == pytest.approx(expected.item(), rel=1e-5)


def test_bad_images(unchecked: None, classifier: Classifier, images: Tensor) -> None:
    """Another range, not a number, none, another shape, a network in training mode."""
    nan = images.clone()
    nan[3, 0, 2, 2] = math.nan
    for bad in (2 * images - 1, 255 * images, nan, images - 1e-3):
        with pytest.raises(ValueError, match=r"grey values must be in \[0, 1\]"):
            describe(classifier, bad)
    for bad in (images[:0], images[:, 0], images[:, :, :27], images.expand(-1, 3, -1, -1)):
        with pytest.raises(ValueError, match=r"images of shape \(1, 28, 28\)"):
            describe(classifier, bad)
    with pytest.raises(ValueError, match="training mode"):
        describe(classifier.train(), images)


def test_bad_sets(unchecked: None, generator: torch.Generator) -> None:
    """Sets of other sizes; features that are not finite."""
    data = described(generator, 20)
    with pytest.raises(ValueError, match=r"as many data as samples .*\(20, 6\) and \(19, 6\)"):
        judge(data, described(generator, 19))
    bad = data._replace(features=torch.full((20, 6), math.nan))
    with pytest.raises(ValueError, match="finite"):
        judge(data, bad)
    with pytest.raises(ValueError, match="finite logits"):
        judge(data, data._replace(logits=torch.full((20, 4), math.inf)))
