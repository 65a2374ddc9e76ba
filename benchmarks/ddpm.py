"""Diffusion on 3x32x32 images: a training step and DDIM steps, equal parameters.

Proof: tests/test_benchmarks.py.

All contenders have a U-Net of three resolutions with 64, 128 and 128 channels, two residual blocks
at each, attention at 16x16 and in the middle (the plan of the DDPM paper), and as many parameters
to within two per cent; Adam at the same rate; the same batches of images.

diffusers           UNet2DModel with its default heads of 8 channels, DDPMScheduler, DDIMScheduler
diffusers-one-head  the same with one head, as the paper has it; no default, so it is reported
                    (``against_one_head``) and not counted as the best peer
denoising-diffusion denoising-diffusion-pytorch's Unet (linear attention at the finer resolutions,
                    full attention at the coarsest) and GaussianDiffusion, all defaults, with the
                    width that gives the same number of parameters
litgen-float32      litgen.unet and litgen.diffusion, float32
litgen-shipped      the same in the precision that the recipe runs with on this machine
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from denoising_diffusion_pytorch import GaussianDiffusion
from denoising_diffusion_pytorch import Unet as LinearAttentionUNet
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.diffusion import ddim, ddpm
from litgen.diffusion import schedule as schedules
from litgen.training import Player, mixed_precision, play
from litgen.unet import UNet

__all__ = ["Size", "contenders", "models", "parameters", "sample", "train"]

VERSIONS = ("litgen", "torch", "diffusers", "denoising-diffusion-pytorch")
ONE_HEAD = "diffusers-one-head"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Size:
    """What is raced.

    Attributes:
        side: pixels along one side.
        widths: channels at the three resolutions, each a multiple of the first.
        width: of denoising-diffusion-pytorch's U-Net, for equal parameters.
        blocks: residual blocks at each resolution.
        batch: images.
        steps: of DDIM in one turn.
    """

    side: int = 32
    widths: tuple[int, int, int] = (64, 128, 128)
    width: int = 72
    blocks: int = 2
    batch: int = 16
    steps: int = 2


SIZE = Size()


def models(size: Size) -> dict[str, nn.Module]:
    """Return the networks of all contenders."""
    first = size.widths[0]

    def usual(**heads: int | None) -> Any:
        model: Any = UNet2DModel(
            sample_size=size.side,
            layers_per_block=size.blocks,
            block_out_channels=size.widths,
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=min(32, first),
            **heads,
        )
        model.train()
        return model

    multiples = tuple(width // first for width in size.widths)
    return {
        "diffusers": usual(),
        ONE_HEAD: usual(attention_head_dim=None),
        "denoising-diffusion": LinearAttentionUNet(size.width, dim_mults=multiples),
        "litgen": UNet(
            3, 3, size.widths, size.blocks, time=True, attention=True, attention_at=[1]
        ),
    }


def parameters(size: Size) -> dict[str, int]:
    """Return how many parameters each contender has."""
    return {
        name: sum(p.numel() for p in model.parameters()) for name, model in models(size).items()
    }


def endless(size: Size) -> Iterator[Tensor]:
    """Return the same batches again and again, in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(8, size.batch, 3, size.side, size.side, generator=generator)
    return itertools.cycle((2 * x - 1).unbind())


def usual_training(model: nn.Module, loss: Callable[[Tensor], Tensor], size: Size) -> Any:
    """Yield after each step of the usual loop."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for x in endless(size):
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        optimizer.step()
        yield value


def diffusers_loss(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the loss of the library's own training example."""
    scheduler: Any = DDPMScheduler()

    def loss(x: Tensor) -> Tensor:
        noise = torch.randn_like(x)
        t = torch.randint(0, 1_000, (len(x),))
        found = model(scheduler.add_noise(x, noise, t), t, return_dict=False)[0]
        return nn.functional.mse_loss(found, noise)

    return loss


def litgen_training(model: nn.Module, size: Size, mixed: bool) -> Iterator[object]:
    """Yield after each step of litgen's loop."""
    times = schedules.linear()

    def loss(x: Tensor) -> Tensor:
        t = torch.randint(1, times.steps + 1, (len(x),))
        with mixed_precision(CPU, mixed):
            return ddpm.simple_loss(model, x, t, torch.randn_like(x), times).mean()

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    return play([Player("denoiser", optimizer, loss)], endless(size), 10**9)


def diffusers_sampling(model: nn.Module, size: Size) -> Callable[[], int]:
    """Return work that draws a batch with the library's scheduler."""
    scheduler: Any = DDIMScheduler()
    scheduler.set_timesteps(size.steps)

    @torch.no_grad()
    def work() -> int:
        x = torch.randn(size.batch, 3, size.side, size.side)
        for t in scheduler.timesteps:
            x = scheduler.step(model(x, t, return_dict=False)[0], t, x).prev_sample
        return size.batch * size.steps

    return work


def litgen_sampling(model: nn.Module, size: Size, mixed: bool) -> Callable[[], int]:
    """Return work that draws a batch with litgen's DDIM."""
    times = schedules.linear()
    chosen = ddim.times(times, size.steps)

    def work() -> int:
        noise = torch.randn(size.batch, 3, size.side, size.side)
        with mixed_precision(CPU, mixed):
            for _ in ddim.trajectory(model, noise, times, chosen, clip=1.0):
                pass
        return size.batch * size.steps

    return work


def other_diffusion(model: nn.Module, size: Size) -> nn.Module:
    """Return denoising-diffusion-pytorch's model around its network."""
    around: nn.Module = GaussianDiffusion(
        model, image_size=size.side, sampling_timesteps=size.steps, auto_normalize=False
    )
    return around


def contenders(kind: str, size: Size = SIZE) -> list[Contender]:
    """Return all contenders, for ``train`` or ``sample``."""
    torch.manual_seed(0)
    nets = models(size)
    other = other_diffusion(nets["denoising-diffusion"], size)
    found = []
    for name in ("diffusers", ONE_HEAD):
        if kind == "train":
            work = harness.steps(usual_training(nets[name], diffusers_loss(nets[name]), size))
        else:
            work = diffusers_sampling(nets[name].eval(), size)
        found.append(Contender(name, work))

    def draw() -> int:
        with torch.no_grad():
            other.ddim_sample((size.batch, 3, size.side, size.side))  # type: ignore[operator]
        return size.batch * size.steps

    if kind == "train":
        draw = harness.steps(usual_training(other, other, size))
    found.append(Contender("denoising-diffusion", draw))
    for name, around, mixed in (
        ("litgen-float32", harness.float32, False),
        ("litgen-shipped", harness.as_shipped, True),
    ):
        net = models(size)["litgen"]
        if kind == "train":
            work = harness.steps(litgen_training(net, size, mixed))
        else:
            work = litgen_sampling(net.eval(), size, mixed)
        found.append(Contender(name, work, around))
    return found


def raced(kind: str, options: Options, size: Size = SIZE) -> Iterator[dict[str, Any]]:
    """Yield one record."""
    rates = harness.race(contenders(kind, size), options.rounds, options.seconds)
    unit = "steps" if kind == "train" else "images times DDIM steps"
    yield {
        "name": f"ddpm-{kind}",
        **harness.verdict(rates, ["diffusers", "denoising-diffusion"]),
        "against_one_head": {
            name: harness.compare(rates, f"litgen-{name}", [ONE_HEAD])["ratio"]
            for name in ("float32", "shipped")
        },
        "one_head": harness.medians(rates, [ONE_HEAD]),
        "parameters": parameters(size),
        "units": f"{unit} a CPU second, batches of {size.batch} of 3x{size.side}x{size.side}",
        "rounds": options.rounds,
        "versions": harness.versions(VERSIONS),
    }


def train(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the result of training."""
    return raced("train", options)


def sample(options: Options) -> Iterator[dict[str, Any]]:
    """Yield the result of sampling."""
    return raced("sample", options)
