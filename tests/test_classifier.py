"""Proof for litgen/classifier.py; its training is proved in tests/recipes/."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen.classifier import FEATURES, SIDE, Classifier

Draw = Callable[..., Tensor]


@pytest.fixture
def images(normal: Draw) -> Tensor:
    """Return five images in [0, 1]."""
    return normal(5, 1, SIDE, SIDE).sigmoid()


def shaken(**settings: int | float) -> Classifier:
    """Return a network in double precision whose parameters and running moments are all random."""
    torch.manual_seed(1)
    model = Classifier(**settings).double()  # type: ignore[arg-type]
    with torch.no_grad():
        model.embed[1].weight.sub_(0.15)  # so that some features are cut off at zero
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand_like(tensor))
    return model


def test_the_classifier_is_three_stages_and_two_linear_layers(images: Tensor) -> None:
    """Written out with torch's functions, weight by weight, in evaluation mode."""
    model = shaken(width=3).eval()
    state = list(model.state_dict().values())
    x = images
    for stage in range(3):
        kernel, gain, bias, mean, var, _ = state[6 * stage : 6 * stage + 6]
        assert kernel.shape == (
            3 * 2**stage,
            1 if stage == 0 else 3 * 2 ** (stage - 1),
            *kernel.shape[2:],
        )
        x = F.max_pool2d(F.conv2d(x, kernel, padding=kernel.shape[2] // 2), 2)
        each = [t[:, None, None] for t in (gain, bias, mean, var)]
        x = ((x - each[2]) / (each[3] + 1e-5).sqrt() * each[0] + each[1]).clamp(min=0)
    assert [tuple(k.shape[2:]) for k in state if k.dim() == 4] == [(5, 5), (3, 3), (3, 3)]
    first, first_bias, last, last_bias = state[18:]
    features = x.flatten(1) @ first.T + first_bias
    assert (features < 0).any()
    features = features.clamp(min=0)
    torch.testing.assert_close(model.features(images), features)
    expected = features @ last.T + last_bias
    assert expected.std(dim=0).min() > 1e-4
    torch.testing.assert_close(model(images), expected)
    assert model(images).shape == (5, 10)
    assert features.shape == (5, FEATURES)


def test_the_flat_stack_computes_the_same(images: Tensor) -> None:
    """What the page is given; also with two convolutions in a stage."""
    for depth in (1, 2):
        model = shaken(width=2, depth=depth, classes=7).eval()
        torch.testing.assert_close(model.layers()(images), model(images))
        convolutions = [m for m in model.layers() if isinstance(m, nn.Conv2d)]
        assert len(convolutions) == 3 * depth
        unit = ["BatchNorm2d", "ReLU"]
        stage = ["Conv2d", *unit] * (depth - 1) + ["Conv2d", "MaxPool2d", *unit]
        assert [type(m).__name__ for m in model.layers()][: 3 * len(stage)] == stage * 3
        assert model(images).shape == (5, 7)
        assert [type(m).__name__ for m in model.layers()][-2:] == ["Dropout", "Linear"]


def test_dropout_hides_its_part_of_the_features_in_training_alone(images: Tensor) -> None:
    """With everything hidden the logits are the last layer's bias."""
    model = shaken(width=2, dropout=1.0)
    bias = model.head.bias.detach().expand(5, 10)
    torch.testing.assert_close(model.train()(images), bias)
    assert (model.eval()(images) - bias).abs().max() > 0.1
    assert Classifier().dropout.p == 0.2


def test_probabilities_are_the_softmax_batch_by_batch(images: Tensor) -> None:
    """Any batch size gives the same, in evaluation mode; rows sum to one; no graph is kept."""
    model = shaken(width=2).eval()
    with torch.no_grad():
        model.head.weight.mul_(1e-3)
    logits = model(images).detach()
    assert logits.std() < 10
    expected = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    for batch_size in (1, 2, 500):
        found = model.probabilities(images, batch_size)
        torch.testing.assert_close(found, expected)
        assert not found.requires_grad


def test_gradients_reach_the_pixels(images: Tensor) -> None:
    """Guidance asks for them: of one class's log-probability, not zero, image by image."""
    model = shaken(width=2).eval()
    x = images.clone().requires_grad_()
    model(x).log_softmax(dim=1)[:, 3].sum().backward()
    assert x.grad is not None
    assert (x.grad.flatten(1).abs().sum(dim=1) > 0).all()


def test_the_default_has_about_a_hundred_thousand_parameters() -> None:
    """Counted by hand: kernels, gains and biases, and the two linear layers."""
    count = 16 * 25 + 32 * 16 * 9 + 64 * 32 * 9 + 2 * (16 + 32 + 64)
    count += 64 * 9 * 128 + 128 + 128 * 10 + 10
    assert sum(p.numel() for p in Classifier().parameters()) == count == 98_810


@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": 0}, {"classes": 0}])
def test_sizes_must_be_positive(wrong: dict[str, int]) -> None:
    """The message shows all three."""
    with pytest.raises(
        ValueError, match=r"width, depth and classes must be positive, got \d+, \d"
    ):
        Classifier(**wrong)
