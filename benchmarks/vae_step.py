"""The usual example's dense VAE, 784-400-20: training steps and importance-weighted likelihood.

Proof: tests/test_benchmarks.py.

Contenders, all with the same number of parameters, batches of 128 and Adam:

example-images   the usual PyTorch example: a DataLoader turns one picture at a time into floats
example-tensors  the same with a TensorDataset of floats, which loads faster
pythae           pythae's VAE, stepped by the methods and the loader of its own trainer
litgen-float32   litgen's loader, loop, loss and optimiser in float32, on the same grey values;
                 configured as recipes do if products then err no more than float32 does, which is
                 measured (``float32_product_errors``)
litgen-shipped   the same with the precision that the recipe runs with on this machine

``step_only`` gives all of them the same float batches, cut beforehand: no loader. ``recipe`` is
litgen.recipes.vae.digits as it stands; its step also draws binary pixels for every batch and moves
the learning rate along a cosine, which the peers' steps do not.
"""

import dataclasses
import functools
import itertools
import logging
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE as PythaeVAE
from pythae.models import VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks import harness
from benchmarks.harness import Contender, Options
from litgen.data import mnist
from litgen.data.sources import DataUnavailable, Split
from litgen.recipes.vae import digits
from litgen.training import Minibatches, Player, mixed_precision, play
from litgen.vae import elbo
from litgen.vae.likelihoods import bernoulli
from litgen.vae.networks import VAE

__all__ = ["nll", "precision", "run", "step"]

PIXELS, HIDDEN, LATENT, BATCH = 784, 400, 20, 128
SAMPLES = 100
ENDLESS = 1_000_000  # epochs; the schedule then stands still
VERSIONS = ("litgen", "torch", "torchvision", "pythae", "numpy")
FLOAT32 = dataclasses.replace(digits.CPU, epochs=ENDLESS, mixed=False)
SHIPPED = dataclasses.replace(digits.CPU, epochs=ENDLESS)


def run(options: Options) -> Iterator[dict[str, Any]]:
    """Yield one result after the other."""
    torch.manual_seed(0)
    pixels, source = load("train")
    test_pixels, _ = load("test")
    yield step(pixels, options) | {"data": source}
    yield nll(pixels, test_pixels[:500], options) | {"data": source}
    if options.quality:
        yield precision(pixels, test_pixels) | {"data": source}


def load(split: Split) -> tuple[Tensor, str]:
    """Return MNIST as rows of bytes, or random bytes of its shape where it cannot be had."""
    try:
        images = mnist.load(split, stand_in=False)
        return images.images.flatten(1), f"MNIST ({images.record.source})"
    except DataUnavailable:
        shape = (mnist.COUNTS[split], PIXELS)
        generator = torch.Generator().manual_seed(0)
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8), "random bytes"


# -- training steps ------------------------------------------------------------------------------


def step(pixels: Tensor, options: Options) -> dict[str, Any]:
    """Race the training step of all contenders; units are steps a CPU second."""
    floats = pixels[: 50 * BATCH].float() / 255
    cut = list(torch.split(floats, BATCH))  # the same batches for all, again and again
    ours = {"litgen-float32": FLOAT32, "litgen-shipped": SHIPPED}
    peers = {
        "example-images": example_steps(loaded(PictureDataset(pixels))),
        "example-tensors": example_steps(loaded(TensorDataset(pixels.float() / 255))),
        "pythae": pythae_steps(pixels.float() / 255),
    }
    bare_peers = {
        "example": example_steps(itertools.cycle(cut)),
        "pythae": pythae_steps(floats, itertools.cycle([{"data": x} for x in cut])),
    }
    whole = {name: litgen_steps(config, pixels) for name, config in ours.items()}
    bare = {name: litgen_bare_steps(c, itertools.cycle(cut)) for name, c in ours.items()}
    recipe = {name: digits.fit(config, pixels, 0) for name, config in ours.items()}
    tensors = {"example-tensors": peers["example-tensors"]}
    return {
        "name": "vae-step",
        **raced(peers, whole, options),
        "recipe": raced(tensors, recipe, options),
        "step_only": raced(bare_peers, bare, options),
        "units": "steps per CPU second, batch of 128",
        "parameters": parameter_counts()["litgen"],
        **circumstances(options),
    }


def raced(
    peers: Mapping[str, Iterator[object]], ours: Mapping[str, Iterator[object]], options: Options
) -> dict[str, Any]:
    """Race iterators whose every turn is a training step."""
    around = {"litgen-float32": harness.float32, "litgen-shipped": harness.as_shipped}
    contenders = [
        Contender(name, harness.steps(work), around.get(name, harness.full_precision))
        for name, work in {**peers, **ours}.items()
    ]
    return harness.verdict(harness.race(contenders, options.rounds, options.seconds), list(peers))


def circumstances(options: Options) -> dict[str, Any]:
    """Return what else a reader must know to repeat a run."""
    abilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "threads": torch.get_num_threads(),
        "device": abilities.get("cpu_name", "cpu"),
        "float32_product_errors": harness.product_errors(),
        "bfloat16": not isinstance(mixed_precision(torch.device("cpu")), nullcontext),
        "versions": harness.versions(VERSIONS),
    }


def litgen_steps(config: digits.Config, pixels: Tensor) -> Iterator[object]:
    """Return litgen's steps on the bytes that it keeps, made grey values batch by batch."""
    batches = Minibatches(pixels, BATCH, torch.Generator().manual_seed(0))
    return litgen_bare_steps(config, (batch.float() / 255 for batch in batches))


def litgen_bare_steps(config: digits.Config, batches: Iterator[Tensor]) -> Iterator[object]:
    """Return litgen's steps on batches that are ready: its loss, its loop, its optimiser."""
    model = digits.build(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)

    def loss(x: Tensor) -> Tensor:
        noise = torch.randn(len(x), config.latent)
        with mixed_precision(x.device, config.mixed):
            return -elbo.elbo(x, model.encoder, model.decoder, bernoulli, noise).bound.mean()

    return play([Player("vae", optimizer, loss)], batches, ENDLESS)


class ExampleVAE(nn.Module):
    """The network as the usual example writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(PIXELS, HIDDEN)
        self.fc21 = nn.Linear(HIDDEN, LATENT)
        self.fc22 = nn.Linear(HIDDEN, LATENT)
        self.fc3 = nn.Linear(LATENT, HIDDEN)
        self.fc4 = nn.Linear(HIDDEN, PIXELS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction, mean and log_var."""
        hidden = F.relu(self.fc1(x))
        mean, log_var = self.fc21(hidden), self.fc22(hidden)
        std = torch.exp(0.5 * log_var)
        z = mean + torch.randn_like(std) * std
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mean, log_var


def example_steps(batches: Iterable[Tensor]) -> Iterator[None]:
    """Train as the usual example does, one step a turn."""
    model = ExampleVAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    total = 0.0
    for batch in batches:
        x = batch.view(-1, PIXELS)
        optimizer.zero_grad()
        reconstruction, mean, log_var = model(x)
        bce = F.binary_cross_entropy(reconstruction, x, reduction="sum")
        loss = bce - 0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
        loss.backward()
        total += loss.item()
        optimizer.step()
        yield


class PictureDataset(Dataset[tuple[Tensor, int]]):
    """Give one image at a time through a PIL picture, as torchvision does with ToTensor."""

    def __init__(self, pixels: Tensor):
        from torchvision.transforms import ToTensor

        self.pixels = pixels.view(-1, 28, 28)
        self.labels = torch.zeros(len(pixels), dtype=torch.int64)
        self.transform: Callable[[Any], Tensor] = ToTensor()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        picture = Image.fromarray(self.pixels[index].numpy())
        return self.transform(picture), int(self.labels[index])


def loaded(dataset: Dataset[Any]) -> Iterator[Tensor]:
    """Yield a DataLoader's batches for ever, without their labels."""
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True)
    while True:
        for batch in loader:
            yield batch[0]


class PythaeEncoder(BaseEncoder):  # type: ignore[misc]
    """The same layers in pythae's terms."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU())
        self.mean = nn.Linear(HIDDEN, LATENT)
        self.log_var = nn.Linear(HIDDEN, LATENT)

    def forward(self, x: Tensor) -> Any:
        """Return mean and log-variance under pythae's names."""
        hidden = self.hidden(x)
        return ModelOutput(embedding=self.mean(hidden), log_covariance=self.log_var(hidden))


class PythaeDecoder(BaseDecoder):  # type: ignore[misc]
    """The same layers in pythae's terms."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid()
        )

    def forward(self, z: Tensor) -> Any:
        """Return the reconstruction under pythae's name."""
        return ModelOutput(reconstruction=self.net(z))


def pythae_model() -> Any:
    """Return pythae's VAE with networks as large as everyone's."""
    config = VAEConfig(input_dim=(PIXELS,), latent_dim=LATENT, reconstruction_loss="bce")
    return PythaeVAE(config, encoder=PythaeEncoder(), decoder=PythaeDecoder())


def pythae_steps(floats: Tensor, batches: Iterator[Any] | None = None) -> Iterator[None]:
    """Step as pythae's BaseTrainer.train_step does, without its callbacks and progress bar.

    The batches are those of the trainer's own loader unless others are given.
    """
    logging.getLogger("pythae.trainers.base_trainer.base_trainer").setLevel(logging.WARNING)
    trainer = BaseTrainer(
        pythae_model(),
        BaseDataset(floats, torch.zeros(len(floats))),
        training_config=BaseTrainerConfig(
            output_dir="unused",
            per_device_train_batch_size=BATCH,
            learning_rate=1e-3,
            no_cuda=True,
        ),
    )
    trainer.set_optimizer()
    trainer.model.train()
    total = 0.0
    for batch in batches or itertools.chain.from_iterable(itertools.repeat(trainer.train_loader)):
        inputs = trainer._set_inputs_to_device(batch)
        with trainer.amp_context:
            output = trainer.model(
                inputs, epoch=1, dataset_size=len(trainer.train_loader.dataset), uses_ddp=False
            )
        trainer._optimizers_step(output)
        total += output.loss.item()
        if total != total:
            raise ArithmeticError("NaN detected in train loss")
        yield


def parameter_counts() -> dict[str, int]:
    """Return every contender's number of parameters.

    Raises:
        ValueError: they differ, so that a race would be unfair.
    """
    models = {"example": ExampleVAE(), "pythae": pythae_model(), "litgen": digits.build(SHIPPED)}
    counts = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the contenders' numbers of parameters differ: {counts}")
    return counts


# -- importance-weighted likelihood --------------------------------------------------------------


def nll(
    pixels: Tensor, test_pixels: Tensor, options: Options, training_steps: int = 300
) -> dict[str, Any]:
    """Race -log p(x) with 100 importance samples of one model; units are images a CPU second.

    The model is litgen's after a short training, its weights copied into pythae's VAE. pythae
    decodes ``batch_size`` samples of one image together: all sensible sizes race, no gradients.
    """
    fitted = digits.fit(FLOAT32, pixels, 0)
    model = next(itertools.islice(fitted, training_steps, None)).model
    peer = copied(model)
    x = digits.binarize(test_pixels, torch.Generator().manual_seed(0))
    sizes = {f"pythae-{size}": size for size in (25, 50, 100)}
    rates = harness.race(
        [
            *(
                Contender(name, pieces(x, 5, functools.partial(pythae_nll, peer, batch_size=size)))
                for name, size in sizes.items()
            ),
            Contender(
                "litgen-float32",
                pieces(x, 250, functools.partial(litgen_nll, model, mixed=False)),
                harness.float32,
            ),
            Contender(
                "litgen-shipped",
                pieces(x, 250, functools.partial(litgen_nll, model, mixed=SHIPPED.mixed)),
                harness.as_shipped,
            ),
        ],
        options.rounds,
        options.seconds,
    )
    with harness.full_precision():
        values = {
            "pythae": pythae_nll(peer, x, SAMPLES),
            "litgen-float32": litgen_nll(model, x, False),
        }
    with harness.as_shipped():
        values["litgen-shipped"] = litgen_nll(model, x, SHIPPED.mixed)
    return {
        "name": "vae-nll",
        **harness.verdict(rates, list(sizes)),
        "nll_nats": {name: round(value, 3) for name, value in values.items()},
        "difference_nats": {
            name: round(value - values["pythae"], 3)
            for name, value in values.items()
            if name != "pythae"
        },
        "units": f"images per CPU second, {SAMPLES} importance samples",
        "images": len(x),
        **circumstances(options),
    }


def pieces(x: Tensor, size: int, measure: Callable[[Tensor], float]) -> Callable[[], int]:
    """Return work that measures the next ``size`` images; units are images."""
    parts = itertools.cycle(torch.split(x, size))

    def work() -> int:
        part = next(parts)
        measure(part)
        return len(part)

    return work


def litgen_nll(model: VAE, x: Tensor, mixed: bool) -> float:
    """Return the mean of -log p(x) in nats as the recipe measures it, 250 images at a time."""
    generator = torch.Generator().manual_seed(0)
    evidence = []
    for batch in torch.split(x, 250):
        with mixed_precision(x.device, mixed):
            evidence.append(
                elbo.log_evidence(
                    batch, model.encoder, model.decoder, bernoulli, SAMPLES, generator
                )
            )
    return -torch.cat(evidence).mean().item()


@torch.no_grad()
def pythae_nll(peer: Any, x: Tensor, batch_size: int) -> float:
    """Return the mean of -log p(x) in nats (what get_nll returns is log p)."""
    return -float(peer.get_nll(x, n_samples=SAMPLES, batch_size=batch_size))


def copied(model: VAE) -> Any:
    """Return pythae's VAE with the weights of litgen's."""
    peer = pythae_model()
    first, heads, widen, last = (m for m in model.modules() if isinstance(m, nn.Linear))
    layers = {
        "encoder.hidden.0": (first.weight, first.bias),
        "encoder.mean": (heads.weight[:LATENT], heads.bias[:LATENT]),
        "encoder.log_var": (heads.weight[LATENT:], heads.bias[LATENT:]),
        "decoder.net.0": (widen.weight, widen.bias),
        "decoder.net.2": (last.weight, last.bias),
    }
    weights = {f"{name}.weight": weight for name, (weight, _) in layers.items()}
    peer.load_state_dict(weights | {f"{name}.bias": bias for name, (_, bias) in layers.items()})
    return peer.eval()


# -- what lower precision costs ------------------------------------------------------------------


def precision(
    pixels: Tensor, test_pixels: Tensor, epochs: int = 2, seeds: int = 3
) -> dict[str, Any]:
    """Train briefly in float32 and as shipped, and compare the test ELBO in nats, lower is better.

    ``shipped_training`` is the model trained as shipped but measured in float32: what is left of
    the difference then comes from training alone.
    """
    float32 = dataclasses.replace(digits.CPU, epochs=epochs, mixed=False)
    shipped = dataclasses.replace(digits.CPU, epochs=epochs)
    x = digits.test_batch(shipped, test_pixels)
    found: dict[str, list[float]] = {"float32": [], "shipped": [], "shipped_training": []}
    for seed in range(seeds):
        with harness.full_precision():
            model = trained(float32, pixels, seed)
            found["float32"].append(negative_elbo(float32, model, x))
        with harness.as_shipped():
            model = trained(shipped, pixels, seed)
            found["shipped"].append(negative_elbo(shipped, model, x))
        with harness.full_precision():
            found["shipped_training"].append(negative_elbo(float32, model, x))
    differences = {
        name: [a - b for a, b in zip(values, found["float32"], strict=True)]
        for name, values in found.items()
        if name != "float32"
    }
    return {
        "name": "vae-precision",
        "negative_elbo_nats": {name: rounded(values) for name, values in found.items()},
        "difference_nats": {
            name: {"mean": round(statistics.mean(values), 3), "seeds": rounded(values)}
            for name, values in differences.items()
        },
        "epochs": epochs,
        "test_images": len(x),
        "versions": harness.versions(VERSIONS),
    }


def trained(config: digits.Config, pixels: Tensor, seed: int) -> VAE:
    """Return the model at the end of a training."""
    *_, last = digits.fit(config, pixels, seed)
    return last.model


def negative_elbo(config: digits.Config, model: VAE, x: Tensor) -> float:
    """Return the negative ELBO of the test images in nats."""
    return digits.measure(config, model, x)["test_negative_elbo_nats"]


def rounded(values: list[float]) -> list[float]:
    """Return the values with three decimals."""
    return [round(value, 3) for value in values]
