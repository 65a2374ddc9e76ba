"""Proof for litgen/recipes: all chance of a training comes from its seed.

Weights, order of the data, codes and noise: each has a generator, and a seed that somebody wrote
into the code instead of passing it on would go unnoticed as long as one of the others is right.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from litgen import recipes
from litgen.recipes.applications import slices, spikes
from litgen.recipes.gan import cyclegan, gp_planes, pix2pix_facades
from tests.recipes.test_every_recipe import TINY, put_few, tiny

CPU = torch.device("cpu")
DIRECT = {
    "applications/slices",
    "applications/spikes",
    "gan/cyclegan",
    "gan/gp_planes",
    "gan/pix2pix_facades",
    "segmentation/brain",
    "segmentation/fcn",
    "vae/dcign",
}
"""Recipes whose data take long to draw or that train something else first; see below."""
NAMES = [
    name
    for name in sorted(TINY)
    if name not in DIRECT
    and (module := recipes.load(name)).train.__module__ == module.__name__
    and "= play(" in Path(str(module.__file__)).read_text()
]
"""Other recipes with a training of their own."""


class Stop(Exception):
    """Raised in the place of the first step."""


def halted(*_: object) -> Iterator[Any]:
    """Stop where a training would begin to move."""
    raise Stop


def seeds_of(training: Callable[[], object], patch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return who was seeded with what, by functions called fit or the like, until a step."""
    heard: list[tuple[str, int]] = []
    plain = torch.manual_seed

    def note(kind: str, seed: int) -> None:
        frame = sys._getframe(2)
        while frame.f_code.co_name in ("<genexpr>", "<listcomp>"):
            frame = frame.f_back or frame
        if frame.f_code.co_name.startswith(("fit", "begin", "read_in")):
            heard.append((kind, seed))

    class Noted(torch.Generator):
        def manual_seed(self, seed: int) -> torch.Generator:
            note("draws", seed)
            super().manual_seed(seed)
            return self

    def global_seed(seed: int) -> torch.Generator:
        note("weights", seed)
        return plain(seed)

    with patch.context() as patched:
        patched.setattr(torch, "manual_seed", global_seed)
        patched.setattr(torch, "Generator", Noted)
        with pytest.raises(Stop):
            training()
    return heard


def all_differ(one: list[tuple[str, int]], other: list[tuple[str, int]]) -> None:
    """Every generator of two trainings, in turn, has another seed."""
    assert [kind for kind, _ in one] == [kind for kind, _ in other]
    assert one
    assert all(a != b for (_, a), (_, b) in zip(one, other, strict=True)), (one, other)


def halt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no recipe take a step."""
    for name, module in list(sys.modules.items()):
        if name.startswith("litgen.recipes.") and hasattr(module, "play"):
            monkeypatch.setattr(module, "play", halted)


@pytest.mark.parametrize("name", NAMES)
def test_every_stream_follows_the_seed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds, and no generator of the training that is seeded alike."""
    put_few(monkeypatch)
    halt(monkeypatch)
    module, config = recipes.load(name), tiny(name)
    all_differ(*(seeds_of(lambda s=s: module.train(config, s, CPU), monkeypatch) for s in (3, 90)))


FEW = torch.randint(256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0))
FEW = FEW.to(torch.uint8)
PLANS = FEW[:, 0] % 6


def painted(fit: Callable[..., object]) -> Callable[[int], object]:
    """Return a training of `slices` on a few slices, of two seeds' networks."""
    some = slices.Slices(FEW[:, :1] / 127.5 - 1, (PLANS % 5).long())
    config, rows = tiny("applications/slices"), torch.arange(4).expand(2, -1)
    config = dataclasses.replace(config, seeds=2)
    return lambda seed: next(iter(fit(config, some, rows, seed)))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "training",
    [
        pytest.param(painted(slices.fit_painter), id="painter"),
        pytest.param(painted(slices.fit_segmenter), id="segmenter"),
        pytest.param(
            lambda seed: pix2pix_facades.read_in(tiny("gan/pix2pix_facades"), FEW, PLANS, seed),
            id="reader",
        ),
        pytest.param(
            lambda seed: next(
                pix2pix_facades.fit(tiny("gan/pix2pix_facades"), "both", FEW, PLANS, seed)
            ),
            id="facades",
        ),
        pytest.param(
            lambda seed: next(
                spikes.fit(tiny("applications/spikes"), FEW[:, 0, :8].contiguous() % 2, seed)
            ),
            id="spikes",
        ),
        pytest.param(
            lambda seed: next(
                cyclegan.fit(
                    tiny("gan/cyclegan"),
                    "full",
                    cyclegan.Domains(FEW, FEW, FEW, FEW, ("x", "y"), []),
                    seed,
                )
            ),
            id="cyclegan",
        ),
        pytest.param(
            lambda seed: next(gp_planes.fit(tiny("gan/gp_planes"), seed, CPU)), id="planes"
        ),
    ],
)
def test_every_stream_of_others_follows_the_seed(
    training: Callable[[int], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recipes with several trainings, or with data that are long in drawing."""
    halt(monkeypatch)
    all_differ(*(seeds_of(lambda s=s: training(s), monkeypatch) for s in (3, 90)))
