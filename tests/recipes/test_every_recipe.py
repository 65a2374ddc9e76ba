"""Proof for all recipes at once: the full config runs end to end, and survives interruptions.

Covers litgen/recipes: each recipe's GPU config, made tiny, is trained through the store of runs;
then once more, stopped after every single turn and taken up again by a fresh call.
"""

import dataclasses
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from litgen import checkpoints, profiles, recipes, runs
from litgen.data import chorales, vgg
from litgen.data.sources import DataUnavailable, ImageSet, Record
from litgen.recipes.gan import voxels
from litgen.recipes.style import fast

CPU = torch.device("cpu")
TINY: dict[str, dict[str, Any]] = {
    "applications/vessels": {
        "latent": 3,
        "hidden": (6,),
        "critic_hidden": (5,),
        "turns": 4,
        "batch_size": 10,
    },
    "applications/slices": {
        "sizes": (4, 6),
        "seeds": 2,
        "width": 2,
        "turns": 2,
        "painter_turns": 2,
        "made": 5,
    },
    "applications/spikes": {
        "latent": 3,
        "hidden": (8,),
        "critic_hidden": (8,),
        "trials": 60,
        "turns": 4,
        "critic_moves": 2,
        "batch_size": 6,
        "moments": 3,
    },
    "autoencoders/denoising": {
        "widths": (8, 8),
        "steps": 4,
        "batch_size": 6,
        "test_images": 5,
    },
    "autoencoders/denoising_any": {
        "widths": (8,),
        "steps": 4,
        "batch_size": 6,
        "test_images": 5,
    },
    "autoencoders/masking": {
        "shares": (0.0, 0.5),
        "hidden": 6,
        "steps": 4,
        "batch_size": 8,
        "labelled": 60,
    },
    "autoencoders/context": {
        "widths": (3, 4),
        "critic_widths": (2, 3),
        "turns": 3,
        "batch_size": 6,
        "test_faces": 20,
    },
    "autoencoders/convolutional": {
        "channels": (2, 3),
        "latent": 2,
        "steps": 4,
        "batch_size": 8,
        "test_images": 20,
        "looks": 2,
    },
    "autoencoders/dense": {
        "latents": (2, 3),
        "random": (2,),
        "hidden": (8,),
        "steps": 3,
        "batch_size": 8,
    },
    "density/kde_digits": {"counts": (20, 40), "folds": 4, "test_images": 20},
    "density/kde_moons": {"points": 60, "first": 40},
    "density/mixture_digits": {
        "components": 2,
        "factors": 2,
        "floors": (0.01, 0.1),
        "held_out": 20,
        "choosing_steps": 2,
        "plain_steps": 2,
        "steps": 2,
    },
    "density/mixture_moons": {"candidates": (1, 2), "starts": 2, "steps": 5},
    "density/ppca_moons": {},
    "diffusion/digits": {
        "widths": (8, 8),
        "blocks": 1,
        "turns": 4,
        "batch_size": 6,
        "steps": 20,
        "test_images": 5,
    },
    "diffusion/moons": {
        "hidden": (8,),
        "turns": 4,
        "batch_size": 50,
        "steps": 20,
        "sampling_steps": 4,
        "encoding_steps": 4,
    },
    "diffusion/noisy_classifier": {
        "width": 8,
        "blocks": 1,
        "turns": 4,
        "batch_size": 8,
        "test_images": 20,
    },
    "flows/digits": {
        "couplings": 1,
        "hidden": 4,
        "blocks": 1,
        "turns": 4,
        "batch_size": 6,
        "test_images": 5,
        "draws": 1,
    },
    "flows/moons": {"couplings": 2, "hidden": (8,), "turns": 4, "batch_size": 50},
    "gan/biggan": {
        "widths": (4, 3, 2),
        "critic_widths": (2, 4),
        "chunk": 2,
        "embedding": 3,
        "turns": 4,
        "batch_size": 8,
        "snapshots": 3,
        "test_images": 20,
    },
    "gan/clipped": {
        "hidden": (8,),
        "critic_hidden": (8,),
        "turns": 4,
        "critic_moves": 2,
        "batch_size": 20,
        "measured": 30,
        "looks": 2,
    },
    "gan/conditional_digits": {
        "widths": (8, 4),
        "critic_widths": (4, 8),
        "latent": 3,
        "turns": 5,
        "batch_size": 8,
        "snapshots": 3,
        "test_images": 20,
    },
    "gan/cyclegan": {
        "variants": ("full", "noisy"),
        "width": 2,
        "blocks": 1,
        "critic_width": 2,
        "turns": 3,
        "batch_size": 2,
        "test_images": 4,
    },
    "gan/dcgan_faces": {
        "widths": (8, 4),
        "critic_widths": (4, 8),
        "latent": 3,
        "turns": 5,
        "batch_size": 8,
        "snapshots": 3,
        "test_images": 20,
    },
    "gan/face_reader": {"widths": (4, 8), "turns": 4, "batch_size": 20},
    "gan/gp_digits": {
        "latent": 3,
        "widths": (8, 4),
        "turns": 4,
        "critic_moves": 2,
        "batch_size": 6,
        "moments": 3,
    },
    "gan/gp_planes": {
        "hidden": (8,),
        "critic_hidden": (8,),
        "symbols": 3,
        "turns": 4,
        "critic_moves": 2,
        "batch_size": 12,
        "critic_turns": 3,
        "moments": 3,
    },
    "gan/moons": {"hidden": (8,), "critic_hidden": (8,), "turns": 4, "batch_size": 50},
    "gan/pix2pix_emoji": {"widths": (3, 4), "critic_width": 2, "turns": 3, "batch_size": 4},
    "gan/pix2pix_facades": {
        "variants": ("l1", "both", "back_both"),
        "widths": (3, 4),
        "critic_width": 2,
        "turns": 3,
        "back_turns": 2,
        "batch_size": 4,
        "reader_widths": (2, 3),
        "reader_turns": 3,
        "test_fronts": 6,
    },
    "gan/ring": {
        "hidden": (8,),
        "critic_hidden": (8,),
        "turns": 5,
        "batch_size": 16,
        "moments": 3,
    },
    "gan/stability": {
        "copies": 2,
        "hidden": (8,),
        "turns": 3,
        "batch_size": 16,
        "average_every": 1,
        "looks": 2,
        "points": 50,
    },
    "music/deepbach": {
        "offsets": (-2, -1, 0, 1, 2),
        "dims": 2,
        "hidden": 3,
        "turns": 3,
        "batch_size": 8,
    },
    "primer/classifier": {"width": 4, "depth": 1, "epochs": 1, "batch_size": 30},
    "primer/optimisers": {
        "side": 7,
        "hidden": 4,
        "steps": 11,
        "batch_size": 8,
        "rates": 2,
        "seeds": 2,
        "test_images": 20,
    },
    "segmentation/fcn": {
        "widths": (4, 4, 8),
        "hidden": 8,
        "classifier_turns": 3,
        "classifier_batch": 10,
        "turns": 3,
        "own_turns": 3,
        "batch_size": 4,
    },
    "segmentation/segnet": {
        "variants": ("indices", "unbalanced"),
        "widths": (4, 6),
        "depth": 1,
        "turns": 4,
        "batch_size": 4,
    },
    "segmentation/cells": {
        "variants": ("full", "no_skips"),
        "images": 8,
        "test_images": 4,
        "widths": (2, 3),
        "turns": 3,
        "batch_size": 4,
    },
    "segmentation/brain": {"copies": 1, "widths": (2, 3), "turns": 3, "batch_size": 2},
    "segmentation/nuclei": {"widths": (2, 3), "turns": 3, "batch_size": 2, "columns": 64},
    "segmentation/skips": {
        "normalised": (1,),
        "bare": (),
        "repeats": 1,
        "width": 2,
        "levels": 1,
        "steps": 3,
        "batch_size": 2,
        "crop": 8,
        "moments": 3,
        "test_images": 4,
    },
    "vae/conditional_digits": {
        "hidden": (8,),
        "latent": 2,
        "epochs": 1,
        "batch_size": 30,
        "test_images": 20,
        "samples": 3,
    },
    "vae/dcign": {"turns": 4},
    "vae/grey": {
        "hidden": (4,),
        "latent": 2,
        "steps": 3,
        "batch_size": 8,
        "test_images": 10,
        "samples": 2,
    },
    "vae/shapes": {
        "shrink": 4,
        "hidden": (8,),
        "latent": 3,
        "steps": 4,
        "batch_size": 8,
        "moments": 3,
    },
    "vae/shapes_collapse": {"steps": 4, "hidden": (8,), "latent": 3, "batch_size": 8},
    "vae/shapes_seeds": {
        "betas": (1.0, 4.0),
        "repeats": 2,
        "hidden": (8,),
        "latent": 3,
        "steps": 4,
        "batch_size": 8,
    },
    "vae/quadrants": {
        "quadrants": (1, 2),
        "hidden": (8,),
        "baseline": (8,),
        "latent": 2,
        "epochs": 1,
        "baseline_epochs": 1,
        "batch_size": 30,
        "known": 100,
        "test_images": 20,
        "samples": 3,
    },
    "vae/digits": {
        "hidden": (4,),
        "latent": 3,
        "epochs": 1,
        "batch_size": 30,
        "test_images": 10,
        "samples": 3,
    },
    "vae/moons": {"hidden": (8,), "steps": 4, "batch_size": 50, "samples": 3},
}
TINY["style/fast"] = {
    "styles": (0, 2),
    "size": 24,
    "side": 16,
    "pool": 6,
    "widths": (3, 4),
    "blocks": 1,
    "kernel": 3,
    "content_layer": "conv1_2",
    "style_layers": ("conv1_1", "conv2_1"),
    "turns": 4,
    "batch_size": 2,
    "slow_steps": 3,
    "test_crops": 1,
}
TINY["style/arbitrary"] = {
    "base": fast.Config(**TINY["style/fast"] | {"turns": 3}),
    "bottleneck": 2,
    "variants": 2,
    "crop": 20,
}
TINY["applications/slices_brain"] = TINY["applications/slices"] | {"sizes": (4,)}
TINY["applications/spikes_soft"] = TINY["applications/spikes_free"] = TINY["applications/spikes"]
TINY["gan/voxels"] = TINY["gan/voxel_furniture"] = TINY["gan/voxel_pots"] = {
    "latent": 3,
    "widths": (4, 2),
    "turns": 4,
    "batch_size": 4,
    "moments": 3,
}
TINY["style/gatys"] = {
    "side": 16,
    "content_layers": ("conv2_1",),
    "style_layers": ("conv1_1", "conv1_2"),
    "style_weights": (0.1, 1.0),
    "turns": 4,
    "snapshots": 3,
}
TINY["style/gatys_layers"] = {
    "descent": dataclasses.replace(recipes.load("style/gatys").GPU, side=16, turns=3),
    "content_layers": ("conv1_1", "conv2_1"),
    "style_layers": ("conv1_1",),
}
TINY["gan/voxel_rules"] = {
    "game": voxels.Config(latent=3, widths=(3,), turns=3, batch_size=4),
    "thresholds": (0.8, 1.0),
    "noises": (0.0,),
    "seeds": 1,
    "samples": 20,
}
TINY["autoencoders/digits"] = TINY["autoencoders/dense"]
TINY["diffusion/clothes"] = TINY["diffusion/digits"]
TINY["flows/fashion"] = TINY["flows/digits"]
TINY["gan/dcgan"] = TINY["gan/dcgan_clothes"] = TINY["gan/dcgan_faces"]
TINY["gan/cyclegan_emoji"] = TINY["gan/cyclegan"] | {"variants": ("full", "paired")}
TINY["gan/biggan_unbounded"] = TINY["gan/biggan"]
TINY["music/deepbach_recurrent"] = TINY["music/deepbach"]
TINY["gan/gp_clothes"] = TINY["gan/gp_digits"]
TINY["gan/gp_seeds"] = TINY["gan/gp_planes"] | {"critic_turns": 0}
TINY["primer/digit_classifier"] = TINY["primer/classifier"]
TINY["vae/evolution"] = TINY["vae/evolution_clothes"] = TINY["vae/digits"] | {"latent": 2}
TINY["vae/evolution_dense"] = TINY["vae/evolution"] | {"hidden": (8,)}
TINY["vae/nll"] = TINY["vae/digits"] | {"hidden": (4, 1)}
TINY["vae/dcign_plain"] = TINY["vae/dcign"]
TINY["vae/plane"] = TINY["vae/digits"] | {"hidden": (8,), "latent": 2}
UNBROKEN = ("density/ppca_moons",)
"""A closed form, which has no turns: it begins anew."""


def squares(count: int, split: str, side: int = 28, channels: int = 1) -> ImageSet:
    """Return images of one bright square each, whose place and size say the class."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 40, (count, channels, side, side), generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, 2 * label : 2 * label + 8, 4 : 8 + 2 * label] = 230
    record = Record("squares", f"drawn, {split}", "none", "none", f"{split}{count}", {}, True)
    return ImageSet(images.to(torch.uint8), labels, record)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put 120 squares in the place of every set of images, for every reader."""
    put_few(monkeypatch)


def put_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do so, for as long as the patch lasts."""
    sets = {"train": squares(120, "train"), "test": squares(60, "test")}
    faces = {"train": squares(90, "train", 32, 3), "test": squares(50, "test", 32, 3)}
    monkeypatch.setattr(vgg, "WIDTHS", (8, 8, 8, 8, 8))  # of the kernels that stand in
    for name in ("mnist", "fashion_mnist"):
        module = importlib.import_module(f"litgen.data.{name}")
        monkeypatch.setattr(module, "load", sets.__getitem__)
    cadences = {split: chorales._standing_in(split, DataUnavailable("a test")) for split in sets}
    few = {k: dataclasses.replace(v, scores=v.scores[:3]) for k, v in cadences.items()}
    monkeypatch.setattr(chorales, "load", few.__getitem__)
    for name in recipes.names():
        recipes.load(name)
    for name, module in list(sys.modules.items()):
        if name.startswith("litgen.recipes.") and hasattr(module, "LOADERS"):
            for data in module.LOADERS:
                chosen = faces if data in ("drawn_faces", "celeba") else sets
                monkeypatch.setitem(module.LOADERS, data, chosen.__getitem__)


def tiny(name: str) -> Any:
    """Return a recipe's full config with few turns and narrow networks."""
    return dataclasses.replace(recipes.load(name).GPU, **TINY[name])


def named_as_read(names: tuple[str, ...], run: runs.Run) -> None:
    """A run that records other data than its recipe names would be stale at once, for ever."""
    assert {record["name"] for record in run.data} == set(names)
    for name in names:
        module = importlib.import_module(f"litgen.data.{name}")
        found = {r["split"]: r["checksum"] for r in run.data if r["name"] == name}
        drawn_here = name in (
            "shapes",
            "ellipses",
            "rendered",
            "moons",
            "cells",
            "scenes",
            "pottery",
            "heads",
            "spikes",
            "facades",
        )
        drawn_here = name in ("shapes", "ellipses", "rendered", "moons", "cells", "scenes")
        drawn_here = drawn_here or name in ("drawn_furniture", "pottery")
        assert not drawn_here or found == module.CHECKSUM


def until_done(train: Callable[[], runs.Run], path: Path) -> tuple[runs.Run, int]:
    """Call again and again, each time with no time left; return the run and the interruptions."""
    for calls in range(200):
        with checkpoints.opened(checkpoints.Memory(path, time.monotonic() - 1)):
            try:
                return train(), calls
            except checkpoints.OutOfTime:
                continue
    raise AssertionError("it does not come to an end")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", sorted(TINY))
def test_a_full_config_and_its_interruptions(name: str, tmp_path: Path) -> None:
    """The run of a training stopped after every turn is that of one that was never stopped."""
    config, module = tiny(name), recipes.load(name)
    whole = runs.train(name, "gpu", seed=2, config=config)
    runs.save(whole, tmp_path / "run.safetensors")
    assert runs.load(tmp_path / "run.safetensors").metrics == whole.metrics
    named_as_read(module.data(config), whole)
    path = tmp_path / "unfinished.pt"
    profiles.configure()
    broken, calls = until_done(lambda: module.train(config, 2, CPU), path)
    assert (calls == 0) == name.startswith(UNBROKEN), calls
    broken.tensors = {key: runs.stored(value) for key, value in broken.tensors.items()}
    torch.testing.assert_close(broken.tensors, whole.tensors, rtol=0, atol=0)
    for run in (broken, whole):  # what a clock said is not the same twice
        run.history = {key: values for key, values in run.history.items() if "seconds" not in key}
    assert (broken.metrics, broken.history) == (whole.metrics, whole.history)
    assert module.data(config) is not None


def test_no_recipe_is_left_out() -> None:
    """A new recipe has to show that its full config runs and goes on."""
    elsewhere = {"words/addresses"}  # tests/recipes/test_words.py has a corpus for it
    assert set(TINY) | elsewhere == set(recipes.names())


def test_every_recipe_can_be_called_by_name() -> None:
    """What the command line asks of each: train, data, evaluate, restore, and both configs."""
    for name in recipes.names():
        module = recipes.load(name)
        for part in ("train", "data", "evaluate", "restore", "CPU", "GPU"):
            assert hasattr(module, part), f"{name} has no {part}"


@pytest.mark.parametrize("name", recipes.names())
def test_a_config_says_how_it_computes(name: str) -> None:
    """Whoever rounds to bfloat16 says so in the full config; nothing is compiled unsaid."""
    config = recipes.load(name).GPU
    folder = Path(recipes.__file__).parent
    text = (folder / f"{name}.py").read_text()
    rounds = "mixed_precision(" in text or "config.mixed" in text
    assert not rounds or isinstance(config.mixed, bool)
    assert "torch.compile" not in text
