"""Proof for litgen/style/features.py."""

import inspect
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import Tensor

from litgen.style import features
from litgen.style.features import VGG

Draw = Callable[..., Tensor]
NAMES = ("conv1_1", "conv1_2", "conv2_1", "conv3_1", "conv3_2")
WIDTHS = (4, 3, 5, 2, 6)
VGG16 = tuple(f"conv{b}_{k}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for k in range(1, n + 1))


def weights(normal: Draw) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return random kernels, biases and a mean."""
    inputs = (3, *WIDTHS[:-1])
    kernels = [normal(o, i, 3, 3) / 4 for i, o in zip(inputs, WIDTHS, strict=True)]
    return kernels, [normal(o) / 2 + 1 for o in WIDTHS], normal(3)


def by_scipy(
    image: np.ndarray, kernels: list[Tensor], biases: list[Tensor], mean: Tensor, pooling: str
) -> list[np.ndarray]:
    """Return every layer's features, channel by channel."""
    x, found, block = image - mean.numpy()[:, None, None], [], "1"
    for name, kernel, bias in zip(NAMES, kernels, biases, strict=True):
        if name[4] != block:
            block = name[4]
            h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
            parts = np.stack([x[:, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1)])
            x = parts.max(axis=0) if pooling == "max" else parts.mean(axis=0)
        k = kernel.numpy()
        x = np.stack(
            [
                sum(correlate(x[i], k[o, i], "same") for i in range(len(x))) + bias[o].item()
                for o in range(len(k))
            ]
        )
        x = np.maximum(x, 0)
        found.append(x)
    return found


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_features_are_scipys(normal: Draw, pooling: features.Pooling) -> None:
    """Layer by layer, odd sides too, a batch at once."""
    parts = weights(normal)
    network = VGG(NAMES, *parts, pooling)
    images = normal(2, 3, 9, 14)
    found = network(images, NAMES)
    assert list(found) == list(NAMES)
    for k in range(2):
        for name, expected in zip(
            NAMES, by_scipy(images[k].numpy(), *parts, pooling), strict=True
        ):
            assert expected.std() > 0.01
            torch.testing.assert_close(found[name][k], torch.from_numpy(expected))


def test_average_is_the_default_and_another_is_refused(normal: Draw) -> None:
    """The paper's choice."""
    parts = weights(normal)
    x = normal(1, 3, 8, 8)
    ours = VGG(NAMES, *parts)(x, ["conv2_1"])["conv2_1"]
    assert torch.equal(ours, VGG(NAMES, *parts, "average")(x, ["conv2_1"])["conv2_1"])
    assert not torch.allclose(ours, VGG(NAMES, *parts, "max")(x, ["conv2_1"])["conv2_1"])


def test_only_what_is_asked_for_is_computed(normal: Draw) -> None:
    """Nothing deeper; only the names asked for; slopes reach pictures and no weights."""
    network = VGG(NAMES, *weights(normal))
    called: list[int] = []
    for k, layer in enumerate(network.layers):
        layer.register_forward_hook(lambda *_, k=k: called.append(k))
    images = normal(1, 3, 8, 8).requires_grad_()
    found = network(images, ["conv2_1", "conv1_1"])
    assert set(found) == {"conv1_1", "conv2_1"}
    assert called == [0, 1, 2]
    (found["conv1_1"].sum() + found["conv2_1"].square().sum()).backward()
    assert images.grad is not None
    assert images.grad.abs().min() > 0
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.training


def test_slopes_agree_with_differences(normal: Draw) -> None:
    """ReLUs in place spoil nothing on the way back."""
    network = VGG(NAMES, *weights(normal))
    x = normal(1, 3, 8, 8)

    def total(image: Tensor) -> Tensor:
        return sum((f.square().sum() for f in network(image, NAMES).values()), torch.zeros(()))

    assert torch.autograd.gradcheck(total, x.requires_grad_())


def test_weights_are_copies(normal: Draw) -> None:
    """What is done to the tensors afterwards does not change the network."""
    kernels, biases, mean = weights(normal)
    network = VGG(NAMES, kernels, biases, mean)
    x = normal(1, 3, 4, 4)
    before = network(x, ["conv1_1"])["conv1_1"]
    for tensor in (kernels[0], biases[0], mean):
        tensor.zero_()
    assert torch.equal(network(x, ["conv1_1"])["conv1_1"], before)


def test_errors_name_layers_and_sizes(normal: Draw, unchecked: None) -> None:
    """What a user may get wrong."""
    kernels, biases, mean = weights(normal)
    network = VGG(NAMES, kernels, biases, mean)
    with pytest.raises(ValueError, match=r"layers are some of conv1_1, .*; got \['conv9_1'\]"):
        network(normal(1, 3, 8, 8), ["conv9_1"])
    with pytest.raises(ValueError, match=r"layers are some of .*; got \[\]"):
        network(normal(1, 3, 8, 8), [])
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), got \(1, 4, 8, 8\)"):
        network(normal(1, 4, 8, 8), NAMES)
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), got \(3, 8, 8\)"):
        network(normal(3, 8, 8), NAMES)
    with pytest.raises(ValueError, match=r"\(batch, 3, height, width\), got \(8, 3, 8\)"):
        network(normal(8, 3, 8), NAMES)
    with pytest.raises(ValueError, match="conv3_2 needs 4 pixels a side, pictures are 3x9"):
        network(normal(1, 3, 3, 9), ["conv1_1", "conv3_2"])
    assert network(normal(1, 3, 4, 4), ["conv3_2"])["conv3_2"].shape == (1, 6, 1, 1)
    with pytest.raises(ValueError, match="got 4 names, 5 kernels, 5 biases"):
        VGG(NAMES[:4], kernels, biases, mean)
    for counts in ((4, 5, 5), (5, 4, 5), (5, 5, 4)):
        n, k, b = counts
        words = f"got {n} names, {k} kernels, {b} biases"
        with pytest.raises(ValueError, match=words):
            VGG(NAMES[:n], kernels[:k], biases[:b], mean)
    with pytest.raises(ValueError, match="got 0 names"):
        VGG([], [], [], mean)
    with pytest.raises(ValueError, match=r"conv1_2 has \(5, 3, 3, 3\) and \(5,\), its input 4 ch"):
        VGG(NAMES[:2], kernels[:1] + kernels[2:3], biases[:1] + biases[2:3], mean)
    with pytest.raises(ValueError, match=r"conv1_1 has \(4, 3, 3, 3\) and \(3,\), its input 3 ch"):
        VGG(NAMES[:1], kernels[:1], [biases[0][:3]], mean)
    with pytest.raises(ValueError, match="pooling is 'average' or 'max', got 'mean'"):
        VGG(NAMES, kernels, biases, mean, "mean")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["pool1", "conv3", "conv3_2_1", "conva_1", "relu1_1", "conv1_", "3_2"]
)
def test_names_of_another_form(name: str) -> None:
    """They are refused; the block is the digit before the line."""
    with pytest.raises(ValueError, match=f"like 'conv3_2', got {name!r}"):
        features.block_of(name)
    assert [features.block_of(n) for n in NAMES] == [1, 1, 2, 3, 3]


def test_the_field_is_where_slopes_are_not_zero() -> None:
    """Positive weights everywhere, one number in the middle, its slope in a large picture.

    Proves eq:gatys-field.
    """
    names = VGG16[:8]  # to conv4_1
    inputs = (3, 1, 1, 1, 1, 1, 1, 1)
    kernels = [torch.ones(1, i, 3, 3, dtype=torch.float64) for i in inputs]
    biases = [torch.zeros(1, dtype=torch.float64)] * 8
    network = VGG(names, kernels, biases, torch.zeros(3, dtype=torch.float64))
    images = torch.ones(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    for name, features_ in network(images, names).items():
        middle = features_.shape[2] // 2
        (slope,) = torch.autograd.grad(features_[0, 0, middle, middle], images, retain_graph=True)
        seen = int((slope[0, 0] != 0).any(dim=0).sum())
        assert features.receptive_field(names, name) == seen
    assert features.receptive_field(VGG16, "conv5_1") == 132
    assert features.receptive_field(VGG16, "conv5_3") == 196
    with pytest.raises(ValueError, match="got 'conv6_1'"):
        features.receptive_field(VGG16, "conv6_1")


def test_other_units_same_features(normal: Draw) -> None:
    """Means over all pictures are 1; each layer differs by one factor. eq:gatys-units."""
    network = VGG(NAMES, *weights(normal))
    pictures = [normal(2, 3, 8, 8), normal(1, 3, 12, 4)]
    scaled = features.scaled_to_mean_one(network, pictures)
    before = [network(batch, NAMES) for batch in pictures]
    after = [scaled(batch, NAMES) for batch in pictures]
    for name in NAMES:
        values = torch.cat([batch[name].flatten() for batch in after])
        assert values.mean().item() == pytest.approx(1)
        old = torch.cat([batch[name].flatten() for batch in before])
        torch.testing.assert_close(values * old.mean(), old)
    assert scaled.pooling == "average"
    other = features.scaled_to_mean_one(VGG(NAMES, *weights(normal), "max"), pictures)
    assert other.pooling == "max"
    with pytest.raises(ValueError, match="no pictures"):
        features.scaled_to_mean_one(network, [])
    dead = weights(normal)
    dead[1][2].fill_(-1e3)
    with pytest.raises(ValueError, match="conv2_1 is zero on all pictures"):
        features.scaled_to_mean_one(VGG(NAMES, *dead), pictures)


def test_it_computes_in_the_weights_precision(normal: Draw) -> None:
    """Bfloat16 weights take float32 pictures; the mean goes away before rounding."""
    network = VGG(NAMES, *weights(normal))
    x = normal(1, 3, 8, 8)
    expected = network(x, ["conv1_1"])["conv1_1"]
    rounded = network.to(torch.bfloat16)(x.float(), ["conv1_1"])["conv1_1"]
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.double(), expected, rtol=0.05, atol=0.05)
    assert inspect.signature(VGG).parameters["pooling"].default == "average"
