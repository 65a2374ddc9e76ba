"""Proof for litgen/recipes/style/fast.py, on drawn pictures and random kernels in VGG's place."""

import dataclasses
import json

import pytest
import torch
from torch import Tensor

from litgen import runs
from litgen.data import paintings, photographs, vgg
from litgen.recipes.style import fast

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    fast.CPU,
    styles=(0, 2),
    size=32,
    side=16,
    pool=8,
    widths=(4, 6),
    blocks=1,
    kernel=3,
    content_layer="conv1_2",
    style_layers=("conv1_1", "conv2_1"),
    turns=12,
    slow_steps=10,
    test_crops=2,
    mixed=False,
)


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the random kernels that stand in for VGG's have few channels."""
    monkeypatch.setattr(vgg, "WIDTHS", (8, 8, 8, 8, 8))


@pytest.fixture(scope="module")
def run() -> runs.Run:
    """Return a tiny run, trained once on what stands in offline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITGEN_OFFLINE", "1")
        patch.setenv("LITGEN_CACHE", "/nonexistent/litgen")
        patch.setattr(vgg, "WIDTHS", (8, 8, 8, 8, 8))
        return runs.train("style/fast", "cpu", seed=1, config=TINY)


def test_shrinking_averages() -> None:
    """The shorter side gets the size; halving is the mean of four; too small is an error."""
    image = torch.randint(0, 256, (3, 8, 12), generator=torch.Generator().manual_seed(0))
    image = image.to(torch.uint8)
    found = fast.shrunk(image, 4)
    assert found.shape == (3, 4, 6)
    torch.testing.assert_close(found[1, 2, 3], image[1, 4:6, 6:8].float().mean() / 255)
    assert fast.shrunk(image, 8).max() == image.max() / 255
    with pytest.raises(ValueError, match="a picture of 8x12 cannot be shrunk to 9"):
        fast.shrunk(image, 9)


def test_crops_are_parts_of_the_pictures_in_turn() -> None:
    """Each is found in its picture, every other round mirrored; all corners are reached."""
    pictures = [torch.rand(3, 6, 7), torch.rand(3, 5, 9)]
    found = fast.crops(pictures, 40, 4, torch.Generator().manual_seed(0))
    corners = set()
    for k, crop in enumerate(found):
        image = pictures[k % 2]
        looked = crop.flip(2) if k // 2 % 2 else crop
        places = [
            (k % 2, a, b)
            for a in range(image.shape[1] - 3)
            for b in range(image.shape[2] - 3)
            if torch.equal(image[:, a : a + 4, b : b + 4], looked)
        ]
        assert len(places) == 1
        corners |= set(places)
    assert {a for which, a, _ in corners if which == 0} == {0, 1, 2}
    assert {b for which, _, b in corners if which == 1} == set(range(6))


def test_material_keeps_the_held_out_photograph_apart() -> None:
    """Crops for training are of the other four; content and Gram matrices are the judge's own."""
    found = fast.material(TINY, 0, CPU)
    assert found.pool.shape == (8, 3, 16, 16)
    assert found.test.shape == (4, 3, 16, 16)
    held_out = fast.shrunk(photographs.load().images[fast.HELD_OUT], 32)
    windows = held_out.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)

    def inside(crop: Tensor) -> bool:
        return bool((windows == crop).flatten(1).all(dim=1).any())

    assert all(inside(crop) or inside(crop.flip(2)) for crop in found.test)
    assert not any(inside(crop) or inside(crop.flip(2)) for crop in found.pool)
    torch.testing.assert_close(found.content[2:3], found.judge.content(found.pool[2:3]))
    style = fast.shrunk(paintings.load().images[2], 32)
    for gram, expected in zip(found.grams, found.judge.style(style[None]), strict=True):
        torch.testing.assert_close(gram[1:2], expected)
    torch.testing.assert_close(found.test_content[3:], found.judge.content(found.test[3:]))
    about = [(record["name"], record["title"], record["split"]) for record in found.records]
    loaded = (vgg.load(), paintings.load(), photographs.load())
    titles = [one.record.name for one in loaded]
    assert about == [(n, t, "train") for n, t in zip(fast.DATA, titles, strict=True)]
    assert photographs.NAMES[fast.HELD_OUT] == "chelsea"
    other = fast.material(TINY, 1, CPU)
    assert torch.equal(other.test, found.test)
    assert not torch.equal(other.pool, found.pool)
    whole = fast.material(dataclasses.replace(TINY, side=32, pool=10), 0, CPU)
    assert whole.pool.shape == (10, 3, 32, 32)
    torch.testing.assert_close(whole.content[9:], whole.judge.content(whole.pool[9:]))
    with pytest.raises(ValueError, match="crops of 40 from pictures of 32 pixels"):
        fast.material(dataclasses.replace(TINY, side=40), 0, CPU)


def test_training_lowers_the_loss_and_the_numbers_are_what_they_say(run: runs.Run) -> None:
    """eq:arb-loss by hand on the test crops, style by style; the ratio is of the two losses."""
    painter, found = fast.restore(run), fast.material(TINY, 1, CPU)
    metrics = run.metrics
    total, kept, taken, untouched = [], [], [], []
    for i, crop in enumerate(found.test):
        wanted = [gram[i % 2 : i % 2 + 1] for gram in found.grams]
        content = found.judge.content(crop[None])
        weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[i % 2 : i % 2 + 1]
        parts = found.judge(painter(crop[None], weights), content, wanted)
        total.append(parts.total.item())
        kept.append(parts.content.item())
        taken.append(parts.style.item())
        untouched.append(found.judge(crop[None], content, wanted).total.item())
    for name, values in (
        ("network_loss", total),
        ("network_content", kept),
        ("network_style", taken),
        ("untouched_loss", untouched),
    ):
        assert metrics[name] == pytest.approx(sum(values) / 4, rel=1e-3)
    assert metrics["loss_ratio"] == pytest.approx(metrics["network_loss"] / metrics["slow_loss"])
    assert metrics["slow_loss"] < metrics["untouched_loss"]
    assert metrics["slow_loss"] == run.history["slow_loss"][-1]
    assert len(run.history["slow_loss"]) == 10
    assert run.history["slow_loss"] == sorted(run.history["slow_loss"], reverse=True)
    assert run.history["loss"][-1] < run.history["loss"][0]
    assert metrics["turns"] == 12
    assert metrics["style_parameters"] == painter.network.style_numbers == painter.styles.shape[1]
    weights_count = sum(p.numel() for p in painter.network.parameters())
    assert metrics["network_parameters"] == weights_count
    style = [gram[[0, 1, 0, 1]] for gram in found.grams]
    way = list(fast.optimised(found.judge, found.test, found.test_content, style, 10, 0.03))
    slow = found.judge(way[-1], found.test_content, style).total.mean().item()
    assert metrics["slow_loss"] == pytest.approx(slow, rel=1e-3)
    levels = run.tensors["slow.images"]
    assert levels.shape == (4, 3, 16, 16)
    assert (levels - 255 * way[-1]).abs().mean() < 0.3  # rounded: a quarter on average
    assert (levels - 255 * way[-1]).mean().abs() < 0.05
    losses = [now.loss.item() for now in fast.fit(TINY, found, 1)]
    assert run.history["loss"] == pytest.approx(losses, rel=1e-3)
    assert (painter.styles - painter.network.plain()).abs().min(dim=1).values.max() >= 0
    assert (painter.styles[0] - painter.styles[1]).abs().max() > 1e-3


def test_the_training_by_hand() -> None:
    """eq:arb-loss crop by crop: who is drawn, whose turn it is, both rates, the first weights."""
    rates = {"learning_rate": 2e-3, "style_rate": 9e-3}
    config = dataclasses.replace(TINY, styles=(0, 2, 5), batch_size=4, turns=5, **rates)
    found = fast.material(config, 7, CPU)
    torch.rand(3)  # what was drawn before does not matter
    seen = list(fast.fit(config, found, 7))
    assert [now.turn for now in seen] == list(range(5))
    assert not any(now.loss.requires_grad for now in seen)
    torch.manual_seed(7)
    painter = fast.Painter(config)
    assert torch.equal(painter.styles, painter.network.plain().expand(3, -1))
    sides = [
        (torch.optim.Adam(painter.network.parameters()), 2e-3),
        (torch.optim.Adam([painter.styles]), 9e-3),
    ]
    cycles = [
        torch.optim.lr_scheduler.OneCycleLR(adam, rate, total_steps=6, pct_start=0.15)
        for adam, rate in sides
    ]
    order = torch.Generator().manual_seed(7)
    drawn = torch.cat([torch.randperm(8, generator=order) for _ in range(3)]).tolist()
    painted = 0
    for now in seen:
        losses = []
        for _ in range(4):
            row, style = drawn[painted], painted % 3
            wanted = [gram[style : style + 1] for gram in found.grams]
            image = painter.network(found.pool[row : row + 1], painter.styles[style : style + 1])
            content = found.judge.content(found.pool[row : row + 1])
            losses.append(found.judge(image, content, wanted).total[0])
            painted += 1
        loss = torch.stack(losses).mean()
        assert now.loss.item() == pytest.approx(loss.item(), rel=1e-3)
        for adam, _ in sides:
            adam.zero_grad()
        loss.backward()
        for (adam, _), cycle in zip(sides, cycles, strict=True):
            adam.step()
            cycle.step()
    ended = seen[-1].painter
    # some biases have no slope but rounding's, so that pictures are compared
    pictures = [one(found.test[:3], torch.eye(3)) for one in (painter, ended)]
    torch.testing.assert_close(*pictures, rtol=0, atol=2e-5)


def test_the_judge_sees_the_layers_and_the_precision_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Layers, weight and units; a content layer may be the deepest; bfloat16 if it is wanted."""
    photos = [fast.shrunk(image, 32) for image in photographs.load().images]
    config = dataclasses.replace(TINY, content_layer="conv3_1", style_weight=0.7)
    judged, record = fast.judge(config, photos, CPU)
    assert record.stand_in
    about = judged.content_layer, judged.style_layers, judged.style_weight
    assert about == ("conv3_1", ("conv1_1", "conv2_1"), 0.7)
    for name in ("conv1_1", "conv2_2", "conv3_1"):
        features = [judged.features(photo[None], (name,))[name].flatten() for photo in photos]
        assert torch.cat(features).mean().item() == pytest.approx(1, rel=1e-3)
    with pytest.raises(ValueError, match=r"layers are some of conv1_1, .*, conv3_1; got"):
        judged.features(photos[0][None], ("conv3_2",))  # no deeper than needed
    heard: list[bool] = []
    original = fast.mixed_precision

    def listen(device: torch.device, wanted: bool) -> object:
        heard.append(wanted)
        return original(device, wanted)

    monkeypatch.setattr(fast, "mixed_precision", listen)
    for mixed in (True, False):
        one, _ = fast.judge(dataclasses.replace(TINY, mixed=mixed), photos, CPU)
        one.content(photos[0][None])
    assert heard == [True, False]


def test_a_painter_blends_its_styles() -> None:
    """eq:arb-blend goes into the network: unit weights are rows, halves their mean."""
    torch.manual_seed(0)
    painter = fast.Painter(TINY)
    torch.nn.init.normal_(painter.styles)
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(
        painter(x, torch.eye(2)), painter.network(x, painter.styles), rtol=1e-5, atol=1e-6
    )
    half = painter(x, torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(half, painter.network(x, painter.styles.mean(0, keepdim=True)))


def test_the_slow_way_is_adam_on_pixels() -> None:
    """A loop with torch's own Adam gives the same pictures; they stay in [0, 1]."""
    found = fast.material(TINY, 0, CPU)
    style = [gram[:1] for gram in found.grams]
    start, content = found.test[:2], found.test_content[:2]
    ways = list(fast.optimised(found.judge, start, content, style, 5, 0.1))
    pixels = start.clone().requires_grad_()
    adam = torch.optim.Adam([pixels], 0.1)
    for way in ways:
        adam.zero_grad()
        found.judge(pixels.clamp(0, 1), content, style).total.sum().backward()
        adam.step()
        torch.testing.assert_close(way, pixels.detach().clamp(0, 1))
    assert len(ways) == 5
    assert (ways[-1] - start).abs().max() > 0.2


def test_weights_are_measured_as_they_are_stored() -> None:
    """Before a store sees it, a run holds what half precision can hold."""
    run = fast.train(dataclasses.replace(TINY, turns=2, slow_steps=1), 0, CPU)
    for name, weights in run.part("model").items():
        assert torch.equal(weights, weights.half().to(weights.dtype)), name


def test_what_is_reported_of_the_slow_way_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels follow the judge of the training; each tenth and the last are judged in float32."""
    found = fast.material(TINY, 0, CPU)
    own = found._replace(judge=dataclasses.replace(found.judge, style_weight=5.0))
    config = dataclasses.replace(TINY, slow_steps=25, slow_rate=0.05)
    losses, last = fast._slow(config, own, found)
    style = [gram[[0, 1, 0, 1]] for gram in found.grams]
    way = list(fast.optimised(own.judge, found.test, found.test_content, style, 25, 0.05))
    torch.testing.assert_close(last, way[-1], rtol=0, atol=1e-3)
    with torch.no_grad():
        every = [found.judge(x, found.test_content, style).total.mean().item() for x in way]
    expected = [every[k - 1] for k in (*range(2, 25, 2), 25)]
    assert losses == pytest.approx(expected, rel=1e-3)
    heard: list[bool] = []
    original = fast.mixed_precision

    def listen(device: torch.device, wanted: bool) -> object:
        heard.append(wanted)
        return original(device, wanted)

    monkeypatch.setattr(fast, "mixed_precision", listen)
    emptied = found._replace(test_content=torch.zeros_like(found.test_content))
    exact = fast._exact(dataclasses.replace(TINY, mixed=True), emptied)
    torch.testing.assert_close(exact.test_content, exact.judge.content(found.test))
    assert heard
    assert not any(heard)


def test_the_network_is_built_as_asked() -> None:
    """Broken variants reach the network."""
    config = dataclasses.replace(TINY, norm="batch", padding="zeros", upsampling="transposed")
    network = fast.Painter(config).network
    assert (network.norm, network.upsampling) == ("batch", "transposed")
    assert network.last.padding_mode == "zeros"
    assert fast.CPU.norm == fast.GPU.norm == "instance"


def test_samples_evaluation_and_config(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are painted crops in turn; measuring again gives the same; tuples come back."""
    told = json.loads(json.dumps(run.provenance["config"]))  # lists where tuples were
    filed = dataclasses.replace(run, provenance=run.provenance | {"config": told})
    assert fast.config_of(filed) == fast.config_of(run) == TINY
    found = fast.sample(run, 3, torch.Generator().manual_seed(0))
    assert found.shape == (3, 3, 16, 16)
    assert 0 <= found.min() < found.max() <= 1
    painter, draws = fast.restore(run), torch.Generator().manual_seed(0)
    assert not painter.training
    assert not any(p.requires_grad for p in painter.parameters())
    photo = fast.shrunk(photographs.load().images[fast.HELD_OUT], 32)
    crops = fast.crops([photo], 3, 16, draws)
    expected = painter.network(crops, painter.styles[[0, 1, 0]])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(found, fast.sample(run, 3, torch.Generator().manual_seed(1)))
    kept = {name: run.metrics[name] for name in ("slow_loss", "turns")}
    stale = dataclasses.replace(run, metrics=dict.fromkeys(run.metrics, -1.0) | kept, history={})
    stale.provenance = run.provenance | {"config": run.provenance["config"] | {"mixed": True}}
    heard: list[bool] = []
    original = fast.mixed_precision

    def listen(device: torch.device, wanted: bool) -> object:
        heard.append(wanted)
        return original(device, False)

    monkeypatch.setattr(fast, "mixed_precision", listen)
    assert fast.evaluate(stale, CPU) == pytest.approx(run.metrics, rel=1e-4)
    assert heard[-1] is False  # what is reported is not rounded
    assert fast.data(TINY) == ("vgg", "paintings", "photographs")
