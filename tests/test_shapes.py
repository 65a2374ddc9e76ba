"""Proof for litgen/shapes.py."""

import runpy
import sys

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from litgen import gaussian, shapes

NAMES = ("Bool", "Float", "Int", "UInt8")


def test_shapes_are_checked_while_the_tests_run() -> None:
    """A batch of the wrong length is an error even where torch would broadcast it."""
    with pytest.raises(TypeCheckError):
        gaussian.kl_to_standard(torch.zeros(4, 3), torch.zeros(1, 3))
    with pytest.raises(TypeCheckError):
        gaussian.standard_log_prob(torch.zeros(4, 3, dtype=torch.int64))


def test_the_names_are_those_of_jaxtyping() -> None:
    """Each name tells its own kind of number from the others, and one axis from two."""
    samples = {
        "Bool": torch.ones(2, dtype=torch.bool),
        "Float": torch.ones(2),
        "Int": torch.ones(2, dtype=torch.int64),
        "UInt8": torch.ones(2, dtype=torch.uint8),
    }
    assert set(shapes.__all__) == set(NAMES)
    for name in NAMES:
        kind = getattr(shapes, name)
        fitting = [other for other in NAMES if isinstance(samples[other], kind[Tensor, "n"])]
        assert fitting == [name]
        assert not isinstance(samples[name], kind[Tensor, "n m"])


def test_without_jaxtyping_a_shape_is_the_bare_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that only trains imports litgen all the same."""
    monkeypatch.setitem(sys.modules, "jaxtyping", None)
    bare = runpy.run_path(str(shapes.__file__))
    for name in NAMES:
        assert bare[name][Tensor, "batch dim"] is Tensor
