"""Proof for litgen/recipes/segmentation/nuclei.py: windows by hand, tiles as the whole image."""

import dataclasses

import pytest
import sklearn.metrics
import torch

from litgen import runs
from litgen.data import nuclei as data
from litgen.data.cells import separated
from litgen.recipes import pictures
from litgen.recipes.segmentation import cells, nuclei
from litgen.segmentation import tiles, weights
from litgen.segmentation.unet import UNet
from tests.recipes import watched

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    nuclei.CPU, variants=("bent", "straight"), widths=(2, 3, 4), turns=2, batch_size=2
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """Return one tiny run on the stand-in, which is what there is offline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("LITGEN_OFFLINE", "1")
        patch.delenv("LITGEN_DATA", raising=False)
        return runs.train("segmentation/nuclei", "cpu", 0, TINY)


def test_windows_are_cut_row_by_row() -> None:
    """Each by its own slice; what is left over is not used."""
    image = torch.arange(2 * 11 * 9).view(2, 11, 9).to(torch.uint8)
    found = nuclei.windows(image, 4, 3)
    places = [(top, left) for top in (0, 3, 6) for left in (0, 3)]
    expected = torch.stack([image[:, t : t + 4, s : s + 4] for t, s in places])
    assert torch.equal(found, expected)
    assert torch.equal(nuclei.windows(image[1], 4, 3), expected[:, 1])
    with pytest.raises(ValueError, match=r"no window of 10 fits into \(11, 9\)"):
        nuclei.windows(image, 10, 3)


def test_a_run_says_that_it_is_of_a_stand_in(run: runs.Run) -> None:
    """And has both networks, which differ, for one was trained on bent windows."""
    assert run.stand_in
    assert "STAND-IN" in run.titles
    bent, straight = nuclei.models(run).values()
    assert len(bent.state_dict()) == len(straight.state_dict())
    assert run.history["bent_loss_nats"] != run.history["straight_loss_nats"]
    assert torch.equal(nuclei.restore(run).head.weight, bent.head.weight)
    assert run.metrics["windows"] == 3 * 9  # of 128 columns and 320 rows
    assert nuclei.data(TINY) == ("nuclei",)
    assert nuclei.evaluate(run, CPU) == pytest.approx(run.metrics, abs=1e-6)


def test_answers_are_those_of_the_whole_mirrored_image(run: runs.Run) -> None:
    """For an image whose sides fit no tile."""
    model = nuclei.restore(run)
    image = run.tensors["examples.images"][..., :70, :90]
    found = nuclei.answers(model, image, tile=30)
    edge = 24  # the reach is 22, windows begin at multiples of four
    wide = tiles.mirrored(pictures.to_unit(image), edge, (46, 42))
    whole = model(wide)[..., edge : edge + 70, edge : edge + 90]
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-4)


def test_what_is_trained_on_and_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of the first columns, bent or not; the right part of the image for the scores."""
    fitted = watched.calls(monkeypatch, cells, "fit")
    measured = watched.calls(monkeypatch, nuclei, "measure")
    config = dataclasses.replace(
        TINY, columns=96, side=32, stride=16, spread=1.3, height=2.2, sigma=2.5, learning_rate=0.03
    )
    run = nuclei.train(config, 5, CPU)
    train_set, test_set = data.load("train"), data.load("test")
    rows = train_set.images.shape[2]
    corners = [(t, c) for t in range(0, rows - 31, 16) for c in range(0, 65, 16)]
    image, numbers = train_set.images[0, 0], train_set.cells[0]
    for call, (name, bent) in zip(fitted, nuclei.VARIANTS.items(), strict=True):
        expected = {"widths": (2, 3, 4), "turns": 2, "batch_size": 2, "learning_rate": 0.03}
        assert dataclasses.asdict(call[0]) == expected | {"bend": 1.3 * bent, "mixed": True}
        given = call[1]
        assert len(given.images) == len(corners)
        for k in (0, 3, len(corners) - 1):
            top, left = corners[k]
            part = (slice(top, top + 32), slice(left, left + 32))
            assert torch.equal(given.images[k, 0], image[part])
            assert torch.equal(given.labels[k], numbers[part])
            cut = numbers[part].long()
            near = weights.border(cut * separated(cut), 1.0, 2.5)
            torch.testing.assert_close(given.near[k], near.float())
        assert call[2] is cells.inside
        assert call[3] == 5
        assert call[-1]["height"] == 2.2
        assert call[-1]["title"] == name
    again = [step.loss.item() for step in cells.fit(*fitted[1][:4], height=2.2)]
    assert run.history["straight_loss_nats"] == pytest.approx(again, rel=1e-4)
    for call, name in zip(list(measured), nuclei.VARIANTS, strict=True):
        assert call[-1] == {"training": False, "half": True}
        assert torch.equal(call[1], test_set.images)
        assert torch.equal(call[2], test_set.cells)
        for key, value in nuclei.measure(*call[:3]).items():
            assert run.metrics[f"{name}_{key}"] == pytest.approx(value)
    assert run.metrics["windows"] == len(corners)
    assert torch.equal(run.tensors["examples.images"], test_set.images)
    assert torch.equal(run.tensors["examples.cells"], test_set.cells)
    watched.check_records(run.data, "nuclei", train=train_set.record, test=test_set.record)
    run.provenance["config"] = dataclasses.asdict(config)
    assert all(watched.is_at_rest(model) for model in nuclei.models(run).values())


def test_scores_are_those_of_cells_with_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that says just what `cells.inside` says is right everywhere, and counts all."""
    test_set = data.load("test")
    images, labels = test_set.images[..., :128, :128], test_set.cells[..., :128, :128]
    truth = separated(labels.long()).float()
    perfect = torch.stack([1 - truth, truth], dim=1)
    monkeypatch.setattr(nuclei, "answers", lambda model, shown: perfect)
    found = nuclei.measure(UNet(1, 2, (2, 3)), images, labels)
    assert found["mean_iou"] == 1
    assert found["right_pieces"] == 1
    perfect[:, 1, :, :64] = -1  # half of the image is called ground
    found = nuclei.measure(UNet(1, 2, (2, 3)), images, labels)
    said = perfect.argmax(dim=1).flatten()
    each = sklearn.metrics.jaccard_score(truth.flatten(), said, average="macro")
    assert found["mean_iou"] == pytest.approx(each)
    assert found["found_apart"] < 0.7


def test_a_window_as_large_as_the_image_is_the_image() -> None:
    """It fits just once."""
    image = torch.arange(25).view(5, 5).to(torch.uint8)
    assert torch.equal(nuclei.windows(image, 5, 2), image[None])
