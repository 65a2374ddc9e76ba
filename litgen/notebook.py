"""How a chapter's cell puts a figure or a number on its page.

Chapter: book/contributing.md.  Proof: tests/test_notebook.py.

In Jupyter these are ordinary outputs. The book's build reads their metadata, and makes of a figure
one picture for light and one for dark pages, with its alternative text and, where one is named,
the in-page widget that replaces it.
"""

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from litgen import plotting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["encoded", "encoded_image", "glue", "layers_of", "show"]


def show(
    figure: "Figure",
    alt: str,
    caption: str = "",
    widget: str = "",
    payload: dict[str, Any] | None = None,
) -> None:
    """Display a figure.

    Args:
        figure: drawn with ``plotting.figure``.
        alt: what the figure shows, for those who do not see it; written from the data.
        caption: under the figure; names data and profile.
        widget: name of the in-page model that takes the figure's place where JavaScript runs.
        payload: what the widget needs, as JSON allows.

    Raises:
        ValueError: no alternative text.
    """
    from IPython.display import display

    if not alt.strip():
        raise ValueError("a figure needs alternative text")
    light, dark = (plotting.render(figure, theme) for theme in ("light", "dark"))
    width, height = (round(float(size) * 96) for size in figure.get_size_inches())
    about = {
        "alt": alt,
        "caption": caption,
        "dark": base64.b64encode(dark).decode(),
        "width": width,
        "height": height,
        "wide": width > 600 and any(ax.axison for ax in figure.axes),
        "widget": widget,
        "payload": payload,
    }
    display(
        {"image/png": base64.b64encode(light).decode(), "text/plain": alt},
        raw=True,
        metadata={"litgen": about, "image/png": {"alt": alt, "width": width}},
    )


def glue(name: str, value: str | float) -> None:
    """Give a value a name under which the chapter's prose can print it; shows nothing here."""
    from IPython.display import display

    prefix = "application/papermill.record/"
    plain = value.item() if isinstance(value, np.generic) else value  # repr names numpy's type
    display(
        {f"{prefix}text/plain": repr(plain)},
        raw=True,
        metadata={"scrapbook": {"name": name, "mime_prefix": prefix}},
    )


def encoded(tensor: Tensor) -> str:
    """Return a tensor's values as base64: bytes for uint8, half precision for everything else."""
    values = tensor.detach().cpu().contiguous()
    values = values if values.dtype == torch.uint8 else values.half()
    return base64.b64encode(values.numpy().tobytes()).decode()


def encoded_image(canvas: np.ndarray) -> str:
    """Return values in [0, 1] as a PNG in base64, small, for snapshots: 16 greys or 64 colours."""
    from PIL import Image

    levels = 16 if canvas.ndim == 2 else 64
    few = Image.fromarray((canvas * 255).round().astype("uint8")).quantize(levels)
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def layers_of(net: nn.Sequential, image: tuple[int, int, int] | None = None) -> dict[str, Any]:
    """Describe a stack of layers for the in-page interpreter (book/_static/tinynet.js).

    Weights travel in half precision, which is exact for the weights of a run. Batch normalisation
    is described in evaluation mode, with its running moments; dropout is left out.

    Args:
        net: the layers.
        image: channels, height and width of the input, where a layer needs them.

    Raises:
        ValueError: a layer that the interpreter does not know.
    """
    layers: list[dict[str, Any]] = []
    weights: list[Tensor] = []
    for layer in net:
        described, own, image = _described(layer, image)
        if own:
            described["offset"] = sum(w.numel() for w in weights)
        layers += [described] if described else []
        weights += [w.flatten() for w in own]
    return {"layers": layers, "weights": encoded(torch.cat(weights)) if weights else ""}


Shape = tuple[int, int, int] | None


def _described(layer: nn.Module, image: Shape) -> tuple[dict[str, Any], list[Tensor], Shape]:
    """Return a layer's description, its weights, and the shape of the image after it."""
    name = type(layer).__name__
    if isinstance(layer, nn.Linear) and layer.bias is not None:
        size = {"inputs": layer.in_features, "outputs": layer.out_features}
        return {"type": "linear", **size}, [layer.weight, layer.bias], None
    if isinstance(layer, nn.ReLU | nn.Sigmoid | nn.Tanh | nn.SiLU):
        return {"type": name.lower()}, [], image
    if isinstance(layer, nn.Flatten | nn.Dropout):
        return {}, [], image
    if isinstance(layer, nn.Unflatten) and layer.dim == 1 and len(layer.unflattened_size) == 3:
        channels, height, width = (int(n) for n in layer.unflattened_size)
        return {}, [], (channels, height, width)
    if image is not None and isinstance(layer, nn.ConvTranspose2d):
        return _spread(layer, image)
    if image is not None and isinstance(layer, nn.BatchNorm2d) and layer.affine:
        found = [layer.running_mean, layer.running_var, layer.weight, layer.bias]
        moments = [tensor for tensor in found if tensor is not None]
        pixels = {"channels": image[0], "pixels": image[1] * image[2], "eps": layer.eps}
        if len(moments) == 4:
            return {"type": "batchnorm", **pixels}, moments, image
    if image is not None and isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return _windows(layer, image)
    raise ValueError(f"the page cannot compute a {name}")


def _windows(
    layer: Any, image: tuple[int, int, int]
) -> tuple[dict[str, Any], list[Tensor], Shape]:
    """Describe a square convolution or pooling on an image of this shape."""
    settings = [
        getattr(layer, name, 1) for name in ("kernel_size", "stride", "padding", "dilation")
    ]
    kernel, stride, padding, dilation = (v if isinstance(v, tuple) else (v, v) for v in settings)
    convolution = isinstance(layer, nn.Conv2d)
    known = kernel[0] == kernel[1] and stride[0] == stride[1] and padding[0] == padding[1]
    known = known and dilation == (1, 1) and not getattr(layer, "ceil_mode", False)
    if convolution:
        known = known and layer.groups == 1 and layer.padding_mode == "zeros"
    elif isinstance(layer, nn.AvgPool2d):  # padding would count in the average
        known = known and padding == (0, 0) and layer.divisor_override is None
    if not known:
        raise ValueError(f"the page cannot compute this {layer}")
    outputs = layer.out_channels if convolution else image[0]
    height, width = ((n + 2 * padding[0] - kernel[0]) // stride[0] + 1 for n in image[1:])
    described = {
        "type": type(layer).__name__.lower(),
        **{"kernel": kernel[0], "stride": stride[0], "padding": padding[0]},
        **{"inputs": image[0], "height": image[1], "width": image[2], "outputs": outputs},
    }
    bias = layer.bias if convolution and layer.bias is not None else torch.zeros(outputs)
    return described, [layer.weight, bias] if convolution else [], (outputs, height, width)


def _spread(
    layer: nn.ConvTranspose2d, image: tuple[int, int, int]
) -> tuple[dict[str, Any], list[Tensor], Shape]:
    """Describe a square transposed convolution of an image of this shape."""
    sizes = (layer.kernel_size, layer.stride, layer.padding)
    known = all(size[0] == size[1] for size in sizes) and layer.dilation == (1, 1)
    if not known or layer.groups != 1 or any(int(n) for n in layer.output_padding):
        raise ValueError(f"the page cannot compute this {layer}")
    kernel, stride, padding = (int(size[0]) for size in sizes)
    height, width = ((n - 1) * stride + kernel - 2 * padding for n in image[1:])
    described = {
        "type": "convtranspose2d",
        **{"kernel": kernel, "stride": stride, "padding": padding},
        **{"inputs": image[0], "height": image[1], "width": image[2]},
        "outputs": layer.out_channels,
    }
    bias = layer.bias if layer.bias is not None else torch.zeros(layer.out_channels)
    return described, [layer.weight, bias], (layer.out_channels, height, width)
