"""Proof for litgen/gan/gradient_penalty.py: critics whose gradient is known, and differences."""

import functools
import math

import pytest
import torch
from scipy import optimize
from torch import Tensor, nn
from torch.distributions import Normal

from litgen.gan import gradient_penalty as gp
from litgen.gan.networks import ConvCritic
from tests import oracles

SHARE = torch.tensor([0.1, 0.35, 0.6, 0.85, 0.5], dtype=torch.float64)


def pairs(*event: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return five data and five samples."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 5, *event)
    real, fake = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    return real, fake


def network(seed: int = 0) -> nn.Sequential:
    """Return a smooth critic of three numbers, in double precision."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 1)
    ).double()


# places and norms --------------------------------------------------------------------------------


def test_places_lie_between_a_datum_and_a_sample() -> None:
    """eq:gp-between: written out pixel by pixel; share 1 is the datum, share 0 the sample."""
    real, fake = pairs(1, 2, 3)
    got = gp.between(real, fake, SHARE)
    for i, share in enumerate(SHARE.tolist()):
        for a, b, c in zip(
            *(part[i].flatten().tolist() for part in (real, fake, got)), strict=True
        ):
            assert c == pytest.approx(share * a + (1 - share) * b, rel=1e-12)
    torch.testing.assert_close(gp.between(real, fake, torch.ones_like(SHARE)), real)
    torch.testing.assert_close(gp.between(real, fake, torch.zeros_like(SHARE)), fake)


@pytest.mark.parametrize("weight", [(0.3, -0.4, 1.2), (0.6, 0.0, -0.8), (0.1, 0.2, 0.2)])
def test_a_linear_critic_has_the_norm_of_its_weights_everywhere(
    weight: tuple[float, float, float],
) -> None:
    """eq:gp-norm, eq:gp-penalty: (|w| - 1)^2 wherever it is taken, 0 for a unit vector."""
    w = torch.tensor(weight, dtype=torch.float64)
    length = math.sqrt(sum(v * v for v in weight))
    penalty = gp.gradient_penalty(lambda x: x @ w + 3, *pairs(3), SHARE)
    assert penalty.tolist() == pytest.approx([(length - 1) ** 2] * 5, abs=1e-14)


def test_a_quadratic_critic_has_a_gradient_that_is_known() -> None:
    """eq:gp-penalty, eq:gp-one-sided: x^T A x / 2 + b x has gradient A x + b, by hand."""
    a, b = [[0.5, 0.2], [0.2, -0.3]], [0.4, -0.1]
    matrix, vector = torch.tensor(a).double(), torch.tensor(b).double()

    def critic(x: Tensor) -> Tensor:
        return ((x @ matrix * x).sum(dim=1) / 2 + x @ vector)[:, None]

    real, fake = pairs(2)
    expected, below = [], []
    for share, x, y in zip(SHARE.tolist(), real.tolist(), fake.tolist(), strict=True):
        at = [share * x[j] + (1 - share) * y[j] for j in range(2)]
        slope = [sum(a[j][k] * at[k] for k in range(2)) + b[j] for j in range(2)]
        norm = math.hypot(*slope)
        expected.append((norm - 1) ** 2)
        below.append((norm - 1) ** 2 if norm > 1 else 0.0)
    assert gp.gradient_penalty(critic, real, fake, SHARE).tolist() == pytest.approx(expected)
    assert gp.one_sided_penalty(critic, real, fake, SHARE).tolist() == pytest.approx(below)
    assert 0 < sum(v == 0 for v in below) < 5  # both sides are met
    assert len({round(v, 6) for v in expected}) == 5


def test_the_norm_runs_over_the_point_and_not_over_the_batch() -> None:
    """eq:gp-norm: central differences, one pixel of one image at a time."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 1)).double()
    critic.requires_grad_(False)
    x = pairs(2, 2, 2)[0]
    for i, norm in enumerate(gp.gradient_norms(critic, x)):
        slope = oracles.central_difference(lambda at: critic(at)[0, 0], x[i : i + 1])
        assert norm.item() == pytest.approx(math.sqrt(float((slope**2).sum())), rel=1e-6)


@pytest.mark.parametrize("penalty", [gp.gradient_penalty, gp.one_sided_penalty])
def test_the_penalty_moves_the_weights(penalty: gp.Callable[..., Tensor]) -> None:
    """eq:gp-penalty: its gradient in every weight, by differences; a missing graph gives none."""
    critic = network()
    real, fake = pairs(3)
    with torch.no_grad():  # norms on both sides of 1
        middle = gp.gradient_norms(critic, gp.between(real, fake, SHARE)).median()
        critic[4].weight /= 0.97 * middle  # type: ignore[operator]
    norms = gp.gradient_norms(critic, gp.between(real, fake, SHARE))
    assert norms.min() < 1 < norms.max()
    names = [name for name, _ in critic.named_parameters()]
    for name in names[:-1]:  # the last bias moves no slope
        weights = dict(critic.named_parameters())

        def total(value: Tensor, name: str = name, weights: dict[str, Tensor] = weights) -> Tensor:
            """Return the mean penalty with one parameter replaced."""
            changed = weights | {name: value}

            def with_it(x: Tensor) -> Tensor:
                return torch.func.functional_call(critic, changed, (x,))

            return penalty(with_it, real, fake, SHARE).mean()

        (got,) = torch.autograd.grad(total(weights[name]), weights[name])
        expected = oracles.central_difference(lambda v: total(v).detach(), weights[name].detach())
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-8)
        assert got.abs().max() > 1e-4


def test_nothing_behind_the_points_gets_a_gradient() -> None:
    """A generator's graph ends at its samples; a caller without gradients still gets a penalty."""
    real, fake = pairs(3)
    made = (fake * torch.ones((), dtype=torch.float64, requires_grad=True)).requires_grad_()
    critic = network()
    penalty = gp.gradient_penalty(critic, real, made, SHARE).sum()
    reached = torch.autograd.grad(penalty, [made, *critic.parameters()], allow_unused=True)
    assert reached[0] is None
    assert all(part is not None for part in reached[1:-1])
    with torch.no_grad():
        again = gp.gradient_penalty(critic, real, fake, SHARE).sum()
    torch.testing.assert_close(again, penalty)


def test_a_flat_critic_pays_one_and_is_not_divided_by_zero() -> None:
    """The norm has no derivative at 0: weights get finite gradients there."""
    critic = network()
    nn.init.zeros_(critic[4].weight)  # type: ignore[arg-type]
    penalty = gp.gradient_penalty(critic, *pairs(3), SHARE)
    assert penalty.tolist() == [1.0] * 5
    penalty.sum().backward()
    for parameter in critic.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


# what is refused, and what is found --------------------------------------------------------------


@pytest.mark.usefixtures("unchecked")
def test_wrong_shapes_are_named() -> None:
    """Data and samples of two shapes, shares that do not fit, a critic that averages."""
    real, fake = pairs(3)
    with pytest.raises(ValueError, match=r"\(5, 3\), \(4, 3\), \(5,\)"):
        gp.between(real, fake[:4], SHARE)
    with pytest.raises(ValueError, match=r"\(5, 3\), \(5, 3\), \(4,\)"):
        gp.between(real, fake, SHARE[:4])
    with pytest.raises(ValueError, match=r"5 points, but values of shape \(\)"):
        gp.gradient_norms(lambda x: x.mean(), real)
    with pytest.raises(ValueError, match="got 1"):
        gp.mixing(network(), real[:1])
    for weight in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="at least 0 and finite"):
            gp.weighted(weight, torch.Generator())


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_only_batch_normalisation_mixes_points(norm: str) -> None:
    """eq:gp-norm needs a critic that judges one by one: exactly 0 with the other normalisations.

    With batch normalisation the gradient of the sum is not that of any single value.
    """
    torch.manual_seed(0)
    critic = ConvCritic((4, 8), side=8, norm=norm).double().requires_grad_(False)  # type: ignore[arg-type]
    for parameter in critic.parameters():
        parameter.mul_(10)
    x = pairs(1, 8, 8)[0]
    mixed = gp.mixing(critic, x)
    alone = torch.stack(
        [oracles.central_difference(lambda at: critic(at)[0], x)[i] for i in (0, 3)]
    )
    assert (mixed > 1e-4) == (norm == "batch")
    assert (alone[1].abs().max() > 1e-6) == (norm == "batch")
    if norm == "batch":
        norms = gp.gradient_norms(critic, x)
        assert abs(norms[0] - alone[0].norm()) > 0.01 * norms[0]
        assert gp.mixing(critic.eval(), x) == 0
    else:
        assert mixed == 0
        assert gp.gradient_norms(critic, x)[0].item() == pytest.approx(alone[0].norm().item())


def test_mixing_is_the_steepest_way_to_the_first_value() -> None:
    """A critic that subtracts a third of the mean, and looks at its neighbour: by hand."""
    x = pairs(3)[0]
    assert gp.mixing(lambda at: at[:, 0] - at[:, 1].mean() / 3, x).item() == pytest.approx(1 / 15)
    assert gp.mixing(lambda at: at.sum(dim=1) - 2 * at.roll(1, 0)[:, 2], x).item() == 2


def test_the_rule_of_a_game_draws_shares_and_weighs() -> None:
    """eq:gp-critic: weight times the mean; uniform shares, fresh in each call, by its seed."""
    seen = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach().squeeze(1))
        return 3 * x.squeeze(1)

    real, fake = torch.ones(2_000, 1).double(), torch.zeros(2_000, 1).double()
    rule = gp.weighted(0.7, torch.Generator().manual_seed(0))
    assert rule(critic, real, fake).item() == pytest.approx(0.7 * 4)
    assert rule(critic, real, fake).shape == ()
    shares = torch.rand(2_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(seen[0], shares.double())  # of the datum, which is at 1
    first, second = (part.sort().values for part in seen)  # places between 0 and 1 are shares
    even = (torch.arange(2_000) + 0.5) / 2_000
    assert (first - even).abs().max() < 0.04  # Kolmogorov's 5 % is 0.030, 0.1 % is 0.044
    assert (first - second).abs().max() > 1e-4
    again = gp.weighted(0.7, torch.Generator().manual_seed(0), gp.one_sided_penalty)
    assert again(lambda x: 0.5 * x.squeeze(1), real, fake).item() == 0
    plain = gp.weighted(0.7, torch.Generator().manual_seed(0))
    assert plain(lambda x: 0.5 * x.squeeze(1), real, fake).item() == pytest.approx(0.7 / 4)
    assert gp.weighted(0.0, torch.Generator())(critic, real, fake).item() == 0


# known answers -----------------------------------------------------------------------------------

LAWS = Normal(torch.tensor(0.4).double(), 0.5), Normal(torch.tensor(-0.3).double(), 0.8)


@functools.cache
def line() -> tuple[Tensor, Tensor, Tensor]:
    """Return places, the gap of two Gaussians' distribution functions, the density between."""
    data, samples = LAWS
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)
    gap = samples.cdf(x) - data.cdf(x)

    def shared(u: Tensor) -> Tensor:
        mean = u * data.mean + (1 - u) * samples.mean
        var = (u * data.stddev) ** 2 + ((1 - u) * samples.stddev) ** 2
        density: Tensor = Normal(mean[:, None], var.sqrt()[:, None]).log_prob(x).exp()
        return density

    return x, gap, oracles.integrate(shared, 0, 1, 401)


@pytest.mark.parametrize("weight", [0.1, 1.0, 10.0])
def test_the_best_slope_is_found_by_trying_slopes(weight: float) -> None:
    """eq:gp-slope: cell by cell, -gap g + weight density (|g| - 1)^2 is least there."""
    _, gap, density = line()
    cells = range(60, 541, 16)
    for i in cells:
        c, r = gap[i].item(), density[i].item()
        tried = optimize.minimize_scalar(
            lambda g, c=c, r=r: -c * g + weight * r * (abs(g) - 1) ** 2,
            bracket=(math.copysign(1.0, c), math.copysign(2.0, c)),
        )
        got = gp.penalised_slope(gap[i], density[i], weight).item()
        assert got == pytest.approx(tried.x, rel=1e-6)
        assert abs(got) > 1
    assert (gap[60:541].sign().unique().tolist()) == [-1, 1]  # mass passes both ways
    assert gp.penalised_slope(gap[:1] * 0, density[:1], weight).item() == 0


@pytest.mark.parametrize("slope", [lambda x: torch.cos(2 * x), lambda x: x.square() - 0.3])
def test_the_critics_gain_is_its_slope_times_the_gap(slope: oracles.Function) -> None:
    """eq:gp-by-parts: E_p f - E_q f is the integral of f' (Q - P), for any f."""
    data, samples = LAWS
    wide = torch.linspace(-8, 8, 8001, dtype=torch.float64)
    f = torch.cumulative_trapezoid(slope(wide), wide)
    density = (data.log_prob(wide).exp() - samples.log_prob(wide).exp())[1:]
    left = torch.trapezoid(f * density, wide[1:])
    right = torch.trapezoid(slope(wide) * (samples.cdf(wide) - data.cdf(wide)), wide)
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)
    assert abs(left) > 0.05


@pytest.mark.parametrize("weight", [0.1, 1.0, 10.0])
def test_the_estimate_exceeds_the_distance_by_this_much(weight: float) -> None:
    """eq:gp-excess, eq:gp-excess-bound: what the best critic gains, minus the distance."""
    x, gap, density = line()
    gained = torch.trapezoid(gp.penalised_slope(gap, density, weight) * gap, x)
    distance = torch.trapezoid(gap.abs(), x)
    excess = gp.overestimate(x, gap, density, weight)
    torch.testing.assert_close(excess, gained - distance)
    assert excess > 1.05 * distance**2 / (2 * weight)


def test_two_points_know_everything() -> None:
    """eq:gp-two-points: slope 1 + w / (2 weight); there the gradient of the whole loss is zero."""
    for distance, weight in ((0.5, 0.1), (2.0, 10.0), (1.5, 1.0)):
        known = 1 + distance / (2 * weight)
        one, density = torch.ones(3).double(), torch.full((3,), 1 / distance).double()
        assert gp.penalised_slope(one, density, weight).tolist() == pytest.approx([known] * 3)
        assert gp.penalised_slope(-one, density, weight).tolist() == pytest.approx([-known] * 3)
        x = torch.linspace(0, distance, 3).double()
        bound = distance**2 / (2 * weight)
        assert gp.overestimate(x, one, density, weight).item() == pytest.approx(bound)
        for slope in (known, known - 0.1, known + 0.1):
            a = torch.tensor(slope, dtype=torch.float64, requires_grad=True)
            real, fake = torch.full((4, 1), distance).double(), torch.zeros(4, 1).double()
            rule = gp.weighted(weight, torch.Generator().manual_seed(0))
            loss = (
                a * fake.mean() - a * real.mean() + rule(lambda at, a=a: a * at[:, 0], real, fake)
            )
            (pull,) = torch.autograd.grad(loss, a)
            assert pull.item() == pytest.approx(2 * weight * (slope - known), abs=1e-12)


def test_on_transport_lines_the_best_critic_has_slope_one() -> None:
    """eq:gp-lines: finite sets, the dual by linear programming, the gradient by differences."""
    generator = torch.Generator().manual_seed(3)
    real = torch.randn(6, 2, generator=generator).double() + torch.tensor([1.5, 0.0])
    fake = torch.randn(6, 2, generator=generator).double()
    potential, partner, distance = oracles.transport_critic(real.numpy(), fake.numpy())
    assert distance == pytest.approx(
        sum(float((real[j] - fake[i]).norm()) for i, j in enumerate(partner)) / 6
    )
    matched = real[torch.tensor(partner)]
    for share in (0.2, 0.5, 0.7):
        x = gp.between(matched, fake, torch.full((6,), share).double())
        for at, y, datum in zip(x, fake, matched, strict=True):
            slope = oracles.central_difference(
                lambda v: torch.tensor(potential(v.numpy()), dtype=torch.float64), at
            )
            torch.testing.assert_close(slope, (datum - y) / (datum - y).norm(), rtol=0, atol=1e-3)
