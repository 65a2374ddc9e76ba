"""RealNVP for images: squeezes, couplings between channels, activation norms, several scales.

Chapter: book/flows/realnvp.md.  Proof: tests/flows/test_realnvp.py.
References: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP" (2017), sections 3.4
to 3.7; Kingma & Dhariwal, "Glow" (2018), section 3.1, for the activation norm.

Forward is from data to latent, as in litgen.flows.coupling.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.flows.coupling import change_of_variables
from litgen.shapes import Float

__all__ = [
    "CHANNELS",
    "CHECKERBOARD",
    "ActNorm",
    "ImageCoupling",
    "RealNVP",
    "ResidualNet",
    "squeeze",
    "unsqueeze",
]

CHECKERBOARD = (0, 3, 1, 2)
"""Order of the four pixels of a 2x2 block: black ones first, then white ones."""

CHANNELS = (0, 1, 2, 3)
"""Order that keeps the upper row of each 2x2 block and moves the lower one."""


def squeeze(x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch more h w"]:
    """Turn each 2x2 block of pixels into four channels. Implements eq:squeeze.

    Channel 4 c + 2 i + j holds row i, column j of the blocks of channel c.

    Raises:
        ValueError: an odd height or width.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(f"an odd size cannot be squeezed: {x.shape[-2]}x{x.shape[-1]}")
    return nn.functional.pixel_unshuffle(x, 2)


def unsqueeze(x: Float[Tensor, "batch more h w"]) -> Float[Tensor, "batch channels height width"]:
    """Undo `squeeze`.

    Raises:
        ValueError: channels that are no multiple of four.
    """
    if x.shape[1] % 4:
        raise ValueError(f"unsqueezing needs a multiple of 4 channels, got {x.shape[1]}")
    return nn.functional.pixel_shuffle(x, 2)


class ActNorm(nn.Module):
    """Shift and rescale each channel; started so that the first batch has mean 0, variance 1."""

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "batch channels height width"]) -> None:
        """Choose shift and scale so that this batch comes out with mean 0 and variance 1."""
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0, keepdim=True)
        self.shift.copy_(-mean[0])
        self.log_scale.copy_(-0.5 * (variance[0] + 1e-6).log())

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, ""]]:
        """Return y and log|det dy/dx|, the same for all images. Implements eq:actnorm."""
        log_det = x.shape[-2] * x.shape[-1] * self.log_scale.sum()
        return (x + self.shift) * self.log_scale.exp(), log_det

    def inverse(
        self, y: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return x."""
        return y / self.log_scale.exp() - self.shift


class ResidualNet(nn.Module):
    """3x3 convolutions with residual blocks between them; starts by returning zeros."""

    def __init__(self, inputs: int, hidden: int, outputs: int, blocks: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(hidden, hidden, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(hidden, hidden, 1),
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(hidden, outputs, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs height width"]:
        """Return what the coupling reads."""
        features = self.first(x)
        for block in self.blocks:
            features = features + block(features)
        out: Tensor = self.last(torch.relu(features))
        return out


class ImageCoupling(nn.Module):
    """An affine coupling between channels of a squeezed image.

    A checkerboard of pixels *is* a split of channels once 2x2 blocks are channels, so one layer
    serves both of the paper's masks, and no work goes to masked pixels.

    Args:
        channels: of the image, a multiple of 4.
        order: four numbers; the first two of each four channels are kept, the others moved.
        hidden: channels of the conditioner.
        blocks: residual blocks of the conditioner.

    Raises:
        ValueError: channels that are no multiple of four, or an order that is no permutation.
    """

    kept: Tensor
    moved: Tensor

    def __init__(self, channels: int, order: Sequence[int], hidden: int, blocks: int):
        super().__init__()
        if channels % 4 or sorted(order) != [0, 1, 2, 3]:
            raise ValueError(f"need channels in fours and an order of 0..3: {channels}, {order}")
        fours = 4 * torch.arange(channels // 4)[:, None]
        order_of_four = torch.tensor(list(order))
        self.register_buffer("kept", (fours + order_of_four[:2]).flatten(), persistent=False)
        self.register_buffer("moved", (fours + order_of_four[2:]).flatten(), persistent=False)
        self.conditioner = ResidualNet(channels // 2, hidden, channels, blocks)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, " batch"]]:
        """Return y and log|det dy/dx|. Implements eq:coupling-forward, eq:coupling-log-det."""
        log_scale, shift = self.log_scale_and_shift(x)
        moved = torch.addcmul(shift, x[:, self.moved], log_scale.exp())
        return x.index_copy(1, self.moved, moved), log_scale.flatten(1).sum(dim=1)

    def inverse(
        self, y: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return x. Implements eq:coupling-inverse."""
        log_scale, shift = self.log_scale_and_shift(y)  # the kept channels of y are those of x
        return y.index_copy(1, self.moved, (y[:, self.moved] - shift) * torch.exp(-log_scale))

    def log_scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Read both off the kept channels; tanh keeps a layer's stretch within [1/e, e].

        The network computes in its own precision, whatever that of x: with x in double both
        directions round the kept channels to the same numbers, and ask the same question.
        """
        kept = x[:, self.kept].to(self.conditioner.first.weight.dtype)
        log_scale, shift = self.conditioner(kept).to(x.dtype).chunk(2, dim=1)
        return torch.tanh(log_scale), shift


class Scale(nn.Module):
    """Pairs of couplings that move both halves in turn, each layer after an activation norm.

    The first half of the pairs splits by checkerboard, the rest by rows of the 2x2 blocks.

    Args:
        channels: of the squeezed image.
        couplings: pairs.
        hidden: channels of each conditioner.
        blocks: residual blocks of each conditioner.
    """

    def __init__(self, channels: int, couplings: int, hidden: int, blocks: int):
        super().__init__()
        self.norms, self.couplings = nn.ModuleList(), nn.ModuleList()
        for pair in range(couplings):
            a, b, c, d = CHECKERBOARD if pair < (couplings + 1) // 2 else CHANNELS
            for order in ((a, b, c, d), (c, d, a, b)):
                self.norms.append(ActNorm(channels))
                self.couplings.append(ImageCoupling(channels, order, hidden, blocks))

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, " batch"]]:
        """Return y and log|det dy/dx|."""
        log_det: Tensor = x.new_zeros(len(x))
        for norm, coupling in zip(self.norms, self.couplings, strict=True):
            x, by_norm = norm(x)
            x, by_coupling = coupling(x)
            log_det = log_det + by_norm + by_coupling
        return x, log_det

    def inverse(
        self, y: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return x."""
        for index in reversed(range(len(self.norms))):
            norm, coupling = self.norms[index], self.couplings[index]
            assert isinstance(norm, ActNorm)
            assert isinstance(coupling, ImageCoupling)
            y = norm.inverse(coupling.inverse(y))
        return y

    def initialize(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Set the activation norms by one batch; return what comes out."""
        for norm, coupling in zip(self.norms, self.couplings, strict=True):
            assert isinstance(norm, ActNorm)
            norm.initialize(x)
            x = coupling(norm(x)[0])[0]
        return x


class RealNVP(nn.Module):
    """A density on images: at each scale squeeze, couple, and let half of the channels go.

    Args:
        channels: of the image.
        side: its height and width, divisible by 2 once for each scale.
        scales: squeezes; after each but the last, half of the channels join z at once.
        couplings: pairs of couplings a scale; checkerboard pairs first, then channel pairs.
        hidden: channels of each conditioner.
        blocks: residual blocks of each conditioner.

    Raises:
        ValueError: a side that cannot be halved that often, or a count below 1.
    """

    def __init__(
        self,
        channels: int = 1,
        side: int = 28,
        scales: int = 2,
        couplings: int = 4,
        hidden: int = 32,
        blocks: int = 1,
    ):
        super().__init__()
        if min(channels, scales, couplings, hidden) < 1 or blocks < 0:
            raise ValueError("channels, scales, couplings and hidden must be at least 1")
        if side % 2**scales:
            raise ValueError(f"a side of {side} cannot be halved {scales} times")
        self.shape = (channels, side, side)
        self.scales = nn.ModuleList(
            Scale(shape[0], couplings, hidden, blocks) for shape in self._shapes(scales)
        )

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch dims"], Float[Tensor, " batch"]]:
        """Map data to latent; return z and log|det dz/dx|. Implements eq:multi-scale."""
        self._check(x)
        z, log_det = [], x.new_zeros(len(x))
        for scale in self.scales:
            x, change = scale(squeeze(x))
            log_det = log_det + change
            if scale is not self.scales[-1]:
                out, x = x.chunk(2, dim=1)
                z.append(out.flatten(1))
        return torch.cat([*z, x.flatten(1)], dim=1), log_det

    def inverse(
        self, z: Float[Tensor, "batch dims"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Map latent to data.

        Raises:
            ValueError: z has another number of dimensions than the image.
        """
        channels, side, _ = self.shape
        if z.shape[1] != channels * side * side:
            raise ValueError(f"z has {z.shape[1]} dimensions, the image {channels * side * side}")
        sizes = [z.shape[1] // 2**k for k in range(1, len(self.scales))]
        parts = list(z.split([*sizes, z.shape[1] - sum(sizes)], dim=1))
        shapes = self._shapes(len(self.scales))
        x: Tensor = parts.pop().view(-1, *shapes[-1])
        for index in reversed(range(len(shapes))):
            if index < len(shapes) - 1:
                out = parts.pop().view(-1, shapes[index][0] // 2, *shapes[index][1:])
                x = torch.cat([out, x], dim=1)
            x = unsqueeze(self._scale(index).inverse(x))
        return x

    def log_prob(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " batch"]:
        """Return log p(x) in nats. Implements eq:change-of-variables."""
        return change_of_variables(*self(x))

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "batch channels height width"]) -> None:
        """Set all activation norms by one batch, in the order in which it meets them."""
        self._check(x)
        for index in range(len(self.scales)):
            x = self._scale(index).initialize(squeeze(x)).chunk(2, dim=1)[1]

    def _check(self, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"images have shape {tuple(x.shape[1:])}, the flow {self.shape}")

    def _scale(self, index: int) -> "Scale":
        scale = self.scales[index]
        assert isinstance(scale, Scale)
        return scale

    def _shapes(self, scales: int) -> list[tuple[int, int, int]]:
        """Return (channels, height, width) inside each scale."""
        channels, side, _ = self.shape
        shapes = []
        for _ in range(scales):
            channels, side = 4 * channels, side // 2
            shapes.append((channels, side, side))
            channels //= 2
        return shapes
