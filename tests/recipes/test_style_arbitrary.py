"""Proof for litgen/recipes/style/arbitrary.py, on drawn pictures and random kernels."""

import dataclasses

import pytest
import torch

from litgen import runs
from litgen.data import paintings
from litgen.recipes.style import arbitrary, fast
from litgen.style.prediction import statistics
from tests.recipes.test_style_fast import TINY as BASE

CPU = torch.device("cpu")
TINY = arbitrary.Config(
    base=dataclasses.replace(BASE, styles=(1, 2, 4), turns=10), bottleneck=3, variants=2, crop=20
)


@pytest.fixture(scope="module")
def run() -> runs.Run:
    """Return a tiny run, trained once on what stands in offline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITGEN_OFFLINE", "1")
        patch.setenv("LITGEN_CACHE", "/nonexistent/litgen")
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
    assert run.metrics["held_out_slow"] < run.metrics["held_out_untouched"]
    assert "seen_slow" not in run.metrics
    assert run.metrics["training_styles"] == 6
    assert run.metrics["turns"] == 10
    assert run.history["loss"][-1] != run.history["loss"][0]


def test_samples_evaluation_and_config(run: runs.Run) -> None:
    """Samples are crops of the held-out photograph; measuring again gives the same."""
    assert arbitrary.config_of(run) == TINY
    found = arbitrary.sample(run, 3, torch.Generator().manual_seed(0))
    assert found.shape == (3, 3, 16, 16)
    assert 0 <= found.min() < found.max() <= 1
    assert arbitrary.evaluate(run, CPU) == pytest.approx(run.metrics, rel=1e-4)
    assert arbitrary.data(TINY) == fast.DATA
