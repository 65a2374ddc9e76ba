"""The one U-Net of the book: a contracting path, an expanding one, skips between them.

Chapter: book/diffusion/ddpm.md.  Proof: tests/test_unet.py.
References: Ronneberger, Fischer & Brox, "U-Net" (2015); Ho, Jain & Abbeel, "Denoising Diffusion
Probabilistic Models" (2020), appendix B, for time, residual blocks and attention.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.shapes import Float, Int

__all__ = ["Attention", "GrowingConv", "ResidualBlock", "UNet", "groups", "sinusoidal"]


def sinusoidal(
    t: Int[Tensor, " batch"], dims: int, slowest: float = 10_000.0
) -> Float[Tensor, "batch dims"]:
    """Return sines and cosines of t at geometrically spaced frequencies. Implements eq:unet-time.

    Raises:
        ValueError: an odd or too small number of dimensions.
    """
    if dims < 4 or dims % 2:
        raise ValueError(f"an embedding needs an even number of at least 4 dims, got {dims}")
    half = torch.arange(dims // 2, device=t.device, dtype=torch.float32)
    angles = t.float()[:, None] * torch.exp(-math.log(slowest) * half / (dims // 2 - 1))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def groups(channels: int) -> int:
    """Return how many groups normalise these channels: at most 8, each of two or more channels.

    A channel that is normalised alone loses what the condition added to it.
    """
    return math.gcd(channels, 8 if channels % 16 == 0 else 4 if channels % 8 == 0 else 2)


class ResidualBlock(nn.Module):
    """Two convolutions, each after normalisation and SiLU, added to the input.

    Args:
        inputs: channels in.
        outputs: channels out.
        condition: dims of a vector that shifts the channels in between; 0 for none.
    """

    def __init__(self, inputs: int, outputs: int, condition: int = 0):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups(inputs), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups(outputs), outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.condition = nn.Linear(condition, outputs) if condition else None
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(
        self,
        x: Float[Tensor, "batch inputs height width"],
        condition: Float[Tensor, "batch condition"] | None = None,
    ) -> Float[Tensor, "batch outputs height width"]:
        """Return the block's features.

        Raises:
            ValueError: a condition is missing, or given to a block without one.
        """
        if (condition is None) != (self.condition is None):
            raise ValueError("a block takes a condition exactly if it was made with one")
        h: Tensor = self.conv1(nn.functional.silu(self.norm1(x), inplace=True))
        if self.condition is not None:
            h = h + self.condition(condition)[:, :, None, None]
        h = self.conv2(nn.functional.silu(self.norm2(h), inplace=True))
        return h.add(self.skip(x))


class Attention(nn.Module):
    """Self-attention between all places of a feature map, one head, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups(channels), channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the features, each place mixed with those that it attends to."""
        q, k, v = self.qkv(self.norm(x)).flatten(2).chunk(3, dim=1)
        share = (q.transpose(1, 2) @ (k / math.sqrt(k.shape[1]))).softmax(dim=2)
        mixed = v @ share.transpose(1, 2)
        return x.add(self.out(mixed.unflatten(2, x.shape[2:])))


class GrowingConv(nn.Conv2d):
    """Nearest-neighbour upsampling by 2 and a 3x3 convolution, at half the cost of the two.

    A kernel's entries that fall on copies of one pixel are added first: the pair is exactly one
    transposed convolution of stride 2 with a 4x4 kernel.

    Args:
        inputs: channels in.
        outputs: channels out; as many as in if none are given.
    """

    def __init__(self, inputs: int, outputs: int | None = None):
        super().__init__(inputs, outputs or inputs, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs twice_height twice_width"]:
        """Return the features at twice the size."""
        kernel = self._shared(self._shared(self.weight, 2), 3).transpose(0, 1)
        return nn.functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)

    @staticmethod
    def _shared(weight: Tensor, axis: int) -> Tensor:
        a, b, c = weight.unbind(axis)
        return torch.stack([c, b + c, a + b, a], dim=axis)


class UNet(nn.Module):
    """Images in, images out, of the same height and width.

    Args:
        inputs: channels in.
        outputs: channels out.
        widths: channels at each resolution, from the finest; each further one halves the size.
        blocks: residual blocks at each resolution on the way down; one more on the way up.
        time: whether the network is told a time t, as in diffusion.
        classes: labels 0..classes-1 that the network is told; label ``classes`` means none.
        attention: whether there is attention in the middle, at the coarsest resolution.
        attention_at: levels, 0 the finest, whose residual blocks are each followed by attention.
        skips: whether the expanding path sees the contracting path's features.

    Raises:
        ValueError: no widths, no blocks, or attention at a level that does not exist.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int] = (32, 64, 64),
        blocks: int = 1,
        time: bool = False,
        classes: int = 0,
        attention: bool = False,
        attention_at: Sequence[int] = (),
        skips: bool = True,
    ):
        super().__init__()
        if not widths or blocks < 1:
            raise ValueError(f"need widths and blocks, got {tuple(widths)} and {blocks}")
        if not set(attention_at) <= set(range(len(widths))):
            raise ValueError(f"attention_at must name levels 0..{len(widths) - 1}: {attention_at}")
        self.widths, self.skips, self.classes = tuple(widths), skips, classes
        condition = 4 * widths[0] if time or classes else 0
        self.time = (
            nn.Sequential(
                nn.Linear(widths[0], condition), nn.SiLU(), nn.Linear(condition, condition)
            )
            if time
            else None
        )
        self.label = nn.Embedding(classes + 1, condition) if classes else None
        self.first = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down, self.mix_down, self.shrink = (nn.ModuleList() for _ in range(3))
        channels, kept = widths[0], [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(blocks):
                self.down.append(ResidualBlock(channels, width, condition))
                channels = width
                kept.append(channels)
                self.mix_down.append(_mixing(level in attention_at, channels))
            if level < len(widths) - 1:
                self.shrink.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                kept.append(channels)
        self.middle = nn.ModuleList([ResidualBlock(channels, channels, condition)])
        self.attention = _mixing(attention, channels)
        self.middle.append(ResidualBlock(channels, channels, condition))
        self.up, self.mix_up, self.grow = (nn.ModuleList() for _ in range(3))
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                beside = kept.pop() if skips else 0
                self.up.append(ResidualBlock(channels + beside, width, condition))
                channels = width
                self.mix_up.append(_mixing(level in attention_at, channels))
            if level:
                self.grow.append(GrowingConv(channels))
        self.blocks = blocks
        self.norm = nn.GroupNorm(groups(channels), channels)
        self.last = nn.Conv2d(channels, outputs, 3, padding=1)
        self.last.weight.data.zero_()

    def forward(
        self,
        x: Float[Tensor, "batch inputs height width"],
        t: Int[Tensor, " batch"] | None = None,
        labels: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch outputs height width"]:
        """Return the output image.

        Raises:
            ValueError: a time or labels are missing, not expected, or out of range; or a size
                that cannot be halved as often as the network needs.
        """
        self._check(x, t, labels)
        condition = self._condition(x, t, labels)
        h = self.first(x)
        kept, down, shrink = [h], zip(self.down, self.mix_down, strict=True), iter(self.shrink)
        for level in range(len(self.widths)):
            for _ in range(self.blocks):
                block, mix = next(down)
                h = mix(block(h, condition))
                kept.append(h)
            if level < len(self.widths) - 1:
                h = next(shrink)(h)
                kept.append(h)
        h = self.middle[1](self.attention(self.middle[0](h, condition)), condition)
        up, grow = zip(self.up, self.mix_up, strict=True), iter(self.grow)
        for level in range(len(self.widths)):
            for _ in range(self.blocks + 1):
                h = torch.cat([h, kept.pop()], dim=1) if self.skips else h
                block, mix = next(up)
                h = mix(block(h, condition))
            if level < len(self.widths) - 1:
                h = next(grow)(h)
        out: Tensor = self.last(nn.functional.silu(self.norm(h), inplace=True))
        return out

    def _condition(self, x: Tensor, t: Tensor | None, labels: Tensor | None) -> Tensor | None:
        parts = []
        if self.time is not None and t is not None:
            parts.append(self.time(sinusoidal(t.to(x.device), self.widths[0]).to(x.dtype)))
        if self.label is not None and labels is not None:
            parts.append(self.label(labels.to(x.device)))
        return nn.functional.silu(sum(parts[1:], parts[0])) if parts else None

    def _check(self, x: Tensor, t: Tensor | None, labels: Tensor | None) -> None:
        if (t is None) != (self.time is None) or (labels is None) != (self.label is None):
            raise ValueError("the network takes a time and labels exactly if it was made for them")
        if labels is not None and not ((labels >= 0) & (labels <= self.classes)).all():
            raise ValueError(f"labels must lie in 0..{self.classes} ({self.classes} means none)")
        factor = 2 ** (len(self.widths) - 1)
        if x.shape[-2] % factor or x.shape[-1] % factor:
            raise ValueError(f"height and width must be multiples of {factor}: {tuple(x.shape)}")


def _mixing(wanted: bool, channels: int) -> nn.Module:
    return Attention(channels) if wanted else nn.Identity()
