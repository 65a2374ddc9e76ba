"""Proof for litgen/style/prediction.py: statistics by loops, the linear maps by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.style.prediction import StylePredictor, statistics

Normal = Callable[..., Tensor]


def test_statistics_are_means_and_deviations(normal: Normal) -> None:
    """eq:arb-statistics: layer by layer, means first; places do not matter."""
    first, second = normal(2, 3, 4, 4) + 1, 2 * normal(2, 2, 3, 5)
    found = statistics([first, second])
    assert found.shape == (2, 10)
    for b in range(2):
        expected = []
        for x in (first[b], second[b]):
            expected += [channel.mean().item() for channel in x]
            expected += [channel.std(correction=0).item() for channel in x]
        torch.testing.assert_close(found[b], torch.tensor(expected), rtol=1e-5, atol=1e-5)
    shuffled = first.flatten(2)[..., torch.randperm(16)].view_as(first)
    torch.testing.assert_close(statistics([shuffled, second]), found)
    flat = statistics([torch.full((1, 2, 3, 3), 7.0)])
    assert flat.tolist() == [[7.0, 7.0, 0.0, 0.0]]  # nothing is added to the variance
    with pytest.raises(ValueError, match="no features to take statistics of"):
        statistics([])


def test_prediction_is_two_linear_maps(normal: Normal) -> None:
    """eq:arb-predict: standardised statistics, e, gains and biases, number by number."""
    torch.manual_seed(0)
    mean, sd, plain = normal(6).float(), normal(6).abs().float() + 0.1, normal(5).float()
    predictor = StylePredictor(mean, sd, 3, plain)
    u = normal(2, 6).float()
    assert torch.equal(predictor.wide.bias, plain)
    assert 0.01 < predictor.wide.weight.std() < 0.2
    torch.nn.init.normal_(predictor.narrow.bias)
    for b in range(2):
        scaled = [(u[b, i] - mean[i]).item() / sd[i].item() / 6**0.5 for i in range(6)]
        e = [
            sum(w * v for w, v in zip(row.tolist(), scaled, strict=True)) + bias.item()
            for row, bias in zip(predictor.narrow.weight, predictor.narrow.bias, strict=True)
        ]
        torch.testing.assert_close(predictor.embed(u)[b], torch.tensor(e), rtol=1e-4, atol=1e-5)
        s = predictor.wide.weight @ torch.tensor(e) + plain
        torch.testing.assert_close(predictor(u)[b], s, rtol=1e-4, atol=1e-5)


def test_a_predictor_begins_near_the_plain_style_and_keeps_its_own_numbers(normal: Normal) -> None:
    """eq:arb-predict at first: weights of deviation 0.1 over the root of e's length."""
    torch.manual_seed(0)
    mean, sd, plain = torch.zeros(6), torch.ones(6), torch.ones(800)
    predictor = StylePredictor(mean, sd, 64, plain)
    assert predictor.wide.weight.std().item() == pytest.approx(0.1 / 8, rel=0.03)
    assert {"mean", "sd"} <= set(predictor.state_dict())
    u = normal(2, 6).float()
    before = predictor(u)
    for given in (mean, sd, plain):
        given += 1
    assert torch.equal(predictor(u), before)


@pytest.mark.usefixtures("unchecked")
def test_statistics_that_do_not_vary_are_refused() -> None:
    """Division by zero is named where it is made; so are lengths that differ."""
    with pytest.raises(ValueError, match=r"as many positive deviations, got 4 from 0 on"):
        StylePredictor(torch.zeros(4), torch.tensor([1.0, 0, 1, 1]), 2, torch.zeros(3))
    with pytest.raises(ValueError, match=r"a mean of 4 numbers needs .* got 3"):
        StylePredictor(torch.zeros(4), torch.ones(3), 2, torch.zeros(3))
