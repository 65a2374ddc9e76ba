"""Proof for three recipes: what is shown to whom, scores by hand, a short run.

Covers litgen/recipes/pairs.py, litgen/recipes/gan/pix2pix_facades.py and
litgen/recipes/gan/pix2pix_emoji.py.
"""

import copy
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from litgen import runs
from litgen.data import emoji, facades
from litgen.gan.patch import PatchCritic
from litgen.gan.pix2pix import Terms
from litgen.gan.translator import Translator
from litgen.recipes import pairs
from litgen.recipes.gan import pix2pix_emoji, pix2pix_facades
from litgen.recipes.pictures import to_unit
from litgen.segmentation.unet import UNet

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    pix2pix_facades.CPU,
    variants=("l1", "cgan", "back_l1"),
    widths=(4, 6),
    critic_width=3,
    turns=12,
    back_turns=8,
    batch_size=6,
    reader_widths=(4, 6),
    reader_turns=30,
    test_fronts=20,
    dropout=0.3,
)


@pytest.fixture(scope="module")
def trained() -> runs.Run:
    """Return a run of a short training."""
    return runs.train("gan/pix2pix_facades", "cpu", config=TINY)


def test_what_each_variant_counts_and_shows() -> None:
    """Weights, what the critic sees, patches and skips, direction: every variant by hand."""
    fields = {"pixel": 0, "whole": 2}
    for variant in pix2pix_facades.GPU.variants:
        terms = pix2pix_facades.terms(TINY, variant)
        assert (terms.weight > 0) == (variant not in ("cgan", "back_cgan"))
        assert (terms.adversarial > 0) == (not variant.endswith("l1"))
        assert terms.told == (variant != "untold")
        translator, critic = pix2pix_facades.build(TINY, variant)
        assert translator.skips == (variant != "narrow")
        assert critic.halvings == fields.get(variant, 1)
        assert critic.channels == (3 if variant == "untold" else 9)
        assert translator.inputs == (3 if variant.startswith("back") else 6)
        drops = {m.p for m in translator.modules() if isinstance(m, nn.Dropout)}
        assert drops == {TINY.dropout}
    assert pix2pix_facades.terms(TINY, "both").weight == TINY.weight


def test_plans_become_planes() -> None:
    """1 where a class is, -1 where it is not; pairs are turned round for the way back."""
    classes = torch.tensor([[[0, 5], [2, 2]]], dtype=torch.uint8)
    found = pix2pix_facades.planes(classes)
    assert found.shape == (1, 6, 2, 2)
    assert found[0, 5].tolist() == [[-1, 1], [-1, -1]]
    assert (found.sum(dim=1) == -4).all()
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    rows = torch.tensor([0])
    plan, picture = pix2pix_facades.loader("both", images, classes)(rows)
    assert torch.equal(plan, found)
    assert (picture == 1).all()
    first, second = pix2pix_facades.loader("back_l1", images, classes)(rows)
    assert torch.equal(first, picture)
    assert torch.equal(second, found)


def test_the_reader_s_score_by_hand() -> None:
    """Shares of pixels and classes, and intersection over union, on a map of four pixels."""
    truth = torch.tensor([[[0, 0], [1, 1]]], dtype=torch.uint8)
    seen = torch.tensor([[[0, 1], [1, 1]]], dtype=torch.uint8)
    found = pix2pix_facades.plan_scores(truth, seen)
    assert found["pixels"] == pytest.approx(3 / 4)
    assert found["accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_roughness_by_hand() -> None:
    """Mean squares of differences across and down; a flat picture has none."""
    image = torch.tensor([[[[0.0, 1.0], [3.0, 3.0]]]]).expand(1, 3, 2, 2)
    expected = (1 + 0) / 2 + (9 + 4) / 2
    for recipe in (pix2pix_facades, pix2pix_emoji):
        assert recipe.roughness(image) == pytest.approx(expected)
        assert recipe.roughness(torch.ones(1, 3, 4, 4)) == 0


def test_a_run_and_its_scores(trained: runs.Run, tmp_path: Path) -> None:
    """Metrics can be measured anew from the weights; curves and provenance are there."""
    runs.save(trained, tmp_path / "run.safetensors")
    run = runs.load(tmp_path / "run.safetensors")
    again = pix2pix_facades.evaluate(run, CPU)
    assert again.keys() == trained.metrics.keys()
    assert again == pytest.approx(trained.metrics, rel=1e-5)
    assert {f"{v}_translator_loss" for v in TINY.variants} <= run.history.keys()
    assert "cgan_critic_loss" in run.history
    assert "l1_critic_loss" not in run.history
    assert {r["split"]: r["checksum"] for r in run.data} == facades.CHECKSUM
    assert isinstance(pix2pix_facades.models(run)[1]["cgan"], Translator)
    assert trained.metrics["l1_l1"] > 0
    assert "back_l1_roughness" not in trained.metrics


def test_scores_of_a_perfect_and_a_blind_translator() -> None:
    """The truth has error 0 and roughness 1; grey has half the range's error and none."""
    images = torch.randint(0, 256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    classes = torch.zeros(4, 8, 8, dtype=torch.uint8)

    class Fixed(Translator):
        """Answers with what it was given, whatever the plan."""

        def __init__(self, answer: torch.Tensor):
            nn.Module.__init__(self)
            self.answer = answer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return the answer."""
            return self.answer

    class Reader(UNet):
        """Sees class 0 everywhere."""

        def __init__(self) -> None:
            nn.Module.__init__(self)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return logits."""
            logits = torch.zeros(len(x), 6, *x.shape[2:])
            logits[:, 0] = 1
            return logits

    truth = to_unit(images)
    measure = pix2pix_facades.measure
    found = measure("both", Fixed(truth), Reader(), images, classes)
    assert found["l1"] == pytest.approx(0, abs=1e-4)
    assert found["roughness"] == pytest.approx(1)
    assert found["pixels"] == 1
    grey = measure("both", Fixed(torch.zeros_like(truth)), Reader(), images, classes)
    assert grey["l1"] == pytest.approx((images.float() - 128).abs().mean().item(), abs=0.6)
    assert grey["roughness"] == 0


def test_scores_of_a_translation_to_plans() -> None:
    """A translator that says class 2 everywhere: its score, and its error in bytes by hand."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (4, 3, 8, 8), generator=generator).to(torch.uint8)
    classes = torch.randint(0, 6, (4, 8, 8), generator=generator).to(torch.uint8)

    class Twos(Translator):
        """Says class 2, and half of it everywhere else."""

        def __init__(self) -> None:
            nn.Module.__init__(self)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return planes."""
            planes = torch.zeros(len(x), 6, *x.shape[2:])
            planes[:, 2] = 1
            return planes

    found = pix2pix_facades.measure("back_both", Twos(), UNet(3, 6, (2, 3)), images, classes)
    share = (classes == 2).double().mean().item()
    assert found["pixels"] == pytest.approx(share)
    right, wrong = 5 / 6, (5 + 2) / 6  # halves off in five planes; class 2 wholly off as well
    expected = 127.5 * (share * right + (1 - share) * wrong)
    assert found["l1"] == pytest.approx(expected)
    assert "roughness" not in found


def test_pictures_are_scored_as_bytes() -> None:
    """A translation a third of a level off is as good as the truth once it is a file."""
    images = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    images[:, :, 0] = 200
    classes = torch.zeros(2, 8, 8, dtype=torch.uint8)

    class Near(Translator):
        """Returns the truth, a little too bright."""

        def __init__(self) -> None:
            nn.Module.__init__(self)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return it."""
            return to_unit(images) + 0.3 / 127.5

    reader = UNet(3, 6, (2, 3)).eval()
    assert pix2pix_facades.measure("both", Near(), reader, images, classes)["l1"] == 0


def test_dropped_units_differ_and_leave_the_network_as_it_was() -> None:
    """A seed draws units; without one nothing is dropped; moments stay."""
    torch.manual_seed(0)
    net = Translator(6, 3, (8, 8, 8))
    plans = torch.randn(2, 6, 16, 16)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    one, same, other = (pix2pix_facades.translate(net, plans, seed=s) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    still = pix2pix_facades.translate(net, plans)
    assert torch.equal(still, pix2pix_facades.translate(net, plans))
    assert not torch.equal(still, one)
    assert not any(m.training for m in net.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_how_a_training_with_pairs_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The translator's rate falls along half a cosine, the critic's stays; who is given what."""
    given: list[tuple] = []
    whole = pairs.pix2pix.players

    def watching(*args, **options):
        given.append((*args, options))
        return whole(*args, **options)

    monkeypatch.setattr(pairs.pix2pix, "players", watching)
    torch.manual_seed(0)
    networks = Translator(2, 1, (3, 3), norm="none"), PatchCritic(3, 2, 1)
    images = torch.randn(9, 3, 16, 16)
    taken: list[list[int]] = []

    def load(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        taken.append(rows.tolist())
        return images[rows, :2], images[rows, 2:]

    rates = []
    for seed in (1, 2):
        pace = pairs.Pace(turns=4, batch_size=5, learning_rate=1e-3, critic_rate=2e-3)
        for now in pairs.fit(networks, Terms(), load, torch.arange(9), pace, seed, "x"):
            optimizers = given[-1][2]
            if now.player == "translator":
                rates.append([o.param_groups[0]["lr"] for o in optimizers])
    for net, optimizer in zip(networks, optimizers, strict=True):
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        assert [id(p) for p in owned] == [id(p) for p in net.parameters()]
        assert optimizer.defaults["betas"] == (0.5, 0.99)
    for turn, pair in enumerate(rates[:4], start=1):
        left = (1 + math.cos(math.pi * turn / 4)) / 2
        assert pair == pytest.approx([left * 1e-3, 2e-3], abs=1e-12)
    assert given[0][-1] == {"apart": True}
    assert {len(rows) for rows in taken} == {5}
    assert taken[: len(taken) // 2] != taken[len(taken) // 2 :], "another seed, another order"


def test_settled_moments_are_those_of_the_pairs() -> None:
    """After settling, evaluation mode gives about what training mode does."""
    torch.manual_seed(0)
    net = Translator(6, 3, (8, 8, 8), dropout=0.0)
    plans = pix2pix_facades.planes(facades.load("test").classes[:100])
    net.train()
    expected = net(plans)
    settled = pairs.settled(net, lambda rows: (plans[rows], 0 * plans[rows]), torch.arange(100))
    assert not settled.training
    torch.testing.assert_close(settled(plans), expected, atol=2e-3, rtol=2e-3)


def test_emoji_go_from_google_to_twitter() -> None:
    """The condition is Google's picture; copying it has the error of the identity."""
    found = emoji.load("test")
    first, second = pix2pix_emoji.loader(found, CPU)(torch.arange(3))
    torch.testing.assert_close(first, to_unit(found.google[:3]))
    torch.testing.assert_close(second, to_unit(found.twitter[:3]))

    class Copy(Translator):
        """Answers with what it is given."""

        def __init__(self) -> None:
            nn.Module.__init__(self)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """Return it."""
            return x

    errors = pix2pix_emoji.measure(Copy(), found.google, found.twitter)
    metrics = pix2pix_emoji._untrained(found.google, found.twitter)
    assert errors["l1"] == pytest.approx(metrics["identity_l1"])
    assert metrics["identity_l1"] > 1


def test_recipes_pass_on_pace_and_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns of the way there and back, rates of each player, weights, and dropout."""
    heard: list[tuple] = []
    monkeypatch.setattr(pairs, "fit", lambda *args: iter(heard.append(args) or ()))
    images = torch.zeros(5, 3, 32, 32, dtype=torch.uint8)
    config = dataclasses.replace(TINY, learning_rate=3e-4, critic_rate=7e-4)
    for variant, turns in (("both", 12), ("back_both", 8)):
        list(pix2pix_facades.fit(config, variant, images, images[:, 0], 4))
        networks, terms, _, rows, pace, seed, name = heard[-1]
        assert (*pace, seed, name) == (turns, 6, 3e-4, 7e-4, 4, variant)
        assert rows.tolist() == [0, 1, 2, 3, 4]
        assert terms == pix2pix_facades.terms(config, variant)
    found = emoji.load("test")
    small = pix2pix_emoji.Config(("l1", "both"), (3, 4), 2, 9, 3, 3e-4, 7e-4, 11.0, 0.3, False)
    for variant in ("l1", "both"):
        list(pix2pix_emoji.fit(small, variant, found, 4, CPU))
        networks, terms, _, rows, pace, seed, name = heard[-1]
        assert (*pace, seed, name) == (9, 3, 3e-4, 7e-4, 4, variant)
        assert len(rows) == len(found.google)
        assert terms == Terms(11.0, float(variant == "both"), True, False)
        assert {m.p for m in networks[0].modules() if isinstance(m, nn.Dropout)} == {0.3}
        assert (networks[1].channels, networks[1].halvings) == (6, 1)


def test_emoji_are_translated_scored_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny run: weights as another training leaves them, settled and rounded; scores anew."""
    full = {split: emoji.load(split) for split in ("train", "test")}
    few = {
        split: dataclasses.replace(
            part,
            google=part.google[:40],
            twitter=part.twitter[:40],
            categories=part.categories[:40],
            names=part.names[:40],
        )
        for split, part in full.items()
    }
    monkeypatch.setattr(emoji, "load", few.__getitem__)
    config = pix2pix_emoji.Config(("l1", "both"), (3, 4), 2, 4, 6, mixed=False)
    run = runs.train("gan/pix2pix_emoji", "cpu", config=config)
    again = pix2pix_emoji.evaluate(run, CPU)
    assert again == pytest.approx(run.metrics, rel=1e-6)
    assert run.metrics["test_pairs"] == 40
    *_, now = pix2pix_emoji.fit(config, "both", few["train"], 0, CPU)
    moments = now.translator.state_dict()
    kept = pix2pix_emoji.restore(run)
    for name, value in kept.named_parameters():
        torch.testing.assert_close(value, moments[name], rtol=1e-3, atol=1e-4)
    assert not any(m.training for m in kept.modules())
    assert not any(p.requires_grad for p in kept.parameters())
    x = to_unit(few["train"].google)
    live = copy.deepcopy(kept).train()
    torch.testing.assert_close(live(x), kept(x), rtol=0.05, atol=0.02)
    made = pix2pix_emoji.translate(kept, few["test"].google).double().numpy()
    real = few["test"].twitter.double().numpy()
    assert run.metrics["both_l1"] == pytest.approx(np.abs(made - real).mean(), rel=1e-5)
    rough = [
        sum((np.diff(part, axis=axis) ** 2).mean() for axis in (2, 3)) for part in (made, real)
    ]
    assert run.metrics["both_roughness"] == pytest.approx(rough[0] / rough[1], rel=1e-5)
    first = few["test"].google.double().numpy()
    assert run.metrics["identity_l1"] == pytest.approx(np.abs(first - real).mean(), rel=1e-6)


def test_a_reader_learns_at_its_own_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam at a hundredth that falls along half a cosine; it reads in evaluation mode."""
    heard: list[list] = []
    rates: list[float] = []
    whole = pix2pix_facades.play

    def watching(movers, *rest):
        heard.append(movers)
        for step in whole(movers, *rest):
            rates.append(movers[0].optimizer.param_groups[0]["lr"])
            yield step

    monkeypatch.setattr(pix2pix_facades, "play", watching)
    images = torch.zeros(6, 3, 32, 32, dtype=torch.uint8)
    config = dataclasses.replace(TINY, reader_turns=4, reader_widths=(2, 3))
    reader = pix2pix_facades.read_in(config, images, images[:, 0], 0)
    assert not reader.training
    expected = [0.01 * (1 + math.cos(math.pi * turn / 4)) / 2 for turn in range(4)]
    assert rates == pytest.approx(expected)


def test_the_shipped_translator_is_the_one_with_both_terms() -> None:
    """Not the first one, and not one that goes back."""
    tensors = {}
    config = dataclasses.replace(TINY, variants=("l1", "both", "back_both"))
    for k, variant in enumerate(config.variants):
        translator, _ = pix2pix_facades.build(config, variant)
        with torch.no_grad():
            next(translator.parameters()).fill_(k)
        tensors |= {f"{variant}.{n}": v for n, v in translator.state_dict().items()}
    reader = UNet(3, 6, config.reader_widths).state_dict()
    tensors |= {f"reader.{n}": v for n, v in reader.items()}
    run = runs.Run(tensors, {}, {}, [])
    run.provenance["config"] = dataclasses.asdict(config)
    shipped = pix2pix_facades.restore(run)
    assert (next(shipped.parameters()) == 1).all()
    assert not shipped.training
