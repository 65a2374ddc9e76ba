"""Proof for litgen/data/drawn_furniture.py: volumes by arithmetic, parts where plans say."""

import inspect

import numpy as np
import pytest
import torch

from litgen.data import drawn_furniture as drawn
from litgen.data import sources


def one(label: int, *numbers: int) -> np.ndarray:
    """Return one piece."""
    return drawn.build(drawn.Plan(np.array([label]), np.array([numbers])))[0]


def test_all_plans_are_different_and_their_volumes_are_known() -> None:
    """1,920 chairs and 896 tables; every piece has as many voxels as arithmetic says."""
    every = drawn.plans()
    assert np.bincount(every.label).tolist() == [1_920, 896]
    assert len(np.unique(np.column_stack(every), axis=0)) == 2_816
    built = drawn.build(every)
    np.testing.assert_array_equal(built.sum(axis=(1, 2, 3)), drawn.volumes(every))
    assert len(np.unique(built.reshape(len(built), -1), axis=0)) == 2_816


def test_a_chair_by_hand() -> None:
    """Legs, seat, back and arms lie where they should; it looks to where deep is 0."""
    chair = one(0, 8, 10, 6, 7, 1, 0)
    expected = np.zeros((16, 16, 16), np.uint8)
    for y, z, x in np.ndindex(16, 16, 16):
        wide, deep = 4 <= x < 12, 3 <= z < 13
        rim_x, rim_z = x < 6 or x >= 10, z < 5 or z >= 11
        leg = y < 6 and rim_x and rim_z
        seat = 4 <= y < 6
        back = 6 <= y < 13 and z >= 11
        arm = 6 <= y < 9 and rim_x
        expected[y, z, x] = wide and deep and (leg or seat or back or arm)
    np.testing.assert_array_equal(chair, expected)
    plain = one(0, 8, 10, 6, 7, 0, 0)
    assert chair.sum() - plain.sum() == 2 * 2 * 3 * 8
    assert not (plain > chair).any()


def test_tables_by_hand() -> None:
    """Four legs at the corners, or one in the middle on a foot of six by six."""
    four, single = one(1, 12, 9, 10, 0, 0, 0), one(1, 12, 9, 10, 0, 0, 1)
    for table in (four, single):
        assert table[8:10, 3:12, 2:14].all()
        assert table[10:].sum() == 0
    assert four[:8].sum() == 4 * 2 * 2 * 8
    assert four[0, 3, 2] == four[0, 11, 13] == 1
    assert single[0].sum() == 36
    assert single[1:8].sum() == 4 * 7
    assert single[3, 7:9, 7:9].all()


@pytest.mark.parametrize(
    "numbers", [(17, 9, 8, 0, 0, 0), (9, 9, 9, 8, 0, 0), (4, 9, 8, 0, 0, 0), (9, 9, 2, 4, 0, 0)]
)
def test_what_does_not_fit_is_refused(numbers: tuple[int, ...]) -> None:
    """Too wide, too high, no room between legs, no legs."""
    with pytest.raises(ValueError, match=r"a chair of .* does not fit into 16\^3 voxels"):
        one(0, *numbers)


def test_parts_of_different_length_are_refused() -> None:
    """And no plans give no pieces."""
    with pytest.raises(ValueError, match="2 labels, but 1 plans"):
        drawn.build(drawn.Plan(np.zeros(2, int), np.zeros((1, 6), int)))
    assert drawn.build(drawn.Plan(np.zeros(0, int), np.zeros((0, 6), int))).shape == (
        0,
        16,
        16,
        16,
    )


def test_the_splits_share_no_plan() -> None:
    """Together they are all plans; voxels are those of the plans; copies are the caller's own."""
    parts = {split: drawn.load(split) for split in ("train", "test")}
    rows = torch.cat([torch.column_stack([p.labels, p.plans]) for p in parts.values()])
    assert len(torch.unique(rows, dim=0)) == len(rows) == 2_816
    for split, part in parts.items():
        assert len(part.voxels) == drawn.COUNTS[split]
        plan = drawn.Plan(part.labels.numpy(), part.plans.numpy())
        np.testing.assert_array_equal(part.voxels.numpy(), drawn.build(plan))
        assert part.record.checksum == drawn.CHECKSUM[split]
        assert not part.record.stand_in
        share = (part.labels == 0).double().mean().item()
        assert abs(share - 1_920 / 2_816) < 0.04
        assert part.describe() == f"{len(part.voxels):,} models 16x16x16"
    parts["test"].voxels.zero_()
    assert drawn.load("test").voxels.any()


def test_other_pieces_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that draws others says so; splits are checked."""
    monkeypatch.setitem(drawn.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="drawn furniture test has checksum"):
        drawn.load("test")
    with pytest.raises(ValueError, match="'train' or 'test', got 'all'"):
        inspect.unwrap(drawn.load)("all")  # type: ignore[arg-type]
