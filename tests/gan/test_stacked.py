"""Proof for litgen/gan/stacked.py: networks of torch's own layers, one after the other."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from litgen.gan import losses
from litgen.gan.stacked import StackedLinear, StackedMLP, StackedNorm

COPIES = 3
SIZES = [2, 7, 5, 1]


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def stack(**settings: object) -> StackedMLP:
    """Return a stack of three networks in double precision."""
    torch.manual_seed(0)
    return StackedMLP(COPIES, SIZES, **settings).double()  # type: ignore[arg-type]


def separate(net: StackedMLP, copy: int, slope: float = 0.0, norm: bool = False) -> nn.Sequential:
    """Return one copy of a stack as a network of torch's layers, with its weights."""
    layers: list[nn.Module] = []
    stacked = [layer for layer in net.modules() if isinstance(layer, StackedLinear)]
    for own, (inputs, outputs) in zip(stacked, itertools.pairwise(SIZES), strict=True):
        linear = nn.Linear(inputs, outputs).double()
        linear.weight.data = own.weight[copy].detach().clone()
        linear.bias.data = own.bias[copy, 0].detach().clone()
        layers.append(linear)
        layers += [nn.BatchNorm1d(outputs).double()] if norm else []
        layers.append(nn.LeakyReLU(slope))
    return nn.Sequential(*layers[: -2 if norm else -1])


@pytest.mark.parametrize(("slope", "norm"), [(0.0, False), (0.2, False), (0.2, True)])
def test_a_stack_answers_as_its_copies_do(slope: float, norm: bool) -> None:
    """Values and the gradient of every weight, in training mode, then values in evaluation."""
    net, x = stack(slope=slope, norm=norm), random(COPIES, 6, 2)
    scale = random(COPIES, 6, 1, seed=1)
    (net(x) * scale).sum().backward()
    alone = [separate(net, copy, slope, norm) for copy in range(COPIES)]
    for copy, one in enumerate(alone):
        (one(x[copy]) * scale[copy]).sum().backward()
        own = [layer for layer in net.modules() if isinstance(layer, StackedLinear)]
        theirs = [layer for layer in one if isinstance(layer, nn.Linear)]
        for mine, other in zip(own, theirs, strict=True):
            torch.testing.assert_close(mine.weight.grad[copy], other.weight.grad)
            torch.testing.assert_close(mine.bias.grad[copy, 0], other.bias.grad)
    net.eval()
    expected = torch.stack([one.eval()(x[copy]) for copy, one in enumerate(alone)])
    torch.testing.assert_close(net(x), expected)
    assert expected.std() > 0.01


def test_copies_start_apart_and_as_torch_starts_a_layer() -> None:
    """Uniform up to 1 / sqrt(inputs), for weights and biases, each copy its own."""
    torch.manual_seed(0)
    layer = StackedLinear(40, 9, 30)
    for drawn in (layer.weight, layer.bias):
        assert drawn.abs().max() <= 1 / 3
        assert drawn.abs().max() > 0.33
        assert drawn.std().item() == pytest.approx(1 / 3 / 3**0.5, rel=0.05)
    assert (layer.weight[0] != layer.weight[1]).all()


def test_a_stacked_game_is_separate_games() -> None:
    """Ten turns of all copies at once and of each alone, Adam and all: the same weights."""
    torch.manual_seed(1)
    generator = StackedMLP(COPIES, [*SIZES[:-1], 2]).double()
    critic = stack(slope=0.2)
    data, codes = random(10, COPIES, 8, 2, seed=3), random(20, COPIES, 8, 2, seed=4)
    alone = []
    for copy in range(COPIES):
        own = separate(critic, copy, 0.2)
        maker = nn.Sequential()
        for layer in generator.modules():
            if isinstance(layer, StackedLinear):
                linear = nn.Linear(layer.weight.shape[2], layer.weight.shape[1]).double()
                linear.weight.data = layer.weight[copy].detach().clone()
                linear.bias.data = layer.bias[copy, 0].detach().clone()
                maker.extend([linear, nn.ReLU()])
        alone.append((maker[:-1], own, data[:, copy], codes[:, copy], 1))
    games = [(generator, critic, data, codes, COPIES), *alone]
    for maker, judge, x, z, copies in games:
        adams = [torch.optim.Adam(n.parameters(), lr=0.01, fused=True) for n in (judge, maker)]
        for turn in range(10):
            loss = losses.discriminator_loss(judge(x[turn]), judge(maker(z[2 * turn]).detach()))
            adams[0].zero_grad()
            (copies * loss).backward()
            adams[0].step()
            loss = losses.generator_loss(judge(maker(z[2 * turn + 1]))).mean()
            adams[1].zero_grad()
            (copies * loss).backward()
            adams[1].step()
    made = generator(codes[0])
    for copy, (maker, judge, _, z, _) in enumerate(alone):
        torch.testing.assert_close(made[copy], maker(z[0]))
        torch.testing.assert_close(critic(made)[copy], judge(maker(z[0])))
    assert made.std() > 0.05


def test_the_bound_is_torchs_spectral_norm_of_each_copy() -> None:
    """Once settled, each copy is what torch's parametrisation makes of it alone."""
    net, x = stack(slope=0.2, bound=1.0), random(COPIES, 6, 2)
    for _ in range(300):
        net(x)
    net.eval()
    for copy in range(COPIES):
        one = separate(net, copy, 0.2)
        for layer in one:
            if isinstance(layer, nn.Linear):
                spectral_norm(layer, n_power_iterations=300)
        torch.testing.assert_close(net(x)[copy], one(x[copy]))


def test_the_bound_holds_for_every_layer_and_the_net() -> None:
    """eq:stable-lipschitz: singular values by svd; no pair of points is pulled further apart."""
    net, x = stack(slope=0.2, bound=1.5), random(COPIES, 4_000, 2)
    for _ in range(300):
        net(x[:, :2])
    net.eval()
    for layer in net.modules():
        if isinstance(layer, StackedLinear):
            sizes = torch.linalg.matrix_norm(layer.matrix().detach(), 2)
            torch.testing.assert_close(sizes, torch.full((COPIES,), 1.5).double())
    y = random(COPIES, 4_000, 2, seed=9)
    pull = (net(x) - net(y)).abs().squeeze(-1) / (x - y).norm(dim=2)
    assert 0.2 < pull.max() <= 1.5**3
    at = x.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(net(at).sum(), at)
    assert slopes.norm(dim=2).max() <= 1.5**3


def test_power_steps_are_taken_while_training_only() -> None:
    """Evaluation neither moves u nor depends on how often it is asked."""
    net, x = stack(bound=1.0), random(COPIES, 4, 2)
    before = net.head.u.clone()
    net.eval()
    first = net(x)
    torch.testing.assert_close(first, net(x), rtol=0, atol=0)
    assert (net.head.u == before).all()
    layer = StackedLinear(2, 6, 4, bound=1.0).double()
    layer.weight.data = random(2, 4, 6, seed=5)
    before = layer.u.clone()
    layer(random(2, 3, 6))
    assert (layer.u != before).any()


def test_a_new_layer_has_its_bound_already() -> None:
    """Before any training the largest singular value is near it; with u anywhere it is not."""
    torch.manual_seed(0)
    layer = StackedLinear(6, 7, 20, bound=1.5).eval()
    sizes = torch.linalg.matrix_norm(layer.matrix().detach(), 2)
    assert (sizes - 1.5).abs().max() < 0.05
    layer.u = torch.eye(20)[:6]
    assert (torch.linalg.matrix_norm(layer.matrix().detach(), 2) - 1.5).abs().max() > 0.1


def test_the_slope_of_a_bounded_layer_holds_u_and_v() -> None:
    """By hand, of W / u'Wv with u and v held, though they have not settled."""
    layer = StackedLinear(2, 6, 4, bound=1.5).double().eval()
    layer.weight.data, pull = random(2, 4, 6, seed=5), random(2, 4, 6, seed=6)
    (found,) = torch.autograd.grad((layer.matrix() * pull).sum(), layer.weight)
    for copy, weight in enumerate(layer.weight.detach()):
        v = weight.T @ layer.u[copy]
        v = v / v.norm()
        u = weight @ v / (weight @ v).norm()
        size = u @ weight @ v
        share = (pull[copy] * weight).sum() / size**2
        expected = 1.5 * (pull[copy] / size - share * torch.outer(u, v))
        torch.testing.assert_close(found[copy], expected)


def test_batch_statistics_are_each_copys_own() -> None:
    """A copy's answers do not change with the other copies' data; they do with its own batch."""
    net, x = stack(statistics=True), random(COPIES, 6, 2)
    assert net.head.weight.shape == (COPIES, 1, 6)
    before, other = net(x), x.clone()
    other[1] *= 3
    after = net(other)
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]])
    x[1, 1:] *= 3
    assert (net(x)[1, 0] - before[1, 0]).abs() > 1e-4
    seen = net.features(x)
    spread = (
        (seen.var(dim=1, correction=0) + 1e-8)
        .sqrt()
        .mean(dim=1)
        .view(COPIES, 1, 1)
        .expand(-1, 6, -1)
    )
    both = torch.cat([seen, spread], dim=2)
    expected = both @ net.head.weight.mT + net.head.bias
    torch.testing.assert_close(net(x), expected)
    pull, below = random(COPIES, 6, 1, seed=4), list(net.body.parameters())
    slopes = (torch.autograd.grad((out * pull).sum(), below) for out in (net(x), expected))
    torch.testing.assert_close(*slopes)


def test_norm_has_a_gain_and_a_bias_for_each_feature() -> None:
    """They are learned, copy by copy: new ones multiply and are added."""
    norm, x = StackedNorm(COPIES, 4).double(), random(COPIES, 50, 4)
    before, (gain, bias) = norm(x), random(2, COPIES, 1, 4, seed=2)
    norm.norm.weight.data, norm.norm.bias.data = gain.flatten(), bias.flatten()
    torch.testing.assert_close(norm(x), before * gain + bias)


def test_norm_keeps_copies_apart() -> None:
    """Mean zero and variance one in every copy, whatever the size of the others."""
    x = random(COPIES, 50, 4) * torch.tensor([0.1, 1.0, 30.0]).double().view(-1, 1, 1) + 2
    found = StackedNorm(COPIES, 4).double()(x)
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(COPIES, 4).double())
    expected = (x - x.mean(dim=1, keepdim=True)) / (
        x.var(1, correction=0, keepdim=True) + 1e-5
    ) ** 0.5
    torch.testing.assert_close(found, expected)


def test_a_net_without_layers_is_refused() -> None:
    """One size is no network."""
    with pytest.raises(ValueError, match="an input and an output size, got"):
        StackedMLP(2, [3])
