"""Solutions of book/autoencoders/convolutional.md, and what proves them."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from litgen.autoencoders import convolutional


def carefree_sizes(layers: int, up_to: int) -> list[int]:
    """Return the sizes that kernel 4 brings back without output padding."""
    return [n for n in range(1, up_to + 1) if n % 2**layers == 0]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_multiples_of_powers_of_two_need_nothing(layers: int) -> None:
    """eq:cae-missing is zero all the way for these sizes and no others."""
    found = []
    for n in range(2**layers, 50):
        ladder = convolutional.sizes(n, layers, kernel=4)
        if not any(convolutional.missing(size, 4) for size in ladder[:-1]):
            found.append(n)
    assert found == carefree_sizes(layers, 49)


def by_phases(x: Tensor, weight: Tensor) -> Tensor:
    """Compute a transposed convolution (kernel 4, stride 2, padding 1) phase by phase."""
    batch, _, height, width = x.shape
    y = x.new_zeros(batch, weight.shape[1], 2 * height, 2 * width)
    taps = {0: [3, 1], 1: [2, 0]}  # of the earlier and the later neighbour
    for a, b in itertools.product((0, 1), repeat=2):
        kernel = weight[:, :, taps[a]][:, :, :, taps[b]].transpose(0, 1)
        padded = F.pad(x, (1 - b, b, 1 - a, a))
        y[:, :, a::2, b::2] = F.conv2d(padded, kernel)
    return y


def test_phases_are_torchs_transposed_convolution() -> None:
    """Every output pixel, channels and borders included."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, 2, 4, 4, generator=generator, dtype=torch.float64)
    expected = F.conv_transpose2d(x, weight, stride=2, padding=1)
    torch.testing.assert_close(by_phases(x, weight), expected)


def averaged_loss(
    x: Tensor, encoder: Tensor, decoder: Tensor, sigma: float, penalty: float
) -> Tensor:
    """Return the noisy loss of a linear autoencoder, averaged over the noise in closed form."""
    z = x @ encoder.T
    error = (x - z @ decoder.T).square().sum(dim=1)
    return error + sigma**2 * decoder.square().sum() + penalty * z.square().sum(dim=1)


def test_noise_becomes_a_penalty_on_the_decoder() -> None:
    """eq:cae-noisy, averaged over many draws."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    encoder = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    decoder = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    draws = 40_000
    noise = 0.5 * torch.randn(draws, 3, 2, generator=generator, dtype=torch.float64)
    losses = convolutional.noisy_loss(
        x.repeat(draws, 1),
        lambda v: v @ encoder.T,
        lambda z: z @ decoder.T,
        noise.view(-1, 2),
        0.2,
    )
    expected = averaged_loss(x, encoder, decoder, 0.5, 0.2)
    torch.testing.assert_close(losses.view(draws, 3).mean(dim=0), expected, rtol=0.02, atol=0)


def homely_path(codes: Tensor, start: int, end: int, k: int = 8) -> list[int]:
    """Return the codes along the shortest path of squared steps between near neighbours."""
    squares = torch.cdist(codes, codes).square()
    near = squares.topk(k + 1, largest=False).indices
    rows = torch.arange(len(codes))[:, None].expand_as(near)
    weights = squares.gather(1, near).flatten()
    graph = csr_matrix(
        (weights.numpy(), (rows.flatten().numpy(), near.flatten().numpy())),
        shape=(len(codes), len(codes)),
    )
    _, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
    path = [end]
    while path[-1] != start:
        path.append(int(before[path[-1]]))
        if path[-1] < 0:
            raise ValueError(f"no path from {start} to {end}: more neighbours are needed")
    return path[::-1]


def test_the_path_follows_an_arc() -> None:
    """Codes on a horseshoe: the path goes round, where the straight line would cross the gap."""
    turn = torch.linspace(0, 3.0, 60, dtype=torch.float64)
    codes = torch.stack([turn.cos(), turn.sin()], dim=1)
    path = homely_path(codes, 0, 59, k=3)
    steps = (codes[path][1:] - codes[path][:-1]).norm(dim=1)
    assert (path[0], path[-1]) == (0, 59)
    assert len(path) > 20
    assert steps.max() < 0.2
    assert (codes[0] - codes[59]).norm() > 1.9
    apart = torch.cat([codes, codes + 100])
    with pytest.raises(ValueError, match="no path from 0 to 119"):
        homely_path(apart, 0, 119, k=3)
