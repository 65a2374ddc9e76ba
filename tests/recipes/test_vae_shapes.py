"""Proof for litgen/recipes/vae/shapes.py, shapes_seeds.py and shapes_collapse.py, tiny."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from litgen import gaussian
from litgen.data import shapes as drawn
from litgen.evaluation import disentanglement
from litgen.recipes.vae import shapes, shapes_collapse, shapes_seeds
from litgen.runs import Run
from litgen.vae import surgery
from litgen.vae.likelihoods import bernoulli

CPU = torch.device("cpu")
TINY = shapes.Config(hidden=(12,), latent=3, steps=25, batch_size=32, moments=4, mixed=False)
STACK = shapes_seeds.Config(
    betas=(1.0, 6.0), repeats=2, hidden=(10, 8), latent=2, steps=30, batch_size=8
)


def with_config(run: Run, config: object) -> Run:
    """Add what the store would add and the recipe reads."""
    run.provenance["config"] = dataclasses.asdict(config)  # type: ignore[call-overload]
    run.provenance["seed"] = 0
    return run


@pytest.fixture(scope="module")
def five() -> Run:
    """Return a tiny run of the five factors."""
    return with_config(shapes.train(TINY, 0, CPU), TINY)


@pytest.fixture(scope="module")
def stacked() -> Run:
    """Return a tiny run of four models."""
    return with_config(shapes_seeds.train(STACK, 0, CPU), STACK)


def test_pixels_are_averaged(five: Run) -> None:
    """Two by two by hand; whole at 1; the side must divide."""
    whole = drawn.load("test").images[:3].double()
    found = shapes.load_pixels(TINY, "test")[:3].double().view(3, 14, 14)
    by_hand = whole[:, 0].reshape(3, 14, 2, 14, 2).mean(dim=(2, 4))
    assert (found - by_hand).abs().max() <= 0.5
    plain = dataclasses.replace(TINY, shrink=1)
    assert torch.equal(shapes.load_pixels(plain, "test")[:3], whole.flatten(1).to(torch.uint8))
    with pytest.raises(ValueError, match="shrink must divide 28, got 3"):
        shapes.load_pixels(dataclasses.replace(TINY, shrink=3), "test")


def test_training_lowers_the_weighted_loss(five: Run) -> None:
    """It falls in 25 steps; and the first loss is D + beta R of the untrained network."""
    curve = five.history["train_loss_nats"]
    assert curve[-1] < 0.93 * curve[0]
    pixels = shapes.load_pixels(TINY, "train")
    torch.manual_seed(0)
    model = shapes.build(TINY)
    shuffle, draw = (torch.Generator().manual_seed(0) for _ in range(2))
    chosen = torch.randperm(len(pixels), generator=shuffle)[:32]
    x = shapes.binarize(pixels[chosen], draw)
    mean, log_var = model.encoder(x)
    z = mean + (0.5 * log_var).exp() * torch.randn(mean.shape, generator=draw)
    expected = (
        TINY.beta * gaussian.kl_to_standard(mean, log_var) - bernoulli(x, model.decoder(z))
    ).mean()
    assert curve[0] == pytest.approx(expected.item(), rel=1e-5)


def test_the_run_measures_its_own_weights(five: Run) -> None:
    """Scores and terms computed anew; `evaluate` gives the stored test terms."""
    model = shapes.restore(five)
    x = shapes.binarize(shapes.load_pixels(TINY, "train"), torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean, log_var = model.encoder(x)
    rate = gaussian.kl_to_standard(mean, log_var).mean().item()
    assert five.metrics["rate_nats"] == pytest.approx(rate, rel=1e-4)
    parts = sum(five.metrics[f"{name}_nats"] for name in surgery.Surgery._fields)
    assert parts == pytest.approx(rate, abs=0.15)
    levels = drawn.grid()
    informed = disentanglement.information(mean, log_var, levels)
    gap = disentanglement.information_gap(informed, disentanglement.entropies(levels)).mean()
    assert five.metrics["mig"] == pytest.approx(gap.item(), abs=1e-4)
    again = shapes.evaluate(five, CPU)
    assert again == pytest.approx(
        {name: five.metrics[f"test_{name}"] for name in ("rate_nats", "distortion_nats")}, rel=1e-4
    )


def test_traversals_move_one_latent(five: Run) -> None:
    """A picture of the grid is the decoded code with that one entry; snapshots keep them."""
    model = shapes.restore(five)
    code = torch.tensor([0.3, -0.2, 0.5])
    found = shapes.traversal(model, 3, code)
    expected = torch.sigmoid(model.decoder(torch.tensor([0.3, shapes.STEPS[5], 0.5])))
    torch.testing.assert_close(found[1, 5].flatten(), expected)
    kept = five.tensors["snapshots.traversal"]
    assert kept.shape == (4, 3, 7, 14, 14)
    assert five.tensors["snapshots.turn"].tolist()[-1] == TINY.steps
    last = shapes.traversal(model, 3).mul(255)
    assert (kept[-1].float() - last).abs().max() < 2
    assert five.tensors["snapshots.terms"].shape == (4, 2)
    assert shapes.sample(five, 2, torch.Generator().manual_seed(0)).shape == (2, 1, 14, 14)
    assert len(five.data) == 2
    assert shapes.data(TINY) == ("shapes",)
    assert shapes_seeds.data(STACK) == shapes_collapse.data(shapes_collapse.CPU) == ("ellipses",)


def test_the_gpu_configs_run_end_to_end_when_small() -> None:
    """The same lines with fewer steps and narrow layers."""
    small = dataclasses.replace(shapes.GPU, hidden=(8,), steps=3, batch_size=8, mixed=False)
    assert math.isfinite(shapes.train(small, 0, CPU).metrics["rate_nats"])
    few = dataclasses.replace(
        shapes_seeds.GPU, betas=(1.0,), repeats=40, hidden=(6,), steps=2, batch_size=4
    )
    run = shapes_seeds.train(few, 0, CPU)
    assert run.tensors["model.chosen"].tolist() == list(range(30))
    assert run.tensors["measured.mig"].shape == (40,)


# many models side by side -----------------------------------------------------------------------


def test_ellipses_vary_in_three_factors() -> None:
    """1,024 different images; a picture in the middle is that of `shapes.render`, averaged."""
    pixels, levels = shapes_seeds.moving_ellipses()
    assert pixels.shape == (1_024, 196)
    assert len(pixels.unique(dim=0)) == len(levels.unique(dim=0)) == 1_024
    i = int(((levels == torch.tensor([1, 15, 4])).all(dim=1)).nonzero())
    image = drawn.render(torch.tensor([[0.0, 1.0, 2.0, 7.0, 4 * 7 / 15]])).double()[0, 0]
    by_hand = image.reshape(14, 2, 14, 2).mean(dim=(1, 3)).flatten()
    assert (pixels[i].double() - by_hand).abs().max() <= 0.5


def test_a_stack_computes_what_its_models_would() -> None:
    """Layer by layer with plain matrices, each model on its own batch."""
    torch.manual_seed(1)
    stack = shapes_seeds.Stack((5, 4, 3), 2)
    x = torch.randn(2, 6, 5)
    for i in range(2):
        hidden = (x[i] @ stack.weights[0][i] + stack.biases[0][i]).relu()
        expected = hidden @ stack.weights[1][i] + stack.biases[1][i]
        torch.testing.assert_close(stack(x)[i], expected)
    assert not torch.allclose(stack(x)[0], stack(x)[1])
    assert stack.weights[0].abs().max() <= 1 / math.sqrt(5)


def test_a_causal_decoder_sees_only_earlier_pixels() -> None:
    """The gradient of a pixel's term: by earlier pixels of x, never by later ones."""
    torch.manual_seed(0)
    model = shapes_seeds.StackedVAE(STACK, 1, causal=True)
    assert model.before is not None
    torch.nn.init.normal_(model.before)
    x = torch.rand(1, 1, 196).round()
    z = torch.zeros(1, 1, 2)
    base = model.decoder(z) + x @ model.before.triu(diagonal=1)
    expected = bernoulli(x, base)
    torch.testing.assert_close(model.log_likelihood(x, z), expected)
    reach = torch.autograd.functional.jacobian(
        lambda v: (v @ model.before.triu(diagonal=1))[0, 0], x  # type: ignore[union-attr]
    )[:, 0, 0]  # fmt: skip
    total = torch.zeros(196, 196)
    with torch.no_grad():  # the model's own logits, read off its likelihood pixel by pixel
        for i in (0, 50, 195):
            flipped = x.clone()
            flipped[0, 0, i] = 1 - flipped[0, 0, i]
            shift = flipped @ model.before.triu(diagonal=1) - x @ model.before.triu(diagonal=1)
            assert (shift[0, 0, : i + 1] == 0).all()
            assert i == 195 or (shift[0, 0, i + 1 :] != 0).any()
    assert torch.equal(reach.triu(), total)


def test_the_loss_is_distortion_plus_beta_rate() -> None:
    """The first step's loss by hand, summed over models with their own betas."""
    pixels, _ = shapes_seeds.moving_ellipses()
    first = next(iter(shapes_seeds.fit(STACK, pixels, 3)))
    torch.manual_seed(3)
    model = shapes_seeds.StackedVAE(STACK, 4)
    draw = torch.Generator().manual_seed(3)
    chosen = torch.randint(1_024, (4, 8), generator=draw)
    x = shapes_seeds.binarize(pixels[chosen].flatten(0, 1), draw).view(4, 8, -1)
    mean, log_var = model.encode(x)
    z = mean + (0.5 * log_var).exp() * torch.randn(mean.shape, generator=draw)
    total = 0.0
    for i, weight in enumerate((1.0, 1.0, 6.0, 6.0)):
        kl = gaussian.kl_to_standard(mean[i], log_var[i]).mean()
        total += (weight * kl - bernoulli(x[i], model.decoder(z)[i]).mean()).item()
    assert first.loss.item() == pytest.approx(total, rel=1e-5)


def test_every_model_is_measured(stacked: Run) -> None:
    """Rates by hand from the kept weights; parts sum to the rate; scores in their range."""
    found = stacked.part("measured")
    assert found["beta"].tolist() == [1, 1, 6, 6]
    pixels, _ = shapes_seeds.moving_ellipses()
    x = shapes_seeds.binarize(pixels, torch.Generator().manual_seed(0))
    model = shapes_seeds.restore(stacked)
    mean, log_var = model.encode(x.expand(4, -1, -1))
    rate = gaussian.kl_to_standard(mean, log_var).mean(dim=1)
    torch.testing.assert_close(found["rate"], rate, rtol=1e-4, atol=1e-4)
    parts = sum(found[name] for name in surgery.Surgery._fields)
    torch.testing.assert_close(parts, rate, atol=0.1, rtol=0.05)
    assert (found["mig"] >= 0).all()
    assert (found["votes"] <= 1).all()
    assert stacked.metrics["rate_beta_6"] == pytest.approx(found["rate"][2:].mean().item())
    again = shapes_seeds.evaluate(stacked, CPU)
    assert again["distortion"] == pytest.approx(found["distortion"].mean().item(), rel=1e-4)


# collapse and remedies --------------------------------------------------------------------------


def test_prices_of_the_four_remedies() -> None:
    """Full, rising, starting again, and with a floor: each model by hand."""
    config = dataclasses.replace(shapes_collapse.CPU, steps=40, ramp=0.5, floor=0.7)
    generator = torch.Generator().manual_seed(0)
    mean, log_var = (0.5 * torch.randn(4, 9, 3, generator=generator) for _ in range(2))
    kl = gaussian.kl_to_standard(mean, log_var).mean(dim=1)
    each = gaussian.kl_to_standard(mean[3][..., None], log_var[3][..., None]).mean(dim=0)
    free = each.clamp(min=0.7).sum()
    price = shapes_collapse.prices(config, 3.0)
    for turn, rising, cycle in ((0, 0, 0), (5, 0.25, 0.5), (15, 0.75, 1), (25, 1, 0.5)):
        expected = [3 * kl[0], 3 * rising * kl[1], 3 * cycle * kl[2], 3 * free]
        torch.testing.assert_close(
            price(turn, mean, log_var), torch.stack(list(map(_tensor, expected)))
        )


def _tensor(value: Tensor | float) -> Tensor:
    """Return a number as a tensor."""
    return torch.as_tensor(value)


def test_a_tiny_collapse_run() -> None:
    """Both settings measured for each remedy; evaluating trains the same again."""
    config = shapes_collapse.Config(steps=6, hidden=(8,), latent=2, batch_size=4)
    run = with_config(shapes_collapse.train(config, 0, CPU), config)
    assert run.tensors["strong.rate"].shape == run.tensors["causal.rate"].shape == (4,)
    assert len(run.metrics) == 8
    assert run.metrics["causal_rate_free_bits_nats"] == run.tensors["causal.rate"][3].item()
    assert shapes_collapse.restore(run) == config
    assert shapes_collapse.evaluate(run, CPU) == run.metrics
