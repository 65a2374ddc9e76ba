"""Proof for litgen/gan/buffer.py: what is handed on, how often, and how late."""

import random

import pytest
import torch
from torch import Tensor

from litgen.gan.buffer import ImageBuffer, age_law


def numbered(first: int, count: int) -> Tensor:
    """Return 1x1 images that say their number."""
    return torch.arange(first, first + count, dtype=torch.float64).view(-1, 1, 1, 1)


def shown(buffer: ImageBuffer, total: int, batch: int) -> list[int]:
    """Return the numbers of the images handed on, in order."""
    return [
        int(n)
        for first in range(0, total, batch)
        for n in buffer(numbered(first, batch)).flatten().tolist()
    ]


def by_list(capacity: int, total: int, coins: list[bool], places: list[int]) -> list[int]:
    """Return what a plain list would hand on, with these coins and places."""
    store: list[int] = []
    out = []
    for i in range(total):
        if len(store) < capacity:
            store.append(i)
            out.append(i)
        elif coins[i]:
            out.append(store[places[i]])
            store[places[i]] = i
        else:
            out.append(i)
    return out


@pytest.mark.parametrize(("capacity", "batch"), [(1, 1), (3, 4), (7, 2), (50, 5)])
def test_it_does_what_a_list_would(capacity: int, batch: int) -> None:
    """eq:cycle-buffer: image by image, also within a batch; batches larger than the store."""
    total = 400
    draw = torch.Generator().manual_seed(3)
    coins: list[bool] = []
    places: list[int] = []
    for _ in range(total // batch):
        coins += [c < 0.5 for c in torch.rand(batch, generator=draw).tolist()]
        places += torch.randint(capacity, (batch,), generator=draw).tolist()
    found = shown(ImageBuffer(capacity, torch.Generator().manual_seed(3)), total, batch)
    assert found == by_list(capacity, total, coins, places)
    assert any(n != i for i, n in enumerate(found))


def test_first_all_pass_then_each_is_shown_once() -> None:
    """While it fills, images pass and stay; later nothing is lost and nothing comes twice."""
    buffer = ImageBuffer(10, torch.Generator().manual_seed(0))
    found = shown(buffer, 500, 5)
    assert found[:10] == list(range(10))
    later = found[10:]
    assert len(set(later)) == len(later)
    stored = {int(image) for image in buffer.stored}
    assert len(stored) == 10
    assert stored | set(later) == set(range(500)) - (set(range(10)) - set(later) - stored)
    assert stored.isdisjoint(later)
    assert 0.4 < sum(n == i for i, n in enumerate(found) if i >= 10) / 490 < 0.6


def test_ages_follow_their_law(generator: torch.Generator) -> None:
    """eq:cycle-age: 40,000 images through a store of 8, against the law; its mean is 8."""
    capacity, total = 8, 40_000
    found = shown(ImageBuffer(capacity, generator), total, 50)[400:]
    ages = torch.tensor([i + 400 - n for i, n in enumerate(found)])
    law = age_law(capacity, 400)
    for low, high in ((0, 1), (1, 6), (6, 16), (16, 400)):
        share = ((ages >= low) & (ages < high)).double().mean().item()
        assert share == pytest.approx(law[low:high].sum().item(), abs=0.012)
    assert ages.double().mean().item() == pytest.approx(capacity, rel=0.05)


def test_the_law_by_simulating_one_place() -> None:
    """Sums to one, has its mean, and is that of a place that is hit once in 2 C images."""
    law = age_law(5, 2_000)
    assert law.sum().item() == pytest.approx(1)
    assert (law * torch.arange(2_000)).sum().item() == pytest.approx(5)
    chance = random.Random(0)
    waits = []
    for _ in range(20_000):
        wait = 1
        while chance.random() >= 0.1:
            wait += 1
        waits.append(wait)
    for age in (1, 2, 5):
        exact = law[age].item() / 0.5
        assert waits.count(age) / len(waits) == pytest.approx(exact, abs=0.01)
    assert age_law(0, 3).tolist() == [1, 0, 0]
    for wrong in ((-1, 3), (2, 0)):
        with pytest.raises(ValueError, match="capacity must not be negative"):
            age_law(*wrong)


def test_without_capacity_images_pass(generator: torch.Generator) -> None:
    """And their graph is cut off, in both cases; stored images are copies."""
    images = numbered(0, 3).requires_grad_()
    assert not ImageBuffer(0, generator)(images).requires_grad
    assert ImageBuffer(0, generator)(images).tolist() == images.tolist()
    buffer = ImageBuffer(2, generator)
    assert not buffer(images).requires_grad
    with torch.no_grad():
        images += 100
    assert [int(i) for i in buffer.stored if i < 50], "a stored image changed with its original"
    with pytest.raises(ValueError, match="capacity must not be negative, got -1"):
        ImageBuffer(-1, generator)
    with pytest.raises(ValueError, match=r"images of shape \(1, 1, 1\), got \(1, 2, 2\)"):
        buffer(torch.zeros(1, 1, 2, 2))


def test_it_goes_on_where_another_stood() -> None:
    """A checkpoint keeps what is stored, and the coins that are still to be tossed."""
    first = ImageBuffer(4, torch.Generator().manual_seed(1))
    shown(first, 20, 5)
    second = ImageBuffer(4, torch.Generator().manual_seed(9))
    second.load_state_dict(first.state_dict())
    assert shown(second, 60, 5) == shown(first, 60, 5)


def test_what_is_stored_is_the_buffers_own() -> None:
    """Neither a later change of an image nor another buffer reaches what a checkpoint holds."""
    buffer = ImageBuffer(3, torch.Generator().manual_seed(1))
    shown(buffer, 12, 3)
    images = numbered(20, 30)
    buffer(images)
    assert min(int(image) for image in buffer.stored) >= 20, "all were replaced meanwhile"
    images += 100
    assert max(int(image) for image in buffer.stored) < 50
    state = buffer.state_dict()
    at_first = [int(image) for image in state["stored"]]
    second = ImageBuffer(3, torch.Generator())
    second.load_state_dict(state)
    for other in (buffer, second):
        shown(other, 300, 3)
        assert [int(image) for image in state["stored"]] == at_first
    assert [int(image) for image in second.stored] != at_first
