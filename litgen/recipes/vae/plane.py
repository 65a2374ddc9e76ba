"""Train a VAE whose code has two dimensions, and watch its plane unfold.

Chapter: book/vae/elbo.md.  Proof: tests/recipes/test_vae.py.
Reference: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014), figure 4.
"""

import torch
from torch import Tensor

from litgen import checkpoints
from litgen.recipes.pictures import one_thread
from litgen.recipes.vae import digits
from litgen.recipes.vae.digits import Config, data, evaluate, restore, sample
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.vae.networks import VAE

__all__ = [
    "CPU",
    "EXTENT",
    "GPU",
    "SNAPSHOT_SIDE",
    "Config",
    "data",
    "decoded_plane",
    "evaluate",
    "restore",
    "sample",
    "train",
]

EXTENT = 3.0
"""The plane is shown from -EXTENT to EXTENT on both axes: 99.5 % of the prior's mass."""

SNAPSHOT_SIDE = 10
"""Digits along one side of the plane that a snapshot keeps."""

CPU = Config(latent=2, hidden=(128, 64), epochs=5, learning_rate=3e-3, samples=100)
GPU = Config(
    latent=2, hidden=(512, 256), epochs=200, batch_size=256, test_images=10_000, samples=5_000
)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train as vae/digits does; keep the plane and 1,000 posterior means on the way.

    Raises:
        ValueError: a config whose latent space is no plane.
    """
    if config.latent != 2:
        raise ValueError(f"a plane has 2 latent dimensions, the config {config.latent}")
    train_set, test_set = digits.load_data(config)
    x = digits.test_batch(config, test_set.images)[:1000].to(device)
    losses: list[Tensor] = []
    snapshots: list[tuple[Tensor, Tensor]] = []
    checkpoints.current().keep(losses=losses, snapshots=snapshots)
    turns = config.epochs * (len(train_set.images) // config.batch_size)
    moments = snapshot_turns(turns)
    with one_thread(device):
        for now in digits.fit(config, train_set.images.flatten(1).to(device), seed):
            losses.append(now.loss)
            if now.turn + 1 in moments:
                snapshots.append(snapshot(now.model, x))
    run = digits.package(config, now.model, torch.stack(losses), train_set, test_set)
    run.tensors["snapshots.turn"] = moments
    run.tensors["snapshots.mean"] = torch.stack([mean for mean, _ in snapshots])
    run.tensors["snapshots.plane"] = torch.stack([plane for _, plane in snapshots])
    return run


def snapshot_turns(turns: int, count: int = 14) -> Int[Tensor, " moments"]:
    """Return moments that lie close together at the start, where the plane changes fast."""
    steps = (torch.logspace(0, 1, count) - 1) / 9 * (turns - 1)
    moments: Tensor = torch.unique(steps.round().long() + 1)
    return moments


@torch.no_grad()
def snapshot(
    model: VAE, x: Float[Tensor, "images pixels"]
) -> tuple[Float[Tensor, "images 2"], UInt8[Tensor, "rows columns side side"]]:
    """Return the posterior means of some images, and the plane in grey values 0..255."""
    plane = decoded_plane(model, SNAPSHOT_SIDE).mul(255).round().to(torch.uint8)
    return model.encoder(x)[0].cpu(), plane.cpu()


@torch.no_grad()
def decoded_plane(model: VAE, count: int) -> Float[Tensor, "count count side side"]:
    """Decode a grid of codes; the first row has the largest second coordinate, as on a page."""
    device = next(model.parameters()).device
    axis = torch.linspace(-EXTENT, EXTENT, count, device=device)
    across, up = torch.meshgrid(axis, axis.flip(0), indexing="xy")
    means = torch.sigmoid(model.decoder(torch.stack([across, up], dim=-1).view(-1, 2)))
    side = int(means.shape[1] ** 0.5)
    return means.view(count, count, side, side)
