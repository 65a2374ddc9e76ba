"""Proof for litgen/recipes/style/arbitrary.py, on drawn pictures and random kernels."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from litgen import runs
from litgen.data import paintings, vgg
from litgen.recipes.style import arbitrary, fast
from litgen.style.prediction import statistics
from tests.recipes.test_style_fast import TINY as BASE

CPU = torch.device("cpu")
TINY = arbitrary.Config(
    base=dataclasses.replace(BASE, styles=(1, 2, 4), turns=10), bottleneck=3, variants=2, crop=20
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
        return runs.train("style/arbitrary", "cpu", seed=1, config=TINY)


def test_held_out_paintings_are_not_trained_on() -> None:
    """Neither configuration names one."""
    for config in (arbitrary.CPU, arbitrary.GPU):
        assert not set(config.base.styles) & set(arbitrary.HELD_OUT)
        assert len(set(config.base.styles) | set(arbitrary.HELD_OUT)) == len(paintings.NAMES)


def test_styles_are_crops_of_the_paintings_in_turn() -> None:
    """As many as asked for, of the side asked for, each inside its own painting."""
    found = arbitrary.training_styles(TINY, 0, CPU)
    assert len(found) == 6
    other = arbitrary.training_styles(TINY, 1, CPU)
    assert not any(torch.equal(a, b) for a, b in zip(found, other, strict=True))
    images = paintings.load().images
    for k, crop in enumerate(found):
        assert crop.shape == (3, 20, 20)
        work = fast.shrunk(images[TINY.base.styles[k % 3]], 32)
        looked = crop.flip(2) if k // 3 % 2 else crop
        windows = work.unfold(1, 20, 1).unfold(2, 20, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
        assert (windows == looked).flatten(1).all(dim=1).any()


def test_statistics_and_gram_matrices_belong_together() -> None:
    """eq:arb-statistics row by row, layer by layer, for pictures of other sizes."""
    found = fast.material(TINY.base, 0, CPU)
    images = [torch.rand(3, 20, 24), torch.rand(3, 16, 16)]
    styles = arbitrary.styles_of(found.judge, images)
    for i, image in enumerate(images):
        features = found.judge.features(image[None], TINY.base.style_layers)
        expected = statistics([features[name] for name in TINY.base.style_layers])
        torch.testing.assert_close(styles.numbers[i : i + 1], expected)
        for gram, own in zip(styles.grams, found.judge.style(image[None]), strict=True):
            torch.testing.assert_close(gram[i : i + 1], own)


def test_the_training_by_hand() -> None:
    """eq:arb-predict and eq:arb-loss crop by crop: draws, rates, first weights."""
    base = dataclasses.replace(TINY.base, batch_size=3, turns=4, learning_rate=2e-3)
    base = dataclasses.replace(base, style_rate=9e-3, blocks=2, norm="batch", padding="zeros")
    config = dataclasses.replace(TINY, base=base)
    found = fast.material(base, 7, CPU)
    styles = arbitrary.styles_of(found.judge, arbitrary.training_styles(config, 7, CPU))
    styles.numbers[:, 1] = 0.25  # one that never varies
    torch.rand(3)  # what was drawn before does not matter
    seen = list(arbitrary.fit(config, found, styles, 7))
    assert [now.turn for now in seen] == list(range(4))
    numbers = styles.numbers.numpy()
    spread = numbers.std(axis=0, ddof=1).clip(1e-3)
    assert spread[1] == np.float32(1e-3)
    predictor = seen[-1].reader.predictor
    np.testing.assert_allclose(predictor.mean.numpy(), numbers.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(predictor.sd.numpy(), spread, rtol=1e-4)
    torch.manual_seed(7)
    reader = arbitrary.Reader(config, predictor.mean, predictor.sd)
    assert torch.equal(reader.predictor.wide.bias, reader.network.plain())
    assert predictor.narrow.out_features == 3
    adam = torch.optim.Adam(reader.parameters())
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, total_steps=5, pct_start=0.15)
    order, draws = torch.Generator().manual_seed(7), torch.Generator().manual_seed(8)
    drawn = torch.cat([torch.randperm(8, generator=order)[:6] for _ in range(2)]).view(4, 3)
    for now, rows in zip(seen, drawn, strict=True):
        which = torch.randint(6, (3,), generator=draws)
        painted = reader.network(found.pool[rows], reader.predictor(styles.numbers[which]))
        losses = []
        for image, row, style in zip(painted, rows.tolist(), which.tolist(), strict=True):
            content = found.judge.content(found.pool[row : row + 1])
            wanted = [gram[style : style + 1] for gram in styles.grams]
            losses.append(found.judge(image[None], content, wanted).total[0])
        loss = (losses[0] + losses[1] + losses[2]) / 3
        assert now.loss.item() == pytest.approx(loss.item(), rel=1e-3)
        assert not now.loss.requires_grad
        adam.zero_grad()
        loss.backward()
        adam.step()
        cycle.step()
    # some biases have no slope but rounding's, so that pictures are compared
    pictures = [one(found.test[:3], styles.numbers[:3]) for one in (reader, seen[-1].reader)]
    torch.testing.assert_close(*pictures, rtol=0, atol=2e-5)


def test_a_reader_is_built_as_asked() -> None:
    """Sizes and broken variants reach the network."""
    wanted = {"norm": "batch", "padding": "zeros", "upsampling": "transposed"}
    base = dataclasses.replace(TINY.base, widths=(3, 5), blocks=2, kernel=7, **wanted)
    config = dataclasses.replace(TINY, base=base)
    network = arbitrary.Reader(config, torch.zeros(4), torch.ones(4)).network
    assert (network.norm, network.upsampling) == ("batch", "transposed")
    assert (network.last.padding_mode, network.last.kernel_size) == ("zeros", (7, 7))
    assert network.channels == (3, 5, 5, 5, 5, 5, 3)


def test_the_table_by_hand(run: runs.Run) -> None:
    """eq:arb-predict and eq:arb-loss, painting by painting; the slow way is below all others."""
    reader, found = arbitrary.restore(run), fast.material(TINY.base, 1, CPU)
    images = [fast.shrunk(image, 32) for image in paintings.load().images]
    styles = arbitrary.styles_of(found.judge, images)
    test, content = found.test[:2], found.test_content[:2]

    def loss(style: torch.Tensor | None, place: int) -> float:
        wanted = [gram[place : place + 1] for gram in styles.grams]
        painted = test if style is None else reader.network(test, reader.predictor(style[None]))
        return found.judge(painted, content, wanted).total.mean().item()

    for kind, places in (("seen", TINY.base.styles), ("held_out", arbitrary.HELD_OUT)):
        expected = {
            "predicted": [loss(styles.numbers[p], p) for p in places],
            "other": [
                min(loss(styles.numbers[q], p) for q in TINY.base.styles if q != p) for p in places
            ],
            "mean": [loss(reader.predictor.mean, p) for p in places],
            "untouched": [loss(None, p) for p in places],
        }
        for name, values in expected.items():
            mean = sum(values) / len(values)
            assert run.metrics[f"{kind}_{name}"] == pytest.approx(mean, rel=1e-3)
    slow = []
    for place in arbitrary.HELD_OUT:
        wanted = [gram[place : place + 1] for gram in styles.grams]
        way = fast.optimised(found.judge, test, content, wanted, 10, TINY.base.slow_rate)
        slow.append(found.judge(list(way)[-1], content, wanted).total.mean().item())
    assert run.metrics["held_out_slow"] == pytest.approx(sum(slow) / 2, rel=1e-3)
    assert run.metrics["held_out_slow"] < run.metrics["held_out_untouched"]
    assert "seen_slow" not in run.metrics
    assert run.metrics["training_styles"] == 6
    assert run.metrics["turns"] == 10
    crops = arbitrary.styles_of(found.judge, arbitrary.training_styles(TINY, 1, CPU))
    losses = [now.loss.item() for now in arbitrary.fit(TINY, found, crops, 1)]
    assert run.history["loss"] == pytest.approx(losses, rel=1e-3)


def test_weights_are_measured_as_they_are_stored() -> None:
    """Before a store sees it, a run holds what half precision can hold."""
    base = dataclasses.replace(TINY.base, turns=2, slow_steps=1)
    run = arbitrary.train(dataclasses.replace(TINY, base=base), 0, CPU)
    for name, weights in run.part("model").items():
        assert torch.equal(weights, weights.half().to(weights.dtype)), name


def test_samples_evaluation_and_config(run: runs.Run) -> None:
    """Samples are crops of the held-out photograph; measuring again gives the same."""
    told = json.loads(json.dumps(run.provenance["config"]))  # lists where tuples were
    filed = dataclasses.replace(run, provenance=run.provenance | {"config": told})
    assert arbitrary.config_of(filed) == arbitrary.config_of(run) == TINY
    found = arbitrary.sample(run, 3, torch.Generator().manual_seed(0))
    assert found.shape == (3, 3, 16, 16)
    assert 0 <= found.min() < found.max() <= 1
    reader, material = arbitrary.restore(run), fast.material(TINY.base, 1, CPU)
    assert not reader.training
    assert not any(p.requires_grad for p in reader.parameters())
    images = [fast.shrunk(paintings.load().images[i], 32) for i in (*arbitrary.HELD_OUT, 0)]
    rows = torch.randint(len(material.test), (3,), generator=torch.Generator().manual_seed(0))
    for k, image in enumerate(images):
        numbers = arbitrary.styles_of(material.judge, [image]).numbers
        expected = reader(material.test[rows[k]][None], numbers)[0]
        torch.testing.assert_close(found[k], expected, rtol=1e-4, atol=1e-5)
    other = dataclasses.replace(
        run, metrics=dict.fromkeys(run.metrics, -1.0) | {"turns": 10, "training_styles": 6}
    )
    assert arbitrary.evaluate(other, CPU) == pytest.approx(run.metrics, rel=1e-4)
    assert arbitrary.data(TINY) == fast.DATA
