"""Proof for litgen/flows/coupling.py: autograd's Jacobian, quadrature, and known affine maps."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from litgen.flows.coupling import AffineCoupling, CouplingFlow, change_of_variables
from tests import oracles

Draw = Callable[..., Tensor]


@pytest.fixture
def layer() -> AffineCoupling:
    """Two kept coordinates, three moved ones, random weights: nothing is zero or symmetric."""
    torch.manual_seed(0)
    return AffineCoupling(2, 3, [16]).double()


@pytest.fixture(params=[(2, 1), (2, 2), (2, 5), (5, 4), (6, 3)], ids=str)
def flow(request: pytest.FixtureRequest) -> CouplingFlow:
    """Flows with even and odd sizes, with weights large enough to bend."""
    torch.manual_seed(1)
    made = CouplingFlow(*request.param, [16]).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(2)
    return made


def test_change_of_variables_is_the_density_of_a_stretched_gaussian(normal: Draw) -> None:
    """eq:change-of-variables: z = A x with a known A, so x is Gaussian with a known covariance."""
    matrix = normal(3, 3)
    inverse = torch.linalg.inv(matrix)
    law = MultivariateNormal(torch.zeros(3, dtype=torch.float64), inverse @ inverse.T)
    x = normal(5, 3)
    log_det = torch.linalg.slogdet(matrix).logabsdet
    assert abs(log_det) > 0.1
    torch.testing.assert_close(
        change_of_variables(x @ matrix.T, log_det.expand(5)), law.log_prob(x)
    )


def test_coupling_is_the_formula(layer: AffineCoupling, normal: Draw) -> None:
    """eq:coupling-forward: each moved coordinate is x exp(s) + t, entry by entry."""
    kept, moved = normal(4, 2), normal(4, 3)
    raw = layer.conditioner(kept)
    found, log_scale = layer(kept, moved)
    for n in range(4):
        for d in range(3):
            s, t = math.tanh(raw[n, d].item()), raw[n, 3 + d].item()
            assert log_scale[n, d].item() == pytest.approx(s)
            assert found[n, d].item() == pytest.approx(moved[n, d].item() * math.exp(s) + t)


def test_log_scales_sum_to_the_log_determinant(layer: AffineCoupling, normal: Draw) -> None:
    """eq:coupling-log-det: the sum of the log-scales is that of autograd's whole Jacobian."""
    x = normal(8, 5)

    def whole(v: Tensor) -> Tensor:
        return torch.cat([v[:2], layer(v[:2], v[2:])[0]])

    jacobian = torch.func.vmap(torch.func.jacrev(whole))(x)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert expected.std() > 0.01
    torch.testing.assert_close(layer(x[:, :2], x[:, 2:])[1].sum(dim=1), expected)


def test_coupling_inverse_undoes_forward(layer: AffineCoupling, normal: Draw) -> None:
    """eq:coupling-inverse."""
    kept, moved = normal(8, 2), normal(8, 3)
    torch.testing.assert_close(layer.inverse(kept, layer(kept, moved)[0]), moved)


def test_a_constant_conditioner_is_a_known_affine_map() -> None:
    """eq:coupling-forward with s = 1/2 and t = 3: 2 becomes 2 sqrt(e) + 3, and back."""
    layer = AffineCoupling(1, 1, [])
    linear = layer.conditioner[0]
    assert isinstance(linear, nn.Linear)
    nn.init.zeros_(linear.weight)
    linear.bias.data = torch.tensor([math.atanh(0.5), 3.0])
    moved, log_scale = layer(torch.tensor([[7.0]]), torch.tensor([[2.0]]))
    torch.testing.assert_close(moved, torch.tensor([[2 * math.exp(0.5) + 3]]))
    torch.testing.assert_close(log_scale, torch.tensor([[0.5]]))
    torch.testing.assert_close(layer.inverse(torch.tensor([[7.0]]), moved), torch.tensor([[2.0]]))


def test_flow_log_determinant_is_autograds(flow: CouplingFlow, normal: Draw) -> None:
    """eq:flow-composition: log-determinants of all layers add up to that of the whole map."""
    x = normal(6, sum(flow.sizes))
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: flow(v)[0]))(x)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    assert expected.std() > 0.01
    torch.testing.assert_close(flow(x)[1], expected)


def test_flow_is_its_layers_one_after_the_other(normal: Draw) -> None:
    """eq:flow-composition: the second half moves first, then the first, by hand."""
    torch.manual_seed(0)
    flow = CouplingFlow(4, 3, [8]).double()
    x = normal(5, 4)
    a, b = x[:, :2], x[:, 2:]
    b, s1 = flow.couplings[0](a, b)
    a, s2 = flow.couplings[1](b, a)
    b, s3 = flow.couplings[2](a, b)
    z, log_det = flow(x)
    torch.testing.assert_close(z, torch.cat([a, b], dim=1))
    torch.testing.assert_close(log_det, (s1 + s2 + s3).sum(dim=1))


def test_flow_inverse_undoes_forward(flow: CouplingFlow, normal: Draw) -> None:
    """Both ways round, with axes in front of the batch."""
    x = normal(2, 3, sum(flow.sizes))
    torch.testing.assert_close(flow.inverse(flow(x)[0]), x)
    torch.testing.assert_close(flow(flow.sample(x))[0], x)
    assert not flow.sample(x).requires_grad


@pytest.mark.parametrize("couplings", [1, 2, 4])
def test_density_integrates_to_one(couplings: int) -> None:
    """eq:change-of-variables: the area under a 2-D flow's density, by quadrature."""
    torch.manual_seed(2)
    flow = CouplingFlow(2, couplings, [16]).double()
    with torch.no_grad():
        area = oracles.integrate_plane(lambda x: flow.log_prob(x).exp(), 18.0, 601)
        spread = flow.log_prob(torch.tensor([[0.0, 1.0], [1.0, -1.0]]).double())
    torch.testing.assert_close(area, torch.ones_like(area), rtol=0, atol=1e-4)
    assert spread.std() > 0.01


def test_samples_have_the_density_that_log_prob_says() -> None:
    """Forward is from data to latent: the mean of a function of samples equals its integral."""
    torch.manual_seed(3)
    flow = CouplingFlow(2, 3, [16]).double()
    generator = torch.Generator().manual_seed(0)
    x = flow.sample(torch.randn(200_000, 2, generator=generator, dtype=torch.float64))

    def f(x: Tensor) -> Tensor:
        return torch.tanh(x[:, 0] - x[:, 1])

    with torch.no_grad():
        expected = oracles.integrate_plane(lambda x: f(x) * flow.log_prob(x).exp(), 18.0, 601)
    error = f(x).std() / len(x) ** 0.5
    assert (f(x).mean() - expected).abs() < 5 * error
    assert expected.abs() > 20 * error


@pytest.mark.parametrize("scale", [1.0, 1.25])
def test_sixteen_couplings_invert_in_single_precision(scale: float) -> None:
    """Any input of the unit cube comes back within 1e-5 in float32, with grown weights too."""
    torch.manual_seed(4)
    flow = CouplingFlow(64, 16, [64, 64])
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(scale)
    x = torch.rand(2_000, 64, generator=torch.Generator().manual_seed(0))
    x[0], x[1] = 0.0, 1.0
    with torch.no_grad():
        z, _ = flow(x)
        assert (z - x).abs().mean() > 0.1
        assert (flow.inverse(z) - x).abs().max() < 1e-5


def test_gradients_reach_every_layer(flow: CouplingFlow, normal: Draw) -> None:
    """No layer is left out of the log-likelihood."""
    flow.log_prob(normal(4, sum(flow.sizes))).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in flow.parameters())


def test_of_an_odd_number_the_smaller_part_comes_first() -> None:
    """Five coordinates: two are kept by the first layer, three by the second."""
    flow = CouplingFlow(5, 3, [4])
    widths = [layer.conditioner[0].in_features for layer in flow.couplings]
    assert widths == [2, 3, 2]


def test_bad_input(unchecked: None) -> None:
    """Errors name what is wrong."""
    with pytest.raises(ValueError, match="0 kept and 2 moved"):
        AffineCoupling(0, 2, [4])
    with pytest.raises(ValueError, match="got 1 and 2"):
        CouplingFlow(1, 2, [4])
    with pytest.raises(ValueError, match="got 2 and 0"):
        CouplingFlow(2, 0, [4])
