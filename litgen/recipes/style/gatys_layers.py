"""What layers hold: pictures that agree with a photograph's features, or a painting's moments.

Chapter: book/style/gatys.md.  Proof: tests/recipes/test_style_gatys_layers.py.
Reference: Gatys, Ecker & Bethge (2015), figure 1.

One picture for each content layer, which must meet that layer's features alone, and one for each
depth of style, which must meet the Gram matrices of all style layers up to there. All start from
the same noise around grey.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from litgen import checkpoints
from litgen.recipes import pictures as shared
from litgen.recipes.style import gatys as recipe
from litgen.runs import Run
from litgen.shapes import Float
from litgen.style import gatys

__all__ = ["CPU", "GPU", "Config", "config_of", "data", "evaluate", "restore", "sample", "train"]


SMALL = dataclasses.replace(recipe.CPU, side=64, turns=40)


@dataclass(frozen=True)
class Config:
    """What the descents depend on.

    Attributes:
        descent: pictures, side, optimiser and turns; its weights and layers are not used.
        content_layers: one picture for each.
        style_layers: one picture for each, with those before it.
    """

    descent: recipe.Config = SMALL
    content_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
    style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")


CPU = Config()
GPU = Config(
    descent=dataclasses.replace(recipe.GPU, side=256),
    style_layers=("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
)


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Seek one picture after the other; keep them, and what is left of each one's own loss."""
    what = config.descent
    ready = recipe.given(what.content, what.style, what.side, what.pooling)
    network = ready.network.to(device)
    noise = torch.randn(ready.content.shape, generator=torch.Generator().manual_seed(seed))
    start = (0.5 + 0.1 * noise).to(device)
    wanted = {"content": ready.content.to(device), "style": ready.style.to(device)}
    made: dict[str, list[Tensor]] = {"content": [], "style": []}
    metrics: dict[str, float] = {}
    for kind, layers in (("content", config.content_layers), ("style", config.style_layers)):
        for depth, layer in enumerate(layers):
            if kind == "content":
                goal = gatys.aim(network, wanted[kind], None, (layer,), ())
            else:
                goal = gatys.aim(network, None, wanted[kind], (), layers[: depth + 1])
            shares = {name: 1 / (depth + 1) for name in goal.style}
            with checkpoints.part(layer + kind), shared.one_thread(device):
                for now in recipe.fit(
                    what, network, goal, start, dict.fromkeys(goal.content, 1.0), shares
                ):
                    last = now.canvas
            made[kind].append(recipe.bytes_of(last))
            for name, image in (("start", start), ("end", made[kind][-1].to(device) / 255)):
                with torch.no_grad():
                    terms = gatys.losses(
                        network, image, goal, dict.fromkeys(goal.content, 1.0), shares
                    )
                metrics[f"{kind}_{layer}_{name}"] = (terms.content + terms.style).item()
    return Run(
        tensors={
            **{kind: torch.cat(images) for kind, images in made.items()},
            "wanted_content": recipe.bytes_of(ready.content),
            "wanted_style": recipe.bytes_of(ready.style),
        },
        metrics=metrics,
        history={},
        data=ready.records,
    )


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return recipe.data(config.descent)


def config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists and configs as dictionaries."""
    stored = run.provenance["config"]
    layers = (tuple(stored[name]) for name in ("content_layers", "style_layers"))
    return Config(recipe.as_config(stored["descent"]), *layers)


def restore(run: Run) -> Float[Tensor, "count 3 side side"]:
    """Return the pictures in [0, 1]: those of content layers, then those of style's depths."""
    return torch.cat([run.tensors["content"], run.tensors["style"]]).float() / 255


def sample(run: Run, count: int, generator: torch.Generator) -> Float[Tensor, "count 3 side side"]:
    """Return the pictures in turn; nothing is drawn by lot."""
    images = restore(run)
    return images[torch.arange(count) % len(images)]


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Return what was measured."""
    return dict(run.metrics)
