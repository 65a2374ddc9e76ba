"""Proof for litgen/data/photographs.py: small pictures in the real names, stand-ins, the real."""

import hashlib
import io
import zipfile
from pathlib import Path
from types import SimpleNamespace

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
    levels[2] = random.integers(0, 256, (130, 140, 3))  # not yet too large
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
    two = {name: contents[name] for name in photographs.TWO}
    shop = packages.Origin("a shop", lambda folder: two, local=True)
    sha256 = photographs.SAMPLES.sha256
    monkeypatch.setattr(photographs, "SAMPLES", packages.FileSet("elsewhere", sha256, (shop,)))
    assert photographs.load().record.source == "files in LITGEN_DATA; a shop"
    (tmp_path / "photographs" / "coffee.png").write_bytes(b"another")
    with pytest.raises(sources.WrongBytes, match=r"coffee.png has sha256"):
        photographs.load()


def test_where_the_files_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their places in the two packages, installed or as wheels."""
    asked: list[str] = []

    def download(requirement: str, sha256: object, folder: Path) -> Path:
        asked.append(requirement)
        path = folder / "a.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for name in photographs.THREE:
                wheel.writestr(f"skimage/data/{name}", f"wheel {name}")
            for name in photographs.TWO:
                wheel.writestr(f"sklearn/datasets/images/{name}", f"wheel {name}")
        return path

    def found(module: str) -> SimpleNamespace:
        return SimpleNamespace(submodule_search_locations=[str(tmp_path / module)])

    for folder, names in (
        ("skimage/data", photographs.THREE),
        ("sklearn/datasets/images", photographs.TWO),
    ):
        (tmp_path / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / folder / name).write_bytes(f"installed {name}".encode())
    monkeypatch.setattr(sources, "pip_download", download)
    monkeypatch.setattr(packages.importlib.util, "find_spec", found)
    for files, names in (
        (photographs.PHOTOGRAPHS, photographs.THREE),
        (photographs.SAMPLES, photographs.TWO),
    ):
        installed, wheel = files.origins
        assert (installed.local, wheel.local) == (True, False)
        for word, origin in (("installed", installed), ("wheel", wheel)):
            assert origin.bring(tmp_path) == {n: f"{word} {n}".encode() for n in names}
    assert asked == ["scikit-image==0.26.0", "scikit-learn==1.9.1"]


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
