"""Proof for litgen/gan/voxel.py: sides by counting, convolutions by loops, features by hand."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from litgen.gan import voxel


def normal(*shape: int) -> torch.Tensor:
    """Return fixed normal numbers in double precision."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding"),
    [(1, 4, 1, 0), (4, 4, 2, 1), (3, 3, 2, 0), (2, 5, 3, 2)],
)
def test_a_transposed_convolution_is_its_definition(
    side: int, kernel: int, stride: int, padding: int
) -> None:
    """eq:vox-spread and eq:vox-side: torch's layer gives the same numbers in the same shape."""
    x, weight = normal(2, 3, side, side, side), normal(3, 2, kernel, kernel, kernel)
    found = voxel.spread(x, weight, stride, padding)
    expected = functional.conv_transpose3d(x, weight, stride=stride, padding=padding)
    torch.testing.assert_close(found, expected)
    assert found.std() > 0.1
    assert found.shape[-1] == voxel.spread_side(side, kernel, stride, padding)


def test_the_definition_is_a_loop() -> None:
    """eq:vox-spread, place by place: y at stride i + k gets x at i times w at k."""
    x, weight = normal(1, 2, 2, 3, 2)[..., :2, :], normal(2, 1, 3, 3, 3)
    whole = torch.zeros(1, 1, 5, 5, 5, dtype=torch.float64)
    for i in itertools.product(range(2), repeat=3):
        for k in itertools.product(range(3), repeat=3):
            at = tuple(2 * a + b for a, b in zip(i, k, strict=True))
            for channel in range(2):
                whole[(0, 0, *at)] += x[(0, channel, *i)] * weight[(channel, 0, *k)]
    torch.testing.assert_close(voxel.spread(x, weight, 2, 0), whole)
    torch.testing.assert_close(voxel.spread(x, weight, 2, 1), whole[..., 1:4, 1:4, 1:4])


def test_it_is_a_convolution_turned_round() -> None:
    """eq:vox-spread-adjoint: <conv x, y> = <x, spread y> for the same kernel."""
    weight = normal(3, 2, 4, 4, 4)
    x, y = normal(1, 2, 8, 8, 8), normal(1, 3, 4, 4, 4)
    left = (functional.conv3d(x, weight, stride=2, padding=1) * y).sum()
    right = (x * voxel.spread(y, weight, 2, 1)).sum()
    torch.testing.assert_close(left, right)
    assert left.abs() > 1


def test_sides() -> None:
    """eq:vox-side: the paper's go 1, 4, 8, 16, 32, 64 and back."""
    sides = [1, voxel.spread_side(1, 4, 1, 0)]
    while sides[-1] < 64:
        sides.append(voxel.spread_side(sides[-1], 4, 2, 1))
    assert sides == [1, 4, 8, 16, 32, 64]
    assert [voxel.convolved_side(s, 4, 2, 1) for s in sides[2:]] == sides[1:-1]
    for side, kernel, stride, padding in itertools.product((5, 8), (3, 4), (1, 2, 3), (0, 1)):
        layer = nn.Conv3d(1, 1, kernel, stride, padding)
        expected = layer(torch.zeros(1, 1, side, side, side)).shape[-1]
        assert voxel.convolved_side(side, kernel, stride, padding) == expected
    assert voxel.convolved_side(2, 4, 1, 1) == 1, "the kernel just fits, walls included"
    with pytest.raises(ValueError, match="nothing is left"):
        voxel.spread_side(1, 2, 1, 1)
    with pytest.raises(ValueError, match="a kernel of 6 does not fit into 3 and twice 1"):
        voxel.convolved_side(3, 6, 1, 1)


@pytest.mark.parametrize("widths", [(6,), (6, 4), (6, 4, 2)])
def test_players_fit_together(widths: tuple[int, ...]) -> None:
    """Volumes in and out: the side doubles with every width; all parameters are reached."""
    torch.manual_seed(0)
    generator, critic = voxel.VoxelGenerator(5, widths), voxel.VoxelCritic(widths[::-1])
    z = voxel.codes(3, 5, torch.Generator().manual_seed(0))
    made = generator(z)
    side = 4 * 2 ** len(widths)
    assert made.shape == (3, 1, side, side, side)
    assert ((made > 0) & (made < 1)).all()
    torch.testing.assert_close(made, generator.logits(z).sigmoid())
    logits = critic(made)
    assert logits.shape == (3,)
    logits.square().sum().backward()
    for net in (generator, critic):
        assert all(p.grad is not None and p.grad.abs().sum() >= 0 for p in net.parameters())
    with pytest.raises(
        ValueError, match=f"the critic reads {side} voxels a side, got {side // 2}"
    ):
        critic(made[..., : side // 2, : side // 2, : side // 2])
    with pytest.raises(ValueError, match=f"the critic reads {side} voxels a side, got {2 * side}"):
        critic(torch.zeros(1, 1, 2 * side, 2 * side, 2 * side))
    assert generator.latent == 5


def test_the_first_stage_is_a_transposed_convolution_of_one_voxel() -> None:
    """A linear layer whose rows are the kernel's places."""
    generator = voxel.VoxelGenerator(5, (3,)).double()
    linear = generator.stages[0][0]
    z = normal(2, 5)
    weight = linear.weight.T.reshape(5, 3, 4, 4, 4)
    found = linear(z).view(2, 3, 4, 4, 4)
    bias = linear.bias.view(3, 4, 4, 4)
    torch.testing.assert_close(found, voxel.spread(z[..., None, None, None], weight, 1, 0) + bias)


def normalised(h: torch.Tensor) -> torch.Tensor:
    """Return channels with mean 0 and variance 1 over objects and places."""
    off = h - h.mean(dim=(0, 2, 3, 4), keepdim=True)
    return off / (off.square().mean(dim=(0, 2, 3, 4), keepdim=True) + 1e-5).sqrt()


def test_players_layer_after_layer() -> None:
    """Both networks by plain functions from their weights: strides, norms and rectifiers."""
    torch.manual_seed(2)
    generator = voxel.VoxelGenerator(5, (4, 3)).double()
    first, second, last = (generator.stages[0][0], generator.stages[1][0], generator.stages[2])
    h = normalised(first(normal(3, 5)).view(3, 4, 4, 4, 4)).relu()
    for layer, rest in ((second, True), (last, False)):
        h = voxel.spread(h, layer.weight, 2, 1) + layer.bias[:, None, None, None]
        h = normalised(h).relu() if rest else h
    torch.testing.assert_close(generator.logits(normal(3, 5)), h)
    for norm in (True, False):
        critic = voxel.VoxelCritic((3, 4), norm).double()
        x = h = normal(3, 1, 16, 16, 16)
        for i, stage in enumerate(critic.stages):
            h = functional.conv3d(h, stage[0].weight, stage[0].bias, stride=2, padding=1)
            h = normalised(h) if i and norm else h
            h = torch.where(h > 0, h, 0.2 * h)
        assert stage[0].weight.shape == (4, 3, 4, 4, 4)
        expected = h.flatten(1) @ critic.head[1].weight[0] + critic.head[1].bias
        torch.testing.assert_close(critic(x), expected)


def test_players_as_they_come() -> None:
    """Codes of 32 numbers, objects of 16 voxels a side, and mirrored widths."""
    generator, critic = voxel.VoxelGenerator(), voxel.VoxelCritic()
    assert (generator.latent, critic.side) == (32, 16)
    assert generator.stages[0][0].weight.shape == (32 * 4**3, 32)
    assert [stage[0].out_channels for stage in critic.stages] == [16, 32]
    assert (generator.stages[1][0].in_channels, generator.stages[2].in_channels) == (32, 16)


def test_norms_are_where_they_should_be() -> None:
    """None in the critic's first stage; without norm an object's logit is its own."""
    count = [
        sum(isinstance(m, nn.BatchNorm3d) for m in net.modules())
        for net in (
            voxel.VoxelGenerator(4, (3, 2)),
            voxel.VoxelCritic((2, 3)),
            voxel.VoxelCritic((2, 3), norm=False),
        )
    ]
    assert count == [2, 1, 0]
    critic = voxel.VoxelCritic((2, 3), norm=False)
    x = normal(4, 1, 16, 16, 16).float()
    torch.testing.assert_close(critic(x)[:2], critic(x[:2]))
    slopes = [m.negative_slope for m in critic.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.2, 0.2]


def test_codes_are_even_between_minus_one_and_one() -> None:
    """Mean 0, variance 1/3, no correlation."""
    z = voxel.codes(20_000, 3, torch.Generator().manual_seed(0)).double()
    assert -1 <= z.min() < -0.99 < 0.99 < z.max() <= 1
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(3).double(), atol=0.02, rtol=0)
    torch.testing.assert_close(z.T.cov(), torch.eye(3).double() / 3, atol=0.02, rtol=0)


def test_features_are_maxima_of_all_stages() -> None:
    """Blocks of each stage's output, two a side, stage after stage."""
    torch.manual_seed(1)
    critic = voxel.VoxelCritic((2, 3), norm=False)
    x = normal(2, 1, 16, 16, 16).float()
    first = critic.stages[0](x)
    second = critic.stages[1](first)
    found = critic.features(x)
    assert found.shape == (2, 5 * 8)
    for i, a, b, c in itertools.product(range(2), repeat=4):
        block = first[:, i, 4 * a : 4 * a + 4, 4 * b : 4 * b + 4, 4 * c : 4 * c + 4]
        torch.testing.assert_close(found[:, 8 * i + 4 * a + 2 * b + c], block.amax(dim=(1, 2, 3)))
    torch.testing.assert_close(found[:, 16], second[:, 0, :2, :2, :2].amax(dim=(1, 2, 3)))
    assert not found.requires_grad
