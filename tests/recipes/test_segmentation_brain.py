"""Proof for litgen/recipes/segmentation/brain.py: the scanner's laws, the table, the scores."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import Tensor

from litgen import runs
from litgen.data import brain as slices
from litgen.recipes.segmentation import brain, cells
from tests.recipes import watched

CPU = torch.device("cpu")
TINY = dataclasses.replace(brain.CPU, copies=1, widths=(2, 3), turns=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """Return one tiny run on the stand-in, which is what there is offline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("LITGEN_OFFLINE", "1")
        patch.delenv("LITGEN_DATA", raising=False)
        return runs.train("segmentation/brain", "cpu", 0, TINY)


def test_brightness_is_uneven_by_the_numbers_drawn(generator: torch.Generator) -> None:
    """At the nine places of the coarse grid its logarithm is the field's; every slice has one."""
    flat = torch.full((2, 1, 33, 41), 100, dtype=torch.uint8)
    drawn = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(7))
    found = brain.scanned(flat, 0.2, 0.0, generator)
    at = found[:, 0, ::16, ::20].double()
    assert (at - 100 * (0.2 * drawn[:, 0].double()).exp()).abs().max() <= 0.501  # rounded
    assert (found[0] != found[1]).any()
    assert torch.equal(brain.scanned(flat, 0.0, 0.0, generator), flat)
    bright = torch.full((1, 1, 8, 8), 250, dtype=torch.uint8)
    assert brain.scanned(bright, 1.0, 0.0, torch.Generator().manual_seed(0)).max() == 255


def test_noise_is_that_of_a_magnitude(generator: torch.Generator) -> None:
    """The mean square of a signal A is A^2 + 2 s^2; without a signal the mean is s sqrt(pi/2)."""
    dark = torch.zeros(1, 1, 300, 300, dtype=torch.uint8)
    found = brain.scanned(dark, 0.0, 20.0, generator).double()
    assert found.mean().item() == pytest.approx(20 * math.sqrt(math.pi / 2), abs=0.3)
    grey = brain.scanned(dark + 90, 0.0, 20.0, generator).double()
    assert grey.square().mean().item() == pytest.approx(90**2 + 2 * 20**2, rel=0.005)
    assert grey.std().item() == pytest.approx(20, abs=0.5)


def test_the_table_is_the_best_rule_of_one_value() -> None:
    """Of all 27 rules for three grey values none is right more often; unseen values are other."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 3, (2, 1, 25, 40), generator=generator).to(torch.uint8)
    tissue = torch.randint(0, 3, (2, 25, 40), generator=generator).to(torch.uint8)
    rule = brain.table(images, tissue)
    assert rule.shape == (256,)
    assert rule[3:].sum() == 0

    def right(rule: torch.Tensor) -> int:
        return int((rule[images[:, 0].long()] == tissue).sum())

    every = [right(torch.tensor(r)) for r in itertools.product(range(3), repeat=3)]
    assert right(rule[:3]) == max(every) > sorted(every)[-2]


def test_a_run_has_what_the_chapter_shows(run: runs.Run) -> None:
    """Weights, tables, three slices of both kinds; measured anew, the scores are the same."""
    assert run.stand_in
    assert brain.data(TINY) == ("brain",)
    assert brain.evaluate(run, CPU) == pytest.approx(run.metrics, abs=1e-6)
    test_set = slices.load("test")
    clean, scanned = (run.tensors[f"examples.{kind}"] for kind in brain.KINDS)
    assert torch.equal(clean, test_set.images[[0, 8, 16]])
    assert torch.equal(run.tensors["examples.tissue"], test_set.tissue[[0, 8, 16]])
    assert clean.shape == scanned.shape
    assert (clean != scanned).double().mean() > 0.5
    assert run.metrics["test_slices"] == 24
    assert len(run.history["loss_nats"]) == 3


def test_the_tables_are_those_of_the_training_slabs(run: runs.Run) -> None:
    """Each of its own kind: the imperfect copies are those that the seed draws."""
    train_set = slices.load("train")
    draw = torch.Generator().manual_seed(0)
    made = brain.scanned(train_set.images, TINY.shade, TINY.noise, draw)
    for kind, images in (("clean", train_set.images), ("scanned", made)):
        for value in (0, 60, 110, 150, 200):
            here = train_set.tissue[images[:, 0] == value]
            counts = [int((here == k).sum()) for k in range(3)]
            assert run.tensors[f"table.{kind}"][value] == int(np.argmax(counts))


def test_a_scanned_table_follows_the_noise_of_its_copies(run: runs.Run) -> None:
    """It is the most frequent tissue of each grey value in the copies, which are drawn anew."""
    part = slices.load("train")
    draw = torch.Generator().manual_seed(0)
    made = brain.scanned(part.images, TINY.shade, TINY.noise, draw)
    counts = np.zeros((256, brain.CLASSES))
    np.add.at(counts, (made[:, 0].numpy().ravel(), part.tissue.numpy().ravel()), 1)
    assert run.tensors["table.scanned"].tolist() == counts.argmax(axis=1).tolist()


def test_scores_are_scikit_learns(run: runs.Run) -> None:
    """Per tissue and in the mean, for network and table, on both kinds of slices."""
    model = brain.restore(run)
    assert not model.training
    tables = {kind: run.tensors[f"table.{kind}"].long() for kind in brain.KINDS}
    shown = {kind: run.tensors[f"examples.{kind}"] for kind in brain.KINDS}
    tissue = run.tensors["examples.tissue"].roll(3, 2)  # so that no score is 0 or 1
    found = brain.measure(model, tables, shown, tissue)
    for kind in brain.KINDS:
        guesses = {
            "network": cells.found(model, shown[kind]),
            "table": tables[kind][shown[kind][:, 0].long()],
        }
        for who, guess in guesses.items():
            flat = tissue.flatten().numpy(), guess.flatten().numpy()
            each = jaccard_score(*flat, average=None, labels=[0, 1, 2], zero_division=0)
            names = ("other", "grey", "white")
            assert [found[f"{who}_{kind}_iou_{n}"] for n in names] == pytest.approx(list(each))
            assert found[f"{who}_{kind}_mean_iou"] == pytest.approx(each.mean())
    assert len({round(v, 6) for v in found.values()}) > 8


def test_training_sees_whole_slices_as_they_are_and_imperfect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One plain set and the copies, tissue in the same order, and never the middle slab."""
    seen = {}

    def spy(config: brain.Config, images: Tensor, tissue: Tensor, seed: int) -> None:
        seen.update(images=images, tissue=tissue, seed=seed)
        raise KeyboardInterrupt  # enough was seen

    monkeypatch.setattr(brain, "fit", spy)
    with pytest.raises(KeyboardInterrupt):
        brain.train(dataclasses.replace(TINY, copies=2), 3, CPU)
    assert seen["seed"] == 3
    train_set = slices.load("train")
    count = len(train_set.images)
    assert len(seen["images"]) == 3 * count
    assert torch.equal(seen["images"][:count], train_set.images)
    assert torch.equal(seen["tissue"], torch.cat([train_set.tissue] * 3))
    copies = seen["images"][count:].split(count)
    assert (copies[0] != copies[1]).any()


def test_the_loss_is_the_mean_cross_entropy_of_the_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Written out for the first step, where the network is the seed's; another seed, another."""
    images = torch.randint(0, 256, (4, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    tissue = (images[:, 0] // 86).to(torch.uint8)
    config = dataclasses.replace(TINY, mixed=False, batch_size=4, turns=2)
    rows = images.to(torch.uint8)
    first = next(iter(brain.fit(config, rows, tissue, 5))).loss.item()
    torch.manual_seed(5)
    model = brain.UNet(1, 3, (2, 3))
    log_p = model(images / 127.5 - 1).log_softmax(dim=1)
    expected = -log_p.gather(1, tissue[:, None].long()).mean()
    assert first == pytest.approx(expected.item(), abs=1e-5)
    assert next(iter(brain.fit(config, rows, tissue, 6))).loss.item() != first


def test_the_first_loss_in_its_order_and_the_rate() -> None:
    """One cycle over all turns; rows in the order that the seed draws; another seed, another."""
    part = slices.load("train")
    images, tissue = part.images[:9, :, 64:128, 64:112], part.tissue[:9, 64:128, 64:112]
    config = dataclasses.replace(TINY, turns=8, batch_size=4, learning_rate=0.006, mixed=False)
    memory, steps = watched.watched(lambda: brain.fit(config, images, tissue, 6))
    assert memory.line() == pytest.approx(watched.one_cycle(0.006, 8), rel=1e-6)
    assert memory.things["batches"].batch_size == 4
    assert [step.turn for step in steps] == list(range(8))
    torch.manual_seed(6)
    model = brain.UNet(1, 3, (2, 3))
    rows = torch.randperm(9, generator=torch.Generator().manual_seed(6))[:4]
    with torch.no_grad():
        log_p = model(images[rows] / 127.5 - 1).log_softmax(dim=1)
    expected = -log_p.gather(1, tissue[rows][:, None].long()).mean().item()
    assert steps[0].loss.item() == pytest.approx(expected, rel=1e-4)


def test_what_is_measured_is_the_middle_slab(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a rounded network at rest; the imperfect slices do not depend on the training's seed."""
    measured = watched.calls(monkeypatch, brain, "measure")
    fitted = watched.calls(monkeypatch, brain, "fit")
    config = dataclasses.replace(TINY, turns=2, copies=2)
    run = brain.train(config, 3, CPU)
    train_set, test_set = slices.load("train"), slices.load("test")
    draw = torch.Generator().manual_seed(3)
    made = [brain.scanned(train_set.images, config.shade, config.noise, draw) for _ in range(2)]
    assert torch.equal(fitted[0][1], torch.cat([train_set.images, *made]))
    model, tables, shown, tissue, state = measured[0]
    assert state == {"training": False, "half": True}
    assert torch.equal(tissue, test_set.tissue)
    assert torch.equal(shown["clean"], test_set.images)
    fixed = torch.Generator().manual_seed(1995)
    scanned = brain.scanned(test_set.images, config.shade, config.noise, fixed)
    assert torch.equal(shown["scanned"], scanned)
    counts = np.zeros((256, 3))
    for each in made:
        np.add.at(counts, (each[:, 0].numpy().ravel(), train_set.tissue.numpy().ravel()), 1)
    assert tables["scanned"].tolist() == counts.argmax(axis=1).tolist()
    watched.check_records(run.data, "brain", train=train_set.record, test=test_set.record)
    run.provenance["config"] = dataclasses.asdict(config)
    back = brain.restore(run)
    assert watched.is_at_rest(back)
    assert all(torch.equal(v, back.state_dict()[k]) for k, v in model.state_dict().items())
    assert brain.UNet(1, 3, (2, 3)).skips == back.skips
    assert run.metrics["test_slices"] == 24
