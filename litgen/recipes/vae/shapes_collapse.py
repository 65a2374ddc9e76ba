"""Collapse beta-VAEs in two ways, and measure what three remedies do against each.

Chapter: book/vae/beta.md.  Proof: tests/recipes/test_vae_shapes.py.
References: Bowman et al. (2016); Kingma et al. (2016); Fu et al. (2019).

In the first setting the weight of the KL is so large that switched-off latents are the optimum;
in the second the weight is 1 and the decoder also sees the pixels before each pixel.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen import checkpoints, gaussian
from litgen.recipes.pictures import one_thread
from litgen.recipes.vae import shapes_seeds
from litgen.runs import Run
from litgen.training import half_rounded
from litgen.vae import remedies

__all__ = ["CPU", "GPU", "REMEDIES", "Config", "data", "evaluate", "prices", "restore", "train"]

REMEDIES = ("none", "warm-up", "cycles", "free bits")
"""The models of a stack, in this order."""


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        strong: weight of the KL in the first setting.
        steps: updates.
        ramp: share of the steps in which the weight rises; a cycle is as long as a ramp.
        floor: nats that are free for each latent.
        hidden: widths of an encoder's layers.
        latent: dimensions of z.
        batch_size: images in a step, of each model.
        learning_rate: of Adam at the start.
    """

    strong: float = 14.0
    steps: int = 600
    ramp: float = 0.5
    floor: float = 0.5
    hidden: tuple[int, ...] = (64, 32)
    latent: int = 6
    batch_size: int = 32
    learning_rate: float = 4e-3


CPU = Config()
GPU = Config(steps=20_000, hidden=(256, 128), batch_size=128, learning_rate=1e-3)


def prices(config: Config, beta: float) -> shapes_seeds.Price:
    """Return the price of a stack whose models have one remedy each, in the order of REMEDIES."""
    ramp = max(1, round(config.ramp * config.steps))

    def price(turn: int, mean: Tensor, log_var: Tensor) -> Tensor:
        kl = gaussian.kl_to_standard(mean, log_var).mean(dim=1)
        rising = remedies.warm_up(turn, ramp, beta), remedies.cyclical(turn, ramp, 0.5, beta)
        free = remedies.free_bits(mean[3], log_var[3], config.floor)
        return torch.stack([beta * kl[0], rising[0] * kl[1], rising[1] * kl[2], beta * free])

    return price


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train both settings with every remedy; return what each model measures."""
    pixels, levels = shapes_seeds.moving_ellipses()
    size = shapes_seeds.Config(
        hidden=config.hidden,
        latent=config.latent,
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
    )
    tensors: dict[str, Tensor] = {}
    history = {}
    with one_thread(device):
        for name, beta, causal in (("strong", config.strong, False), ("causal", 1.0, True)):
            price, chosen = prices(config, beta), pixels.to(device)
            losses: list[Tensor] = []
            with checkpoints.part(name) as memory:
                memory.keep(losses=losses)
                for now in shapes_seeds.fit(size, chosen, seed, price, len(REMEDIES), causal):
                    losses.append(now.loss)
            half_rounded(now.model)
            found = shapes_seeds.measure(now.model, chosen, levels)
            tensors |= {f"{name}.{key}": value for key, value in found.items()}
            parts = torch.stack(losses).cpu().tensor_split(min(100, len(losses)))
            history[f"{name}_loss_nats"] = [part.mean().item() for part in parts]
    rates = {
        f"{name}_rate_{remedy.replace(' ', '_')}_nats": tensors[f"{name}.rate"][i].item()
        for name in ("strong", "causal")
        for i, remedy in enumerate(REMEDIES)
    }
    return Run(tensors=tensors, metrics=rates, history=history, data=shapes_seeds.records())


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("ellipses",)


def restore(run: Run) -> Config:
    """Return what a run was trained with: it keeps measures and no weights."""
    stored = dict(run.provenance["config"])
    return dataclasses.replace(Config(**stored), hidden=tuple(stored["hidden"]))


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Train anew with the run's config and seed, and return the rates."""
    return train(restore(run), run.provenance["seed"], device).metrics
