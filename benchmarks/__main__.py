"""``python -m benchmarks NAME [--json]``: measure litgen against its peers on one core."""

import os
import sys

# before torch is imported: one thread, and no waiting in circles when others use the core
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TQDM_DISABLE", "1")

import argparse
import importlib
from collections.abc import Sequence

NAMES = {
    "cyclegan-step": "CycleGAN: a turn of translators and critics; the usual step",
    "dcgan-step": "DCGAN: a turn of both players; the usual step",
    "ddpm-train": "U-Net and DDPM, training step; diffusers, denoising-diffusion-pytorch",
    "ddpm-sample": "the same, DDIM steps",
    "frechet": "Fréchet distance of 2,048 features; pytorch-fid, torch-fidelity, torchmetrics",
    "gan-step": "GAN of dense players: a turn; the usual step",
    "gatys-step": "style transfer: loss, slope and step; the usual descent",
    "memory": "how much of a GPU's memory each full config takes; needs no GPU",
    "pix2pix-step": "pix2pix: a turn of both players; the usual step",
    "realnvp-train": "RealNVP on vectors, training step; zuko, nflows, normflows, FrEIA",
    "realnvp-sample": "RealNVP on vectors, sampling; the same peers",
    "sgns": "skip-gram with negative sampling: words a second; gensim, word2vec's C",
    "unet-step": "U-Net: forward and backward, inference; usual one, segmentation-models-pytorch",
    "vae-step": "dense VAE: training step, importance-weighted likelihood; usual example, pythae",
    "wgan-gp-step": "WGAN-GP of dense players: five critic moves and one; the usual step",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is named and print the result; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", help="one of: " + ", ".join(NAMES))
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--rounds", type=int, default=11, help="turns of each contender")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU seconds of a turn")
    parser.add_argument("--quality", action="store_true", help="also train and compare models")
    chosen = parser.parse_args(arguments)
    if chosen.name is None:
        for name, what in NAMES.items():
            print(f"{name}  {what}")
        return 0
    if chosen.name not in NAMES:
        return _refuse(f"unknown benchmark {chosen.name!r}; there are: {', '.join(NAMES)}")
    if chosen.rounds < 1 or chosen.seconds < 0:
        return _refuse("--rounds must be positive and --seconds not negative")

    from benchmarks import harness

    try:
        module = importlib.import_module(f"benchmarks.{chosen.name.replace('-', '_')}")
    except ModuleNotFoundError as missing:
        return _refuse(f"{missing.name} is not installed; pip install 'litgen[bench]'")
    harness.one_core()
    show = harness.print_json if chosen.json else harness.print_table
    for record in module.run(harness.Options(chosen.rounds, chosen.seconds, chosen.quality)):
        show(record)
    return 0


def _refuse(message: str) -> int:
    print(f"benchmarks: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
