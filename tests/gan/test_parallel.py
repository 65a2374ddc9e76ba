"""Proof for litgen/gan/parallel.py: each copy against a plain network with its weights."""

import math

import pytest
import torch
from torch import Tensor, nn

from litgen.gan.parallel import StackedMLP, interleave, separate


def plain(stack: StackedMLP, copy: int, x: Tensor) -> Tensor:
    """Return one copy's answer, layer by layer, by torch's own linear layers."""
    if stack.waves.shape[2]:
        angle = torch.stack(
            [sum(row[j] * stack.waves[copy, j] for j in range(x.shape[1])) for row in x]
        )
        x = torch.cat([x, torch.sin(angle), torch.cos(angle)], dim=1)
    for i, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        x = nn.functional.linear(x, weight[copy].T, bias[copy, 0])
        if i < len(stack.weights) - 1:
            x = torch.where(x > 0, x, stack.negative_slope * x)
    return x


@pytest.mark.parametrize(("slope", "waves"), [(0.0, 0.0), (0.2, 0.0), (0.2, 3.0)])
def test_every_copy_is_a_network_of_its_own(slope: float, waves: float) -> None:
    """Row i of the batch is answered by network i mod copies, and by no other."""
    torch.manual_seed(0)
    stack = StackedMLP(3, [2, 7, 5, 1], slope, waves, frequencies=4).double()
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(1)).double()
    got = stack(x)
    assert got.shape == (12, 1)
    for copy in range(3):
        torch.testing.assert_close(got[copy::3], plain(stack, copy, x[copy::3]))
    assert len({round(v, 9) for v in got.flatten().tolist()}) == 12


def test_a_copys_weights_move_only_by_its_own_rows() -> None:
    """The gradient of one row's answer is zero in all the other copies."""
    torch.manual_seed(0)
    stack = StackedMLP(3, [2, 4, 1]).double()
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(1)).double()
    gradients = torch.autograd.grad(stack(x)[4].sum(), list(stack.parameters()))
    for gradient in gradients:
        assert gradient[1].abs().sum() > 0
        assert gradient[0].abs().sum() == gradient[2].abs().sum() == 0


def test_it_starts_like_torchs_linear_layers() -> None:
    """Uniform within 1 / sqrt(inputs), and every copy with weights of its own."""
    torch.manual_seed(0)
    stack = StackedMLP(2, [50, 40, 1], waves=2.0, frequencies=64)
    first = stack.weights[0]
    assert first.shape == (2, 178, 40)
    for parameter, inputs in ((first, 178), (stack.biases[1], 40), (stack.weights[1], 40)):
        assert parameter.abs().max() <= 1 / math.sqrt(inputs)
        assert parameter[0].flatten()[0] != parameter[1].flatten()[0]
    assert first.std().item() == pytest.approx(1 / math.sqrt(3 * 178), rel=0.05)
    assert stack.waves.std().item() == pytest.approx(2, rel=0.05)
    plain = StackedMLP(2, [50, 40, 1], frequencies=64)  # no waves, no inputs for them
    assert plain.weights[0].shape == (2, 50, 40)


def test_batches_are_dealt_out_and_collected() -> None:
    """Rows in turn; separate undoes interleave."""
    parts = [torch.arange(4.0).view(2, 2) + 10 * i for i in range(3)]
    dealt = interleave(parts)
    assert dealt[:, 0].tolist() == [0, 10, 20, 2, 12, 22]
    assert torch.equal(separate(dealt, 3), torch.stack(parts))


def test_what_does_not_fit_is_refused() -> None:
    """Rows left over, no copies, no layers."""
    with pytest.raises(ValueError, match="7 rows for 3"):
        StackedMLP(3, [2, 1])(torch.zeros(7, 2))
    with pytest.raises(ValueError, match="7 rows for 3"):
        separate(torch.zeros(7, 2), 3)
    for copies, sizes in ((0, [2, 1]), (2, [2])):
        with pytest.raises(ValueError, match="at least 1 copy and 2 sizes"):
            StackedMLP(copies, sizes)
