"""Feature maps of VGG by the names of its layers, with either pooling, and no deeper than asked.

Chapter: book/style/gatys.md.  Proof: tests/style/test_features.py.
Paper: Gatys, Ecker & Bethge, "A neural algorithm of artistic style" (2015); network: Simonyan &
Zisserman (2015).

    F^l        features, (channels, height, width) of layer l, after its ReLU
    N_l, M_l   channels; height times width
    conv3_2    the second convolution of the third block; blocks are parted by poolings
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = ["VGG", "Pooling", "block_of", "receptive_field", "scaled_to_mean_one"]

Pooling = Literal["average", "max"]
Pair = tuple[Tensor, Tensor]


class VGG(nn.Module):
    """Pictures to features: 3x3 convolutions with ReLUs, halved between blocks; weights are fixed.

    Args:
        names: of the convolutions in order, such as "conv1_1"; the digit before _ is the block's.
        kernels: (out, in, 3, 3) each; the first one's inputs are red, green and blue.
        biases: (out,) each.
        mean: of red, green and blue in [0, 1], subtracted from pictures.
        pooling: "average", which the paper found to give nicer pictures, or "max", with which the
            network was trained.

    Raises:
        ValueError: names, kernels and biases that do not fit together, or another pooling.
    """

    mean: Tensor

    def __init__(
        self,
        names: Sequence[str],
        kernels: Sequence[Float[Tensor, "_ _ 3 3"]],
        biases: Sequence[Float[Tensor, " _"]],
        mean: Float[Tensor, " 3"],
        pooling: Pooling = "average",
    ):
        super().__init__()
        if not len(names) == len(kernels) == len(biases) or not names:
            counts = f"{len(names)} names, {len(kernels)} kernels, {len(biases)} biases"
            raise ValueError(f"every convolution needs a name, a kernel and a bias, got {counts}")
        if pooling not in ("average", "max"):
            raise ValueError(f"pooling is 'average' or 'max', got {pooling!r}")
        self.names, self.pooling, self.layers = tuple(names), pooling, nn.ModuleList()
        inputs = 3
        for name, kernel, bias in zip(names, kernels, biases, strict=True):
            if kernel.shape[1:] != (inputs, 3, 3) or bias.shape != kernel.shape[:1]:
                shapes = f"{tuple(kernel.shape)} and {tuple(bias.shape)}"
                raise ValueError(f"{name} has {shapes}, its input {inputs} channels")
            layer = nn.Conv2d(inputs, len(kernel), 3, padding=1)
            layer.weight.data, layer.bias = kernel.clone(), nn.Parameter(bias.clone())
            self.layers.append(layer)
            inputs = len(kernel)
        self.register_buffer("mean", mean.clone())
        self.requires_grad_(False).eval()

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], layers: Sequence[str]
    ) -> dict[str, Float[Tensor, "batch _ _ _"]]:
        """Return the features of the layers asked for, after their ReLU.

        Args:
            images: red, green and blue in [0, 1].
            layers: names; what lies behind the last of them is not computed.

        Raises:
            ValueError: no layers, an unknown one, pictures that are not in three colours, or
                smaller than a layer needs.
        """
        last = self._last(images, layers)
        found: dict[str, Tensor] = {}
        x = (images - self.mean.to(images)[:, None, None]).to(self.pairs()[0][0].dtype)
        block = 1
        for name, layer in zip(self.names[: last + 1], self.layers, strict=False):
            if block_of(name) != block:
                block = block_of(name)
                average = self.pooling == "average"
                x = nn.functional.avg_pool2d(x, 2) if average else nn.functional.max_pool2d(x, 2)
            x = layer(x).relu_()  # in place: no convolution needs its output to go backwards
            if name in layers:
                found[name] = x
        return found

    def pairs(self) -> list[Pair]:
        """Return kernel and bias of each convolution."""
        layers = [layer for layer in self.layers if isinstance(layer, nn.Conv2d)]
        return [(layer.weight, layer.bias) for layer in layers if layer.bias is not None]

    def _last(self, images: Tensor, layers: Sequence[str]) -> int:
        """Return the place of the deepest layer asked for, once all is known to fit."""
        unknown = [name for name in layers if name not in self.names]
        if unknown or not layers:
            raise ValueError(f"layers are some of {', '.join(self.names)}; got {list(layers)}")
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"pictures are (batch, 3, height, width), got {tuple(images.shape)}")
        last = max(self.names.index(name) for name in layers)
        need = 2 ** (block_of(self.names[last]) - 1)
        if min(images.shape[2:]) < need:
            size = "x".join(map(str, images.shape[2:]))
            raise ValueError(f"{self.names[last]} needs {need} pixels a side, pictures are {size}")
        return last


def block_of(name: str) -> int:
    """Return the block of a layer: 3 for "conv3_2".

    Raises:
        ValueError: a name of another form.
    """
    parts = name.removeprefix("conv").split("_")
    if not name.startswith("conv") or len(parts) != 2 or not all(p.isdigit() for p in parts):
        raise ValueError(f"a layer's name is like 'conv3_2', got {name!r}")
    return int(parts[0])


def receptive_field(names: Sequence[str], layer: str) -> int:
    """Return the side in pixels of what one number of a layer sees. Implements eq:gatys-field.

    A convolution of 3x3 adds two steps of its grid, a pooling of 2x2 one; then steps double.

    Args:
        names: of the network's convolutions in order.
        layer: one of them.

    Raises:
        ValueError: it is none of them.
    """
    if layer not in names:
        raise ValueError(f"layers are {', '.join(names)}; got {layer!r}")
    side, step, block = 1, 1, 1
    for name in names:
        while block < block_of(name):
            side, step, block = side + step, 2 * step, block + 1
        side += 2 * step
        if name == layer:
            break
    return side


@torch.no_grad()
def scaled_to_mean_one(network: VGG, pictures: Sequence[Float[Tensor, "_ 3 _ _"]]) -> VGG:
    """Return the same network in other units: each layer's mean over pictures is 1.

    Implements eq:gatys-units. ReLU and pooling let a positive factor pass, so what every layer
    holds is unchanged but for its unit. (The paper gives each filter a factor of its own.)

    Args:
        network: left as it is.
        pictures: batches of any sizes, over which features are averaged; each picture counts as
            much as its size.

    Raises:
        ValueError: no pictures, or a layer that is zero on all of them.
    """
    if not pictures:
        raise ValueError("no pictures to measure features on")
    sums, counts = dict.fromkeys(network.names, 0.0), dict.fromkeys(network.names, 0)
    for batch in pictures:
        for name, features in network(batch, network.names).items():
            sums[name] += features.double().sum().item()
            counts[name] += features.numel()
    means = [sums[name] / counts[name] for name in network.names]
    if min(means) <= 0:
        raise ValueError(f"{network.names[means.index(min(means))]} is zero on all pictures")
    kernels, biases, before = [], [], 1.0
    for (kernel, bias), mean in zip(network.pairs(), means, strict=True):
        kernels.append(kernel * (before / mean))
        biases.append(bias / mean)
        before = mean
    return VGG(network.names, kernels, biases, network.mean, network.pooling)
