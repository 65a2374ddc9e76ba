"""Proof for litgen/recipes/segmentation/nuclei.py: windows by hand, tiles as the whole image."""

import dataclasses

import pytest
import torch

from litgen import runs
from litgen.recipes import pictures
from litgen.recipes.segmentation import nuclei
from litgen.segmentation import tiles

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
