"""Proof for litgen/autoencoders/probe.py: scikit-learn's logistic regression."""

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from litgen.autoencoders import probe


def labelled(count: int = 300, dims: int = 4) -> tuple[Tensor, Tensor]:
    """Return features of unlike scale whose class is partly a matter of a line."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, dims, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    rows = torch.randn(3, dims, generator=generator, dtype=torch.float64)
    labels = (x @ rows.T + noise).argmax(dim=1)
    return 5 + x * torch.tensor([1.0, 20.0, 0.1, 3.0], dtype=torch.float64), labels


def test_the_loss_by_loops() -> None:
    """eq:ae-probe: mean of log-sum-exp minus the label's logit, plus the weighted squares."""
    x, y = labelled(7)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64) / 20
    bias = torch.randn(3, generator=generator, dtype=torch.float64)
    total = 0.0
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        logits = [
            sum(a * b for a, b in zip(w, row, strict=True)) + c
            for w, c in zip(weight.tolist(), bias.tolist(), strict=True)
        ]
        total += math.log(sum(map(math.exp, logits))) - logits[label]
    expected = total / 7 + 0.3 * sum(w**2 for row in weight.tolist() for w in row)
    assert probe.probe_loss(weight, bias, x, y, 0.3).item() == pytest.approx(expected)


def test_the_probe_is_scikit_learns() -> None:
    """The same probabilities as LogisticRegression on standardised features."""
    x, y = labelled()
    found = probe.fit_probe(x, y, classes=3, penalty=0.01, steps=300)
    mean, scale = x.mean(dim=0), x.std(dim=0, correction=0)
    standard = ((x - mean) / scale).numpy()
    judge = LogisticRegression(C=1 / (2 * 0.01 * len(x)), tol=1e-10, max_iter=2_000)
    judge.fit(standard, y.numpy())
    expected = torch.from_numpy(judge.predict_proba(standard))
    torch.testing.assert_close(found.logits(x).softmax(dim=1), expected, atol=1e-4, rtol=0)
    right = (judge.predict(standard) == y.numpy()).mean()
    assert found.accuracy(x, y) == pytest.approx(right)
    assert 0.5 < right < 1


def test_scale_and_offset_of_features_do_not_matter() -> None:
    """Standardised: other units give the same answers; a constant feature does no harm."""
    x, y = labelled()
    plain = probe.fit_probe(x, y, classes=3)
    other = torch.cat([x * 100 - 7, torch.full((len(x), 1), 2.0, dtype=x.dtype)], dim=1)
    moved = probe.fit_probe(other, y, classes=3)
    torch.testing.assert_close(moved.logits(other), plain.logits(x), atol=1e-3, rtol=0)


def test_bad_input_is_named() -> None:
    """Labels that are no class, counts that differ, values that are not finite."""
    x, y = labelled()
    with pytest.raises(ValueError, match="labels are 0 to 2, classes 0 to 1"):
        probe.fit_probe(x, y, classes=2)
    with pytest.raises(ValueError, match="300 features, 299 labels"):
        probe.fit_probe(x, y[1:], classes=3)
    x[3, 2] = torch.inf
    with pytest.raises(ValueError, match="not finite"):
        probe.fit_probe(x, y, classes=3)
