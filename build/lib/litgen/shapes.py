"""Shapes in signatures: jaxtyping's names, or plain tensors where jaxtyping is not installed.

A machine that only trains needs torch, numpy, safetensors and tqdm; there the shapes are
documentation. While the tests run they are checked (pyproject.toml).

Proof: tests/test_shapes.py.
"""

from typing import TYPE_CHECKING

__all__ = ["Bool", "Float", "Int", "UInt8"]

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Int, UInt8
    except ModuleNotFoundError:

        class _Shaped:
            """Stands for Float[Tensor, "..."]: gives back the tensor type alone."""

            def __class_getitem__(cls, item):
                return item[0]

        Bool = Float = Int = UInt8 = _Shaped
