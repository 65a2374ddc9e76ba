"""Proof for litgen/gan/minibatch.py: loops over pairs, numpy, and optima that are known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen.gan import minibatch


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_the_gap_is_the_squared_distance_of_means() -> None:
    """eq:stable-match: number by number, for each copy; batches may differ in size."""
    real, fake = random(2, 5, 3), random(2, 4, 3, seed=1) + 1
    expected = []
    for copy in range(2):
        gaps = [
            sum(real[copy, :, k].tolist()) / 5 - sum(fake[copy, :, k].tolist()) / 4
            for k in range(3)
        ]
        expected.append(sum(g * g for g in gaps))
    found = minibatch.feature_gap(real, fake)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert (found[0] - found[1]).abs() > 0.1
    pair = [real.requires_grad_(), fake.requires_grad_()]
    slopes = torch.autograd.grad(minibatch.feature_gap(*pair).sum(), pair)
    gap = 2 * (real.mean(dim=1, keepdim=True) - fake.mean(dim=1, keepdim=True)).detach()
    torch.testing.assert_close(slopes[0], (gap / 5).expand(2, 5, 3))
    torch.testing.assert_close(slopes[1], (-gap / 4).expand(2, 4, 3))
    with pytest.raises(ValueError, match="data have 3 features, samples 2"):
        minibatch.feature_gap(real, fake[..., :2])


def test_matching_ends_where_the_mean_features_are_equal() -> None:
    """eq:stable-match-end: of linear features only the mean is matched, of squares the spread."""
    x = 0.7 + 1.3 * random(400, 1)
    codes = random(300, 1, seed=2)
    codes = (codes - codes.mean()) / codes.std(correction=0)

    def learned(features: bool) -> tuple[float, float]:
        """Return shift and scale of a linear generator that matches x, and x^2 where asked."""
        shift, scale = (torch.tensor(v, dtype=torch.float64).requires_grad_() for v in (0.0, 0.2))
        adam = torch.optim.Adam([shift, scale], lr=0.05)
        for _ in range(1_200):
            sets = [torch.cat([p, p**2][: 1 + features], 1) for p in (x, shift + scale * codes)]
            loss = minibatch.feature_gap(*sets)
            adam.zero_grad()
            loss.backward()
            adam.step()
        assert loss < 1e-6
        return shift.item(), scale.item()

    assert learned(False) == pytest.approx((x.mean().item(), 0.2), abs=1e-3)
    expected = x.mean().item(), x.std(correction=0).item()
    assert learned(True) == pytest.approx(expected, abs=1e-3)


def test_the_deviation_is_numpys_over_the_batch() -> None:
    """eq:stable-deviation: std over samples, mean over features, the same beside every sample."""
    features = random(2, 6, 3) * torch.tensor([0.1, 1.0, 4.0]).double()
    expected = [np.std(copy.numpy(), axis=0).mean() for copy in features]
    found = minibatch.deviation(features, eps=0.0)
    assert found.shape == (2, 6, 1)
    for copy in range(2):
        torch.testing.assert_close(found[copy], torch.full((6, 1), expected[copy]).double())
    raised = [np.sqrt(np.var(copy.numpy(), axis=0) + 0.5).mean() for copy in features]
    padded = minibatch.deviation(features, eps=0.5)[:, 0, 0]
    torch.testing.assert_close(padded, torch.tensor(raised, dtype=torch.float64))


def test_samples_that_are_all_alike_have_no_deviation() -> None:
    """The invariant: 0 for a collapsed batch, with a gradient that is finite; order is nothing."""
    alike = random(1, 3).expand(8, 3).clone().requires_grad_()
    found = minibatch.deviation(alike)
    found.sum().backward()
    assert found.max() <= 1.001e-4
    assert alike.grad is not None
    assert alike.grad.isfinite().all()
    features = random(8, 3)
    moved = minibatch.deviation(features[torch.randperm(8)])
    torch.testing.assert_close(minibatch.deviation(features), moved)
    assert minibatch.deviation(features)[0] > 0.3


def test_closeness_is_a_sum_over_pairs() -> None:
    """eq:stable-closeness: three loops, the sample itself left out."""
    rows = random(5, 2, 3)
    expected = torch.zeros(5, 2, dtype=torch.float64)
    for i in range(5):
        for k in range(2):
            for j in range(5):
                if j != i:
                    gap = sum(abs(float(rows[i, k, d] - rows[j, k, d])) for d in range(3))
                    expected[i, k] += math.exp(-gap)
    torch.testing.assert_close(minibatch.closeness(rows), expected)
    assert expected.std() > 0.05
    free = rows.requires_grad_()
    (slope,) = torch.autograd.grad(minibatch.closeness(free)[0].sum(), free)
    gaps = (rows[:1] - rows[1:]).detach()
    pull = gaps.sign() * torch.exp(-gaps.abs().sum(dim=2, keepdim=True))
    torch.testing.assert_close(slope[1:], pull)
    torch.testing.assert_close(slope[0], -pull.sum(dim=0))


def test_closeness_of_one_sample_and_of_equal_ones() -> None:
    """Nobody else: 0. All alike: batch - 1. Far apart: 0."""
    torch.testing.assert_close(minibatch.closeness(random(1, 2, 3)), torch.zeros(1, 2).double())
    alike = random(1, 2, 3).expand(6, 2, 3)
    torch.testing.assert_close(minibatch.closeness(alike), torch.full((6, 2), 5.0).double())
    far = torch.arange(4.0).double().view(4, 1, 1).expand(4, 2, 3) * 100
    assert minibatch.closeness(far).max() < 1e-12


def test_discrimination_appends_closeness_in_a_learned_space() -> None:
    """The features pass, each kernel's rows are its own slice of the projection."""
    torch.manual_seed(0)
    layer, x = minibatch.MinibatchDiscrimination(3, kernels=2, dims=4).double(), random(5, 3)
    found = layer(x.requires_grad_())
    assert [name for name, _ in layer.named_parameters()] == ["project.weight"]
    torch.testing.assert_close(found[:, :3], x)
    (slope,) = torch.autograd.grad(found[:, :3].sum(), x, retain_graph=True)
    assert (slope == 1).all()
    weight = layer.project.weight.detach()  # (kernels * dims, features)
    for k in range(2):
        rows = x @ weight[4 * k : 4 * k + 4].T
        gaps = (rows[:, None] - rows[None]).abs().sum(dim=2)
        torch.testing.assert_close(found[:, 3 + k].detach(), torch.exp(-gaps).sum(dim=1) - 1)
    alone = torch.cat([layer(row) for row in x.split(1)])
    torch.testing.assert_close(alone[:, 3:], torch.zeros(5, 2).double())
