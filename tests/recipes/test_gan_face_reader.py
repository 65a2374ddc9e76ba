"""Proof for litgen/recipes/gan/face_reader.py: a short training, and counts by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen import runs
from litgen.data import drawn_faces
from litgen.recipes.gan import face_reader

TINY = dataclasses.replace(face_reader.CPU, widths=(8, 16), turns=40, batch_size=50)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained() -> runs.Run:
    """Return a run of a short training."""
    return runs.train("gan/face_reader", "cpu", config=TINY)


def test_it_reads_what_it_was_not_shown(trained: runs.Run, tmp_path: Path) -> None:
    """Better than the larger share of each attribute, on other faces; the same after the store."""
    shares = {"glasses": 0.6, "hat": 0.7, "long_hair": 0.5, "light_hair": 0.5}
    for name, share in shares.items():
        assert trained.metrics[f"test_accuracy_{name}"] > share + 0.15, name
    path = tmp_path / "reader.safetensors"
    runs.save(trained, path)
    again = face_reader.evaluate(runs.load(path), CPU)
    for name, value in again.items():
        assert value == pytest.approx(trained.metrics[name], abs=2e-3)
    assert trained.history["train_loss_nats"][-1] < 0.6 * trained.history["train_loss_nats"][0]


def test_accuracies_by_hand() -> None:
    """A reader that says yes to everything is right as often as each attribute is there."""

    class Yes(face_reader.Reader):
        """Says yes to all but the last attribute."""

        def forward(self, x: Tensor) -> Tensor:
            """Return one logit an attribute."""
            return torch.tensor([1.0] * 5 + [-1.0]).expand(len(x), 6)

    labels = torch.tensor([0b111111, 0b011111, 0b000001])
    images = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    found = face_reader.measure(Yes((4,)), images, labels)
    assert found["test_accuracy_smile"] == 1
    assert found["test_accuracy_glasses"] == pytest.approx(2 / 3)
    assert found["test_accuracy_light_hair"] == pytest.approx(2 / 3)
    assert found["test_accuracy_all_six"] == pytest.approx(1 / 3)
    assert found["test_images"] == 3


def test_a_face_is_read_alone(trained: runs.Run) -> None:
    """In evaluation mode neighbours do not matter; features are 128 numbers, none negative."""
    reader = face_reader.restore(trained)
    x = drawn_faces.load("test").images[:6].float() / 127.5 - 1
    torch.testing.assert_close(reader(x)[:2], reader(x[:2]), atol=1e-4, rtol=1e-4)
    features = reader.features(x)
    assert features.shape == (6, face_reader.FEATURES)
    assert features.min() == 0 < features.max()
    torch.testing.assert_close(reader.head(features), reader(x))


def test_features_layer_by_layer(trained: runs.Run) -> None:
    """Colours in [-1, 1] go as they are through stages of numpy's own, and are rectified."""
    reader = face_reader.restore(trained)
    x = drawn_faces.load("test").images[:2].float() / 127.5 - 1
    h = x.double().numpy()
    for conv, norm, _ in reader.trunk.stages:
        weight, bias = (p.double().numpy() for p in (conv.weight, conv.bias))
        h = np.pad(h, ((0, 0), (0, 0), (1, 1), (1, 1)))
        views = np.lib.stride_tricks.sliding_window_view(h, (4, 4), (2, 3))[:, :, ::2, ::2]
        h = np.einsum("bchwij,ocij->bohw", views, weight) + bias[:, None, None]
        if isinstance(norm, torch.nn.BatchNorm2d):
            mean, var, gain, shift = (
                p.double().numpy()[:, None, None]
                for p in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
            )
            h = (h - mean) / np.sqrt(var + norm.eps) * gain + shift
        h = np.where(h > 0, h, 0.2 * h)
    last = reader.embed[0]
    found = h.reshape(2, -1) @ last.weight.double().numpy().T + last.bias.double().numpy()
    expected = np.maximum(found, 0)
    assert expected.std() > 0.01
    assert reader.features(x).double().numpy() == pytest.approx(expected, abs=1e-3)
