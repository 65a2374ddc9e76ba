"""Proof for litgen/primer/optimisation.py; the chapter is book/primer/optimisation.md.

The judges are torch.optim's optimisers, step by step in double precision, and sums by hand.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from litgen.primer import optimisation as opt

Draw = Callable[..., Tensor]
STEPS = 100


@pytest.fixture
def gradients(normal: Draw) -> Tensor:
    """Return gradients of a rough loss: noisy, of different scales, with zeros among them."""
    found = normal(STEPS, 4, 3) * torch.logspace(-3, 1, 3).double()
    found[7:20, 0] = 0
    return found


def ours(update: opt.Update, x: Tensor, gradients: Tensor) -> Tensor:
    """Return the places after every step, the gradients given."""
    memory, places = opt.start(x), []
    for gradient in gradients:
        x, memory = update(x, gradient, memory)
        places.append(x)
    assert memory.step == len(gradients)
    return torch.stack(places)


def theirs(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], x: Tensor, gradients: Tensor
) -> Tensor:
    """Return the same by torch.optim."""
    moved = x.clone().requires_grad_()
    optimizer = make([moved])
    places = []
    for gradient in gradients:
        moved.grad = gradient.clone()
        optimizer.step()
        places.append(moved.detach().clone())
    return torch.stack(places)


def cases() -> Iterator[Any]:
    """Yield pairs of our update and torch's optimiser, every hyper-parameter varied."""
    optim = torch.optim
    for lr in (0.03, 0.2):
        yield pytest.param(
            partial(opt.gradient_descent, learning_rate=lr),
            partial(optim.SGD, lr=lr),
            id=f"descent {lr}",
        )
        for rho in (0.0, 0.5, 0.95):
            yield pytest.param(
                partial(opt.heavy_ball, learning_rate=lr, momentum=rho),
                partial(optim.SGD, lr=lr, momentum=rho),
                id=f"heavy ball {lr} {rho}",
            )
        for rho in (0.5, 0.95):
            yield pytest.param(
                partial(opt.nesterov, learning_rate=lr, momentum=rho),
                partial(optim.SGD, lr=lr, momentum=rho, nesterov=True),
                id=f"nesterov {lr} {rho}",
            )
        for alpha, eps in ((0.99, 1e-8), (0.9, 1e-8), (0.5, 0.1)):
            yield pytest.param(
                partial(opt.rmsprop, learning_rate=lr, smoothing=alpha, eps=eps),
                partial(optim.RMSprop, lr=lr, alpha=alpha, eps=eps),
                id=f"rmsprop {lr} {alpha} {eps}",
            )
        for betas, eps in (
            ((0.9, 0.999), 1e-8),
            ((0.0, 0.9), 1e-8),
            ((0.5, 0.99), 1e-3),
            ((0.95, 0.8), 0.3),
        ):
            ours_too = {"learning_rate": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps}
            for update, amsgrad in ((opt.adam, False), (opt.amsgrad, True)):
                yield pytest.param(
                    partial(update, **ours_too),
                    partial(optim.Adam, lr=lr, betas=betas, eps=eps, amsgrad=amsgrad),
                    id=f"{update.__name__} {lr} {betas} {eps}",
                )
            for decay in (0.0, 0.01, 0.7):
                yield pytest.param(
                    partial(opt.adamw, weight_decay=decay, **ours_too),
                    partial(optim.AdamW, lr=lr, betas=betas, eps=eps, weight_decay=decay),
                    id=f"adamw {lr} {betas} {eps} {decay}",
                )


@pytest.mark.parametrize(("update", "make"), list(cases()))
def test_updates_are_those_of_torch(
    update: opt.Update, make: Any, gradients: Tensor, normal: Draw
) -> None:
    """eq:opt-descent, eq:opt-heavy-ball, eq:opt-nesterov, eq:opt-rmsprop, eq:opt-adam and kin.

    Each of 100 steps to 1e-12: eq:opt-moments, eq:opt-corrected, eq:opt-amsgrad, eq:opt-adamw too.
    """
    x = normal(4, 3)
    found = ours(update, x, gradients)
    assert (found[-1] - x).abs().min() > 1e-4
    torch.testing.assert_close(found, theirs(make, x, gradients), rtol=1e-12, atol=1e-12)


def test_defaults_are_those_of_torch(gradients: Tensor, normal: Draw) -> None:
    """eq:opt-adam and kin with nothing but a learning rate; momentum's usual 0.9."""
    x, optim = normal(4, 3), torch.optim
    for update, make in (
        (opt.heavy_ball, partial(optim.SGD, momentum=0.9)),
        (opt.nesterov, partial(optim.SGD, momentum=0.9, nesterov=True)),
        (opt.rmsprop, optim.RMSprop),
        (opt.adam, optim.Adam),
        (opt.amsgrad, partial(optim.Adam, amsgrad=True)),
        (opt.adamw, optim.AdamW),
    ):
        found = ours(partial(update, learning_rate=0.1), x, gradients)
        expected = theirs(partial(make, lr=0.1), x, gradients)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("decay", [0.05, 0.5])
def test_l2_is_torchs_weight_decay(decay: float, gradients: Tensor, normal: Draw) -> None:
    """eq:opt-l2: for SGD and Adam, torch's weight_decay is added to the gradient."""
    x = normal(4, 3)
    for update, make in (
        (opt.heavy_ball, partial(torch.optim.SGD, momentum=0.9)),
        (opt.adam, torch.optim.Adam),
    ):

        def decayed(
            x: Tensor, gradient: Tensor, memory: opt.Memory, update: Any = update
        ) -> tuple[Tensor, opt.Memory]:
            return update(x, opt.with_l2(x, gradient, decay), memory, learning_rate=0.1)

        found = ours(decayed, x, gradients)
        expected = theirs(partial(make, lr=0.1, weight_decay=decay), x, gradients)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_decay_is_the_same_for_sgd_and_another_for_adam(gradients: Tensor, normal: Draw) -> None:
    """eq:opt-l2 against eq:opt-adamw: AdamW is not Adam on the penalised loss."""
    x, gradient = normal(4, 3), gradients[0]
    memory = opt.start(x)
    shrunk = x - 0.1 * 0.3 * x
    penalised = opt.gradient_descent(x, opt.with_l2(x, gradient, 0.3), memory, 0.1)[0]
    torch.testing.assert_close(opt.gradient_descent(shrunk, gradient, memory, 0.1)[0], penalised)
    decoupled = opt.adamw(x, gradient, memory, 0.1, weight_decay=0.3)[0]
    coupled = opt.adam(x, opt.with_l2(x, gradient, 0.3), memory, 0.1)[0]
    assert (decoupled - coupled).abs().mean() > 0.02


def test_moments_are_weighted_sums(gradients: Tensor, normal: Draw) -> None:
    """eq:opt-moments unrolled: gradient i of t has weight (1 - beta) beta^(t - i)."""
    x, t = normal(4, 3), 30
    memory = opt.start(x)
    for gradient in gradients[:t]:
        _, memory = opt.adam(x, gradient, memory, 0.1, beta1=0.8, beta2=0.95)
    first = sum(0.2 * 0.8 ** (t - i) * gradients[i - 1] for i in range(1, t + 1))
    second = sum(0.05 * 0.95 ** (t - i) * gradients[i - 1] ** 2 for i in range(1, t + 1))
    torch.testing.assert_close(memory.first, first)
    torch.testing.assert_close(memory.second, second)


def test_corrected_averages_of_a_constant_are_the_constant(normal: Draw) -> None:
    """eq:opt-corrected: with one and the same gradient every step is the sign of it."""
    gradient = normal(6) * torch.logspace(-4, 4, 6).double()
    x = torch.zeros(6).double()
    for update in (opt.adam, opt.amsgrad):
        places = ours(partial(update, learning_rate=0.01, eps=0.0), x, gradient.expand(50, 6))
        steps = torch.arange(1, 51)[:, None]
        torch.testing.assert_close(places, -0.01 * steps * gradient.sign())


def test_adam_does_not_see_the_scale_of_the_loss(gradients: Tensor, normal: Draw) -> None:
    """eq:opt-scale-free: gradients times 1000 leave Adam's and RMSProp's steps as they are."""
    x = normal(4, 3)
    for update in (opt.adam, opt.amsgrad, opt.rmsprop):
        rule = partial(update, learning_rate=0.01, eps=0.0)
        some = gradients + 1e-3  # with eps = 0 a gradient of exactly 0 would be 0/0
        torch.testing.assert_close(ours(rule, x, some), ours(rule, x, 1000 * some))
    plain = partial(opt.gradient_descent, learning_rate=0.01)
    assert not torch.allclose(ours(plain, x, gradients), ours(plain, x, 1000 * gradients))


def test_amsgrad_never_forgets_a_large_gradient(normal: Draw) -> None:
    """eq:opt-amsgrad: after one large gradient its steps stay small, Adam's grow again."""
    gradients = torch.ones(300, 1).double()
    gradients[0] = 100
    x = torch.zeros(1).double()
    last = {
        update.__name__: ours(partial(update, learning_rate=1.0, beta2=0.9), x, gradients)[-2:]
        for update in (opt.adam, opt.amsgrad)
    }
    steps = {name: (places[0] - places[1]).item() for name, places in last.items()}
    assert steps["adam"] == pytest.approx(1, rel=1e-6)
    assert steps["amsgrad"] == pytest.approx(1 / (100 * 0.1**0.5), rel=1e-6)


def test_many_trainings_go_side_by_side(gradients: Tensor, normal: Draw) -> None:
    """A learning rate for each row gives what each would do alone."""
    x = normal(4, 3)
    rates = torch.tensor([0.01, 0.1, 0.3, 1.0]).double()
    for update in (opt.gradient_descent, opt.heavy_ball, opt.nesterov, opt.rmsprop, opt.adam):
        together = ours(partial(update, learning_rate=rates[:, None]), x, gradients)
        for i, rate in enumerate(rates.tolist()):
            alone = ours(partial(update, learning_rate=rate), x[i], gradients[:, i])
            torch.testing.assert_close(together[:, i], alone)


def test_trajectory_asks_for_the_gradient_where_it_stands(normal: Draw) -> None:
    """eq:opt-descent on a quadratic: x (1 - lr c)^t, the start included."""
    x, curvature = normal(2), torch.tensor([0.5, 3.0]).double()
    rule = partial(opt.gradient_descent, learning_rate=0.2)
    places = opt.trajectory(lambda x: curvature * x, rule, x, 10)
    t = torch.arange(11)[:, None]
    torch.testing.assert_close(places, x * (1 - 0.2 * curvature) ** t)
    assert torch.equal(opt.trajectory(lambda x: x, rule, x, 0), x[None])


def test_updates_leave_their_arguments_alone(normal: Draw) -> None:
    """Pure functions: state in, state out."""
    x, gradient = normal(3), normal(3)
    memory = opt.Memory(4, normal(3), normal(3).square(), normal(3).square())
    kept = [t.clone() for t in (x, gradient, *memory[1:])]
    for update in (
        opt.gradient_descent,
        opt.heavy_ball,
        opt.nesterov,
        opt.rmsprop,
        opt.adam,
        opt.amsgrad,
        opt.adamw,
    ):
        moved, after = update(x, gradient, memory, 0.1)
        assert (moved != x).all()
        assert after.step == 5
        assert all(map(torch.equal, kept, (x, gradient, *memory[1:])))


@pytest.mark.usefixtures("unchecked")
def test_updates_refuse_what_cannot_work() -> None:
    """Rates that are not positive, hyper-parameters out of range, other shapes, NaN."""
    x = torch.zeros(3)
    memory = opt.start(x)
    everyone = (
        opt.gradient_descent,
        opt.heavy_ball,
        opt.nesterov,
        opt.rmsprop,
        opt.adam,
        opt.amsgrad,
        opt.adamw,
    )
    for update in everyone:
        for rate in (0.0, -0.1, float("nan"), torch.tensor([0.1, 0.0, 0.1])):
            with pytest.raises(ValueError, match="learning rate must be positive"):
                update(x, x, memory, learning_rate=rate)
        with pytest.raises(ValueError, match=r"x has shape \(3,\), its gradient \(1, 3\)"):
            update(x, x[None], memory, learning_rate=0.1)
    for update, name in (
        (opt.heavy_ball, "momentum"),
        (opt.nesterov, "momentum"),
        (opt.rmsprop, "smoothing"),
        (opt.adam, "beta1"),
        (opt.adam, "beta2"),
        (opt.amsgrad, "beta1"),
        (opt.amsgrad, "beta2"),
        (opt.adamw, "beta2"),
    ):
        for wrong in (1.0, -0.1, float("nan")):
            with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 1\)"):
                update(x, x, memory, 0.1, **{name: wrong})
    for update in (opt.rmsprop, opt.adam, opt.amsgrad, opt.adamw):
        with pytest.raises(ValueError, match=r"eps must lie in \[0, inf\)"):
            update(x, x, memory, 0.1, eps=-1e-8)
    with pytest.raises(ValueError, match="weight_decay must lie"):
        opt.adamw(x, x, memory, 0.1, weight_decay=-1.0)
    with pytest.raises(ValueError, match="weight_decay must lie"):
        opt.with_l2(x, x, weight_decay=-1.0)
    with pytest.raises(ValueError, match="steps cannot be -1"):
        opt.trajectory(lambda x: x, partial(opt.adam, learning_rate=0.1), x, -1)
    with pytest.raises(ValueError, match="gradient of step 2 is not a number"):
        opt.trajectory(
            lambda x: (x + 1).log(),
            partial(opt.gradient_descent, learning_rate=5),
            torch.ones(1),
            5,
        )
