"""Proof for litgen/data/digits.py, with scikit-learn's own arrays as the judge."""

import inspect
import sys

import numpy as np
import pytest
import torch

from litgen.data import digits, sources

datasets = pytest.importorskip("sklearn.datasets", reason="the digits are in scikit-learn's wheel")


@pytest.mark.parametrize("split", ["train", "test"])
def test_pixels_and_labels_are_scikit_learns(split: sources.Split) -> None:
    """Sixteenths become 255ths; the fifth, tenth ... digit is a test digit."""
    original = datasets.load_digits()
    chosen = [i for i in range(1797) if ((i + 1) % 5 == 0) == (split == "test")]
    found = digits.load(split)
    expected = torch.tensor(original.images[chosen])[:, None] * 255 / 16
    assert found.images.dtype == torch.uint8
    assert (found.images - expected).abs().max() <= 0.5
    assert found.labels.tolist() == original.target[chosen].tolist()
    assert found.labels.dtype == torch.int64
    halves = found.images[expected == 127.5]
    assert len(halves) > 0
    assert (halves == 128).all(), "half up, on every machine"


def test_record() -> None:
    """Counts and checksum in the record are those of the tensors beside it."""
    for split in ("train", "test"):
        found = digits.load(split)
        assert len(found.images) == found.record.counts[split]
        assert found.record.checksum == digits.CHECKSUM[split]
        assert found.record.checksum == sources.checksum(found.images, found.labels)
        assert found.record.stand_in is False
    assert sum(found.record.counts.values()) == 1797


@pytest.mark.parametrize("split", ["train", "test"])
def test_standing_in_is_bilinear_enlargement(
    split: sources.Split, capfd: pytest.CaptureFixture[str]
) -> None:
    """Against torch's own interpolation of the digits, to within half a grey level."""
    reason = sources.DataUnavailable("it rains")
    found = digits.standing_in("MNIST", split, reason)
    small = torch.tensor(datasets.load_digits().images)
    is_test = torch.tensor([(i + 1) % 5 == 0 for i in range(1797)])
    small = small[is_test if split == "test" else ~is_test][:, None] * 255 / 16
    expected = torch.nn.functional.interpolate(small, (28, 28), mode="bilinear")
    assert found.images.shape == expected.shape
    assert (found.images - expected).abs().max() <= 0.5 + 1e-9
    assert found.labels.tolist() == digits.load(split).labels.tolist()
    assert found.record.stand_in is True
    assert found.record.checksum == sources.checksum(found.images, found.labels)
    assert "MNIST" in found.record.name
    assert "digits" in found.record.name
    out, err = capfd.readouterr()
    assert out == "STAND-IN: enlarged 8x8 digits in place of MNIST, because it rains\n"
    assert err == ""


def test_without_scikit_learn_nothing_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what is missing, after the reason why it was needed."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(sources.DataUnavailable, match="scikit-learn"):
        digits.load("train")
    reason = sources.DataUnavailable("it rains")
    with pytest.raises(sources.DataUnavailable, match=r"it rains; .*scikit-learn"):
        digits.standing_in("MNIST", "train", reason)


def test_other_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scikit-learn that ships other digits must not change a run unseen."""
    bunch = datasets.load_digits()
    bunch.images = np.where(np.arange(8) == 3, 0, bunch.images)
    monkeypatch.setattr(datasets, "load_digits", lambda: bunch)
    with pytest.raises(sources.WrongBytes, match="checksum"):
        digits.load("train")


def test_unknown_split_names_the_choices() -> None:
    """Without the tests' own type checks, as a user meets it."""
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(digits.load)("validation")  # type: ignore[arg-type]
