"""Proof for litgen/vae/clamped.py: loops by hand, autograd, a linear model solved on paper."""

import math

import pytest
import torch
from torch import Tensor, nn

from litgen.vae import elbo
from litgen.vae.clamped import STRENGTH, active_latents, clamp, clamped_encoder, spread
from litgen.vae.likelihoods import gaussian_pixels

ACTIVE = torch.tensor([[True, False, False], [False, True, True]])


def stacked_codes(seed: int = 0, batch: int = 5) -> Tensor:
    """Return two clamped batches of codes with three latents."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, 3, generator=generator, dtype=torch.float64) * 2 + 1


def by_hand(codes: Tensor, active: Tensor) -> list[list[list[float]]]:
    """Return the clamped codes, one number at a time."""
    out = []
    for batch, chosen in zip(codes.tolist(), active.tolist(), strict=True):
        means = [math.fsum(row[j] for row in batch) / len(batch) for j in range(len(chosen))]
        out.append(
            [[r if a else m for r, a, m in zip(row, chosen, means, strict=True)] for row in batch]
        )
    return out


def test_a_clamped_latent_is_its_batch_mean_and_an_active_one_is_untouched() -> None:
    """eq:dcign-clamp, number by number; clamped latents have no variance within a batch."""
    codes = stacked_codes()
    found = clamp(codes, ACTIVE)
    torch.testing.assert_close(found, torch.tensor(by_hand(codes, ACTIVE)).double())
    assert (found.std(dim=1)[~ACTIVE] < 1e-14).all()
    assert (codes.std(dim=1) > 0.1).all()
    assert (codes.mean(dim=1)[0] - codes.mean(dim=1)[1]).abs().min() > 0.05
    single = clamp(codes[1], ACTIVE[1])
    torch.testing.assert_close(single, found[1])


def test_the_gradient_of_a_clamped_latent_is_its_difference_from_the_mean() -> None:
    """eq:dcign-gradient: strength times difference over examples, whatever the loss says."""
    for strength in (0.0, 0.01, 3.0):
        codes = stacked_codes().requires_grad_()
        weight = torch.randn(codes.shape, generator=torch.Generator().manual_seed(1)).double()
        (clamp(codes, ACTIVE, strength) * weight).sum().backward()
        plain = codes.detach()
        for k in range(2):
            for j in range(3):
                column = plain[k, :, j]
                expected = weight[k, :, j]
                if not ACTIVE[k, j]:
                    expected = strength * (column - sum(column.tolist()) / 5) / 10
                torch.testing.assert_close(codes.grad[k, :, j], expected, rtol=1e-12, atol=1e-14)
    assert STRENGTH == 1 / 100


def test_the_pull_is_the_gradient_of_the_spread() -> None:
    """eq:dcign-spread: autograd through the mean as well; the mean's own part cancels."""
    codes = stacked_codes(2).requires_grad_()
    (expected,) = torch.autograd.grad(spread(codes, ACTIVE), codes)
    (found,) = torch.autograd.grad(clamp(codes, ACTIVE, 1.0).sum() * 0, codes)
    torch.testing.assert_close(found, expected.masked_fill(ACTIVE[:, None], 0))
    assert (expected[0, :, 0] == 0).all()
    assert expected.abs().max() > 0.01
    halves = [
        0.5 * (row[j] - codes[k, :, j].mean()) ** 2
        for k in range(2)
        for row in codes[k]
        for j in range(3)
        if not ACTIVE[k, j]
    ]
    torch.testing.assert_close(spread(codes, ACTIVE), sum(halves) / 10)


def test_the_bound_of_a_clamped_encoder_is_that_of_the_clamped_codes() -> None:
    """eq:dcign-bound: both heads clamped, each batch by its own mean; the terms by hand."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, noise, weight = normal(10, 4), normal(10, 3), normal(3, 4)
    mean, log_var = normal(10, 3), normal(10, 3)
    scale = torch.tensor(-0.3, dtype=torch.float64)
    encode = clamped_encoder(lambda _: (mean, log_var), ACTIVE, 0.5)
    terms = elbo.elbo(
        x, encode, lambda z: z @ weight, lambda a, b: gaussian_pixels(a, b, scale), noise
    )
    m, v = (
        torch.tensor(by_hand(h.view(2, 5, 3), ACTIVE)).double().view(10, 3)
        for h in (mean, log_var)
    )
    posterior = torch.distributions.Normal(m, (0.5 * v).exp())
    prior = torch.distributions.Normal(torch.zeros_like(m), torch.ones_like(m))
    kl = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    pixels = torch.distributions.Normal((m + (0.5 * v).exp() * noise) @ weight, scale.exp())
    torch.testing.assert_close(terms.bound, pixels.log_prob(x).sum(dim=1) - kl)
    assert terms.bound.std() > 0.1


def test_both_heads_feel_the_strength() -> None:
    """The log-variance is pulled just as the mean is, by the strength that was given."""
    mean, log_var = (stacked_codes(s).view(10, 3).requires_grad_() for s in (4, 5))
    heads = clamped_encoder(lambda _: (mean, log_var), ACTIVE, 2.0)(torch.zeros(10, 1))
    sum(h.sum() for h in heads).backward()
    for head in (mean, log_var):
        codes = head.detach().view(2, 5, 3)
        pull = 2.0 * (codes - codes.mean(dim=1, keepdim=True)) / 10
        expected = torch.where(ACTIVE[:, None], 1.0, pull).view(10, 3)
        torch.testing.assert_close(head.grad, expected)


def rotated(angle: float) -> tuple[Tensor, Tensor]:
    """Return encoder and decoder of two factors whose latents are turned by an angle."""
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    columns = torch.linalg.qr(
        torch.randn(6, 2, generator=torch.Generator().manual_seed(6)).double()
    ).Q
    return turn @ columns.T, columns @ turn.T


def test_clamping_tells_turned_latents_from_straight_ones() -> None:
    """eq:dcign-turned: unclamped no turn costs anything, clamped sin^2 of the angle."""
    encode, decode = rotated(0.0)
    generator = torch.Generator().manual_seed(7)
    factors = torch.randn(2, 1, 2, generator=generator).double().repeat(1, 400, 1)
    for i in (0, 1):
        drawn = torch.randn(400, generator=generator).double()
        factors[i, :, i] = (drawn - drawn.mean()) / drawn.std(correction=0) * 1.5 + 0.3
    x = factors @ decode.T
    eye = torch.eye(2, dtype=torch.bool)
    for angle in (0.0, 0.2, 0.7, 1.4):
        encode, decode = rotated(angle)
        codes = x @ encode.T
        plain, held = (
            ((z @ decode.T) - x).square().sum(dim=-1).mean() for z in (codes, clamp(codes, eye))
        )
        assert plain.item() == pytest.approx(0, abs=1e-20)
        assert held.item() == pytest.approx(1.5**2 * math.sin(angle) ** 2, abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "active", "strength", "message"),
    [
        ((5, 3), [False] * 3, 1.0, "no latent is active has no factor"),
        ((5, 3), [True] * 2, 1.0, r"\(5, 3\), active \(2,\)"),
        ((3,), [True] * 3, 1.0, r"expected \(..., batch, latent\)"),
        ((2, 5, 3), [True] * 3, 1.0, r"\(2, 5, 3\), active \(3,\)"),
        ((1, 3), [True] * 3, 1.0, "at least two examples, got 1"),
        ((5, 3), [True] * 3, -1.0, "must not be negative, got -1"),
        ((5, 3), [True] * 3, math.nan, "must not be negative"),
    ],
)
def test_clamp_refuses(
    shape: tuple[int, ...], active: list[bool], strength: float, message: str
) -> None:
    """A batch with no clamped factor, shapes that do not fit, one example, a negative strength."""
    function = getattr(clamp, "__wrapped__", clamp)
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(shape), torch.tensor(active), strength)


def test_one_of_several_batches_without_a_factor_is_refused() -> None:
    """It is no mean of the others."""
    with pytest.raises(ValueError, match="has no factor"):
        clamp(torch.zeros(2, 5, 2), torch.tensor([[True, False], [False, False]]))


def test_active_latents_are_those_of_the_group() -> None:
    """And groups that leave out or share a latent, or a factor that is none, are refused."""
    groups = ((0,), (3, 1), (2,))
    assert active_latents(1, groups, 4).tolist() == [False, True, False, True]
    assert active_latents(2, groups, 4).tolist() == [False, False, True, False]
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=f"factor {wrong} of 3"):
            active_latents(wrong, groups, 4)
    for bad in (((0,), (1,)), ((0, 1), (1, 2))):
        with pytest.raises(ValueError, match="each of the 3 latents once"):
            active_latents(0, bad, 3)


def test_training_linear_networks_finds_the_axes_only_with_the_clamp() -> None:
    """eq:dcign-axes: from random weights the map from factors to latents becomes diagonal."""
    mixing = torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(8))).Q
    leak = {}
    for held in (True, False):
        torch.manual_seed(1)
        encoder, decoder = nn.Linear(6, 2, bias=False), nn.Linear(2, 6, bias=False)
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-2)
        generator = torch.Generator().manual_seed(9)
        for _ in range(250):
            factors = torch.randn(2, 1, 2, generator=generator).repeat(1, 16, 1)
            factors[[0, 1], :, [0, 1]] = torch.randn(2, 16, generator=generator)
            x = factors @ mixing.T
            codes = encoder(x)
            codes = clamp(codes, torch.eye(2, dtype=torch.bool)) if held else codes
            loss = (decoder(codes) - x).square().sum(dim=-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        passed = (encoder.weight @ mixing).detach()
        leak[held] = (
            (passed[0, 1] / passed[0, 0]).abs() + (passed[1, 0] / passed[1, 1]).abs()
        ).item()
    assert leak[True] < 0.03 < 0.3 < leak[False]
