"""Train one VAE for each likelihood of grey values, and measure all of them in the same bits.

Chapter: book/vae/pitfalls.md.  Proof: tests/recipes/test_vae_grey.py.
References: Loaiza-Ganem & Cunningham (2019); Salimans et al. (2017), section 2.1; Theis, van den
Oord & Bethge (2016), section 3.1.

Whatever a model was trained with, it is judged by P(v), the probability of the 256 whole grey
values: a density by its integral over each value's cell.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints, gaussian
from litgen.data.sources import ImageSet
from litgen.recipes import pictures
from litgen.runs import Run
from litgen.shapes import Float, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play
from litgen.vae import elbo, grey
from litgen.vae.likelihoods import discretized_logistic, gaussian_pixels
from litgen.vae.networks import ConvDecoder, ConvEncoder, DenseDecoder, DenseEncoder

__all__ = [
    "CPU",
    "GPU",
    "Config",
    "GreyVAE",
    "Likelihood",
    "data",
    "evaluate",
    "fit",
    "measure",
    "models",
    "restore",
    "sample",
    "train",
]

Likelihood = Literal["bernoulli_as_if", "continuous_bernoulli", "gaussian", "discretized_logistic"]
SCALED = ("gaussian", "discretized_logistic")
DENSITIES = ("continuous_bernoulli", "gaussian")


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        likelihoods: one model is trained for each.
        data: mnist or fashion_mnist, as grey values.
        network: dense or convolutional.
        hidden: widths of the dense layers, or one number: channels of the first convolution.
        latent: dimensions of z.
        steps: updates of each model.
        batch_size: images in a step.
        learning_rate: of Adam at the start; it falls to zero along half a cosine.
        test_images: images of the test set that are evaluated.
        samples: importance samples for log P(v).
        mixed: let networks compute in bfloat16 where the hardware has it.
    """

    likelihoods: tuple[Likelihood, ...] = (
        "bernoulli_as_if",
        "continuous_bernoulli",
        "gaussian",
        "discretized_logistic",
    )
    data: Literal["mnist", "fashion_mnist"] = "fashion_mnist"
    network: Literal["dense", "convolutional"] = "dense"
    hidden: tuple[int, ...] = (200,)
    latent: int = 20
    steps: int = 300
    batch_size: int = 128
    learning_rate: float = 3e-3
    test_images: int = 500
    samples: int = 20
    mixed: bool = True


CPU = Config()
GPU = Config(
    network="convolutional",
    hidden=(32,),
    steps=10_000,
    batch_size=256,
    learning_rate=2e-3,
    test_images=10_000,
    samples=1_000,
)


class GreyVAE(nn.Module):
    """An encoder, a decoder and a likelihood of grey values, with its learned scale if it has one.

    Args:
        config: sizes; which network.
        likelihood: what the decoder's numbers mean.
        pixels: of an image.

    Raises:
        ValueError: an unknown likelihood or network, or ``hidden`` that does not fit it.
    """

    def __init__(self, config: Config, likelihood: Likelihood, pixels: int = 784):
        super().__init__()
        known = Config.likelihoods
        if likelihood not in known:
            raise ValueError(f"unknown likelihood {likelihood!r}; there are: {', '.join(known)}")
        self.likelihood, self.latent = likelihood, config.latent
        if config.network == "dense":
            self.encoder: nn.Module = DenseEncoder(pixels, config.hidden, config.latent)
            self.decoder: nn.Module = DenseDecoder(config.latent, config.hidden[::-1], pixels)
        elif config.network == "convolutional" and len(config.hidden) == 1:
            side, channels = math.isqrt(pixels), config.hidden[0]
            self.encoder = ConvEncoder(side, channels, config.latent)
            self.decoder = ConvDecoder(config.latent, channels, side)
        else:
            raise ValueError(f"no {config.network} network has the widths {config.hidden}")
        if likelihood in SCALED:
            self.log_scale = nn.Parameter(torch.tensor(0.25).log())

    def encode(
        self, values: Float[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return (mean, log_var) of q(z|v) for grey values 0..255."""
        mean, log_var = self.encoder(values / 255)
        return mean, log_var

    def objective(
        self,
        values: Float[Tensor, "*#batch pixels"],
        outputs: Float[Tensor, "*#batch pixels"],
        noise: Float[Tensor, "..."],
    ) -> Float[Tensor, "*batch"]:
        """Return what stands for log p(v|z) in training, given uniform noise for densities."""
        if self.likelihood == "bernoulli_as_if":
            return grey.as_if(values / 255, outputs)
        if self.likelihood == "discretized_logistic":
            return discretized_logistic(values / 255, outputs, self.log_scale)
        x = grey.dequantize(values, noise)
        if self.likelihood == "continuous_bernoulli":
            return grey.continuous_bernoulli(x, outputs)
        return gaussian_pixels(x, outputs, self.log_scale)

    def log_probability(
        self, values: Float[Tensor, "*#batch pixels"], outputs: Float[Tensor, "*#batch pixels"]
    ) -> Float[Tensor, "*batch"]:
        """Return log P(v|z), a probability over whole values, whatever training raised."""
        if self.likelihood == "gaussian":
            return grey.gaussian_cells(values, outputs, self.log_scale)
        if self.likelihood == "discretized_logistic":
            return discretized_logistic(values / 255, outputs, self.log_scale)
        return grey.continuous_cells(values, outputs)

    def picture(self, outputs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the grey values in [0, 1] that the decoder's numbers mean on average."""
        if self.likelihood == "bernoulli_as_if":
            return torch.sigmoid(outputs)
        if self.likelihood == "continuous_bernoulli":
            return grey.continuous_mean(outputs)
        return outputs.clamp(0, 1)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: GreyVAE
    loss: Tensor


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train every likelihood's model from the same seed; return weights, curves and bits."""
    train_set, test_set = pictures.load(config.data)
    pixels = train_set.images.flatten(1).to(device)
    values = test_values(config, test_set)
    tensors = {"examples.values": values[:1000].to(torch.uint8)}
    metrics: dict[str, float] = {
        "test_images": float(len(values)),
        "importance_samples": float(config.samples),
    }
    history = {}
    for likelihood in config.likelihoods:
        losses: list[Tensor] = []
        with checkpoints.part(likelihood) as memory:
            memory.keep(losses=losses)
            for now in fit(config, likelihood, pixels, seed):
                losses.append(now.loss)
        half_rounded(now.model)
        found = measure(config, now.model, values.to(device))
        metrics |= {f"{likelihood}_{name}": value for name, value in found.items()}
        history[f"{likelihood}_loss_nats"] = pictures.curve(losses)
        state = now.model.state_dict()
        tensors |= {f"{likelihood}.{name}": value for name, value in state.items()}
    return Run(
        tensors=tensors,
        metrics=metrics,
        history=history,
        data=pictures.records(config.data, train_set, test_set),
    )


def fit(
    config: Config, likelihood: Likelihood, pixels: UInt8[Tensor, "images pixels"], seed: int
) -> Iterator[Progress]:
    """Yield after every step of a training on grey values, on the device where they lie."""
    torch.manual_seed(seed)  # weights
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(pixels.device).manual_seed(seed)
    model = GreyVAE(config, likelihood, pixels.shape[1]).to(pixels.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.steps)

    def loss(batch: Tensor) -> Tensor:
        values = batch.float()
        noise = torch.randn(len(values), config.latent, generator=draw, device=values.device)
        spread = torch.zeros((), device=values.device)
        if likelihood in DENSITIES:
            spread = torch.rand(values.shape, generator=draw, device=values.device)
        with mixed_precision(values.device, config.mixed):
            terms = elbo.elbo(
                values,
                model.encode,
                model.decoder,
                lambda v, outputs: model.objective(v, outputs, spread),
                noise,
            )
        return -terms.bound.mean()

    batches = Minibatches(pixels, config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, optimizer=optimizer, schedule=schedule)
    memory.keep(draw=draw, batches=batches)
    game = play([Player(likelihood, optimizer, loss)], batches, memory.turns(config.steps))
    for step in tqdm(game, total=config.steps, desc=likelihood, unit="step"):
        schedule.step()
        yield Progress(step.turn, model, step.loss)


def test_values(config: Config, test_set: ImageSet) -> Float[Tensor, "images pixels"]:
    """Return the test images that are measured, as whole grey values 0..255."""
    return test_set.images[: config.test_images].flatten(1).float()


@torch.no_grad()
def measure(
    config: Config, model: GreyVAE, values: Float[Tensor, "images pixels"]
) -> dict[str, float]:
    """Return what a model claims, in nats, and what it is worth, in bits per dimension.

    Keys: claimed_nats, the negative of what training raised; kl_nats; elbo_bits and
    importance_bits, upper bounds on the code length from P(v), by the ELBO and by importance
    weighting; dequantized_bits, the looser bound of a density (densities only); scale, the learned
    one, where there is one.
    """
    generator = torch.Generator(values.device).manual_seed(0)
    parts: dict[str, list[Tensor]] = {}
    for batch in torch.split(values, 250):
        noise = torch.randn(len(batch), config.latent, generator=generator, device=batch.device)
        spread = torch.rand(batch.shape, generator=generator, device=batch.device)
        with mixed_precision(batch.device, config.mixed):
            mean, log_var = model.encode(batch)
            outputs = model.decoder(gaussian.reparameterize(mean, log_var, noise))
            kl = gaussian.kl_to_standard(mean, log_var)
            claimed = model.objective(batch, outputs, spread) - kl
            bound = model.log_probability(batch, outputs) - kl
            evidence = elbo.log_evidence(
                batch,
                model.encode,
                model.decoder,
                model.log_probability,
                config.samples,
                generator,
            )
        found = {
            "claimed_nats": -claimed,
            "kl_nats": kl,
            "elbo_bits": gaussian.bits_per_dim(bound, batch.shape[1]),
            "importance_bits": gaussian.bits_per_dim(evidence, batch.shape[1]),
        }
        if model.likelihood in DENSITIES:
            loose = grey.probability_bound(claimed, batch.shape[1])
            found["dequantized_bits"] = gaussian.bits_per_dim(loose, batch.shape[1])
        for name, value in found.items():
            parts.setdefault(name, []).append(value)
    scale = {"scale": model.log_scale.exp().item()} if model.likelihood in SCALED else {}
    return {name: torch.cat(values).mean().item() for name, values in parts.items()} | scale


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def models(run: Run) -> dict[Likelihood, GreyVAE]:
    """Return every network of a run by its likelihood, in evaluation mode."""
    config = _config_of(run)
    found = {}
    for likelihood in config.likelihoods:
        model = GreyVAE(config, likelihood, run.tensors["examples.values"].shape[1])
        model.load_state_dict(run.part(likelihood))
        found[likelihood] = model.eval().requires_grad_(False)
    return found


def restore(run: Run) -> GreyVAE:
    """Return the network that needs the fewest bits, in evaluation mode."""
    found = models(run)
    return found[min(found, key=lambda name: run.metrics[f"{name}_importance_bits"])]


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return the mean grey values, in [0, 1], of what `restore` decodes from the prior."""
    model = restore(run)
    z = torch.randn(count, model.latent, generator=generator)
    means = model.picture(model.decoder(z))
    side = math.isqrt(means.shape[1])
    return means.view(count, 1, side, side)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    config = _config_of(run)
    values = test_values(config, pictures.load(config.data)[1]).to(device)
    metrics: dict[str, float] = {
        "test_images": float(len(values)),
        "importance_samples": float(config.samples),
    }
    for likelihood, model in models(run).items():
        found = measure(config, model.to(device), values)
        metrics |= {f"{likelihood}_{name}": value for name, value in found.items()}
    return metrics


def _config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuples as lists."""
    stored = run.provenance["config"]
    tuples = {name: tuple(stored[name]) for name in ("likelihoods", "hidden")}
    return Config(**stored | tuples)
