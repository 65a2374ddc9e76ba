"""A small BigGAN: class-conditional normalisation, codes that enter every block, spectral norms.

Chapter: book/gan/biggan.md.  Proof: tests/gan/test_biggan.py.
References: Brock, Donahue & Simonyan, "Large Scale GAN Training for High Fidelity Natural Image
Synthesis" (2019), appendix B; Miyato & Koyama, "cGANs with Projection Discriminator" (2018).

Notation: the code z is cut into ``chunks``, z_0 for the first layer and z_k for block k; e_y, the
vector that is learned for a class, is shared by all blocks; c_k = (z_k, e_y) is a block's
``condition``.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from litgen.gan import spectral
from litgen.gan.conditional import project
from litgen.shapes import Float, Int

__all__ = ["BigCritic", "BigGenerator", "ClassNorm", "Normalised", "UpBlock", "baked", "chunks"]


class ClassNorm(nn.Module):
    """Batch normalisation whose gain and bias are read off a condition.

    Args:
        channels: of the image.
        condition: numbers in a condition.
    """

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.read = nn.Linear(condition, 2 * channels, bias=False)

    def forward(
        self, x: Float[Tensor, "batch channels h w"], condition: Float[Tensor, "batch condition"]
    ) -> Float[Tensor, "batch channels h w"]:
        """Return (1 + gain) x_normalised + bias, both read off c. Implements eq:big-class-norm."""
        gain, bias = self.read(condition)[:, :, None, None].chunk(2, dim=1)
        scaled: Tensor = self.norm(x) * (1 + gain) + bias
        return scaled


class UpBlock(nn.Module):
    """A residual block that doubles height and width and hears the condition before each layer.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        condition: numbers in a condition.
        convolutions: in the branch; the first one doubles the size.
    """

    def __init__(self, inputs: int, outputs: int, condition: int, convolutions: int = 1):
        super().__init__()
        later = range(convolutions - 1)
        widths = [inputs, *(outputs for _ in later)]
        self.norms = nn.ModuleList(ClassNorm(width, condition) for width in widths)
        self.layers = nn.ModuleList(
            [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)]
            + [nn.Conv2d(outputs, outputs, 3, padding=1) for _ in later]
        )
        self.shortcut = nn.ConvTranspose2d(inputs, outputs, 2, 2)

    def forward(
        self, x: Float[Tensor, "batch inputs h w"], condition: Float[Tensor, "batch condition"]
    ) -> Float[Tensor, "batch outputs high wide"]:
        """Return branch plus shortcut. Implements eq:big-block."""
        h = x
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = layer(norm(h, condition).relu())
        doubled: Tensor = h + self.shortcut(x)
        return doubled


class BigGenerator(nn.Module):
    """Codes and classes to images in [-1, 1]; every block gets a part of the code and the class.

    Args:
        chunk: numbers of the code for each of the blocks, and for the first layer.
        classes: how many there are.
        embedding: numbers in a class's vector, which all blocks share.
        widths: channels from the coarsest stage on; one block less than widths.
        channels: of the image.
        side: height and width of the image, divisible by 2 for each block.
        convolutions: in each block's branch.
        spectral_norm: divide each layer's matrix by its largest singular value.

    Raises:
        ValueError: a side that cannot be halved so often, or fewer than two widths.
    """

    def __init__(
        self,
        chunk: int = 8,
        classes: int = 10,
        embedding: int = 16,
        widths: Sequence[int] = (32, 16, 8),
        channels: int = 1,
        side: int = 28,
        convolutions: int = 1,
        spectral_norm: bool = True,
    ):
        super().__init__()
        blocks = len(widths) - 1
        if blocks < 1 or side % 2**blocks:
            raise ValueError(f"a side of {side} cannot be halved {blocks} times")
        self.chunk, self.classes, self.latent = chunk, classes, chunk * (1 + blocks)
        self.embedding = nn.Embedding(classes, embedding)
        coarse = side // 2**blocks
        self.first = nn.Linear(chunk, widths[0] * coarse**2)
        self.unflatten = nn.Unflatten(1, (widths[0], coarse, coarse))
        self.blocks = nn.ModuleList(
            UpBlock(a, b, chunk + embedding, convolutions) for a, b in itertools.pairwise(widths)
        )
        self.last = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            nn.Conv2d(widths[-1], channels, 3, padding=1),
            nn.Tanh(),
        )
        _start(self, spectral_norm)

    def forward(
        self, z: Float[Tensor, "codes latent"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels h w"]:
        """Return an image of each class asked for.

        Raises:
            ValueError: codes of another length, or not one label for each.
        """
        if z.shape != (len(labels), self.latent):
            raise ValueError(f"{len(labels)} codes of {self.latent} numbers, got {tuple(z.shape)}")
        return self.from_vectors(z, self.embedding(labels))

    def from_vectors(
        self, z: Float[Tensor, "batch latent"], vectors: Float[Tensor, "batch embedding"]
    ) -> Float[Tensor, "batch channels h w"]:
        """Return images for any class vectors, those between two classes too. eq:big-skip."""
        first, *rest = chunks(z, self.chunk)
        x = self.unflatten(self.first(first))
        for block, part in zip(self.blocks, rest, strict=True):
            x = block(x, torch.cat([part, vectors.to(part)], dim=1))
        images: Tensor = self.last(x)
        return images


class BigCritic(nn.Module):
    """Images and classes to one value each: strided residual blocks, a sum over places, a product.

    Args:
        classes: how many there are.
        widths: channels of the stages, from the finest on; each halves height and width.
        channels: of the image.
        side: height and width of the image; it must be halved as often as there are widths, and
            an odd side is cut.
        spectral_norm: divide each layer's matrix by its largest singular value.

    Raises:
        ValueError: no widths, or an image too small for them.
    """

    def __init__(
        self,
        classes: int = 10,
        widths: Sequence[int] = (16, 32, 64),
        channels: int = 1,
        side: int = 28,
        spectral_norm: bool = True,
    ):
        super().__init__()
        if not widths or side < 2 ** len(widths):
            raise ValueError(f"a side of {side} cannot be halved {len(widths)} times")
        self.first = nn.Conv2d(channels, widths[0], 4, 2, 1)
        self.blocks = nn.ModuleList(DownBlock(a, b) for a, b in itertools.pairwise(widths))
        self.head = nn.Linear(widths[-1], 1)
        self.vectors = nn.Embedding(classes, widths[-1])
        _start(self, spectral_norm)

    def features(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch features"]:
        """Return phi(x): the last block's rectified channels, summed over all places."""
        h = self.first(x)
        for block in self.blocks:
            h = block(h)
        return torch.relu(h).sum(dim=(2, 3))

    def forward(
        self, x: Float[Tensor, "images channels h w"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return v_y . phi(x) + b(x), positive for "data of this class". eq:cgan-projection."""
        if len(x) != len(labels):
            raise ValueError(f"{len(x)} images, {len(labels)} labels")
        phi = self.features(x)
        return project(phi, self.vectors(labels).to(phi), self.head(phi).squeeze(1))


class DownBlock(nn.Module):
    """A residual block that halves height and width.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 4, 2, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 2, 2)

    def forward(self, x: Float[Tensor, "batch inputs h w"]) -> Float[Tensor, "batch outputs _ _"]:
        """Return branch plus shortcut."""
        halved: Tensor = self.layer(x.relu()) + self.shortcut(x)
        return halved


class Normalised(nn.Module):
    """A layer's weight over its largest singular value, which power steps follow while it trains.

    Implements eq:big-spectral. The steps are taken in full precision, whatever the layers compute
    in, one for each use of the weight in training mode.

    Args:
        weight: to begin with.
        transposed: rows of the matrix are the weight's second axis.
        steps: to take now.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, transposed: bool = False, steps: int = 20):
        super().__init__()
        self.transposed = transposed
        matrix = self._matrix(weight.detach())
        u = nn.functional.normalize(matrix.sum(dim=1), dim=0)
        for _ in range(max(1, steps)):
            u, v = spectral.power_step(matrix, u)
        self.register_buffer("u", u)
        self.register_buffer("v", v)

    def forward(self, weight: Tensor) -> Tensor:
        """Return W / (u'Wv)."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self._matrix(weight)
            if self.training:
                with torch.no_grad():
                    self.u, self.v = spectral.power_step(matrix, self.u)
            return weight / spectral.spectral_norm(matrix, self.u, self.v)

    def _matrix(self, weight: Tensor) -> Tensor:
        """Return the weight with a row for each filter."""
        return (weight.transpose(0, 1) if self.transposed else weight).flatten(1)


def chunks(z: Float[Tensor, "batch latent"], size: int) -> tuple[Float[Tensor, "batch size"], ...]:
    """Cut codes into parts of one size: z_0 for the first layer, z_k for block k. eq:big-skip.

    Raises:
        ValueError: a length that is no multiple of the size.
    """
    if size < 1 or z.shape[1] % size:
        raise ValueError(f"a code of {z.shape[1]} numbers has no equal parts of {size}")
    parts: tuple[Tensor, ...] = z.split(size, dim=1)
    return parts


def baked(network: nn.Module) -> nn.Module:
    """Write the divided weights in the place of those that are normalised; return the network."""
    for layer in network.modules():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return network


def _start(network: nn.Module, spectral_norm: bool) -> None:
    """Begin with orthogonal matrices; normalise what is asked for."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            nn.init.orthogonal_(layer.weight)
            if spectral_norm:
                transposed = isinstance(layer, nn.ConvTranspose2d)
                rule = Normalised(layer.weight, transposed)
                parametrize.register_parametrization(layer, "weight", rule)
        bias = getattr(layer, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
