"""Proof for litgen/data/furniture.py: a tiny package in the real layout, and the real voxels."""

import hashlib
import inspect
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import furniture, meshes, packages, sources

BLOCK = """v 0 0 0\nv 4 0 0\nv 4 1.9 0\nv 0 1.9 0\nv 0 0 0.9\nv 4 0 0.9\nv 4 1.9 0.9\nv 0 1.9 0.9
f 1 4 3 2\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8\nf 1 2
"""
WEDGE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"


def properties(*models: dict[str, str]) -> str:
    """Return a catalogue's list of models."""
    lines = ["# a comment", "id=SweetHome3D#Test"]
    for number, model in enumerate(models, start=1):
        lines += [f"{key}#{number}={value}" for key, value in model.items()]
    return "\n".join(lines)


def model(name: str, path: str, **more: str) -> dict[str, str]:
    """Return an entry of a catalogue."""
    return {"name": name, "category": "Living room", "model": f"/{path}", "creator": "Ann", **more}


def zipped(**files: str) -> zipfile.ZipFile:
    """Return a catalogue in memory; names have _ for the dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "."), text)
    return zipfile.ZipFile(buffer)


def catalogue_of(*models: dict[str, str]) -> zipfile.ZipFile:
    """Return a catalogue with two models' files."""
    return zipped(
        PluginFurnitureCatalog_properties=properties(*models), block_obj=BLOCK, wedge_obj=WEDGE
    )


def test_entries_are_read_and_sorted_by_number() -> None:
    """Each number has its own entry; keys without a number, and comments, are none."""
    text = properties(*({"name": f"n{i}"} for i in range(11)))
    assert [e["name"] for e in furniture.catalogue(text)] == [f"n{i}" for i in range(11)]
    backwards = "\n".join(text.splitlines()[::-1])
    assert [e["name"] for e in furniture.catalogue(backwards)] == [f"n{i}" for i in range(11)]


@pytest.mark.parametrize(
    ("name", "category", "label"),
    [
        ("Oak chair", "Living room", 0),
        ("Armchair", "Office", 0),
        ("Corner sofa", "Exterior", 0),
        ("Bar table", "Kitchen", 1),
        ("Desk", "Office", 1),
        ("Table tennis", "Miscellaneous", None),
        ("Desk lamp", "Lights", None),
        ("Bedside table", "Bedroom", None),
        ("Tablet", "Living room", None),
        ("Table and chair", "Living room", None),
        ("Wheelchair", "Living room", None),
    ],
)
def test_classes(name: str, category: str, label: int | None) -> None:
    """Whole words say the class; rooms for games and lamps say none, and so do two classes."""
    assert furniture.class_of({"name": name, "category": category}) == label


def test_models_become_voxels() -> None:
    """In their own proportions, looking to where deep is 0; a rotation turns them first."""
    turn = "0 0 1 0 1 0 -1 0 0"  # wide becomes z
    found = list(
        furniture.made(
            catalogue_of(
                model("Sofa", "block.obj"),
                model("Lamp", "missing.obj"),
                model("Table", "block.obj", modelRotation=turn),
                model("Desk", "wedge.obj"),
            ),
            "Cat",
        )
    )
    assert [about["label"] for about, _ in found] == [0, 1, 1]
    assert found[0][0] == {
        "name": "Sofa",
        "credit": "Ann, Cat",
        "file": "block.obj",
        "label": 0,
    }
    sofa, table, desk = (voxels for _, voxels in found)
    assert sofa.shape == (32, 32, 32)
    assert [int(sofa.any(axis=axes).sum()) for axes in ((1, 2), (0, 2), (0, 1))] == [16, 8, 32]
    assert sofa.sum() == 16 * 8 * 32
    assert [int(table.any(axis=axes).sum()) for axes in ((1, 2), (0, 2), (0, 1))] == [16, 32, 8]
    # the wedge's upright edge stands at z = 0, which is behind, and x = 0, which is left
    assert desk[31, 31, 0]
    assert not desk[31, 0, 0]
    assert desk[0, 0, 0]


def test_broken_catalogues_are_named() -> None:
    """No list, no file, no volume, a rotation of too few numbers."""
    with pytest.raises(sources.WrongBytes, match="Cat has no list of models"):
        list(furniture.made(zipped(other_txt=""), "Cat"))
    with pytest.raises(sources.WrongBytes, match=r"Cat has no file 'x.obj' for 'Chair'"):
        list(furniture.made(catalogue_of(model("Chair", "x.obj")), "Cat"))
    with pytest.raises(ValueError, match=r"block.obj has a rotation of 2 numbers, not 9"):
        list(furniture.made(catalogue_of(model("Chair", "block.obj", modelRotation="1 0")), "Cat"))
    listed = properties(model("Chair", "empty.obj"))
    with pytest.raises(ValueError, match=r"empty.obj has 0 corners"):
        list(furniture.made(zipped(PluginFurnitureCatalog_properties=listed, empty_obj=""), "Cat"))


def test_packing_leaves_twins_out() -> None:
    """What is packed comes back, each class counted on its own."""
    random = np.random.default_rng(0)
    cubes = [random.random((32, 32, 32)) < 0.3 for _ in range(3)]
    about = [
        {"name": n, "credit": "c", "file": n, "label": k}
        for n, k in (("a", 0), ("b", 1), ("c", 0))
    ]
    models = [
        (about[0], cubes[0]),
        (about[1], cubes[1]),
        (about[2], cubes[0]),
        (about[2], cubes[2]),
    ]
    lines, voxels = furniture._unpacked(furniture.packed(models))
    np.testing.assert_array_equal(voxels, np.stack(cubes))
    assert [(line["name"], line["place"]) for line in lines] == [("a", 0), ("b", 0), ("c", 1)]
    with pytest.raises(sources.WrongBytes, match="names 3 models and holds 2"):
        furniture._unpacked(furniture.packed(models)[: -(32**3) // 8])


def test_halving_keeps_thin_legs() -> None:
    """A voxel is filled if any of its eight parts is."""
    random = np.random.default_rng(1)
    voxels = torch.from_numpy((random.random((3, 6, 6, 6)) < 0.1).astype(np.uint8))
    found = furniture.coarse(voxels)
    for i, y, z, x in np.ndindex(3, 3, 3, 3):
        part = voxels[i, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2, 2 * x : 2 * x + 2]
        assert found[i, y, z, x] == part.max()
    assert 0 < found.float().mean() < 1
    with pytest.raises(ValueError, match="a side of 5 cannot be halved"):
        furniture.coarse(torch.zeros(5, 5, 5, dtype=torch.uint8))


def test_mirror_images() -> None:
    """Left and right change places, nothing else does."""
    voxels = torch.arange(2 * 3 * 3 * 3, dtype=torch.uint8).view(2, 3, 3, 3)
    found = furniture.mirrored(voxels)
    torch.testing.assert_close(found[:2], voxels)
    for x in range(3):
        torch.testing.assert_close(found[2:, :, :, x], voxels[:, :, :, 2 - x])


def package(folder: Path) -> Path:
    """Write what the Debian package unpacks to, with seven models in five catalogues."""
    home = folder / "usr/share/sweethome3d/furniture"
    home.mkdir(parents=True)
    for k, name in enumerate(furniture.CATALOGUES):
        tall = [f"v 0 0 0\nv 1 0 0\nv 0 {k + 1} 0\nv 0 0 1\n" + WEDGE.split("\n", 4)[4]]
        with zipfile.ZipFile(home / f"{name}.sh3f", "w") as archive:
            archive.writestr(
                "PluginFurnitureCatalog.properties", properties(model("Chair", "tall.obj"))
            )
            archive.writestr("tall.obj", tall[0])
    return folder


def test_a_package_becomes_one_small_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fetched, made into voxels, verified and kept; then nothing is fetched again."""
    whole = package(tmp_path / "whole")
    monkeypatch.setattr(sources, "apt_unpack", lambda name, folder: whole)
    content = furniture._bring(tmp_path)[furniture.FILE]
    sha256 = {furniture.FILE: hashlib.sha256(content).hexdigest()}
    wanted = packages.FileSet("furniture", sha256, furniture.FURNITURE.origins)
    monkeypatch.setattr(furniture, "FURNITURE", wanted)
    monkeypatch.setenv("LITGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LITGEN_OFFLINE", raising=False)
    monkeypatch.delenv("LITGEN_DATA", raising=False)
    _, cubes = furniture._unpacked(content)
    for split, rows in (("train", [0, 1, 2, 4]), ("test", [3])):
        voxels = torch.from_numpy(cubes[rows])
        found = sources.checksum(voxels, torch.zeros(len(rows), dtype=torch.int64))
        monkeypatch.setitem(furniture.CHECKSUM, split, found)
        got = furniture.load(split)  # type: ignore[arg-type]
        torch.testing.assert_close(got.voxels, voxels)
        assert got.names == ("Chair",) * len(rows)
        assert got.credits == tuple(f"Ann, {furniture.CATALOGUES[i]}" for i in rows)
        assert got.record.source == "Debian package sweethome3d-furniture"
    shutil.rmtree(whole)
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    assert len(furniture.load("train").voxels) == 4
    monkeypatch.setitem(furniture.CHECKSUM, "train", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="furniture train has checksum"):
        furniture.load("train")
    monkeypatch.setattr(sources, "apt_unpack", lambda name, folder: tmp_path)
    with pytest.raises(sources.DataUnavailable, match=r"has no BlendSwap-CC-0.sh3f"):
        furniture._bring(tmp_path)


def test_drawn_furniture_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offline, with nothing at hand, and said so; or an error where no stand-in is wanted."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    monkeypatch.setenv("LITGEN_CACHE", str(tmp_path))
    monkeypatch.delenv("LITGEN_DATA", raising=False)
    with pytest.raises(sources.DataUnavailable, match="furniture is not at hand"):
        furniture.load("train", stand_in=False)
    found = furniture.load("train")
    assert "STAND-IN: drawn furniture in place of furniture" in capsys.readouterr().out
    assert found.voxels.shape == (furniture.COUNTS["train"], 32, 32, 32)
    assert found.record.stand_in
    assert found.record.name == "drawn furniture standing in for furniture"
    assert len(found.names) == len(found.credits) == len(found.labels)
    torch.testing.assert_close(
        furniture.coarse(found.voxels), furniture.drawn_furniture.load("train").voxels[:93]
    )
    with pytest.raises(ValueError, match="'train' or 'test', got 'all'"):
        inspect.unwrap(furniture.load)("all")  # type: ignore[arg-type]


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize(("split", "count"), [("train", 93), ("test", 30)])
def test_the_real_furniture(
    split: sources.Split, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skipped where it is not at hand. All stand on the floor; chairs are higher behind."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        found = furniture.load(split, stand_in=False)
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    assert len(found.voxels) == len(found.names) == count
    assert found.voxels[:, 0].flatten(1).any(dim=1).all()
    assert found.record.checksum == furniture.CHECKSUM[split]
    high = (found.voxels.amax(dim=3) * torch.arange(1, 33)[:, None]).amax(dim=1)  # by depth
    first = (high > 0).int().argmax(dim=1)
    last = 31 - (high > 0).flip(1).int().argmax(dim=1)
    at = [high.gather(1, row[:, None]).float() for row in (first, last)]
    chairs = found.labels == 0
    assert (at[1] > at[0])[chairs].float().mean() > 0.6
    assert (at[1] == at[0])[~chairs].float().mean() > 0.6
    assert 0.02 < found.voxels.float().mean() < 0.3


def test_meshes_do_the_work() -> None:
    """The voxels of a model are its surface, and what it encloses."""
    mesh = meshes.parse_obj(BLOCK.rsplit("f", 1)[0], "block")
    ((_, voxels),) = furniture.made(catalogue_of(model("Sofa", "block.obj")), "Cat")
    np.testing.assert_array_equal(
        voxels, meshes.filled(meshes.surface(mesh, furniture.SIDE))[:, ::-1]
    )
