"""Proof for litgen/data/photographs.py: small pictures in the real names, stand-ins, the real."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import packages, paintings, photographs, scenes, sources


def png(values: np.ndarray) -> bytes:
    """Return a picture file with these levels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_two_folders_become_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three and two, verified, decoded, in the order of their names."""
    random = np.random.default_rng(0)
    levels = [random.integers(0, 256, (4, 5 + i, 3)) for i in range(5)]
    contents = dict(zip((*photographs.THREE, *photographs.TWO), map(png, levels), strict=True))
    for attribute, names in (("PHOTOGRAPHS", photographs.THREE), ("SAMPLES", photographs.TWO)):
        name = getattr(photographs, attribute).name
        (tmp_path / name).mkdir()
        for file in names:
            (tmp_path / name / file).write_bytes(contents[file])
        sha256 = {file: hashlib.sha256(contents[file]).hexdigest() for file in names}
        monkeypatch.setattr(photographs, attribute, packages.FileSet(name, sha256, ()))
    monkeypatch.setenv("LITGEN_DATA", str(tmp_path))
    with pytest.raises(sources.WrongBytes, match="photographs train has checksum"):
        photographs.load()
    monkeypatch.setitem(photographs.CHECKSUM, "train", paintings.identity(contents))
    found = photographs.load()
    assert found.names == ("astronaut", "chelsea", "coffee", "china", "flower")
    for image, values in zip(found.images, levels, strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), values)
    assert (found.record.source, found.record.stand_in) == ("files in LITGEN_DATA", False)
    assert found.record.checksum == photographs.CHECKSUM["train"]
    assert found.record.counts == {"train": 5}
    assert found.describe() == "5 photographs, shorter side 4"
    (tmp_path / "photographs" / "coffee.png").write_bytes(b"another")
    with pytest.raises(sources.WrongBytes, match=r"coffee.png has sha256"):
        photographs.load()


def test_drawn_scenes_stand_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing at hand: five drawn scenes, each pixel four by four, and said so."""
    samples = packages.FileSet("photographs_two", photographs.SAMPLES.sha256, ())
    monkeypatch.setattr(photographs, "SAMPLES", samples)
    found = photographs.load()
    assert "STAND-IN: drawn scenes in place of photographs" in capsys.readouterr().out
    assert found.record.stand_in
    assert found.record.name == "drawn scenes standing in for photographs"
    assert found.record.checksum == sources.checksum(*found.images)
    drawn = scenes.load("train").images
    for i, image in enumerate(found.images):
        assert image.shape == (3, 256, 256)
        for place in (0, 3):
            assert torch.equal(image[:, place::4, place::4], drawn[i])
    assert found.names[4] == "scene 5"
    with pytest.raises(sources.DataUnavailable, match=r"LITGEN_DATA"):
        photographs.load(stand_in=False)
    with pytest.raises(ValueError, match="split must be 'train', got 'test'"):
        photographs.load("test")


@pytest.mark.usefixtures("real_data")
def test_the_real_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped where they are not at hand. The dahlia is red in its middle."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        found = photographs.load(stand_in=False)
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    assert found.names == photographs.NAMES
    assert [tuple(image.shape) for image in found.images[:3]] == [
        (3, 256, 256),
        (3, 256, 385),
        (3, 256, 384),
    ]
    middle = found.images[4][:, 100:150, 150:230].float().mean((1, 2))
    assert middle[0] > middle[1] + 40
