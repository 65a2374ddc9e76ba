"""Proof for litgen/data/brain.py: small volumes, a small head in the real layout, stand-ins."""

import gzip
import hashlib
import inspect
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import brain, cells, packages, sources

RANDOM = np.random.default_rng(0)
VOLUMES = {part: RANDOM.integers(0, 256, (144, 216, 180), np.uint8) for part in brain.NAMES}


def nifti(values: np.ndarray, **changed: int) -> bytes:
    """Return a packed NIfTI file of bytes, written field by field; fields may be changed."""
    fields = {"header": 348, "axes": 3, "kind": 2, "bits": 8, "start": 352} | changed
    head = bytearray(352)
    struct.pack_into("<i", head, 0, fields["header"])
    upward, forward, right = values.shape
    struct.pack_into("<8h", head, 40, fields["axes"], right, forward, upward, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, fields["kind"], fields["bits"])
    struct.pack_into("<f", head, 108, fields["start"])
    head[344:348] = b"n+1\0"
    gap = bytes(fields["start"] - 352)
    return gzip.compress(bytes(head) + gap + values.tobytes(), compresslevel=1)


@pytest.mark.parametrize("start", [352, 400])
def test_a_volume_is_read_back(start: int) -> None:
    """The axis written last runs fastest, whatever stands before the numbers."""
    values = RANDOM.integers(0, 256, (3, 4, 5), np.uint8)
    found = brain.decode_nifti(nifti(values, start=start), "x.nii.gz")
    assert found.shape == (3, 4, 5)
    assert np.array_equal(found, values)


def test_other_files_are_refused() -> None:
    """Not packed, another header, other numbers, other axes, or cut short."""
    values = RANDOM.integers(0, 256, (3, 4, 5), np.uint8)
    whole = nifti(values)
    with pytest.raises(sources.WrongBytes, match=r"x.nii.gz is no packed NIfTI file"):
        brain.decode_nifti(gzip.decompress(whole), "x.nii.gz")
    with pytest.raises(sources.WrongBytes, match=r"x.nii.gz is no packed NIfTI file"):
        brain.decode_nifti(whole[:-20], "x.nii.gz")
    with pytest.raises(sources.WrongBytes, match=r"in one piece, or of another byte order"):
        brain.decode_nifti(nifti(values, header=540), "x.nii.gz")
    with pytest.raises(sources.WrongBytes, match=r"has 3 axes and kind 4, wanted 3 of bytes"):
        brain.decode_nifti(nifti(values, kind=4, bits=16), "x.nii.gz")
    with pytest.raises(sources.WrongBytes, match=r"has 4 axes and kind 2"):
        brain.decode_nifti(nifti(values, axes=4), "x.nii.gz")
    short = gzip.compress(gzip.decompress(whole)[:-1])
    with pytest.raises(sources.WrongBytes, match=r"cut short: 411 bytes for a volume of \(3, 4"):
        brain.decode_nifti(short, "x.nii.gz")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Three small maps in the real files' format."""
    return {brain.NAMES[part]: nifti(values) for part, values in VOLUMES.items()}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> Path:
    """Put noise in the layout of the real maps into LITGEN_DATA, and expect its checksums."""
    folder = tmp_path / "mine" / "brain"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("LITGEN_DATA", str(folder.parent))
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(brain, "BRAIN", packages.FileSet("brain", sha256, ()))
    for split in ("train", "test"):
        monkeypatch.setitem(brain.CHECKSUM, split, sources.checksum(*expected(split)))
    return folder


def expected(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and tissues slice by slice, pixel rows turned over, by the rule's words."""
    heights = [*range(72, 96)] if split == "test" else [*range(24, 64), *range(104, 144)]
    images, tissues = [], []
    for k in heights:
        t1, grey, white = (np.flipud(VOLUMES[p][k])[22:214, 18:178] for p in ("t1", "gm", "wm"))
        tissue = np.zeros(t1.shape, np.uint8)
        tissue[(grey >= 128) & (grey >= white)] = 1
        tissue[(white >= 128) & (white > grey)] = 2
        images.append(torch.from_numpy(t1.copy())[None])
        tissues.append(torch.from_numpy(tissue))
    return torch.stack(images), torch.stack(tissues)


@pytest.mark.parametrize(("split", "count"), [("train", 80), ("test", 24)])
def test_slices_of_the_slabs(mine: Path, split: sources.Split, count: int) -> None:
    """The front at the top, the brain's box alone, each tissue where its map exceeds a half."""
    found = brain.load(split)
    images, tissue = expected(split)
    assert found.images.shape == (count, 1, 192, 160)
    assert torch.equal(found.images, images)
    assert torch.equal(found.tissue, tissue)
    record = found.record
    assert (record.source, record.stand_in) == ("files in LITGEN_DATA", False)
    assert record.counts == {"train": 80, "test": 24}
    assert "Fonov" in record.citation
    assert "24 slices" in brain.load("test").describe()


def test_no_slice_of_a_test_slab_is_near_one_for_training() -> None:
    """Neighbouring slices look alike: eight millimetres lie between."""
    train = [k for slab in brain.SLABS["train"] for k in slab]
    test = [k for slab in brain.SLABS["test"] for k in slab]
    assert min(abs(a - b) for a in train for b in test) == 9


def test_another_head_is_refused(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its content's checksum, and by the file's before."""
    monkeypatch.setitem(brain.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="brain test has checksum"):
        brain.load("test")
    name = brain.NAMES["gm"]
    (mine / name).write_bytes(b"another")
    with pytest.raises(sources.WrongBytes, match=rf"{name} has sha256"):
        brain.load("train")


def test_drawn_cells_stand_in_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Offline: six drawn images to a slice, of the real slices' size, with three tissues."""
    for split in ("train", "test"):
        found, drawn = brain.load(split), cells.load(split)
        assert found.record.stand_in
        assert "standing in for a brain" in found.record.name
        assert found.images.shape == (brain.COUNTS[split], 1, 192, 160)
        assert found.tissue.unique().tolist() == [0, 1, 2]
        assert torch.equal(found.images[1, :, :64, 16:80], drawn.images[6])
        assert torch.equal(found.images[0, :, 64:128, 80:144], drawn.images[3])
        assert torch.equal(found.tissue[0, 64:128, 80:144] > 0, drawn.cells[3] > 0)
        assert found.record.checksum == sources.checksum(found.images, found.tissue)
    said = capsys.readouterr().out
    assert "STAND-IN: drawn cells in place of slices of a brain, because brain is not at" in said


def test_without_a_stand_in_it_fails_clearly() -> None:
    """The message says what was tried and what would help; splits are checked."""
    with pytest.raises(sources.DataUnavailable, match=r"PyPI package nilearn 0.14.1.*LITGEN_DATA"):
        brain.load("train", stand_in=False)
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(brain.load)("validation")  # type: ignore[arg-type]


@pytest.mark.usefixtures("real_data")
def test_the_real_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped where it is not at hand. White matter is lighter than grey, and grey than the rest.

    Left and right halves mirror each other: the template is symmetric.
    """
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        found = brain.load("test", stand_in=False)
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    values = found.images[:, 0].double()
    means = [values[found.tissue == k].mean().item() for k in range(3)]
    assert means[0] + 50 < means[1]
    assert means[1] + 30 < means[2]
    middle = values[..., 80 - 60 : 81 + 60]  # around the column at which the template mirrors
    assert (middle - middle.flip(-1)).abs().mean() < 1
