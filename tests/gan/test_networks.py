"""Proof for litgen/gan/networks.py: shapes, guidelines, views by gradients, moments by hand."""

import inspect
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from litgen.gan.networks import ConvCritic, ConvGenerator, Norm, initialise, settle
from tests import oracles

CASES = [((64, 32), 1, 28), ((5,), 2, 6), ((6, 4, 3), 3, 40), ((3, 7), 1, 4)]


@pytest.mark.parametrize(("widths", "channels", "side"), CASES)
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_shapes(widths: tuple[int, ...], channels: int, side: int, norm: Norm) -> None:
    """Each stage doubles or halves; images lie in [-1, 1]; one logit an image."""
    generator = ConvGenerator(5, widths, channels, side, norm)
    images = generator(torch.randn(3, 5))
    assert images.shape == (3, channels, side, side)
    assert images.abs().max() <= 1
    critic = ConvCritic(widths[::-1], channels, side, norm)
    assert critic(images).shape == (3,)
    coarse = side // 2 ** len(widths)
    assert critic.features(images).shape == (3, widths[0] * coarse**2)
    sizes, h = [], torch.randn(3, 5)
    for stage in generator.stages:
        h = stage(h)
        sizes.append(tuple(h.shape[1:]))
    doubled = [coarse * 2**i for i in range(len(widths) + 1)]
    assert sizes == [(c, s, s) for c, s in zip((*widths, channels), doubled, strict=True)]


def test_parameters_by_hand() -> None:
    """Every weight of the two networks of 28x28 pixels, counted."""
    generator = ConvGenerator(64, (64, 32))
    dense, norms = 64 * 64 * 49 + 64 * 49, 2 * 64 + 2 * 32
    transposed = 64 * 32 * 16 + 32 + 32 * 1 * 16 + 1
    assert sum(p.numel() for p in generator.parameters()) == dense + norms + transposed
    critic = ConvCritic((32, 64))
    convolutions = 1 * 32 * 16 + 32 + 32 * 64 * 16 + 64
    assert sum(p.numel() for p in critic.parameters()) == convolutions + 2 * 64 + 64 * 49 + 1


def kinds(network: nn.Module) -> list[str]:
    """Return the names of a network's layers, in order."""
    return [type(m).__name__ for m in network.modules() if not list(m.children())]


def test_the_guidelines() -> None:
    """No pooling, no dense layer inside, norms in all stages but two, the right rectifiers."""
    generator, critic = ConvGenerator(8, (6, 5, 4), 3, 16), ConvCritic((4, 5, 6), 3, 16)
    inside = ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    start = ["Linear", "Unflatten", "BatchNorm2d", "ReLU"]
    assert kinds(generator) == [*start, *inside, *inside, "ConvTranspose2d", "Tanh"]
    later = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds(critic) == [
        "Conv2d",
        "Identity",
        "LeakyReLU",
        *later,
        *later,
        "Flatten",
        "Linear",
    ]
    for module in [*generator.modules(), *critic.modules()]:
        if isinstance(module, nn.LeakyReLU):
            assert module.negative_slope == 0.2
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert (module.kernel_size, module.stride, module.padding) == ((4, 4), (2, 2), (1, 1))


def test_the_other_norms() -> None:
    """One group is a norm over all of an image; none is none at all."""
    for norm, name in (("layer", "GroupNorm"), ("none", "Identity")):
        assert kinds(ConvGenerator(4, (6, 4), 1, 8, norm)).count(name) == 2  # type: ignore[arg-type]
        found = kinds(ConvCritic((4, 6), 1, 8, norm))  # type: ignore[arg-type]
        assert "BatchNorm2d" not in found
        assert name in found
    generator = ConvGenerator(4, (6, 4), 1, 8, "layer")
    groups = [m.num_groups for m in generator.modules() if isinstance(m, nn.GroupNorm)]
    assert groups == [1, 1]


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_without_batch_norm_images_stay_alone(norm: Norm) -> None:
    """A logit does not depend on the images beside; with batch normalisation it does."""
    torch.manual_seed(0)
    x = torch.randn(6, 1, 28, 28)
    critic = ConvCritic((4, 6), norm=norm)
    torch.testing.assert_close(critic(x)[:3], critic(x[:3]))
    mixing = ConvCritic((4, 6))
    assert (mixing(x)[:3] - mixing(x[:3])).abs().max() > 1e-4
    mixing.eval()
    torch.testing.assert_close(mixing(x)[:3], mixing(x[:3]))


def test_the_start() -> None:
    """Weights are N(0, 0.02^2), biases 0; norms keep gain 1 and bias 0."""
    torch.manual_seed(1)
    for network in (ConvGenerator(64, (64, 32)), ConvCritic((32, 64))):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                weight = layer.weight.detach().flatten()
                error = 0.02 / (2 * len(weight)) ** 0.5
                assert weight.std().item() == pytest.approx(0.02, abs=5 * error)
                assert abs(weight.mean().item()) < 5 * 0.02 / len(weight) ** 0.5
                assert layer.bias is not None
                assert not layer.bias.any()
            if isinstance(layer, nn.BatchNorm2d):
                assert (layer.weight == 1).all()
                assert not layer.bias.any()


def test_initialise_leaves_what_has_no_weights() -> None:
    """A layer without a bias is allowed, and norms are not touched."""
    stack = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3))
    nn.init.constant_(stack[1].weight, 7.0)
    initialise(stack)
    assert (stack[1].weight == 7).all()
    assert 0 < stack[0].weight.abs().max() < 0.2


def test_what_a_unit_of_the_critic_sees() -> None:
    """4, 10, 22 pixels after one, two, three stages: read off the gradient of a unit inside."""
    torch.manual_seed(0)
    critic = ConvCritic((3, 3, 3), side=64, norm="none").double()
    x = torch.randn(8, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    h: Tensor = x
    for stage, (size, jump, first) in zip(
        critic.stages, [(4, 2, -1), (10, 4, -3), (22, 8, -7)], strict=True
    ):
        h = stage(h)
        (slope,) = torch.autograd.grad(h[:, :, 3, 3].sum(), x, retain_graph=True)
        rows = (slope != 0).any(dim=0)[0].any(dim=1).nonzero().flatten().tolist()
        assert rows == list(range(first + 3 * jump, first + 3 * jump + size))


def test_a_logit_is_linear_in_the_features() -> None:
    """Nothing after the last layer: no sigmoid, no other sign."""
    torch.manual_seed(0)
    critic = ConvCritic((3, 4), channels=2, side=8).double()
    images = torch.randn(5, 2, 8, 8, dtype=torch.float64)
    weight, bias = (p.detach() for p in critic.head[1].parameters())
    expected = critic.features(images) @ (50 * weight[0]) + bias
    with torch.no_grad():
        critic.head[1].weight.mul_(50)
    torch.testing.assert_close(critic(images), expected)
    assert expected.std() > 0.1


def test_batch_norm_by_hand(normal: Callable[..., Tensor]) -> None:
    """eq:dcgan-batch-norm: the mean and variance of a channel over images and pixels, in training;
    each channel then has mean 0 and mean square v / (v + eps)."""
    generator = ConvGenerator(4, (3, 2), side=8).double()
    dense, unflatten, norm = (generator.stages[0][i] for i in range(3))
    z = 50 * normal(5, 4)
    h = unflatten(dense(z))
    found = norm(h)
    for c in range(3):
        values = [v for image in h[:, c].tolist() for row in image for v in row]
        mean = sum(values) / len(values)
        var = sum((v - mean) ** 2 for v in values) / len(values)
        expected = (h[:, c] - mean) / (var + 1e-5) ** 0.5
        torch.testing.assert_close(found[:, c], expected)
        assert found[:, c].square().mean().item() == pytest.approx(var / (var + 1e-5))


def test_batch_norm_forgets_the_size_of_weights(normal: Callable[..., Tensor]) -> None:
    """eq:dcgan-scale-free: images stay the same when the weights before a norm are doubled, the
    gradient halves, and it is orthogonal to the weights of each channel."""
    generator = ConvGenerator(4, (6, 5), side=8).double()
    for norm in (m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.eps = 1e-30
    z, target = normal(7, 4), normal(7, 1, 8, 8)
    layer = generator.stages[1][0]

    def seen() -> tuple[Tensor, Tensor]:
        images = generator(z)
        (slope,) = torch.autograd.grad((images * target).sum(), layer.weight)
        return images.detach(), slope

    images, slope = seen()
    with torch.no_grad():
        layer.weight.mul_(2)
    again, halved = seen()
    torch.testing.assert_close(again, images)
    torch.testing.assert_close(halved, slope / 2)
    assert slope.abs().max() > 1e-6
    along = (layer.weight * halved).sum(dim=(0, 2, 3))
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-12, rtol=0)
    assert layer.weight.square().sum() * halved.square().sum() > 1e-12


def test_settle_takes_plain_averages(normal: Callable[..., Tensor]) -> None:
    """eq:dcgan-settle: the running moments are averages over the batches' own, each alike."""
    generator = ConvGenerator(4, (3, 2), side=8).double()
    drawn = [(normal(6, 4),) for _ in range(5)]
    generator(normal(6, 4))  # moments of something else
    before = {n: p.detach().clone() for n, p in generator.named_parameters()}
    norm = generator.stages[0][2]
    settle(generator, drawn)
    h = [generator.stages[0][1](generator.stages[0][0](z)) for (z,) in drawn]
    means = torch.stack([x.mean(dim=(0, 2, 3)) for x in h]).mean(dim=0)
    variances = torch.stack([x.var(dim=(0, 2, 3)) for x in h]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert not generator.training
    assert norm.momentum == 0.1
    assert all(torch.equal(before[n], p) for n, p in generator.named_parameters())
    later = generator.stages[1][1]
    assert later.num_batches_tracked == 5


def test_settle_keeps_no_graph() -> None:
    """Many batches pass: what they leave behind for gradients would fill the memory."""
    generator, seen = ConvGenerator(2, (2,), side=4), []
    generator.register_forward_hook(lambda net, z, images: seen.append(images.requires_grad))
    settle(generator, [(torch.ones(2, 2),), (torch.zeros(2, 2),)])
    assert seen == [False, False]


def test_settled_averages_draw_as_in_training(normal: Callable[..., Tensor]) -> None:
    """Weights that moved after the moments were taken: settling makes evaluation agree again."""
    torch.manual_seed(0)
    generator = ConvGenerator(4, (16, 8), side=8).double()
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.running_mean, 0.5)
            nn.init.constant_(layer.running_var, 4.0)
    z = normal(400, 4)
    with torch.no_grad():
        trained = generator.train()(z)
        generator.eval()
        for layer in generator.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.constant_(layer.running_var, 4.0)
        wrong = (generator(z) - trained).abs().mean()
        settle(generator, [(z,)])
        right = (generator(z) - trained).abs().mean()
    assert right < 0.02 * wrong


def test_settle_of_a_conditional_network_and_of_none() -> None:
    """Batches may hold several arguments; without norms only the mode changes."""

    class Both(nn.Module):
        """Adds its arguments and normalises."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            """Return the normalised sum."""
            found: Tensor = self.norm(x + y)
            return found

    network = Both()
    settle(network, [(torch.ones(2, 1, 2, 2), torch.arange(8.0).view(2, 1, 2, 2))])
    assert network.norm.running_mean.item() == pytest.approx(4.5)
    critic = ConvCritic((2,), side=4, norm="none").train()
    settle(critic, [])
    assert not critic.training
    with pytest.raises(ValueError, match="no batches to take moments from"):
        settle(ConvGenerator(2, (2,), side=4), [])


@pytest.mark.parametrize("stages", [1, 2])
def test_the_first_images_have_the_size_that_the_formula_says(stages: int) -> None:
    """Without norms: the mean square before the tanh, over draws of all weights, by loops over
    taps; one channel in, and the whole way from the code."""
    torch.manual_seed(4)
    latent, width, side = 6, 5, 4 * 2**stages
    total = torch.zeros(side, side)
    for _ in range(400):
        network = ConvGenerator(latent, (width,) * stages, 1, side, "none")
        with torch.no_grad():
            z = torch.randn(20, latent)
            h = network.stages[:-1](z)
            total += network.stages[-1][0](h).square().mean(dim=(0, 1)) / 400
    expected = torch.full((4, 4), 0.02**2 * latent / 2)
    for i in range(stages):
        expected = width * 0.02**2 * oracles.transposed_ones(expected, 4, 2, 1)
        expected = expected / 2 if i < stages - 1 else expected
    assert (total / expected).mean().item() == pytest.approx(1, abs=0.08)
    assert expected.max() > 2 * expected.min()


@pytest.mark.parametrize(("side", "count"), [(28, 3), (7, 1), (28, 0), (30, 2)])
def test_sides_that_cannot_be_halved_are_named(side: int, count: int, unchecked: None) -> None:
    """For both players."""
    for player, first in itertools.product((ConvGenerator, ConvCritic), ((),)):
        options = {"widths": (4,) * count, "side": side}
        with pytest.raises(ValueError, match=f"a side of {side} cannot be halved {count} times"):
            inspect.unwrap(player)(*first, **options)
