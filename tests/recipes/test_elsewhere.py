"""Proof for all recipes on a pretended GPU: nothing is left on the CPU, and nothing is mixed.

Covers benchmarks/pretended.py, and what litgen/recipes say of devices.
"""

import copy
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.pretended import GPU, Misplaced, Places, pretended
from litgen import checkpoints
from tests.recipes.elsewhere import trained
from tests.recipes.test_every_recipe import TINY, put_few

FEW = ("gan/ring", "music/deepbach", "vae/moons")
"""Quick ones: noise drawn on the GPU, networks that sample, buffers, checkpoints of all kinds."""


def on(*shape: int) -> Tensor:
    """Return ones on the GPU."""
    return torch.ones(shape, device=GPU)


ALLOWED: dict[str, Callable[[], Tensor]] = {
    "a number": lambda: on(3) * 2.0,
    "no axes": lambda: on(3) * torch.tensor(2.0),
    "indices": lambda: on(3)[torch.tensor([0, 2])],
    "a mask": lambda: on(3)[torch.tensor([True, False, True])],
    "indices that are written to": lambda: on(3).index_put_((torch.tensor([1]),), on(1)),
    "a copy": lambda: on(3).copy_(torch.zeros(3)),
    "one of many": lambda: F.one_hot(on(3).long(), 4),
    "a generator of its place": lambda: torch.randn(3, generator=torch.Generator(GPU), device=GPU),
    "as another": lambda: torch.zeros(3).to(on(1)),
    "like another": lambda: torch.zeros_like(on(3)) + on(3).new_zeros(3) + torch.rand_like(on(3)),
    "a module like a tensor": lambda: nn.Linear(2, 2).to(on(1))(on(1, 2)),
    "a module's copy": lambda: copy.deepcopy(nn.BatchNorm1d(2).to(GPU))(on(3, 2)),
    "mapped": lambda: torch.func.vmap(lambda x: x.sum() + torch.ones(1, device=x.device))(on(3)),
    "a tensor of a tensor": lambda: torch.as_tensor(on(3)),
    "rounded": lambda: nn.Linear(2, 2).to(GPU)(on(1, 2)).bfloat16(),
}
REFUSED: dict[str, Callable[[], object]] = {
    "a tensor on the CPU": lambda: on(3) + torch.ones(3),
    "a number on the GPU": lambda: torch.ones(3) * on(1).sum(),
    "what is written to": lambda: torch.zeros(()).add_(on(1).sum()),
    "indices on the GPU": lambda: torch.ones(3)[on(1).long()],
    "gather": lambda: on(3).gather(0, torch.zeros(3, dtype=torch.long)),
    "index_select without axes": lambda: on(3).index_select(0, torch.tensor(0)),
    "targets": lambda: F.cross_entropy(on(3, 2), torch.zeros(3, dtype=torch.long)),
    "weights": lambda: nn.Linear(2, 2)(on(1, 2)),
    "a batch": lambda: nn.Linear(2, 2).to(GPU)(torch.ones(1, 2)),
    "joined": lambda: torch.cat([on(3), torch.ones(3)]),
    "numpy": lambda: on(3).numpy(),
    "a generator of the CPU": lambda: torch.randn(3, generator=torch.Generator(), device=GPU),
    "a generator of the GPU": lambda: torch.randn(3, generator=torch.Generator(GPU)),
    "filled": lambda: on(3).uniform_(generator=torch.Generator()),
    "chosen": lambda: torch.multinomial(on(3), 1, generator=torch.Generator()),
    "a state of the GPU": lambda: torch.Generator().set_state(on(5_056).byte()),
    "whole numbers multiplied": lambda: on(2, 2).long() @ on(2, 2).long(),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_what_a_gpu_does(what: str) -> None:
    """It is done, and the result is on the GPU."""
    with pretended():
        assert ALLOWED[what]().device == GPU


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_gpu_refuses(what: str) -> None:
    """It is refused here too."""
    with pretended(), pytest.raises(Misplaced):
        REFUSED[what]()


def test_gradients_and_optimisers_stay_in_their_place() -> None:
    """Through a network on the GPU, and through a copy to it of weights on the CPU."""
    with pretended():
        net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).to(GPU)
        here = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.Adam([*net.parameters(), here])
        for _ in range(2):
            optimizer.zero_grad()
            net(on(4, 2) * here.to(GPU)).square().sum().backward()
            optimizer.step()
        assert {p.grad.device for p in net.parameters() if p.grad is not None} == {GPU}
        assert here.grad is not None
        assert here.grad.device.type == here.device.type == "cpu"
        assert net(on(4, 2)).cpu().detach().numpy().shape == (4, 3)


def test_a_file_says_where_its_tensors_were() -> None:
    """As a checkpoint is read; without that, as torch reads them."""
    with pretended():
        file = io.BytesIO()
        torch.save({"gpu": on(3), "cpu": torch.ones(3)}, file)
        for where, expected in ((checkpoints._here, "cuda"), ("cpu", "cpu")):
            file.seek(0)
            found = torch.load(file, map_location=where, weights_only=True)
            assert (found["gpu"].device.type, found["cpu"].device.type) == (expected, "cpu")


def test_bytes_are_counted_while_they_live() -> None:
    """Each storage once, views and the CPU's not; the peak stays."""
    with pretended() as places:
        held = on(100)
        views = [held[i:] for i in range(3)]
        here = torch.ones(1_000)
        assert places.bytes == 400
        more = held * 2
        assert places.bytes == places.peak == 800
        del more
        assert (places.bytes, places.peak) == (400, 800)
        del held, views
        assert places.bytes == 0
        assert len(here) == 1_000
    assert torch.ones(1).device.type == "cpu"
    assert torch.Generator is torch._C.Generator
    assert isinstance(places, Places)


@pytest.mark.parametrize("name", FEW)
def test_a_few_recipes_elsewhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained, stopped after every turn, measured and sampled."""
    put_few(monkeypatch)
    run, places = trained(name, tmp_path, monkeypatch, broken=True)
    assert run.provenance["device"] == "pretended"
    assert places.peak > 0


def test_a_network_that_stays_behind_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe whose network is not moved does not get through its first turn."""
    put_few(monkeypatch)
    monkeypatch.setattr(nn.Module, "to", lambda self, *args, **kwargs: self)
    with pytest.raises(Misplaced, match="two places"):
        trained("gan/ring", tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(TINY) - set(FEW)))
def test_every_recipe_elsewhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained as on a GPU, measured and sampled there, without one tensor in the wrong place."""
    put_few(monkeypatch)
    trained(name, tmp_path, monkeypatch, broken=name != "gan/cyclegan")
