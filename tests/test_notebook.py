"""Proof for litgen/notebook.py."""

import ast
import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from myst_nb.core.variables import format_plain_text
from PIL import Image
from torch import Tensor, nn

from litgen import notebook, plotting


class Shown:
    """Remembers what is displayed."""

    def __init__(self) -> None:
        self.bundles: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def __call__(self, data: dict[str, Any], raw: bool, metadata: dict[str, Any]) -> None:
        """Stand for IPython's display."""
        assert raw
        json.dumps([data, metadata])  # it must fit into a notebook
        self.bundles.append((data, metadata))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Catch what a cell would display."""
    catcher = Shown()
    monkeypatch.setattr("IPython.display.display", catcher)
    return catcher


def pixels(encoded: str) -> np.ndarray:
    """Return a PNG in base64 as (height, width, 4) bytes."""
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGBA"))


# show --------------------------------------------------------------------------------------------


def test_show_gives_an_ordinary_picture_and_what_the_page_needs(shown: Shown) -> None:
    """Light in the notebook, dark and the rest in the metadata, alternative text in both."""
    figure, (ax,) = plotting.figure(5.0, 2.5)
    plotting.curves(ax, [0.0, 1.0], {"a": [0.0, 1.0]}, "x", "y")
    payload = {"points": [1, 2.5], "net": {"layers": []}}
    notebook.show(figure, "A line that rises.", "Drawn, CPU.", "latent-plane", payload)
    ((data, metadata),) = shown.bundles
    about = metadata["litgen"]
    light, dark = pixels(data["image/png"]), pixels(about["dark"])
    assert light.shape == dark.shape == (375, 750, 4)
    assert not np.array_equal(light, dark)
    assert (light[0, 0, 3], dark[0, 0, 3]) == (0, 0)
    ink = light[(light[..., 3] > 250)][:, :3].astype(int)
    assert ink.min() < 60, "the light page's picture has dark ink"
    assert data["text/plain"] == about["alt"] == "A line that rises."
    assert metadata["image/png"] == {"alt": "A line that rises.", "width": 480}
    assert (about["width"], about["height"]) == (480, 240)
    assert (about["caption"], about["widget"]) == ("Drawn, CPU.", "latent-plane")
    assert about["payload"] == payload


def test_show_needs_no_more_than_a_figure_and_its_text(shown: Shown) -> None:
    """Caption and widget may be left out."""
    notebook.show(plotting.figure()[0], alt="Nothing yet.")
    about = shown.bundles[0][1]["litgen"]
    assert (about["caption"], about["widget"], about["payload"]) == ("", "", None)


@pytest.mark.parametrize("alt", ["", " ", "\n\t"])
def test_a_figure_without_alternative_text_is_not_shown(shown: Shown, alt: str) -> None:
    """It is an error, before anything is drawn."""
    with pytest.raises(ValueError, match="a figure needs alternative text"):
        notebook.show(plotting.figure()[0], alt)
    assert shown.bundles == []
    with pytest.raises(TypeError):
        notebook.show(plotting.figure()[0])  # type: ignore[call-arg]


# glue --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "form", "printed"),
    [
        (3.14159, ".2f", "3.14"),
        (-1e-7, ".1e", "-1.0e-07"),
        (1234567, ",", "1,234,567"),
        (1234567.0, ",.0f", "1,234,567"),
        (7, "", "7"),
        ("CPU", "", "CPU"),
        ('it\'s "é"', "", 'it\'s "é"'),
        (np.float64(3.14159), ".2f", "3.14"),
        (np.float64(2.5), "", "2.5"),
    ],
)
def test_glued_values_can_be_printed(
    shown: Shown, unchecked: None, value: str | float, form: str, printed: str
) -> None:
    """By myst-nb's own function, which the page uses, and as a literal, as the download does."""
    notebook.glue("name", value)
    ((data, metadata),) = shown.bundles
    ((mime, text),) = data.items()
    assert metadata["scrapbook"]["name"] == "name"
    assert mime == metadata["scrapbook"]["mime_prefix"] + "text/plain"
    assert format_plain_text(text, form) == printed
    assert format(ast.literal_eval(text), form) == printed


def test_myst_nb_finds_what_is_glued(shown: Shown) -> None:
    """In an executed notebook, under its name."""
    from myst_nb.ext.glue import extract_glue_data
    from nbformat import v4

    notebook.glue("answer", 42.5)
    ((data, metadata),) = shown.bundles
    output = v4.new_output("display_data", data=data, metadata=metadata)
    executed = v4.new_notebook(cells=[v4.new_code_cell("x", outputs=[output])])

    found = extract_glue_data(executed, [0], None)  # no log: no warnings
    assert found["answer"]["data"] == {"text/plain": "42.5"}
    assert executed.cells[0].outputs == [], "the cell itself shows nothing"


# encoded -----------------------------------------------------------------------------------------


def decoded(text: str, kind: str) -> np.ndarray:
    """Read base64 as little-endian numbers."""
    return np.frombuffer(base64.b64decode(text), np.dtype(kind).newbyteorder("<"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_floats_travel_in_half_precision(dtype: torch.dtype, generator: torch.Generator) -> None:
    """In row order, also from a transposed tensor with a gradient."""
    tensor = torch.randn(3, 4, generator=generator, dtype=torch.float32).to(dtype)
    tensor = tensor.t().requires_grad_()
    found = decoded(notebook.encoded(tensor), "f2")
    expected = [tensor[i, j].item() for i in range(4) for j in range(3)]
    np.testing.assert_allclose(found, expected, rtol=2**-11)
    assert found.std() > 0.1


def test_bytes_travel_as_bytes_and_other_whole_numbers_as_halves() -> None:
    """256 levels need no more."""
    levels = torch.arange(256, dtype=torch.uint8).view(16, 16)
    np.testing.assert_array_equal(decoded(notebook.encoded(levels), "u1"), np.arange(256))
    labels = torch.tensor([3, 1, 4, 1, 5])
    np.testing.assert_array_equal(decoded(notebook.encoded(labels), "f2"), [3, 1, 4, 1, 5])


def test_encoded_image_keeps_sixteen_levels() -> None:
    """Exactly, where there are no more; within half a step of sixteen, where there are."""
    levels = np.arange(16) * 17 / 255
    canvas = np.tile(levels, (8, 4))
    np.testing.assert_allclose(pixels(notebook.encoded_image(canvas))[..., 0] / 255, canvas)
    ramp = np.tile(np.linspace(0, 1, 256), (4, 1))
    found = pixels(notebook.encoded_image(ramp))[..., 0] / 255
    assert np.abs(found - ramp).max() < 0.06
    assert found[0, 0] < 0.05
    assert found[0, -1] > 0.95
    assert len(base64.b64decode(notebook.encoded_image(ramp))) < 400


# layers_of ---------------------------------------------------------------------------------------


def interpreted(description: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """Compute what the description says, with loops, as book/_static/tinynet.js does."""
    weights = decoded(description["weights"], "f2").astype(float)
    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "relu": lambda v: np.where(v > 0, v, 0),
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
        "silu": lambda v: v / (1 + np.exp(-v)),
        "tanh": lambda v: (np.exp(v) - np.exp(-v)) / (np.exp(v) + np.exp(-v)),
    }
    for layer in description["layers"]:
        own = weights[layer.get("offset", 0) :]
        if layer["type"] in functions:
            x = functions[layer["type"]](x)
        elif layer["type"] == "linear":
            x = np.array(
                [
                    own[layer["outputs"] * layer["inputs"] + i]
                    + sum(own[i * layer["inputs"] + j] * v for j, v in enumerate(x))
                    for i in range(layer["outputs"])
                ]
            )
        elif layer["type"] == "batchnorm":
            count, pixels = layer["channels"], layer["pixels"]
            for i in range(count):
                mean, var, gain, bias = (own[k * count + i] for k in range(4))
                part = x[i * pixels : (i + 1) * pixels]
                x[i * pixels : (i + 1) * pixels] = (part - mean) / (
                    var + layer["eps"]
                ) ** 0.5 * gain + bias
        else:
            x = windowed(layer, own, x)
    return x


def windowed(layer: dict[str, Any], own: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Compute a described convolution or pooling, window by window."""
    inputs, outputs, kernel = layer["inputs"], layer["outputs"], layer["kernel"]
    fill = -np.inf if layer["type"] == "maxpool2d" else 0.0
    image = x.reshape(inputs, layer["height"], layer["width"])
    pad = layer["padding"]
    image = np.pad(image, [(0, 0), (pad, pad), (pad, pad)], constant_values=fill)
    each = kernel * kernel * inputs
    found = []
    for o in range(outputs):
        for r in range(0, image.shape[1] - kernel + 1, layer["stride"]):
            for c in range(0, image.shape[2] - kernel + 1, layer["stride"]):
                window = image[:, r : r + kernel, c : c + kernel]
                if layer["type"] == "conv2d":
                    weight = own[o * each : (o + 1) * each].reshape(window.shape)
                    found.append((weight * window).sum() + own[outputs * each + o])
                else:
                    pick = np.max if layer["type"] == "maxpool2d" else np.mean
                    found.append(pick(window[o]))
    return np.array(found)


@pytest.mark.parametrize("between", [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.SiLU])
def test_the_page_computes_what_the_network_computes(
    between: type[nn.Module], generator: torch.Generator
) -> None:
    """Any stack of layers that the interpreter knows, its weights read from the description."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 5), between(), nn.Linear(5, 4), between(), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float() * 2)
    description = json.loads(json.dumps(notebook.layers_of(net)))
    assert [layer["type"] for layer in description["layers"]] == [
        *("linear", between.__name__.lower()) * 2,
        "linear",
    ]
    for x in torch.randn(4, 3, generator=generator):
        expected: Tensor = net(x).detach()
        assert expected.abs().max() > 0.05
        found = interpreted(description, x.double().numpy())
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(3, 2), nn.MaxPool2d(3, 1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_page_computes_convolutional_networks(
    pool: nn.Module, bias: bool, generator: torch.Generator
) -> None:
    """Strides, padding, an oblong image, moments that are not the standard ones; no dropout."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=bias),
        pool,
        nn.BatchNorm2d(3, eps=1e-2),
        nn.ReLU(),
        nn.Conv2d(3, 2, 2),
        nn.Flatten(),
        nn.Dropout(0.5),
    ).eval()
    size = net(torch.zeros(1, 2, 11, 13)).shape[1]
    net.append(nn.Linear(size, 4))
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator))
                tensor.copy_(tensor.half().float())
    description = json.loads(json.dumps(notebook.layers_of(net, (2, 11, 13))))
    assert "dropout" not in str(description["layers"])
    for x in torch.randn(2, 2, 11, 13, generator=generator):
        expected = net(x[None]).detach()[0]
        assert expected.std() > 0.01
        found = interpreted(description, x.flatten().double().numpy())
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 2, (3, 5)),
        nn.Conv2d(2, 2, 3, stride=(1, 2)),
        nn.Conv2d(2, 2, 3, padding=(0, 1)),
        nn.Conv2d(2, 2, 3, dilation=2),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2, dilation=2),
        nn.AvgPool2d(3, padding=1),
        nn.AvgPool2d(2, divisor_override=3),
        nn.BatchNorm2d(2, affine=False),
        nn.BatchNorm2d(2, track_running_stats=False),
    ],
)
def test_windows_that_the_page_does_not_know(layer: nn.Module) -> None:
    """Refused by name; each would be computed wrongly."""
    with pytest.raises(ValueError, match=f"the page cannot compute .*{type(layer).__name__}"):
        notebook.layers_of(nn.Sequential(layer), (2, 9, 9))


def test_layers_without_weights_are_allowed() -> None:
    """And an empty stack is the identity."""
    assert notebook.layers_of(nn.Sequential(nn.ReLU())) == {
        "layers": [{"type": "relu"}],
        "weights": "",
    }
    assert notebook.layers_of(nn.Sequential()) == {"layers": [], "weights": ""}


@pytest.mark.parametrize(
    ("layer", "name"),
    [(nn.Conv2d(1, 1, 3), "Conv2d"), (nn.GELU(), "GELU"), (nn.Linear(2, 2, bias=False), "Linear")],
)
def test_layers_that_the_page_does_not_know(layer: nn.Module, name: str) -> None:
    """The message names it; nothing is drawn wrongly."""
    with pytest.raises(ValueError, match=f"the page cannot compute a {name}"):
        notebook.layers_of(nn.Sequential(nn.Linear(2, 2), layer))


def test_the_page_is_told_of_transposed_convolutions(generator: torch.Generator) -> None:
    """Sizes, and weights in torch's order; by loops over taps they give what the layer gives."""
    torch.manual_seed(3)
    layer = nn.ConvTranspose2d(2, 3, 4, 2, 1)
    net = nn.Sequential(nn.Linear(5, 2 * 3 * 4), nn.Unflatten(1, (2, 3, 4)), layer)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())
    described = notebook.layers_of(net)
    found = described["layers"][1]
    assert (found["height"], found["width"], found["outputs"]) == (3, 4, 3)
    weights = np.frombuffer(base64.b64decode(described["weights"]), np.float16).astype(float)
    own = weights[found["offset"] :]
    kernel, bias = own[: 2 * 3 * 16].reshape(2, 3, 4, 4), own[2 * 3 * 16 :]
    x = torch.randn(1, 2, 3, 4, generator=generator)
    expected = np.tile(bias[:, None, None], (1, 6, 8))
    for i, o, a, b, r, c in np.ndindex(2, 3, 4, 4, 3, 4):
        row, column = 2 * r + a - 1, 2 * c + b - 1
        if 0 <= row < 6 and 0 <= column < 8:
            expected[o, row, column] += kernel[i, o, a, b] * x[0, i, r, c].item()
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, rtol=1e-4, atol=1e-6)
    for odd in (
        nn.ConvTranspose2d(2, 2, 3, output_padding=1, stride=2),
        nn.ConvTranspose2d(2, 2, (3, 4)),
    ):
        with pytest.raises(ValueError, match="the page cannot compute"):
            notebook.layers_of(nn.Sequential(odd), (2, 3, 4))
