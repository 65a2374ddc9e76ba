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
    """Return grey values in [0, 1] as a PNG of 16 levels in base64: small, for snapshots."""
    from PIL import Image

    grey = Image.fromarray((canvas * 255).round().astype("uint8"), "L").quantize(16)
    buffer = io.BytesIO()
    grey.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def layers_of(net: nn.Sequential) -> dict[str, Any]:
    """Describe a stack of layers for the in-page interpreter (book/_static/tinynet.js).

    Weights travel in half precision, which is exact for the weights of a run.

    Raises:
        ValueError: a layer that the interpreter does not know.
    """
    layers: list[dict[str, Any]] = []
    weights: list[Tensor] = []
    offset = 0
    for layer in net:
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            size = {"inputs": layer.in_features, "outputs": layer.out_features}
            layers.append({"type": "linear", "offset": offset, **size})
            weights += [layer.weight.flatten(), layer.bias]
            offset += layer.weight.numel() + layer.bias.numel()
        elif isinstance(layer, nn.ReLU | nn.Sigmoid | nn.Tanh | nn.SiLU):
            layers.append({"type": type(layer).__name__.lower()})
        else:
            raise ValueError(f"the page cannot compute a {type(layer).__name__}")
    return {"layers": layers, "weights": encoded(torch.cat(weights)) if weights else ""}
