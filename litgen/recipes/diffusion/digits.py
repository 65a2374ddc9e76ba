"""Train a class-conditional diffusion model on digits or clothes; it knows "no class" as well.

Chapter: book/diffusion/ddpm.md.  Proof: tests/recipes/test_diffusion.py.
References: Ho, Jain & Abbeel (2020); Ho & Salimans (2022), whose label dropout lets one network
serve with and without a class.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import fashion_mnist, mnist
from litgen.data.sources import ImageSet
from litgen.diffusion import ddim, ddpm, guidance
from litgen.diffusion import schedule as schedules
from litgen.diffusion.ddpm import Prediction
from litgen.diffusion.schedule import Schedule
from litgen.runs import Run
from litgen.shapes import Float, Int, UInt8
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play
from litgen.unet import UNet

LOADERS: dict[str, Callable[..., ImageSet]] = {
    "mnist": mnist.load,
    "fashion_mnist": fashion_mnist.load,
}
CLASSES = 10
PIXELS = 28 * 28


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        data: mnist or fashion_mnist.
        widths: channels of the U-Net at each resolution.
        blocks: residual blocks at each resolution.
        patch: pixels along one side of the blocks that become channels before the U-Net.
        attention: whether the coarsest resolution attends to itself.
        steps: T.
        schedule: linear or cosine.
        prediction: noise, x or v.
        dropout: share of the examples that are shown without their class.
        turns: updates.
        batch_size: images in a step.
        learning_rate: of Adam after warming up; it falls to zero along half a cosine.
        average: decay of the weights' moving average, which is what samples.
        test_images: images whose bound is measured.
        mixed: let the network compute in bfloat16 where the hardware has it.
    """

    data: Literal["mnist", "fashion_mnist"] = "mnist"
    widths: tuple[int, ...] = (16, 16)
    blocks: int = 1
    patch: int = 2
    attention: bool = False
    steps: int = 1_000
    schedule: Literal["linear", "cosine"] = "cosine"
    prediction: Prediction = "v"
    dropout: float = 0.1
    turns: int = 650
    batch_size: int = 64
    learning_rate: float = 6e-3
    average: float = 0.99
    test_images: int = 200
    mixed: bool = True


CPU = Config()
GPU = Config(
    widths=(96, 192, 192),
    blocks=2,
    patch=1,
    attention=True,
    turns=8_000,
    batch_size=256,
    learning_rate=5e-4,
    average=0.9995,
    test_images=10_000,
)


class Denoiser(nn.Module):
    """The U-Net between two rearrangements: blocks of pixels become channels and pixels again.

    Args:
        config: widths, blocks, patch, attention.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.patch = config.patch
        channels = config.patch**2
        self.unet = UNet(
            channels,
            channels,
            config.widths,
            config.blocks,
            time=True,
            classes=CLASSES,
            attention=config.attention,
        )

    def forward(
        self,
        x_t: Float[Tensor, "batch 1 height width"],
        t: Int[Tensor, " batch"],
        labels: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch 1 height width"]:
        """Return the prediction; label 10 means no class."""
        blocks = nn.functional.pixel_unshuffle(x_t, self.patch)
        return nn.functional.pixel_shuffle(self.unet(blocks, t, labels), self.patch)


class Progress(NamedTuple):
    """Where a training stands after a step; the loss is detached."""

    turn: int
    model: Denoiser
    loss: Tensor


def schedule_of(config: Config) -> Schedule:
    """Return the noise schedule of a config."""
    make = {"linear": schedules.linear, "cosine": schedules.cosine}[config.schedule]
    return make(config.steps)


def to_unit(grey: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Map grey values 0..255 to [-1, 1]."""
    return grey.float() / 127.5 - 1


def fit(
    config: Config,
    images: UInt8[Tensor, "images 1 height width"],
    labels: Int[Tensor, " images"],
    seed: int,
) -> Iterator[Progress]:
    """Yield after every step; the model is the averaged one, on the device of the images."""
    torch.manual_seed(seed)  # weights
    device = images.device
    shuffle = torch.Generator().manual_seed(seed)
    draw = torch.Generator(device).manual_seed(seed)
    times = schedule_of(config)
    model = Denoiser(config).to(device)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.average))
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, config.turns, pct_start=0.1
    )

    def loss(index: Tensor) -> Tensor:
        x = to_unit(images.index_select(0, index))
        uniform = torch.rand(len(x), generator=draw, device=device)
        shown = guidance.drop_labels(labels[index], uniform, config.dropout, CLASSES)
        t = torch.randint(1, config.steps + 1, (len(x),), generator=draw, device=device)
        noise = torch.randn(x.shape, generator=draw, device=device)
        with mixed_precision(device, config.mixed):
            errors = ddpm.simple_loss(
                lambda x_t, t: model(x_t, t, shown), x, t, noise, times, config.prediction
            )
        return errors.mean()

    batches = Minibatches(torch.arange(len(images), device=device), config.batch_size, shuffle)
    memory = checkpoints.current()
    memory.keep(model=model, averaged=averaged, optimizer=optimizer, rate=rate)
    memory.keep(draw=draw, batches=batches)
    game = play([Player("denoiser", optimizer, loss)], batches, memory.turns(config.turns))
    for step in tqdm(game, total=config.turns, desc="diffusion", unit="step"):
        rate.step()
        averaged.update_parameters(model)
        inner = averaged.module
        assert isinstance(inner, Denoiser)
        yield Progress(step.turn, inner, step.loss)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train on all images; return averaged weights, the curve, and the test bound."""
    train_set, test_set = load_data(config)
    losses: list[Tensor] = []
    checkpoints.current().keep(losses=losses)
    images, labels = train_set.images.to(device), train_set.labels.to(device)
    for now in fit(config, images, labels, seed):
        losses.append(now.loss)
    model = now.model.eval()
    half_rounded(model)
    curve = torch.tensor_split(torch.stack(losses).cpu(), min(100, len(losses)))
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors["examples.x"] = test_set.images[:100]
    tensors["examples.label"] = test_set.labels[:100].to(torch.uint8)
    return Run(
        tensors=tensors,
        metrics=measure(config, model, test_set.images[: config.test_images].to(device)),
        history={"train_loss": [part.mean().item() for part in curve]},
        data=[
            dataclasses.asdict(part.record)
            | {"name": config.data, "title": part.record.name, "split": split}
            for split, part in (("train", train_set), ("test", test_set))
        ],
    )


def image_bits(
    config: Config,
    model: Denoiser,
    images: UInt8[Tensor, "images 1 height width"],
    generator: torch.Generator,
    draws: int = 16,
) -> dict[str, Float[Tensor, " images"]]:
    """Return the parts of the unconditional model's bound, in bits per dimension of each image.

    The sum over t is estimated with ``draws`` times per image. Its terms fall about as 1/t, so the
    times are drawn evenly in log t, one in each stretch, and weighted by one over their
    probability: unbiased, and noisy. Implements eq:ddpm-bound.

    Args:
        config: of the run.
        model: in evaluation mode, on the device of the images.
        images: grey values.
        generator: draws times and noise, on the device of the images.
        draws: stretches.
    """
    times, x, steps = schedule_of(config), to_unit(images), config.steps
    none = torch.full((len(x),), CLASSES, device=x.device)

    def noisy(t: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        x_t = ddpm.diffuse(x, t, noise, times)
        parts = zip(*(part.split(1_000) for part in (x_t, t, none)), strict=True)
        with torch.no_grad(), mixed_precision(x.device, config.mixed):
            output = torch.cat([model(*part).float() for part in parts])
        return x_t, ddpm.denoised(output, x_t, t, times, config.prediction).x.clamp(-1, 1)

    middle, scale = torch.zeros(len(x), device=x.device), math.log((steps + 1) / 2)
    for draw in range(draws):
        share = (draw + torch.rand(len(x), generator=generator, device=x.device)) / draws
        t = (2 * (scale * share).exp()).long().clamp(2, steps)
        x_t, guess = noisy(t)
        probability = (1 + 1 / t).log() / scale  # of t: it is a whole number's stretch of log t
        middle += ddpm.bound_terms(x, guess, x_t, t, times) / (probability * draws)
    _, guess = noisy(torch.ones_like(none))
    last_step = -ddpm.decoder_log_prob(x, guess, times)
    nats = {"prior": ddpm.prior_term(x, times), "middle": middle, "decoder": last_step}
    return {name: part / (PIXELS * math.log(2)) for name, part in nats.items()}


def measure(
    config: Config,
    model: Denoiser,
    images: UInt8[Tensor, "images 1 height width"],
    draws: int = 16,
) -> dict[str, float]:
    """Return the bound of `image_bits` averaged over test images, whole and in parts."""
    generator = torch.Generator(images.device).manual_seed(0)
    parts = image_bits(config, model, images, generator, draws)
    means = {f"test_bits_{name}": float(part.mean()) for name, part in parts.items()}
    return {"test_bits_per_dim": sum(means.values()), **means, "test_images": len(images)}


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return (config.data,)


def load_data(config: Config) -> tuple[ImageSet, ImageSet]:
    """Return the training and the test set."""
    train_set, test_set = (LOADERS[config.data](split) for split in ("train", "test"))
    return train_set, test_set


def config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds the tuple as a list."""
    stored = run.provenance["config"]
    return Config(**stored | {"widths": tuple(stored["widths"])})


def restore(run: Run) -> Denoiser:
    """Return the network of a run, in evaluation mode."""
    model = Denoiser(config_of(run))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def draw(
    run: Run,
    labels: Int[Tensor, " count"],
    noise: Float[Tensor, "count 1 height width"],
    steps: int = 50,
    scale: float = 1.0,
) -> Float[Tensor, "count 1 height width"]:
    """Return images in [0, 1] of the wanted classes, by DDIM with guidance.

    Args:
        run: of this recipe.
        labels: 0..9.
        noise: standard normal, x_T.
        steps: of DDIM.
        scale: of classifier-free guidance; 0 ignores the classes.
    """
    config, model = config_of(run), restore(run)
    times = schedule_of(config)
    asked = guidance.guided_model(model, labels, scale, CLASSES)
    *_, x = ddim.trajectory(
        asked, noise, times, ddim.times(times, steps), prediction=config.prediction, clip=1.0
    )
    return (x + 1) / 2


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 1 side side"]:
    """Return images in [0, 1], classes 0..9 in turn, by 50 steps of DDIM with guidance 2."""
    noise = torch.randn(count, 1, 28, 28, generator=generator)
    return draw(run, torch.arange(count) % CLASSES, noise, scale=2.0).clamp(0, 1)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test set anew."""
    config = config_of(run)
    images = load_data(config)[1].images[: config.test_images].to(device)
    return measure(config, restore(run).to(device), images)
