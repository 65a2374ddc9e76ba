"""Proof for litgen/vae/conditional_networks.py: the same sums by hand, and refusals."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from litgen.vae.conditional_networks import (
    CVAE,
    Decoder,
    Encoder,
    LearnedPrior,
    StandardPrior,
    one_hot,
)

Draw = Callable[..., Tensor]
PIXELS, GIVEN, LATENT, BATCH = 6, 3, 2, 4


def dense(layers: nn.Module, x: Tensor) -> Tensor:
    """Return what linear layers with ReLU between them give, from their weights."""
    linear = [layer for layer in layers.modules() if isinstance(layer, nn.Linear)]
    for layer in linear[:-1]:
        x = (x @ layer.weight.T + layer.bias).clamp(min=0)
    return x @ linear[-1].weight.T + linear[-1].bias


def test_one_hot_has_its_one_in_the_labels_column() -> None:
    """Row by row."""
    found = one_hot(torch.tensor([2, 0, 3]), 4)
    assert found.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert found.dtype == torch.float32
    assert one_hot(torch.tensor([1], dtype=torch.int32), 2).tolist() == [[0, 1]]
    assert one_hot(torch.zeros(0, dtype=torch.long), 3).shape == (0, 3)


@pytest.mark.usefixtures("unchecked")
def test_labels_that_are_none_are_errors() -> None:
    """Out of range, of the wrong kind, of the wrong shape."""
    for bad, low, high in (([0, 10], 0, 10), ([-1, 3], -1, 3)):
        with pytest.raises(ValueError, match=f"labels go from 0 to 9, got {low} to {high}"):
            one_hot(torch.tensor(bad), 10)
    for kind in (torch.float32, torch.bool):
        with pytest.raises(ValueError, match=f"labels are whole numbers, got {kind}"):
            one_hot(torch.ones(3, dtype=kind), 10)
    with pytest.raises(ValueError, match=r"one label for each example, got shape \(2, 1\)"):
        one_hot(torch.zeros(2, 1, dtype=torch.long), 10)


def test_the_encoder_reads_both(normal: Draw) -> None:
    """Mean and log-variance of the layers over (x, condition), in this order."""
    encoder = Encoder(PIXELS, GIVEN, [5, 7], LATENT)
    x, condition = normal(BATCH, PIXELS).float(), normal(BATCH, GIVEN).float()
    mean, log_var = encoder(x, condition)
    expected = dense(encoder, torch.cat([x, condition], dim=1))
    torch.testing.assert_close(mean, expected[:, :LATENT])
    torch.testing.assert_close(log_var, expected[:, LATENT:])


def test_the_learned_prior_reads_the_condition(normal: Draw) -> None:
    """Mean and log-variance of its layers."""
    prior = LearnedPrior(GIVEN, [5], LATENT)
    condition = normal(BATCH, GIVEN).float()
    expected = dense(prior, condition)
    torch.testing.assert_close(prior(condition), tuple(expected.chunk(2, dim=1)))
    assert expected.std(dim=0).min() > 1e-3


def test_the_standard_prior_reads_nothing(normal: Draw) -> None:
    """Mean 0 and log-variance 0 for every condition; no parameter."""
    prior = StandardPrior(LATENT)
    mean, log_var = prior(normal(BATCH, GIVEN))
    assert mean.shape == log_var.shape == (BATCH, LATENT)
    assert mean.abs().max() == log_var.abs().max() == 0
    assert mean.dtype == torch.float64
    assert not list(prior.parameters())


def test_the_decoder_is_one_stack_over_both(normal: Draw) -> None:
    """For one code and for many; ``stacked`` is the same function as plain layers."""
    decoder = Decoder(LATENT, GIVEN, [5, 7], PIXELS)
    condition = normal(BATCH, GIVEN).float()
    stacked = decoder.stacked()
    assert [type(layer).__name__ for layer in stacked] == ["Linear", "ReLU"] * 2 + ["Linear"]
    first = stacked[0].weight
    assert torch.equal(first, torch.cat([decoder.code.weight, decoder.condition.weight], dim=1))
    for shape in ((BATCH, LATENT), (3, BATCH, LATENT)):
        z = normal(*shape).float()
        whole = torch.cat([z, condition.expand(*shape[:-1], GIVEN)], dim=-1)
        expected = dense(stacked, whole)
        torch.testing.assert_close(decoder(z, condition), expected)
        torch.testing.assert_close(stacked(whole), expected)
        assert expected.std(dim=0).min() > 1e-3


@pytest.mark.usefixtures("unchecked")
def test_conditions_of_the_wrong_shape_are_refused(normal: Draw) -> None:
    """Each network names what has the wrong shape, and the width that it was built for."""
    encoder, prior = Encoder(PIXELS, GIVEN, [5], LATENT), LearnedPrior(GIVEN, [5], LATENT)
    decoder = Decoder(LATENT, GIVEN, [5], PIXELS)
    x, y, z = (normal(BATCH, k).float() for k in (PIXELS, GIVEN, LATENT))
    wide = torch.cat([y, y], dim=1)
    wrong = r"condition has shape \(4, 6\), expected \(..., 3\)"
    for call in (lambda: encoder(x, wide), lambda: prior(wide), lambda: decoder(z, wide)):
        with pytest.raises(ValueError, match=wrong):
            call()
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\), expected \(..., 6\)"):
        encoder(y, y)
    with pytest.raises(ValueError, match=r"z has shape \(4, 3\), expected \(..., 2\)"):
        decoder(y, y)
    with pytest.raises(ValueError, match=r"condition has shape \(3,\), expected \(..., 3\)"):
        prior(y[0])
    with pytest.raises(ValueError, match="4 examples, 1 conditions"):
        encoder(x, y[:1])
    with pytest.raises(ValueError, match="a decoder needs a hidden layer, got none"):
        Decoder(LATENT, GIVEN, [], PIXELS)


def test_a_cvae_holds_its_three_networks() -> None:
    """Their weights are stored under their names."""
    parts = Encoder(PIXELS, GIVEN, [5], LATENT), LearnedPrior(GIVEN, [5], LATENT)
    model = CVAE(*parts, Decoder(LATENT, GIVEN, [5], PIXELS))
    assert {name.split(".")[0] for name in model.state_dict()} == {"encoder", "prior", "decoder"}
    assert (model.encoder, model.prior) == parts
