"""Proof for litgen/gan/biggan.py: torch's batch norm, loops, singular values by svd."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from litgen.gan import biggan


def random(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def generator(seed: int = 0, spectral_norm: bool = True, **sizes: int) -> biggan.BigGenerator:
    """Return a small generator in double precision with no weight at rest."""
    torch.manual_seed(seed)
    net = biggan.BigGenerator(3, 4, 5, (6, 4, 3), side=8, spectral_norm=spectral_norm, **sizes)
    stirred(net)
    return net.double()


def stirred(net: nn.Module) -> None:
    """Move all biases and plain gains away from 0 and 1."""
    for name, parameter in net.named_parameters():
        if parameter.dim() == 1:
            shift = random(*parameter.shape, seed=len(name)).to(parameter.dtype)
            parameter.data += 0.3 * shift


def test_without_a_word_of_its_condition_it_is_batch_norm() -> None:
    """eq:big-class-norm with gain 1 and bias 0, in training and evaluation: torch's layer."""
    norm, plain = biggan.ClassNorm(3, 4).double(), nn.BatchNorm2d(3).double()
    nn.init.zeros_(norm.read.weight)
    x = 2 * random(5, 3, 4, 4) + 1
    torch.testing.assert_close(norm(x, random(5, 4)), plain(x))
    norm.eval()
    plain.eval()
    torch.testing.assert_close(norm(x, random(5, 4)), plain(x))


def test_each_example_has_the_gain_and_bias_of_its_own_condition() -> None:
    """eq:big-class-norm, example by example and channel by channel, from moments by hand."""
    norm = biggan.ClassNorm(3, 4).double()
    nn.init.normal_(norm.read.weight)
    x, condition = 2 * random(5, 3, 2, 2) + 1, random(5, 4, seed=1)
    found = norm(x, condition)
    for i in range(5):
        for c in range(3):
            flat = x[:, c].flatten()
            mean = sum(flat.tolist()) / 20
            var = sum((v - mean) ** 2 for v in flat.tolist()) / 20
            gain = 1 + (norm.read.weight[c] * condition[i]).sum()
            bias = (norm.read.weight[3 + c] * condition[i]).sum()
            expected = (x[i, c] - mean) / (var + 1e-5) ** 0.5 * gain + bias
            torch.testing.assert_close(found[i, c], expected)
    assert (found[0] - found[1]).abs().max() > 0.1


def test_a_norm_has_no_gain_of_its_own() -> None:
    """What is learned in eq:big-class-norm is the reading of the condition, without a bias."""
    assert [name for name, _ in biggan.ClassNorm(3, 4).named_parameters()] == ["read.weight"]


def test_a_block_is_a_branch_and_a_shortcut() -> None:
    """eq:big-block, from functions of torch; the shortcut place by place."""
    torch.manual_seed(0)
    block = biggan.UpBlock(3, 2, 4, convolutions=2).double()
    x, condition = random(5, 3, 4, 4), random(5, 4, seed=1)
    first, second = block.norms
    up, same = block.layers
    h = F.conv_transpose2d(first(x, condition).relu(), up.weight, up.bias, stride=2, padding=1)
    h = F.conv2d(second(h, condition).relu(), same.weight, same.bias, padding=1)
    short = torch.zeros(5, 2, 8, 8).double()
    for a in (0, 1):
        for b in (0, 1):
            short[:, :, a::2, b::2] = torch.einsum(
                "nihw,io->nohw", x, block.shortcut.weight[:, :, a, b]
            )
    short += block.shortcut.bias[:, None, None]
    found = block(x, condition)
    torch.testing.assert_close(found, h + short)
    assert found.shape == (5, 2, 8, 8)
    assert min(h.std(), short.std()) > 0.1


def test_each_part_of_a_code_goes_to_its_own_block() -> None:
    """eq:big-skip: gradients of the layers' conditions in the code, block by block."""
    net = generator().eval()
    z = random(6, net.latent, seed=2).requires_grad_()
    heard: list[Tensor] = []
    for block in net.blocks:
        block.norms[0].register_forward_hook(lambda *a: heard.append(a[1][1]))
    first: list[Tensor] = []
    net.first.register_forward_hook(lambda *a: first.append(a[2]))
    images = net(z, torch.arange(6) % 4)
    assert images.shape == (6, 1, 8, 8)
    assert images.abs().max() < 1
    for k, said in enumerate([first[0], *heard]):
        (slope,) = torch.autograd.grad(said.sum(), z, retain_graph=True)
        reached = (slope.abs().sum(dim=0) > 0).view(3, 3).all(dim=1)
        assert reached.tolist() == [k == part for part in range(3)]
    for k, said in enumerate(heard, start=1):
        torch.testing.assert_close(said[:, :3], z[:, 3 * k : 3 * k + 3])
        torch.testing.assert_close(said[:, 3:], net.embedding(torch.arange(6) % 4))
    (slope,) = torch.autograd.grad(images.square().sum(), z)
    assert (slope.abs().amax(dim=0) > 1e-4).all()


def test_the_generators_first_and_last_layers() -> None:
    """A linear map of the first chunk; at the end a norm, a rectifier, a convolution, a tanh."""
    net = generator().train()
    kept: dict[str, Tensor] = {}
    net.blocks[0].register_forward_hook(lambda *a: kept.update(coarse=a[1][0]))
    net.blocks[-1].register_forward_hook(lambda *a: kept.update(fine=a[2]))
    z = random(5, net.latent, seed=2)
    images = net(z, torch.arange(5) % 4)
    with torch.no_grad():
        first = z[:, :3] @ net.first.eval().weight.T + net.first.bias
    torch.testing.assert_close(kept["coarse"], first.view(5, 6, 2, 2))
    norm, convolution = net.last[0], net.last[2]
    moments = kept["fine"].transpose(0, 1).flatten(1)
    scaled = (kept["fine"] - moments.mean(dim=1)[:, None, None]) / (
        moments.var(dim=1, correction=0) + 1e-5
    ).sqrt()[:, None, None]
    h = (scaled * norm.weight[:, None, None] + norm.bias[:, None, None]).relu()
    weight = convolution.eval().weight
    expected = F.conv2d(h, weight, convolution.bias, padding=1).tanh()
    torch.testing.assert_close(images, expected, rtol=1e-6, atol=1e-6)
    assert images.min() < -0.1 < 0.1 < images.max()


def test_the_class_is_heard_and_can_be_mixed() -> None:
    """eq:big-skip: other classes, other images; a class's own vector gives that class."""
    net = generator().eval()
    z = random(1, net.latent, seed=2).expand(4, -1)
    images = net(z, torch.arange(4))
    torch.testing.assert_close(net.from_vectors(z, net.embedding.weight), images)
    assert (images - images.roll(1, 0)).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(net(z[:1], torch.arange(1)), images[:1])  # alone or in company


def test_the_critic_is_a_projection_of_summed_features() -> None:
    """eq:cgan-projection with features by hand: blocks, a rectifier, a sum over places."""
    torch.manual_seed(0)
    critic = biggan.BigCritic(4, (3, 5), side=8).double().eval()
    stirred(critic)
    x, labels = random(6, 1, 8, 8), torch.arange(6) % 4
    h = F.conv2d(x, critic.first.weight, critic.first.bias, stride=2, padding=1)
    (block,) = critic.blocks
    branch = F.conv2d(h.relu(), block.layer.weight, block.layer.bias, stride=2, padding=1)
    short = sum(
        torch.einsum("nihw,oi->nohw", h[..., a::2, b::2], block.shortcut.weight[:, :, a, b])
        for a in (0, 1)
        for b in (0, 1)
    )
    h = branch + short + block.shortcut.bias[:, None, None]
    phi = h.relu().sum(dim=-1).sum(dim=-1)
    torch.testing.assert_close(critic.features(x), phi)
    expected = [
        (critic.vectors.weight[y] * phi[i]).sum() + critic.head(phi[i])[0]
        for i, y in enumerate(labels.tolist())
    ]
    found = critic(x, labels)
    torch.testing.assert_close(found, torch.stack(expected))
    assert (critic(x, (labels + 1) % 4) - found).abs().min() > 1e-3
    torch.testing.assert_close(critic(x[:2], labels[:2]), found[:2])  # no batch statistics


def test_all_blocks_of_a_critic_judge() -> None:
    """Three stages, one after the other; without spectral norm weights are used as they are."""
    torch.manual_seed(0)
    critic = biggan.BigCritic(4, (3, 5, 4), side=16, spectral_norm=False).double().eval()
    stirred(critic)
    assert not any(parametrize.is_parametrized(layer) for layer in critic.modules())
    x = random(2, 1, 16, 16)
    first, second = critic.blocks
    expected = second(first(critic.first(x))).relu().sum(dim=(2, 3))
    torch.testing.assert_close(critic.features(x), expected)
    assert expected.shape == (2, 4)


def singular(layer: nn.Module) -> float:
    """Return the largest singular value of a layer's matrix, filters in rows, by svd."""
    weight = layer.weight.detach()
    weight = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
    return torch.linalg.svdvals(weight.flatten(1))[0].item()


KINDS = nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding


def test_all_layers_have_norm_one_and_keep_it_while_weights_move() -> None:
    """eq:big-spectral: svd of every layer of both players, at the start and after steps."""
    torch.manual_seed(0)
    critic = biggan.BigCritic(4, (3, 5), side=8).double()
    players = [(generator(), random(8, 9)), (critic, random(8, 1, 8, 8))]
    labels = torch.arange(8) % 4
    for net, x in players:
        layers = [layer for layer in net.modules() if isinstance(layer, KINDS)]
        assert len(layers) > 4
        for name, parameter in net.named_parameters():
            if name.endswith("original"):
                parameter.data *= 3
                parameter.data += 0.3 * random(*parameter.shape, seed=len(name))
        net.train()
        for _ in range(150):
            net(x, labels)
        net.eval()
        raw = [layer.parametrizations.weight.original for layer in layers]
        assert [singular(layer) for layer in layers] == pytest.approx([1] * len(layers), rel=2e-3)
        sizes = [torch.linalg.matrix_norm(w.flatten(1), 2).item() for w in raw if w.dim() == 2]
        assert min(sizes) > 1.2


def test_power_steps_are_taken_in_training_alone() -> None:
    """eq:big-spectral: evaluation leaves u where it is; its gradient is that of W / sigma."""
    weight = random(4, 6)
    rule = biggan.Normalised(weight, steps=200).double()
    moved = (weight + 0.2 * random(4, 6, seed=1)).requires_grad_()
    before = rule.u.clone()
    rule.eval()(moved)
    assert torch.equal(rule.u, before)
    rule.train()
    for _ in range(300):
        divided = rule(moved)
    assert (rule.u - before).abs().max() > 1e-3
    scale = random(4, 6, seed=2)
    (found,) = torch.autograd.grad((divided * scale).sum(), moved)
    exact = moved / torch.linalg.svdvals(moved)[0]
    (expected,) = torch.autograd.grad((exact * scale).sum(), moved)
    torch.testing.assert_close(divided, exact)
    torch.testing.assert_close(found, expected)


def test_power_steps_are_taken_at_the_start() -> None:
    """eq:big-spectral: twenty bring the norm to one before any training; one does not."""
    weight = random(6, 8)
    norms = {}
    for steps in (1, 20, 200):
        rule = biggan.Normalised(weight, steps=steps).double().eval()
        norms[steps] = torch.linalg.svdvals(rule(weight))[0].item()
    assert abs(norms[1] - 1) > 0.01
    assert abs(norms[20] - 1) < 0.3 * abs(norms[1] - 1)
    assert norms[200] == pytest.approx(1, abs=1e-6)
    default = biggan.Normalised(weight).double().eval()
    assert torch.linalg.svdvals(default(weight))[0].item() == norms[20]


def test_power_steps_ignore_half_precision() -> None:
    """Under autocast u stays in float32, to its digits."""
    weight = random(8, 9).float()
    rule = biggan.Normalised(weight, steps=1)
    other = copy.deepcopy(rule)
    with torch.autocast("cpu", torch.bfloat16):
        half = rule(weight)
    assert torch.equal(half, other(weight))
    assert torch.equal(rule.u, other.u)
    settled = biggan.Normalised(weight, steps=300)
    with torch.autocast("cpu", torch.bfloat16):
        rough = settled(weight)
    assert torch.linalg.svdvals(rough)[0].item() == pytest.approx(1, abs=1e-6)
    assert settled.u.dtype == torch.float32


def test_baking_changes_no_image() -> None:
    """The divided weights take the place of the rule; without spectral norm nothing happens."""
    net = generator().eval()
    z, labels = random(5, 9), torch.arange(5) % 4
    before = net(z, labels)
    state = biggan.baked(net).state_dict()
    assert not any(parametrize.is_parametrized(layer) for layer in net.modules())
    torch.testing.assert_close(net(z, labels), before)
    plain = generator(seed=1, spectral_norm=False).eval()
    plain.load_state_dict(state)
    torch.testing.assert_close(plain(z, labels), before)
    assert biggan.baked(plain) is plain


def test_layers_begin_orthogonal() -> None:
    """Rows or columns are orthonormal in every layer, and biases zero."""
    torch.manual_seed(0)
    net = biggan.BigGenerator(3, 4, 5, (6, 4, 3), side=8, spectral_norm=False)
    for layer in [m for m in net.modules() if isinstance(m, KINDS)]:
        weight = layer.weight.detach().flatten(1)
        small = weight @ weight.T if len(weight) <= weight.shape[1] else weight.T @ weight
        torch.testing.assert_close(small, torch.eye(len(small)), atol=1e-5, rtol=0)
        assert getattr(layer, "bias", None) is None or layer.bias.abs().max() == 0


def test_codes_are_cut_in_order() -> None:
    """eq:big-skip: chunk k holds the numbers from k times the size on."""
    z = torch.arange(12.0).view(2, 6)
    parts = biggan.chunks(z, 2)
    assert [part[1].tolist() for part in parts] == [[6, 7], [8, 9], [10, 11]]
    with pytest.raises(ValueError, match="a code of 6 numbers has no equal parts of 4"):
        biggan.chunks(z, 4)
    with pytest.raises(ValueError, match="no equal parts of 0"):
        biggan.chunks(z, 0)


def test_a_critic_needs_a_side_that_can_be_halved_for_each_width() -> None:
    """Eight pixels for three widths; seven are one too few."""
    biggan.BigCritic(2, (2, 2, 2), side=8)
    with pytest.raises(ValueError, match="a side of 7 cannot be halved 3 times"):
        biggan.BigCritic(2, (2, 2, 2), side=7)


def test_blocks_have_one_convolution_unless_told() -> None:
    """In a block as in the whole generator."""
    assert len(biggan.UpBlock(4, 2, 3).layers) == len(biggan.UpBlock(4, 2, 3).norms) == 1
    assert [len(block.layers) for block in biggan.BigGenerator().blocks] == [1, 1]
    assert biggan.BigGenerator().latent == 3 * 8
    assert biggan.BigGenerator().embedding.weight.shape == (10, 16)


def test_what_cannot_be_built_or_shown_is_refused() -> None:
    """The errors name sizes."""
    with pytest.raises(ValueError, match="a side of 28 cannot be halved 3 times"):
        biggan.BigGenerator(widths=(8, 8, 8, 8))
    with pytest.raises(ValueError, match="cannot be halved 0 times"):
        biggan.BigGenerator(widths=(8,))
    with pytest.raises(ValueError, match="a side of 4 cannot be halved 3 times"):
        biggan.BigCritic(widths=(4, 4, 4), side=4)
    with pytest.raises(ValueError, match="cannot be halved 0 times"):
        biggan.BigCritic(widths=())
    net = generator()
    with pytest.raises(ValueError, match=r"5 codes of 9 numbers, got \(5, 8\)"):
        net(random(5, 8), torch.zeros(5, dtype=torch.long))
    with pytest.raises(ValueError, match=r"3 codes of 9 numbers, got \(5, 9\)"):
        net(random(5, 9), torch.zeros(3, dtype=torch.long))
    critic = biggan.BigCritic(4, (3,), side=8).double()
    with pytest.raises(ValueError, match="2 images, 3 labels"):
        critic(random(2, 1, 8, 8), torch.zeros(3, dtype=torch.long))
