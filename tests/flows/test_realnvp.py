"""Proof for litgen/flows/realnvp.py: pixel loops, autograd's Jacobian, moments, quadrature."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from litgen.flows import dequantization, realnvp
from litgen.flows.realnvp import ActNorm, ImageCoupling, RealNVP, squeeze, unsqueeze

Draw = Callable[..., Tensor]


def shaken(module: nn.Module, size: float = 0.3) -> nn.Module:
    """Give every parameter a random value: what starts at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return module.double()


@pytest.fixture
def flow() -> RealNVP:
    """Two channels of 4x4 pixels, two scales: small enough for a whole Jacobian."""
    made = shaken(RealNVP(2, 4, scales=2, couplings=2, hidden=4, blocks=1), 0.2)
    assert isinstance(made, RealNVP)
    return made


def test_squeeze_is_the_pixel_loop(normal: Draw) -> None:
    """eq:squeeze: channel 4 c + 2 i + j is pixel (i, j) of each block."""
    x = normal(2, 3, 4, 6)
    found = squeeze(x)
    assert found.shape == (2, 12, 2, 3)
    for c in range(3):
        for i in range(2):
            for j in range(2):
                for row in range(2):
                    for column in range(3):
                        expected = x[:, c, 2 * row + i, 2 * column + j]
                        assert torch.equal(found[:, 4 * c + 2 * i + j, row, column], expected)
    assert torch.equal(unsqueeze(found), x)


def test_a_split_of_squeezed_channels_is_a_checkerboard() -> None:
    """The kept channels of CHECKERBOARD are the pixels whose row and column add up to even."""
    layer = ImageCoupling(4, realnvp.CHECKERBOARD, hidden=2, blocks=0)
    mask = torch.zeros(1, 4, 3, 3)
    mask[:, layer.kept] = 1
    image = unsqueeze(mask)[0, 0]
    for i in range(6):
        for j in range(6):
            assert image[i, j] == (i + j + 1) % 2
    rows = torch.zeros(1, 4, 3, 3)
    rows[:, ImageCoupling(4, realnvp.CHANNELS, hidden=2, blocks=0).kept] = 1
    assert (unsqueeze(rows)[0, 0, ::2] == 1).all()
    assert (unsqueeze(rows)[0, 0, 1::2] == 0).all()


def test_actnorm_starts_with_mean_0_and_variance_1(normal: Draw) -> None:
    """eq:actnorm: by torch.var_mean of the first batch's output, channel by channel."""
    x = 3 * normal(20, 2, 3, 5) + torch.tensor([1.0, -2.0]).double()[:, None, None]
    layer = ActNorm(2).double()
    layer.initialize(x)
    y, _ = layer(x)
    variance, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(2).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(variance, torch.ones(2).double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["actnorm", "checkerboard", "channels"])
def test_a_layers_log_determinant_is_autograds(name: str, normal: Draw) -> None:
    """eq:actnorm, eq:coupling-log-det: the Jacobian of the whole image, and the way back."""
    layer: nn.Module = ActNorm(4)
    if name != "actnorm":
        order = realnvp.CHECKERBOARD if name == "checkerboard" else realnvp.CHANNELS
        layer = ImageCoupling(4, order, hidden=3, blocks=1)
    layer = shaken(layer, 0.5)
    x = normal(3, 4, 2, 3)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: layer(v[None])[0][0]))(x)
    expected = torch.linalg.slogdet(jacobian.view(3, 24, 24)).logabsdet
    y, log_det = layer(x)
    assert expected.abs().min() > 0.01
    torch.testing.assert_close(log_det.expand(3), expected)
    assert isinstance(layer, ActNorm | ImageCoupling)
    torch.testing.assert_close(layer.inverse(y), x)


def test_the_kept_channels_pass_through(normal: Draw) -> None:
    """To the bit, and the moved ones do not depend on one another."""
    layer = shaken(ImageCoupling(8, (1, 2, 0, 3), hidden=3, blocks=1), 0.5)
    assert isinstance(layer, ImageCoupling)
    assert layer.kept.tolist() == [1, 2, 5, 6]
    x = normal(2, 8, 2, 2)
    y, _ = layer(x)
    assert torch.equal(y[:, layer.kept], x[:, layer.kept])
    assert (y[:, layer.moved] != x[:, layer.moved]).all()
    changed = x.clone()
    changed[:, 0] += 1
    again, _ = layer(changed)
    assert torch.equal(again[:, [3, 4, 7]], y[:, [3, 4, 7]])


def test_flow_log_determinant_is_autograds(flow: RealNVP, normal: Draw) -> None:
    """eq:multi-scale: 32 dimensions, the determinant of the whole map."""
    x = normal(3, 2, 4, 4)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: flow(v[None])[0][0]))(x)
    expected = torch.linalg.slogdet(jacobian.view(3, 32, 32)).logabsdet
    z, log_det = flow(x)
    assert expected.std() > 0.01
    torch.testing.assert_close(log_det, expected)
    log_normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=1)
    torch.testing.assert_close(flow.log_prob(x), log_normal + expected)


@pytest.mark.parametrize(("channels", "side", "scales"), [(2, 4, 2), (1, 28, 2), (3, 8, 3)])
def test_flow_inverse_undoes_forward(channels: int, side: int, scales: int, normal: Draw) -> None:
    """Both ways round, for the sizes of the book too."""
    flow = shaken(RealNVP(channels, side, scales, 2, 4, 1), 0.1)
    assert isinstance(flow, RealNVP)
    x = normal(2, channels, side, side)
    z, _ = flow(x)
    assert z.shape == (2, channels * side * side)
    torch.testing.assert_close(flow.inverse(z), x)
    assert (z - x.flatten(1)).abs().max() > 0.1


def there_and_back(flow: RealNVP, x: Tensor) -> tuple[float, float]:
    """Return the largest error of a round trip from the unit cube, and the largest |z|."""
    with torch.no_grad():
        z, _ = flow(dequantization.to_logit(x)[0])
        back = dequantization.from_logit(flow.inverse(z))
    assert back.dtype == x.dtype
    return (back - x).abs().max().item(), z.abs().max().item()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sixteen_couplings_in_single_precision_come_back_to_1e_5(seed: int) -> None:
    """Grey noise, black and white noise, black, white: through the logit, two scales, and back."""
    flow = shaken(RealNVP(1, 8, scales=2, couplings=4, hidden=8, blocks=1), 0.05).float()
    assert isinstance(flow, RealNVP)
    assert sum(isinstance(module, ImageCoupling) for module in flow.modules()) == 16
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(300, 1, 8, 8, generator=generator)
    x[:100] = x[:100].round()
    x[0], x[1] = 0, 1
    error, largest = there_and_back(flow, x)
    assert largest > 4
    assert error < 1e-5


def test_a_state_in_double_comes_back_whatever_the_networks_precision() -> None:
    """Networks in single and in half precision, weights so wild that single states get lost."""
    x = torch.rand(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    wild = shaken(RealNVP(1, 8, scales=2, couplings=4, hidden=8, blocks=1), 0.2)
    assert isinstance(wild, RealNVP)
    assert there_and_back(wild.float(), x)[0] > 1e-5
    for dtype in (torch.float32, torch.bfloat16):
        error, largest = there_and_back(wild.to(dtype), x.double())
        assert largest > 100
        assert error < 1e-9


@pytest.mark.parametrize("couplings", [1, 2])
def test_every_pair_moves_both_halves(couplings: int, normal: Draw) -> None:
    """eq:coupling-forward: after a pair each number of z depends on more than one pixel."""
    flow = shaken(RealNVP(1, 4, 1, couplings, 4, 1), 0.3)
    x = normal(1, 1, 4, 4)
    jacobian = torch.func.jacrev(flow)(x)[0].view(16, 16)
    assert ((jacobian.abs() > 1e-9).sum(dim=1) > 1).all()


def test_half_of_the_channels_leave_after_the_first_scale(flow: RealNVP, normal: Draw) -> None:
    """eq:multi-scale: the first half of z is what the first scale alone computes."""
    x = normal(2, 2, 4, 4)
    z, _ = flow(x)
    early, late = flow.scales[0](squeeze(x))[0].chunk(2, dim=1)
    torch.testing.assert_close(z[:, :16], early.flatten(1))
    torch.testing.assert_close(z[:, 16:], flow.scales[1](squeeze(late))[0].flatten(1))


def test_initialize_sets_every_norm_in_order(normal: Draw) -> None:
    """After it each norm's output on that batch has mean 0 and variance 1, at all scales."""
    torch.manual_seed(0)
    flow = RealNVP(1, 4, 2, 1, 4, 1).double()
    x = 0.3 * normal(50, 1, 4, 4) + 2
    flow.initialize(x)
    seen = []
    for module in flow.modules():
        if isinstance(module, ActNorm):
            module.register_forward_hook(lambda _m, _i, out: seen.append(out[0]))
    flow(x)
    assert len(seen) == 4
    for y in seen:
        variance, mean = torch.var_mean(y, dim=(0, 2, 3), correction=0)
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-9)
        torch.testing.assert_close(variance, torch.ones_like(mean), rtol=0, atol=1e-4)


def test_a_new_flow_is_a_gaussian(normal: Draw) -> None:
    """Conditioners start at zero: then the density is the prior's, pixels only move places."""
    flow = RealNVP(1, 4, 2, 2, 4, 1).double()
    x = normal(3, 1, 4, 4)
    expected = -0.5 * x.square().flatten(1).sum(dim=1) - 8 * math.log(2 * math.pi)
    torch.testing.assert_close(flow.log_prob(x), expected)


def test_image_density_integrates_to_one() -> None:
    """eq:change-of-variables: 2x2 pixels, importance sampling from a wide Gaussian."""
    flow = shaken(RealNVP(1, 2, 1, 2, 4, 1), 0.3)
    assert isinstance(flow, RealNVP)
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(200_000, 1, 2, 2, generator=generator, dtype=torch.float64)
    wide = torch.distributions.Normal(0.0, 2.0).log_prob(x).flatten(1).sum(dim=1)
    with torch.no_grad():
        weights = (flow.log_prob(x) - wide).exp()
    error = weights.std() / len(x) ** 0.5
    assert error < 0.02
    assert (weights.mean() - 1).abs() < 5 * error


def test_gradients_reach_every_layer(flow: RealNVP, normal: Draw) -> None:
    """No layer is left out of the log-likelihood."""
    flow.log_prob(normal(2, 2, 4, 4)).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in flow.parameters())


def test_bad_input(unchecked: None) -> None:
    """Errors name sizes."""
    with pytest.raises(ValueError, match="3x4"):
        squeeze(torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match="multiple of 4"):
        unsqueeze(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match="in fours"):
        ImageCoupling(6, realnvp.CHANNELS, 4, 1)
    with pytest.raises(ValueError, match="in fours"):
        ImageCoupling(4, (0, 0, 1, 2), 4, 1)
    with pytest.raises(ValueError, match="halved 3 times"):
        RealNVP(1, 28, scales=3)
    with pytest.raises(ValueError, match="at least 1"):
        RealNVP(couplings=0)
    flow = RealNVP(1, 4, 1, 1, 4, 0)
    with pytest.raises(ValueError, match=r"\(1, 8, 8\)"):
        flow(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="5 dimensions"):
        flow.inverse(torch.zeros(1, 5))
