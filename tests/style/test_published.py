"""Proof for litgen/style/published.py: the ONNX file's own graph, node by node; torch's layers."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.data import packages, published_styles
from litgen.data.sources import DataUnavailable
from litgen.style.published import LAYERS, PublishedNetwork

CHANNELS = (4, 5, 6, *[6] * 12, 3, 2, 3)
TYPES: dict[int, Any] = {1: np.dtype("<f4"), 7: np.dtype("<i8")}


# -- a small reader and interpreter of ONNX, in numpy, that knows nothing of litgen --------------


def parts(content: bytes) -> dict[int, list[Any]]:
    """Return a protocol buffer's fields by number."""
    found: dict[int, list[Any]] = {}
    at = 0

    def integer() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte, at = content[at], at + 1
            value, shift = value + (byte % 128 << shift), shift + 7
            if byte < 128:
                return value

    while at < len(content):
        key = integer()
        if key % 8 == 0:
            value: Any = integer()
        else:
            size = {1: 8, 5: 4}.get(key % 8) or integer()
            value, at = content[at : at + size], at + size
        found.setdefault(key // 8, []).append(value)
    return found


def array(content: bytes) -> np.ndarray:
    """Return a tensor's numbers, floats in double precision."""
    tensor = parts(content)
    values = np.frombuffer(tensor[9][0], TYPES[tensor[2][0]]).reshape(tensor.get(1, []))
    return np.asarray(values, np.float64 if tensor[2][0] == 1 else np.int64)


def nodes(graph: dict[int, list[Any]]) -> Iterator[tuple[str, list[str], str, dict[str, Any]]]:
    """Yield each node's operation, inputs, output and attributes, in the order of the file."""
    for content in graph[1]:
        node = parts(content)
        given: dict[str, Any] = {}
        for each in map(parts, node.get(5, [])):
            name = each[1][0].decode()
            if 5 in each:
                given[name] = array(each[5][0])
            elif 4 in each:
                given[name] = each[4][0].decode()
            elif 2 in each:
                given[name] = struct.unpack("<f", each[2][0])[0]
            else:
                given[name] = each[8] if 8 in each else each[3][0]
        inputs = [name.decode() for name in node.get(1, [])]
        yield node[4][0].decode(), inputs, node[2][0].decode(), given


def convolved(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Return sums over windows of x, which nothing is added around."""
    side = kernel.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(2, 3))
    sums = np.einsum("bihwkl,oikl->bohw", windows[:, :, ::stride, ::stride], kernel, optimize=True)
    return np.asarray(sums)


def run(operation: str, x: list[Any], given: dict[str, Any]) -> np.ndarray:
    """Return what one node computes, by ONNX's definition of its operation."""
    if operation == "Constant":
        return np.asarray(given["value"])
    if operation == "ConstantOfShape":
        return np.full(x[0], given["value"][0])
    if operation == "Slice":
        start, stop, step = (int(x[i][0]) for i in (1, 2, 4))
        assert (x[3].tolist(), start, step) == ([0], -1, -1)
        assert stop < -len(x[0])  # before the first: the rows backwards, all of them
        return np.asarray(x[0][::-1])
    if operation == "Pad":
        assert given["mode"] == "reflect"
        before, after = np.split(x[1], 2)
        return np.pad(x[0], list(zip(before, after, strict=True)), mode="reflect")
    if operation == "Conv":
        assert (given["dilations"], given["group"], given["pads"]) == ([1, 1], 1, [0, 0, 0, 0])
        assert len(x) == 2
        return convolved(x[0], x[1], given["strides"][0])
    if operation == "Resize":
        assert (given["mode"], given["nearest_mode"]) == ("nearest", "floor")
        assert given["coordinate_transformation_mode"] == "asymmetric"
        places = [np.arange(int(n * s)) / s for n, s in zip(x[0].shape, x[2], strict=True)]
        return np.asarray(x[0][np.ix_(*(np.floor(p).astype(int) for p in places))])
    if operation in ("ReduceMean", "ReduceSum"):
        axes = tuple(given["axes"]) if "axes" in given else tuple(int(a) for a in x[1])
        how = np.mean if operation == "ReduceMean" else np.sum
        return np.asarray(how(x[0], axis=axes, keepdims=bool(given["keepdims"])))
    plain: dict[str, Callable[..., Any]] = {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.divide,
        "Pow": np.power,
        "Sqrt": np.sqrt,
        "Relu": lambda a: np.maximum(a, 0),
        "Sigmoid": lambda a: 1 / (1 + np.exp(-a)),
        "Reshape": lambda a, sides: a.reshape(sides),
        "Unsqueeze": lambda a, axes: np.expand_dims(a, tuple(axes)),
        "Transpose": lambda a: a.transpose(given["perm"]),
        "Concat": lambda *a: np.concatenate(a, given["axis"]),
        "Cast": lambda a: a.astype(TYPES[given["to"]]),
    }
    return np.asarray(plain[operation](*x))


def interpreted(content: bytes, **inputs: np.ndarray) -> np.ndarray:
    """Return the first output of an ONNX model, each of its nodes computed as it stands."""
    graph = parts(parts(content)[7][0])
    values: dict[str, Any] = {"": None, **inputs}
    for weight in graph[5]:
        values[parts(weight)[8][0].decode()] = array(weight)
    for operation, names, output, given in nodes(graph):
        values[output] = run(operation, [values[name] for name in names], given)
    return np.asarray(values[parts(graph[12][0])[1][0].decode()])


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("shares", [{7: 1.0}, {0: 0.3, 12: 0.5, 25: 0.2}])
def test_the_published_graph_node_by_node(
    shares: dict[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """eq:arb-network and eq:arb-blend with the file's weights, against the file's own graph."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        content = packages.read(published_styles.MODEL)[0][published_styles.FILE]
        weights = published_styles.load(stand_in=False).weights
    except DataUnavailable as reason:
        pytest.skip(str(reason))
    image = np.random.default_rng(0).uniform(size=(1, 3, 16, 20))
    row = np.zeros((1, 26))
    for style, share in shares.items():
        row[0, style] = share
    expected = interpreted(content, image=image, style_weights=row[0])
    network = PublishedNetwork(weights).double()
    found = network(torch.tensor(image), torch.tensor(row)).numpy()
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    single = PublishedNetwork(weights)(torch.tensor(image).float(), torch.tensor(row).float())
    np.testing.assert_allclose(single.numpy(), expected, rtol=0, atol=1e-4)


# -- the same network by torch's functions alone, random weights ---------------------------------


def random_weights(styles: int = 26) -> dict[str, Tensor]:
    """Return a small network's weights, drawn, in double precision."""
    draws = torch.Generator().manual_seed(0)
    weights, inputs = {}, 3
    for name, channels in zip(LAYERS, CHANNELS, strict=True):
        side = 5 if name in (LAYERS[0], LAYERS[-1]) else 3
        weights[f"{name}.w"] = torch.randn(channels, inputs, side, side, generator=draws) / 3
        weights[f"{name}.norm.gamma"] = 1 + torch.randn(styles, channels, generator=draws) / 3
        weights[f"{name}.norm.beta"] = torch.randn(styles, channels, generator=draws) / 3
        inputs = channels
    return {name: weight.double() for name, weight in weights.items()}


def test_it_is_the_chapters_network_with_a_norm_behind_the_last_layer() -> None:
    """eq:arb-network by torch's functions, eq:arb-conditional layer by layer, no half off."""
    weights = random_weights()
    draws = torch.Generator().manual_seed(1)
    x = torch.rand(2, 3, 20, 24, generator=draws).double()
    shares = torch.rand(2, 26, generator=draws).double()
    shares /= shares.sum(dim=1, keepdim=True)

    def layer(name: str, h: Tensor, stride: int = 1) -> Tensor:
        kernel = weights[f"{name}.w"]
        edge = kernel.shape[2] // 2
        h = F.conv2d(F.pad(h, (edge, edge, edge, edge), "reflect"), kernel, None, stride)
        gain, bias = (shares @ weights[f"{name}.norm.{part}"] for part in ("gamma", "beta"))
        return F.instance_norm(h) * gain[:, :, None, None] + bias[:, :, None, None]

    h = layer("contract.0", x).relu()
    h = layer("contract.1", h, 2).relu()
    h = layer("contract.2", h, 2).relu()
    assert h.shape == (2, 6, 5, 6)
    for i in range(6):
        h = h + layer(f"res.{i}.1", layer(f"res.{i}.0", h).relu())
    for i in range(2):
        h = layer(f"expand.{i}", h.repeat_interleave(2, 2).repeat_interleave(2, 3)).relu()
    expected = layer("expand.2", h).sigmoid()
    network = PublishedNetwork(weights)
    found = network(x, shares)
    torch.testing.assert_close(found, expected)
    assert found.std() > 0.05
    torch.testing.assert_close(network(x, shares[:1])[1:], network(x[1:], shares[:1]))
    torch.testing.assert_close(network(x - 0.5, shares), found)  # the first norm takes it away
    assert network.channels == list(CHANNELS)
    assert network.styles.shape == (26, 2 * sum(CHANNELS))
    assert not list(network.parameters())  # nothing to be trained by mistake
    assert len(network.state_dict()) == 19
    single = network.float()(x.float(), shares)  # shares in another precision
    torch.testing.assert_close(single, found.float(), rtol=0, atol=1e-3)


def test_a_blend_keeps_its_contrast_and_an_overlay_loses_some() -> None:
    """eq:arb-conditional and eq:arb-blend before the sigmoid: deviations are blended gains."""
    weights = random_weights()
    gains = weights["expand.2.norm.gamma"].abs()
    network = PublishedNetwork(weights | {"expand.2.norm.gamma": gains})
    x = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(2)).double()
    first, last = (torch.logit(network(x, row[None])) for row in torch.eye(26).double()[:2])
    for share in (0.25, 0.5):
        row = torch.tensor([[1 - share, share] + [0.0] * 24]).double()
        blended = torch.logit(network(x, row))
        overlaid = (1 - share) * first + share * last
        expected = (1 - share) * gains[0] + share * gains[1]
        found, lost = (p.std(dim=(2, 3), correction=0)[0] for p in (blended, overlaid))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)
        assert (lost < 0.99 * expected).all()


def test_names_in_the_order_of_the_network() -> None:
    """Three convolutions down, twelve in blocks, three up: what the file's names say."""
    assert LAYERS[:5] == ("contract.0", "contract.1", "contract.2", "res.0.0", "res.0.1")
    assert LAYERS[13:] == ("res.5.0", "res.5.1", "expand.0", "expand.1", "expand.2")
    assert len(LAYERS) == 18


@pytest.mark.usefixtures("unchecked")
def test_weights_that_do_not_fit() -> None:
    """A missing one is named; so is one of other channels or of another number of styles."""
    weights = random_weights(4)
    with pytest.raises(ValueError, match=r"there is no weight 'res\.3\.1\.norm\.beta'"):
        PublishedNetwork({k: w for k, w in weights.items() if k != "res.3.1.norm.beta"})
    with pytest.raises(ValueError, match=r"there is no weight 'contract\.0\.w'"):  # the first
        PublishedNetwork({k: w for k, w in weights.items() if not k.startswith("contract.0")})
    wrong = weights | {"contract.1.w": torch.rand(5, 3, 3, 3)}
    with pytest.raises(ValueError, match=r"contract\.1 of \(5, 3, 3, 3\), \(4, 5\), \(4, 5\)"):
        PublishedNetwork(wrong)
    for part, shape in (("gamma", (3, 6)), ("beta", (4, 5))):
        wrong = weights | {f"res.1.0.norm.{part}": torch.rand(shape)}
        with pytest.raises(ValueError, match=r"res\.1\.0 .* does not fit 6 channels and 4 styles"):
            PublishedNetwork(wrong)


@pytest.mark.usefixtures("unchecked")
def test_pictures_and_shares_that_do_not_fit() -> None:
    """Colours, sides and shares are named."""
    network = PublishedNetwork(random_weights(4)).float()
    one = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    assert network(torch.rand(1, 3, 16, 20), one).shape == (1, 3, 16, 20)
    for sides, message in (
        ((1, 1, 16, 16), "red, green and blue; got 1 channels"),
        ((1, 3, 12, 16), "sides must be 16 to 4096 pixels, got 12x16"),
        ((1, 3, 16, 4100), "sides must be 16 to 4096 pixels, got 16x4100"),
        ((1, 3, 18, 16), "divisible by 4, got 18x16"),
        ((1, 3, 16, 22), "divisible by 4, got 16x22"),
    ):
        with pytest.raises(ValueError, match=message):
            network(torch.zeros(sides), one)
    picture = torch.rand(3, 3, 16, 16)
    with pytest.raises(ValueError, match="2 rows of shares for 3 pictures"):
        network(picture, one.repeat(2, 1))
    with pytest.raises(ValueError, match="5 weights for 4 styles"):
        network(picture, torch.eye(5)[:1])
    with pytest.raises(ValueError, match="not to 1"):
        network(picture, 2 * one)
