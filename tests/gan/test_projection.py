"""Proof for litgen/gan/projection.py: the log-densities of torch.distributions."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from litgen.gan import projection


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def covariance(seed: int) -> Tensor:
    """Return a covariance of three dimensions."""
    root = random(3, 3, seed=seed)
    return root @ root.T + 0.5 * torch.eye(3)


def test_the_projection_is_the_exact_log_ratio() -> None:
    """eq:big-gaussian-ratio: four classes, other covariances on both sides."""
    means, others = random(4, 3, seed=1), random(4, 3, seed=2)
    p_cov, q_cov = covariance(3), covariance(4)
    ratio = projection.gaussian_ratio(means, p_cov, others, q_cov)
    x, labels = 2 * random(40, 3, seed=5), torch.arange(40) % 4
    expected = MultivariateNormal(means[labels], p_cov).log_prob(x)
    expected = expected - MultivariateNormal(others[labels], q_cov).log_prob(x)
    found = projection.log_ratio(ratio, x, labels)
    torch.testing.assert_close(found, expected)
    assert found.std() > 1


def test_with_one_covariance_only_the_product_is_left() -> None:
    """eq:big-gaussian-ratio: S = T, so b(x) is zero and the ratio is affine in x."""
    means, others = random(4, 3, seed=1), random(4, 3, seed=2)
    ratio = projection.gaussian_ratio(means, covariance(3), others, covariance(3))
    assert ratio.curvature.abs().max() < 1e-12
    assert ratio.offset.abs() < 1e-12
    assert ratio.vectors.shape == (4, 4)
    middle = (means + others) / 2  # equally far from both means
    torch.testing.assert_close(
        projection.log_ratio(ratio, middle, torch.arange(4)), torch.zeros(4).double()
    )


def test_classes_of_other_shapes_have_no_such_form() -> None:
    """eq:big-gaussian-ratio needs one S for all classes: else differences of classes curve."""
    x = torch.linspace(-3, 3, 7).double()[:, None]
    wide, narrow = (torch.distributions.Normal(0.0, s) for s in (2.0, 0.5))
    apart = (wide.log_prob(x) - narrow.log_prob(x)).flatten()
    assert apart.diff().diff().abs().min() > 0.1
    ratio = projection.gaussian_ratio(*(random(2, 1, seed=1), torch.eye(1).double()) * 2)
    of_class = [projection.log_ratio(ratio, x, torch.full((7,), y)) for y in (0, 1)]
    assert (of_class[0] - of_class[1]).diff().diff().abs().max() < 1e-12


def test_what_does_not_fit_is_refused() -> None:
    """The error names all shapes."""
    one, two = torch.eye(1), torch.eye(2)
    with pytest.raises(ValueError, match=r"means of shapes \(3, 2\), \(4, 2\)"):
        projection.gaussian_ratio(torch.zeros(3, 2), two, torch.zeros(4, 2), two)
    with pytest.raises(ValueError, match=r"covariances \[\(1, 1\), \(2, 2\)\]"):
        projection.gaussian_ratio(torch.zeros(3, 2), one, torch.zeros(3, 2), two)
