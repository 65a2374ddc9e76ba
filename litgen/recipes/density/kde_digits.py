"""Kernel density estimates of digits from ever more training images, and what they score.

Chapter: book/density/kde.md.  Proof: tests/recipes/test_kde.py.
References: Duin, "On the choice of smoothing parameters for Parzen estimators" (1976); Theis, van
den Oord & Bethge, "A note on the evaluation of generative models" (2016).

A run holds bandwidths alone. The kernels sit on the training images, which are read again.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen import checkpoints, gaussian
from litgen.data import mnist
from litgen.density import kde
from litgen.recipes import density_protocol as protocol
from litgen.recipes.density.kde_moons import Kernels, draw
from litgen.runs import Run
from litgen.shapes import Float

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "load_data", "restore", "sample", "train"]


@dataclass(frozen=True)
class Config:
    """What a fit depends on.

    Attributes:
        counts: numbers of training images, in rising order; the last one is the run's model.
        folds: into which the training images are cut, in their order, to fit the bandwidth.
        test_images: images of the test set that are scored.
    """

    counts: tuple[int, ...] = (100, 316, 1_000, 3_162, protocol.TRAIN_DIGITS)
    folds: int = 10
    test_images: int = protocol.TEST_DIGITS


CPU = Config()
GPU = Config(counts=(*CPU.counts, 31_623, 60_000), test_images=10_000)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Fit a bandwidth to each number of images by cross-validation in contiguous folds.

    MNIST lists a writer's digits one after the other, and its test digits are by other writers:
    to leave out one image alone would leave the writer's other images in.
    """
    images, test = (x.to(device) for x in load_data(config))
    names = ("images", "bandwidth", "folds_nll_nats", "loo_nll_nats", "test_nll_nats")
    curve: dict[str, list[float]] = {name: [] for name in names}
    counts = sorted({min(count, len(images)) for count in config.counts})
    memory = checkpoints.current()
    memory.keep(curve=curve)
    for turn in memory.turns(len(counts)):
        count, chosen = counts[turn], images[: counts[turn]]
        last = curve["bandwidth"][-1] if turn else None  # where the next search starts
        groups = torch.arange(count, device=device) * config.folds // count
        bandwidth, log_likelihood = kde.fit_bandwidth(chosen, last, groups, tolerance=1e-3)
        curve["images"].append(float(count))
        curve["bandwidth"].append(bandwidth)
        curve["folds_nll_nats"].append(-log_likelihood)
        curve["loo_nll_nats"].append(-kde.leave_one_out(chosen, bandwidth).log_likelihood)
        curve["test_nll_nats"].append(-kde.log_prob(test, chosen, bandwidth).mean().item())
    model = Kernels(images[:count], curve["bandwidth"][-1])
    return Run(
        tensors={
            f"model.{name}": torch.tensor(curve[name], dtype=torch.float64)
            for name in ("images", "bandwidth")
        },
        metrics={
            "folds_nll_nats": curve["folds_nll_nats"][-1],
            "loo_nll_nats": curve["loo_nll_nats"][-1],
            **measure(model, test),
        },
        history=curve,
        data=[
            dataclasses.asdict(images.record)
            | {"name": "mnist", "title": images.record.name, "split": split}
            for split, images in ((split, mnist.load(split)) for split in ("train", "test"))
        ],
    )


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("mnist",)


def load_data(
    config: Config,
) -> tuple[Float[Tensor, "train pixels"], Float[Tensor, "test pixels"]]:
    """Return dequantised training and test images by the protocol of the density chapters."""
    return (
        protocol.flat(mnist.load("train"), max(config.counts), 0),
        protocol.flat(mnist.load("test"), config.test_images, 1),
    )


def measure(model: Kernels, test: Float[Tensor, "test pixels"]) -> dict[str, float]:
    """Return the test likelihood in nats an image and bits a pixel, and who explains an image.

    ``nearest_share`` is the part of a test image's density that comes from the one kernel nearest
    to it; ``nearest_distance`` is the root mean square distance to its middle, per pixel.
    """
    log_prob = model.log_prob(test)
    distance, index = torch.cdist(test, model.data).min(dim=1)
    log_var = torch.full_like(test, 2 * math.log(model.bandwidth))
    log_kernel = gaussian.log_prob(test, model.data[index], log_var) - math.log(len(model.data))
    pixels = test.shape[1]
    return {
        "test_nll_nats": -log_prob.mean().item(),
        "test_bits_per_pixel": protocol.bits_per_pixel(log_prob, pixels).mean().item(),
        "test_images": len(test),
        "train_images": len(model.data),
        "bandwidth": model.bandwidth,
        "nearest_share": (log_kernel - log_prob).exp().mean().item(),
        "nearest_distance": (distance.square().mean() / pixels).sqrt().item(),
    }


def restore(run: Run) -> Kernels:
    """Return the estimate of a run; it reads the training images."""
    count = int(run.tensors["model.images"][-1])
    images = protocol.flat(mnist.load("train"), count, 0)
    return Kernels(images, run.tensors["model.bandwidth"][-1].item())


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return drawn images; noise may leave [0, 1]."""
    drawn = draw(restore(run), count, generator)
    side = math.isqrt(drawn.shape[1])
    return drawn.view(count, 1, side, side)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's estimate on the test set anew."""
    config = Config(
        **run.provenance["config"] | {"counts": tuple(run.provenance["config"]["counts"])}
    )
    model = restore(run)
    test = load_data(config)[1].to(device)
    return measure(Kernels(model.data.to(device), model.bandwidth), test)
