"""Train a convolutional VAE with a plane of codes, and keep the plane from step to step.

Chapter: book/vae/convolutional.md.  Proof: tests/recipes/test_vae_evolution.py.
References: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014), figure 4, for the plane.

The lines of training, of measuring and of the decoded plane are those of vae/digits and vae/plane.
"""

import math
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from litgen import checkpoints
from litgen.recipes.pictures import one_thread
from litgen.recipes.vae import digits, plane
from litgen.recipes.vae.digits import Config, data, evaluate, restore, sample
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import mixed_precision
from litgen.vae import elbo
from litgen.vae.likelihoods import bernoulli
from litgen.vae.networks import VAE

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = Config(
    network="strided",
    hidden=(8,),
    latent=2,
    epochs=1,
    batch_size=128,
    learning_rate=8e-3,
    test_images=1_000,
    samples=10,
)
GPU = Config(
    network="strided",
    hidden=(64,),
    latent=2,
    epochs=100,
    batch_size=250,
    learning_rate=1e-3,
    test_images=10_000,
    samples=5_000,
)


class Shot(NamedTuple):
    """What is kept of a moment.

    Attributes:
        mean: of the posteriors of the followed images.
        log_var: theirs.
        plane: decoded, in grey values.
        rate: mean KL of these images, nats.
        distortion: mean of minus log p(x|z) at one sample each, nats.
    """

    mean: Float[Tensor, "images 2"]
    log_var: Float[Tensor, "images 2"]
    plane: UInt8[Tensor, "rows columns side side"]
    rate: float
    distortion: float


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train as vae/digits does; keep the plane and the codes of 1,000 test images on the way.

    Raises:
        ValueError: a config whose latent space is no plane.
    """
    if config.latent != 2:
        raise ValueError(f"a plane has 2 latent dimensions, the config {config.latent}")
    train_set, test_set = digits.load_data(config)
    x = digits.test_batch(config, test_set.images)[:1000].to(device)
    losses: list[Tensor] = []
    seen: list[tuple[Any, ...]] = []  # shots, as a checkpoint can hold them
    seconds: list[float] = []
    memory = checkpoints.current()
    memory.keep(losses=losses, seen=seen, seconds=seconds)
    moments = log_moments(config.epochs * (len(train_set.images) // config.batch_size))
    images, watched = train_set.images.flatten(1).to(device), 0.0
    start = time.perf_counter()
    with one_thread(device):
        for now in digits.fit(config, images, seed):
            losses.append(now.loss)
            if now.turn + 1 in moments:
                now.loss.item()  # wait for the device
                spent = time.perf_counter() - start - watched
                seconds.append(memory.seconds + spent)
                seen.append(tuple(shot(config, now.model, x)))
                watched = time.perf_counter() - start - spent
    shots = [Shot(*kept) for kept in seen]
    run = digits.package(config, now.model, torch.stack(losses), train_set, test_set)
    run.tensors["snapshots.turn"] = moments
    for name in ("mean", "log_var", "plane"):
        run.tensors[f"snapshots.{name}"] = torch.stack([getattr(kept, name) for kept in shots])
    run.history["snapshot_rate_nats"] = [kept.rate for kept in shots]
    run.history["snapshot_distortion_nats"] = [kept.distortion for kept in shots]
    run.history["snapshot_seconds"] = seconds
    return run


def log_moments(turns: int, count: int = 12) -> Int[Tensor, " moments"]:
    """Return steps from the first to the last whose ratios are equal, but for rounding."""
    moments: Tensor = torch.unique(torch.logspace(0, math.log10(turns), count).round().long())
    return moments


@torch.no_grad()
def shot(config: Config, model: VAE, x: Float[Tensor, "images pixels"]) -> Shot:
    """Encode some images, measure the two terms of their bound, and decode the plane."""
    generator = torch.Generator(x.device).manual_seed(0)
    noise = torch.randn(len(x), 2, generator=generator, device=x.device)
    with mixed_precision(x.device, config.mixed):
        mean, log_var = model.encoder(x)
        terms = elbo.elbo(x, lambda _: (mean, log_var), model.decoder, bernoulli, noise)
    grey = plane.decoded_plane(model, plane.SNAPSHOT_SIDE).mul(255).round().to(torch.uint8)
    rate, distortion = terms.kl.mean().item(), -terms.reconstruction.mean().item()
    return Shot(mean.cpu(), log_var.cpu(), grey.cpu(), rate, distortion)
