"""Train an inverse graphics network: a VAE of rendered heads, one latent for each factor.

Chapter: book/vae/dcign.md.  Proof: tests/recipes/test_vae_dcign.py.
Reference: Kulkarni, Whitney, Kohli & Tenenbaum, "Deep Convolutional Inverse Graphics Network"
(2015), algorithm 1.

Departures from the paper: a step sees one clamped batch of each factor, in the ratio 1:1:1:1,
where the paper draws one batch a step at about 1:1:1:10 (its shape has 197 latents, ours one);
the likelihood is a Gaussian whose scale is learned; pictures have 28x28 pixels.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.blocks import ConvBlock
from litgen.data import rendered
from litgen.data.rendered import BATCH, FACTORS, SIDE, SceneSet
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play
from litgen.vae import clamped, elbo
from litgen.vae.equivariance import r_squared
from litgen.vae.likelihoods import gaussian_pixels
from litgen.vae.networks import VAE

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "Progress",
    "build",
    "data",
    "evaluate",
    "fit",
    "loss_of",
    "measure",
    "restore",
    "sample",
    "train",
]

LATENT = len(FACTORS)
GREY = (0.15, 0.25)
"""About the mean and the standard deviation of the pictures' pixels."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        clamp: whether batches are clamped; if not, a plain VAE sees pictures in any order.
        strength: of the pull to the batch's mean; the paper has 0.01.
        channels: of the first convolution; the second has twice as many.
        hidden: units of the fully connected layer on both sides.
        turns: updates.
        share: pictures of each factor's batch in a step.
        learning_rate: of Adam at the start; it falls to zero along a cosine.
        mixed: let the networks compute in bfloat16 where the hardware has it.
    """

    clamp: bool = True
    strength: float = 12.0
    channels: int = 8
    hidden: int = 128
    turns: int = 800
    share: int = 16
    learning_rate: float = 5e-3
    mixed: bool = False


CPU = Config()
GPU = Config(channels=32, hidden=256, turns=20_000, share=32, learning_rate=2e-3, mixed=True)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: "InverseGraphics"
    loss: Tensor


class ConvolutionalEncoder(nn.Module):
    """Two strided blocks and a hidden layer, to the mean and the log-variance of four latents."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        head = nn.Linear(hidden, 2 * LATENT)
        with torch.no_grad():  # codes begin almost without noise, or the decoder ignores them
            head.bias[LATENT:] = -3.0
            head.weight[LATENT:] *= 0.1
        self.net = nn.Sequential(
            ConvBlock(1, channels, 2, groups=4),
            ConvBlock(channels, 2 * channels, 2, groups=4),
            nn.Flatten(),
            nn.Linear(2 * channels * (SIDE // 4) ** 2, hidden),
            nn.SiLU(),
            head,
        )

    def forward(
        self, x: Float[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return (mean, log_var) of q(z|x)."""
        standard = (x - GREY[0]) / GREY[1]
        mean, log_var = self.net(standard.view(-1, 1, SIDE, SIDE)).float().chunk(2, dim=-1)
        return mean, log_var


class ConvolutionalDecoder(nn.Module):
    """A hidden layer, then two transposed convolutions; the page runs the same layers."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        coarse = (2 * channels, SIDE // 4, SIDE // 4)
        self.net = nn.Sequential(
            nn.Linear(LATENT, hidden),
            nn.SiLU(),
            nn.Linear(hidden, coarse[0] * coarse[1] * coarse[2]),
            nn.SiLU(),
            nn.Unflatten(1, coarse),
            nn.ConvTranspose2d(2 * channels, channels, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(channels, 1, 4, 2, 1),
        )

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch pixels"]:
        """Return the mean of each pixel."""
        means: Tensor = self.net(z).float().flatten(1)
        return means


class InverseGraphics(VAE):
    """Encoder, decoder and the learned log-scale of the pixels' noise."""

    def __init__(self, channels: int, hidden: int):
        super().__init__(
            ConvolutionalEncoder(channels, hidden), ConvolutionalDecoder(channels, hidden)
        )
        self.log_scale = nn.Parameter(torch.tensor(-1.5))

    def log_likelihood(
        self, x: Float[Tensor, "batch pixels"], mean: Float[Tensor, "batch pixels"]
    ) -> Float[Tensor, " batch"]:
        """Return log p(x|z) in nats, at the learned scale."""
        return gaussian_pixels(x, mean, self.log_scale)


def fit(config: Config, scenes: SceneSet, seed: int, device: torch.device) -> Iterator[Progress]:
    """Yield after every step of a training on clamped batches, or on the same pictures mixed."""
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(device).manual_seed(seed)
    model = build(config).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.turns)
    images = scenes.images.to(device)
    if config.clamp:  # one batch of each factor, side by side
        batches = Minibatches(images.view(-1, LATENT, BATCH, SIDE**2), 1, shuffle, shared=False)
    else:
        batches = Minibatches(images.flatten(1), LATENT * config.share, shuffle)

    def loss(batch: UInt8[Tensor, "..."]) -> Tensor:
        if config.clamp:
            chosen = torch.randperm(BATCH, generator=shuffle)[: config.share].to(device)
            batch = batch[0].index_select(1, chosen).flatten(0, 1)
        noise = torch.randn(len(batch), LATENT, generator=draw, device=device)
        return loss_of(config, model, batch.float() / 255, noise)

    with pictures.one_thread(device):
        memory = checkpoints.current()
        memory.keep(model=model, optimizer=optimizer, schedule=schedule)
        memory.keep(draw=draw, batches=batches)
        game = play([Player("vae", optimizer, loss)], batches, memory.turns(config.turns))
        for step in tqdm(game, total=config.turns, desc="dcign", unit="step"):
            schedule.step()
            yield Progress(step.turn, model, step.loss)


def loss_of(
    config: Config,
    model: InverseGraphics,
    x: Float[Tensor, "batch pixels"],
    noise: Float[Tensor, "batch latent"],
) -> Float[Tensor, ""]:
    """Return the negative bound in nats, a mean over pictures; clamped if the config says so.

    The pictures of one factor follow one another, azimuth first.
    """
    encoder: elbo.Encoder = model.encoder
    if config.clamp:
        groups = tuple((i,) for i in range(LATENT))
        active = torch.stack([clamped.active_latents(i, groups, LATENT) for i in range(LATENT)])
        encoder = clamped.clamped_encoder(model.encoder, active.to(x.device), config.strength)
    with mixed_precision(x.device, config.mixed):
        terms = elbo.elbo(x, encoder, model.decoder, model.log_likelihood, noise)
    return -terms.bound.mean()


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train by raising the clamped bound; return weights, the curve, snapshots and encodings."""
    train_set, test_set = load_data()
    x = test_set.images.flatten(1).to(device).float() / 255
    moments = {round(config.turns ** (i / 7)) for i in range(8)}
    losses: list[Tensor] = []
    snapshots: list[Tensor] = []
    turns: list[int] = []
    checkpoints.current().keep(losses=losses, turns=turns, snapshots=snapshots)
    for now in fit(config, train_set, seed, device):
        losses.append(now.loss)
        if now.turn + 1 in moments:
            turns.append(now.turn + 1)
            with torch.no_grad():
                snapshots.append(now.model.encoder(x)[0].cpu())
    model = half_model(now.model)
    with torch.no_grad():
        codes = model.encoder(x)[0].cpu()
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {"examples.code": codes, "examples.factors": test_set.factors}
    tensors |= {"snapshots.code": torch.stack(snapshots), "snapshots.turn": torch.tensor(turns)}
    return Run(
        tensors=tensors,
        metrics=measure(model, test_set),
        history={"train_loss_nats": pictures.curve(losses)},
        data=[
            dataclasses.asdict(part.record)
            | {"name": "rendered", "title": part.record.name, "split": s}
            for s, part in (("train", train_set), ("test", test_set))
        ],
    )


def half_model(model: InverseGraphics) -> InverseGraphics:
    """Round the weights to what is stored, and return the model."""
    half_rounded(model)
    return model


@torch.no_grad()
def measure(model: InverseGraphics, scenes: SceneSet) -> dict[str, float]:
    """Return the share of each factor's variance that its own latent explains, and the error.

    In a plain model no latent is anybody's own: there the best one counts, in ``best_r2_*``.
    """
    x = scenes.images.flatten(1).to(model.log_scale.device).float() / 255
    mean, _ = model.encoder(x)
    table = r_squared(mean.cpu(), scenes.factors)
    errors = 255 * (model.decoder(mean) - x)
    own = {f"own_r2_{name}": table[i, i].item() for i, name in enumerate(FACTORS)}
    best = {f"best_r2_{name}": table[:, i].max().item() for i, name in enumerate(FACTORS)}
    return (
        own
        | best
        | {
            "test_rmse_grey_levels": errors.square().mean().sqrt().item(),
            "test_images": len(x),
        }
    )


def build(config: Config) -> InverseGraphics:
    """Return an untrained network."""
    return InverseGraphics(config.channels, config.hidden)


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("rendered",)


def load_data() -> tuple[SceneSet, SceneSet]:
    """Return the clamped batches of the training and the free scenes of the test."""
    return rendered.load("train"), rendered.load("test")


def restore(run: Run) -> InverseGraphics:
    """Return the network of a run, in evaluation mode."""
    model = build(Config(**run.provenance["config"]))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 28 28"]:
    """Return the decoder's means for codes drawn from the prior, cut to [0, 1]."""
    z = torch.randn(count, LATENT, generator=generator)
    means: Tensor = restore(run).decoder(z)
    return means.clamp(0, 1).view(count, 1, SIDE, SIDE)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test scenes anew."""
    return measure(restore(run).to(device), load_data()[1])
