"""Proof for litgen/recipes/applications: slices.py and slices_brain.py, who sees what."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from litgen import runs
from litgen.applications.slice_networks import SliceNet
from litgen.data import heads
from litgen.recipes.applications import slices, slices_brain
from litgen.recipes.applications.slices import Made, Slices

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    slices.CPU, sizes=(4, 6), seeds=2, width=2, turns=2, painter_turns=2, made=5, mixed=False
)


@pytest.fixture(scope="module")
def run() -> runs.Run:
    """Return one tiny run."""
    return runs.train("applications/slices", "cpu", 0, TINY)


def test_a_run_has_every_arm(run: runs.Run) -> None:
    """Counts of all, weights of the middle size and of painters, curves, records."""
    counts = slices.counts(run)
    arms = {f"{arm}_{size}" for arm in slices.ARMS for size in TINY.sizes}
    assert set(counts) == arms | {"all", "fresh", "healthy", "leak", "none_own", "leak_own"}
    pixels = len(heads.load("test").images) * 32 * 32
    for name, counted in counts.items():
        own = name.endswith("_own")
        assert counted.sum(dim=(1, 2)).tolist() == [2 * 32 * 32 if own else pixels] * 2
    assert set(slices.restore(run)) == set(slices.ARMS)
    assert slices.painter(run, 4).inputs == 5 + 4 + 1
    assert len(run.history["painter_4_loss_nats"]) == 2
    assert {r["checksum"] for r in run.data} == set(heads.CHECKSUM.values())
    assert slices.data(TINY) == ("heads",)
    assert slices_brain.data(slices_brain.CPU) == ("brain",)
    drawn = slices.sample(run, 3, torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 1, 32, 32)
    assert 0 <= drawn.min() < drawn.max() <= 1


def test_measuring_again_gives_the_same(run: runs.Run) -> None:
    """The weights in the run are those that were measured."""
    again = slices.evaluate(run, CPU)
    assert set(again) == {f"{arm}_6_mean_iou" for arm in slices.ARMS}
    for name, value in again.items():
        assert value == pytest.approx(run.metrics[name], abs=1e-6)


def test_seeds_have_their_own_slices_in_nested_sets() -> None:
    """Permutations that differ between seeds and repeat with the seed."""
    order = slices.chosen(TINY, 50, 3)
    assert all(row.sort().values.tolist() == list(range(50)) for row in order)
    assert not torch.equal(order[0], order[1])
    assert torch.equal(order, slices.chosen(TINY, 50, 3))
    assert not torch.equal(order, slices.chosen(TINY, 50, 4))
    rows = {tuple(row.tolist()) for run in (3, 4) for row in slices.chosen(TINY, 50, run)}
    assert len(rows) == 4, "no two runs share a seed's slices"


def test_shrinking_is_means_and_majorities() -> None:
    """Of blocks, after padding on both sides to a square."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 1, 96, 64), generator=generator).to(torch.uint8)
    tissue = torch.randint(0, 3, (2, 96, 64), generator=generator).to(torch.uint8)
    grey, found = slices.shrunk(images, tissue)
    wide = np.pad(images.numpy(), ((0, 0), (0, 0), (0, 0), (16, 16)))
    labels = np.pad(tissue.numpy(), ((0, 0), (0, 0), (16, 16)))
    for k, y, x in ((0, 3, 9), (1, 31, 20), (1, 7, 5)):
        block = np.s_[3 * y : 3 * y + 3, 3 * x : 3 * x + 3]
        assert grey[k, 0, y, x].item() == pytest.approx(wide[k, 0][block].mean(), rel=1e-5)
        assert found[k, y, x] == np.bincount(labels[k][block].ravel()).argmax()


def test_slices_are_loaded_as_they_were_drawn() -> None:
    """Grey values from -1 to 1, of both splits; a column too few is filled on the right."""
    for split, part in zip(("train", "test"), slices.load("heads")[:2], strict=True):
        own = heads.load(split)
        torch.testing.assert_close(part.images, own.images.double().div(127.5).sub(1).float())
        assert torch.equal(part.tissue, own.tissue.long())
    images = torch.full((1, 1, 32, 31), 200, dtype=torch.uint8)
    grey, tissue = slices.shrunk(images, torch.ones(1, 32, 31, dtype=torch.uint8))
    assert grey[0, 0, :, :31].eq(200).all()
    assert tissue[0, :, :31].eq(1).all()
    assert not grey[0, 0, :, 31].any()


@functools.cache
def drawn() -> Slices:
    """Return the drawn training slices."""
    return slices.load("heads")[0]


def test_contrast_is_the_mean_grey_of_each_tissue() -> None:
    """By masks, one slice at a time; 0 where there is none."""
    some = Slices(*(part[:6] for part in drawn()))
    found = slices.contrast(some, 5)
    for k in range(6):
        for tissue in range(5):
            inside = some.images[k, 0][some.tissue[k] == tissue]
            expected = inside.mean().item() if len(inside) else 0.0
            assert found[k, tissue].item() == pytest.approx(expected, abs=1e-5)
    assert (found[:, 4] == 0).any()
    assert (found[:, 4] != 0).any()


def untrained() -> SliceNet:
    """Return painters with random weights, the same each time."""
    torch.manual_seed(4)
    return slices.new_painter(TINY)


def test_made_slices_have_masks_of_their_own_seed() -> None:
    """Masks come from the seed's rows alone, and what is made depends on rows and noise."""
    rows = torch.stack([torch.arange(4), torch.arange(10, 14)])
    made = slices.make(TINY, untrained(), drawn(), rows, 30, torch.Generator().manual_seed(1))
    for seed in range(2):
        own = {tuple(drawn().tissue[r].flatten().tolist()) for r in rows[seed]}
        used = {tuple(mask.flatten().tolist()) for mask in made.tissue[:, seed]}
        assert used == own
    assert made.images.abs().max() <= 1
    again = slices.make(TINY, untrained(), drawn(), rows, 30, torch.Generator().manual_seed(1))
    assert torch.equal(made.images, again.images)
    assert made.images.std(dim=0).max() > 0.01


def step_loss(
    rows: Tensor, bent: bool = False, made: Made | None = None, **changed: float
) -> float:
    """Return the first loss of segmenters on these rows."""
    config = dataclasses.replace(TINY, **changed)
    return next(slices.fit_segmenter(config, drawn(), rows, 0, bent, made)).loss.item()


def test_what_a_segmenter_learns_from() -> None:
    """Rows, bending, made slices and weights of classes all enter the loss; the rest does not."""
    rows = torch.stack([torch.arange(4), torch.arange(10, 14)])
    plain = step_loss(rows)
    assert step_loss(rows) == plain
    assert step_loss(rows + 1) != plain
    assert step_loss(rows, bent=True) != plain
    same = Made(drawn().images[rows.T][:, :, 0], drawn().tissue[rows.T])
    empty = Made(torch.zeros(3, 2, 32, 32), torch.zeros(3, 2, 32, 32, dtype=torch.long))
    assert step_loss(rows, made=empty) != plain
    assert step_loss(rows, made=same, share=0.0) == pytest.approx(plain)
    assert step_loss(rows, rare=0.0) < plain < step_loss(rows, rare=50.0)
    assert step_loss(rows, ground=0.0) < plain


def test_a_segmenters_loss_and_rate_by_hand() -> None:
    """Cross-entropy weighed by tissue, a sum over seeds; the rate of one cycle."""
    rows = torch.stack([torch.arange(4), torch.arange(10, 14)])
    config = dataclasses.replace(TINY, turns=5)
    torch.manual_seed(7)
    net = SliceNet(2, 1, 5, 2)
    x, tissue = drawn().images[rows.T], drawn().tissue[rows.T]
    nats = -net(x).log_softmax(dim=2).gather(2, tissue[:, :, None])[:, :, 0]
    weight = torch.tensor([config.ground, 1, 1, 1, config.rare])[tissue]
    expected = sum((nats * weight)[:, k].mean().item() for k in range(2))
    found = list(slices.fit_segmenter(config, drawn(), rows, 7))
    assert found[0].loss.item() == pytest.approx(expected, rel=1e-4)
    assert [step.player for step in found] == ["segmenters"] * 5


def test_rates_of_all_players(monkeypatch: pytest.MonkeyPatch) -> None:
    """The segmenters' goes up and down once; a painter's critic has a quarter of its rate."""
    heard: list[list] = []
    whole = slices.play

    def watching(players, *rest):
        heard.append(players)
        return whole(players, *rest)

    monkeypatch.setattr(slices, "play", watching)
    rows = torch.stack([torch.arange(4), torch.arange(10, 14)])
    config = dataclasses.replace(TINY, turns=6)
    rates = [
        heard[0][0].optimizer.param_groups[0]["lr"]
        for _ in slices.fit_segmenter(config, drawn(), rows, 0)
    ]
    plain = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(plain, config.learning_rate, 6)
    expected = []
    for _ in range(5):
        plain.step()
        cycle.step()
        expected.append(plain.param_groups[0]["lr"])
    assert rates == pytest.approx([*expected, expected[-1]])
    next(slices.fit_painter(config, drawn(), rows, 0))
    by_name = {player.name: player.optimizer.defaults for player in heard[1]}
    assert by_name["painter"]["lr"] == config.painter_rate
    assert by_name["critic"]["lr"] == config.painter_rate / 4
    assert by_name["painter"]["betas"] == by_name["critic"]["betas"] == (0.5, 0.99)


def test_painters_and_critics_losses_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the critic calls data and what it calls made, and what a painter pays for."""
    said: list[Tensor] = []
    painted: list[Tensor] = []
    told: list[Tensor] = []
    shown: list[Tensor] = []
    forward, made = slices.SliceCritic.forward, slices.SliceNet.forward

    def judging(self, x):
        shown.append(x)
        said.append(forward(self, x))
        return said[-1]

    def painting(self, x):
        told.append(x)
        painted.append(made(self, x))
        return painted[-1]

    monkeypatch.setattr(slices.SliceCritic, "forward", judging)
    monkeypatch.setattr(slices.SliceNet, "forward", painting)
    rows = torch.stack([torch.arange(4), torch.arange(10, 14)])
    config = dataclasses.replace(TINY, distance=3.0, painter_turns=1)

    def data(conditions: Tensor) -> Tensor:
        """Return the slices whose masks a painter was told, in the order of its batch."""
        tissue = conditions[:, :, :5].argmax(dim=2)
        which = [
            [next(r for r in own if torch.equal(drawn().tissue[r], t)) for t in tissue[:, k]]
            for k, own in enumerate(rows)
        ]
        return drawn().images[torch.tensor(which).T]

    first, second = slices.fit_painter(config, drawn(), rows, 0)
    real, fake = said[0].double().chunk(2)
    assert torch.equal(shown[0][:4, :, :1], data(told[0])), "data first, then what is made"
    plans = told[0][:, :, :5]
    assert torch.equal(shown[0][:, :, 1:], torch.cat([plans, plans])), "each beside its own masks"
    for conditions in told:
        codes, noise = conditions[:, :, 5:9], conditions[:, :, 9:]
        assert torch.equal(codes, codes[..., :1, :1].expand_as(codes)), "the same at every pixel"
        whose = data(conditions)
        for tissue in range(4):
            inside = conditions[:, :, tissue]
            grey = (whose[:, :, 0] * inside).sum(dim=(2, 3)) / inside.sum(dim=(2, 3)).clamp(min=1)
            torch.testing.assert_close(codes[:, :, tissue, 0, 0], grey, rtol=1e-4, atol=1e-5)
        assert noise.shape[2] == 1
        assert noise.std().item() == pytest.approx(1, abs=0.1)
    expected = -real.sigmoid().log().mean() - (-fake).sigmoid().log().mean()
    assert first.loss.item() == pytest.approx(2 * expected.item(), rel=1e-5)
    near = (painted[1].tanh() - data(told[1])).abs().mean()
    fooling = -said[1].double().sigmoid().log().mean()
    assert second.loss.item() == pytest.approx(2 * (fooling + 3 * near).item(), rel=1e-4)


def test_half_of_a_batch_is_made() -> None:
    """As many as the share says, the others untouched; bending moves image and mask alike."""
    x = torch.zeros(4, 2, 32, 32)
    tissue = torch.zeros(4, 2, 32, 32, dtype=torch.long)
    made = Made(torch.ones(3, 2, 32, 32), torch.ones(3, 2, 32, 32, dtype=torch.long))
    for share, count in ((0.5, 2), (0.25, 1), (1.0, 4)):
        draw = torch.Generator().manual_seed(0)
        images, masks = slices._joined(x, tissue, made, share, draw)
        assert images.mean(dim=(1, 2, 3)).sum() == count
        assert torch.equal(images.long(), masks)
    mask = drawn().tissue[:8].view(4, 2, 32, 32)
    bent = slices._bent(mask.float(), mask, 1.0, torch.Generator().manual_seed(0))
    assert ((bent[0] - bent[1]).abs() < 0.75).double().mean() > 0.85
    assert (bent[1] != mask).double().mean() > 0.05
    flipped = slices._bent(mask.float(), mask, 0.0, torch.Generator().manual_seed(0))
    for before, after in zip(mask.flatten(0, 1), flipped[1].flatten(0, 1), strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(-1))
    assert (flipped[1] != mask).any()


def test_counts_of_a_segmenter_that_says_one_tissue() -> None:
    """Every pixel in one column, rows as in the truth; on all slices or on a seed's own."""
    net = SliceNet(2, 1, 5, 2)
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.zero_()
        net.head.bias.view(2, 5, 4)[0, 2], net.head.bias.view(2, 5, 4)[1, 3] = 1, 1
    some = Slices(*(part[:6] for part in drawn()))
    counts = slices.measure(TINY, net, some)
    for seed, said in ((0, 2), (1, 3)):
        assert torch.equal(
            counts[seed, :, said], torch.bincount(some.tissue.flatten(), minlength=5)
        )
        assert counts[seed].sum() == counts[seed, :, said].sum()
    rows = torch.tensor([[0, 3], [5, 1]])
    own = slices.measure(TINY, net, some, rows)
    expected = torch.bincount(some.tissue[[5, 1]].flatten(), minlength=5)
    assert torch.equal(own[1, :, 3], expected)


def test_a_perfect_generator_knows_none_of_the_chosen() -> None:
    """Slices of the rest alone; healthy ones have no lesion."""
    rest = torch.stack([torch.arange(100, 200), torch.arange(200, 300)])
    for healthy in (False, True):
        made = slices._rest(drawn(), rest, healthy)
        assert (made.tissue == 4).any() != healthy
        pool = {tuple(t.flatten().tolist()) for t in drawn().tissue[rest[1]]}
        assert {tuple(t.flatten().tolist()) for t in made.tissue[:, 1]} <= pool
        assert len(made.images) > 30


def test_painters_pay_for_distance() -> None:
    """The distance's weight enters in proportion; both players move."""
    rows = torch.stack([torch.arange(4), torch.arange(10, 14)])
    found = []
    for distance in (0.0, 1.0, 2.0):
        config = dataclasses.replace(TINY, distance=distance, painter_turns=1)
        steps = list(slices.fit_painter(config, drawn(), rows, 0))
        assert [step.player for step in steps] == ["critic", "painter"]
        found.append(steps[1].loss.item())
    assert found[2] - found[1] == pytest.approx(found[1] - found[0], rel=1e-3)
    assert found[1] > found[0] + 0.1


def test_a_pixel_of_the_ground_counts_as_said() -> None:
    """Slices that are all ground cost in proportion to it, and nothing where it counts 0."""
    ground = Slices(drawn().images[:8], torch.zeros(8, 32, 32, dtype=torch.long))
    rows = torch.stack([torch.arange(4), torch.arange(4, 8)])
    found = []
    for weight in (0.0, 0.5, 1.0):
        config = dataclasses.replace(TINY, ground=weight)
        found.append(next(slices.fit_segmenter(config, ground, rows, 0)).loss.item())
    assert found[0] == 0
    assert found[2] == pytest.approx(2 * found[1])
    assert found[1] > 0.1


def test_who_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second size's painter, the smallest size's slices, and the rows between for testing."""
    judged, made, given = [], {}, {}
    plain = slices.measure, slices.make, slices.fit_segmenter

    def measure(config: Any, net: Any, some: Any, rows: Any = None) -> Any:
        judged.extend([] if rows is None else [rows])
        return plain[0](config, net, some, rows)

    def make(config: Any, net: Any, some: Any, rows: Any, count: int, draw: Any) -> Any:
        made[rows.shape[1]] = plain[1](config, net, some, rows, count, draw)
        return made[rows.shape[1]]

    def fit(*args: Any) -> Any:
        given[args[6]] = args
        return plain[2](*args)

    for name, stub in (("measure", measure), ("make", make), ("fit_segmenter", fit)):
        monkeypatch.setattr(slices, name, stub)
    slices.train(TINY, 0, CPU)
    order = slices.chosen(TINY, 400, 0)
    assert [torch.equal(rows, order[:, 4:6]) for rows in judged] == [True, True]
    assert torch.equal(given["leak"][2], order[:, :4])
    assert given["leak"][5] is made[6]
    assert given["made_4"][5] is given["both_4"][5] is made[4]
    assert given["none_4"][5] is given["bent_4"][5] is None
    assert [given[f"{arm}_6"][4] for arm in slices.ARMS] == [False, True, False, True]


def test_made_slices_follow_the_codes_of_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What painters are told when they make: masks, codes fitted to a seed's own rows, noise."""
    rows = torch.stack([torch.arange(4), torch.arange(10, 14)])
    told: list[Tensor] = []
    modes: list[bool] = []
    forward = slices.SliceNet.forward

    def painting(self: SliceNet, x: Tensor) -> Tensor:
        told.append(x)
        modes.append(self.training)
        return 100 * forward(self, x)

    monkeypatch.setattr(slices.SliceNet, "forward", painting)
    net = untrained().train()
    made = slices.make(TINY, net, drawn(), rows, 400, torch.Generator().manual_seed(1))
    assert not any(modes)
    assert made.images.abs().max() <= 1
    codes = torch.cat(told)[:, :, 5:9, 0, 0].double()
    known = slices.contrast(drawn(), 4)[rows].double()
    for seed in range(2):
        mean, spread = known[seed].mean(dim=0), known[seed].std(dim=0)
        assert ((codes[:, seed].mean(dim=0) - mean).abs() < 0.25 * spread + 1e-4).all()
        torch.testing.assert_close(codes[:, seed].std(dim=0), spread, rtol=0.2, atol=1e-4)
    assert (known[0].mean(dim=0) - known[1].mean(dim=0)).abs().max() > 0.05


def test_half_are_flipped_and_bends_have_their_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 600 slices about 300; displacements are normal with the scale that the config says."""
    mask = drawn().tissue[:300].view(150, 2, 32, 32)
    moved: list[Tensor] = []
    whole = slices.elastic.deform

    def deforming(x: Tensor, tissue: Tensor, vectors: Tensor) -> Any:
        moved.append(vectors)
        return whole(x, tissue, vectors)

    monkeypatch.setattr(slices.elastic, "deform", deforming)
    still = slices._bent(mask.float(), mask, 0.0, torch.Generator().manual_seed(0))[1]
    flipped = (still == mask.flip(-1)).flatten(2).all(dim=2)
    assert abs(flipped.double().mean().item() - 0.5) < 0.1
    rows = torch.stack([torch.arange(100), torch.arange(100, 200)])
    config = dataclasses.replace(TINY, bend=0.3, batch_size=100, turns=2)
    next(slices.fit_segmenter(config, drawn(), rows, 0, bent=True))
    assert moved[1].std().item() == pytest.approx(0.3, rel=0.1)


def test_the_last_tissue_is_rare_in_drawn_heads_alone() -> None:
    """In a real head every tissue but the ground counts alike."""
    generator = torch.Generator().manual_seed(0)
    tissue = torch.randint(0, slices.classes("brain"), (6, 32, 32), generator=generator)
    some = Slices(torch.randn(6, 1, 32, 32, generator=generator), tissue)
    rows = torch.stack([torch.arange(4), torch.arange(2, 6)])
    found = []
    for rare in (1.0, 50.0):
        config = dataclasses.replace(TINY, name="brain", rare=rare)
        found.append(next(slices.fit_segmenter(config, some, rows, 0)).loss.item())
    assert found[0] == found[1]


def test_controls_are_what_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Healthy slices have no lesion, fresh ones are of the rest; "all" is the whole pool."""
    given: dict[str, Any] = {}
    plain = slices.fit_segmenter

    def fit(*args: Any) -> Any:
        given[args[6]] = args
        return plain(*args)

    monkeypatch.setattr(slices, "fit_segmenter", fit)
    seeds: list[int] = []
    whole = slices.make

    def make(config: Any, net: Any, some: Any, rows: Any, count: int, draw: Any) -> Any:
        seeds.append(draw.initial_seed())
        return whole(config, net, some, rows, count, draw)

    monkeypatch.setattr(slices, "make", make)
    run = slices.train(TINY, 9, CPU)
    assert seeds == [9 + 4, 9 + 6]
    order = slices.chosen(TINY, 400, 9)
    assert torch.equal(given["all"][2], order)
    for name, ill in (("fresh", True), ("healthy", False)):
        made = given[name][5]
        assert bool((made.tissue == 4).any()) is ill
        used = {image.numpy().tobytes() for image in drawn().images[order[0, :6], 0]}
        assert not used & {image.numpy().tobytes() for image in made.images[:, 0]}
        assert torch.equal(given[name][2], order[:, :6])
    ious = []
    for counted in slices.counts(run)["both_6"].double().numpy():
        hit = np.diag(counted)
        union = counted.sum(axis=0) + counted.sum(axis=1) - hit
        ious.append((hit / union)[union > 0].mean())
    assert run.metrics["both_6_mean_iou"] == pytest.approx(np.mean(ious), rel=1e-5)


def test_samples_are_the_first_seeds_of_the_largest_size(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made from its rows by its painter; grey values of bytes between 0 and 1."""
    rows = run.tensors["order"].long()[:, :6]
    draw = torch.Generator().manual_seed(3)
    made = slices.make(slices.config_of(run), slices.painter(run, 6), drawn(), rows, 5, draw)
    found = slices.sample(run, 5, torch.Generator().manual_seed(3))
    torch.testing.assert_close(found, (made.images[:, :1] + 1) / 2)
