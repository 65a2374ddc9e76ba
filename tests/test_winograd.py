"""Proof for litgen/winograd.py: equal to torch's convolution, and to its gradients."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from litgen import winograd
from litgen.winograd import Conv3x3

SIDES = [(1, 1), (4, 4), (5, 9), (13, 18), (16, 3), (33, 21)]


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in double precision."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(inputs: int = 64, outputs: int = 80, bias: bool = True, padding: int = 1) -> Conv3x3:
    """Return a wide layer in double precision."""
    torch.manual_seed(2)
    return Conv3x3(inputs, outputs, padding, bias).double()


def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that says after each call which way was taken."""
    ways: list[str] = []
    theirs, ours = nn.Conv2d.forward, winograd.convolve

    def direct(self: nn.Conv2d, x: Tensor) -> Tensor:
        ways.append("direct")
        return theirs(self, x)

    def by_tiles(x: Tensor, matrices: Tensor, padding: int = 1) -> Tensor:
        ways.append("tiles")
        return ours(x, matrices, padding)

    monkeypatch.setattr(nn.Conv2d, "forward", direct)
    monkeypatch.setattr(winograd, "convolve", by_tiles)
    return ways


def test_four_results_of_three_weights() -> None:
    """eq:unet-winograd: A ((G w) * (B d)) is a sliding sum, for unit weights and inputs."""
    into, of, back = (
        torch.tensor(m, dtype=torch.float64) for m in (winograd.B, winograd.G, winograd.A)
    )
    for i, j in itertools.product(range(6), range(3)):
        d, w = torch.eye(6, dtype=torch.float64)[i], torch.eye(3, dtype=torch.float64)[j]
        expected = d.unfold(0, 3, 1) @ w
        torch.testing.assert_close(back @ ((of @ w) * (into @ d)), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", SIDES)
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("cached", [1, winograd.CACHED])
def test_it_is_a_convolution(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], padding: int, cached: int
) -> None:
    """eq:unet-winograd: sides that four does not divide included; bands of tiles or all."""
    monkeypatch.setattr(winograd, "CACHED", cached)
    if min(size) + 2 * padding < 3:
        with pytest.raises(ValueError, match="padding 0 leave nothing"):
            winograd.convolve(noise(1, 5, *size), noise(36, 5, 7), padding)
        return
    x = noise(3, 5, *size).requires_grad_()
    w = noise(7, 5, 3, 3, seed=1).requires_grad_()
    found = winograd.convolve(x, winograd.of_weights(w), padding)
    expected = nn.functional.conv2d(x, w, padding=padding)
    torch.testing.assert_close(found, expected)
    weights = noise(*expected.shape, seed=3)
    for mine, theirs in zip(
        torch.autograd.grad(found, (x, w), weights),
        torch.autograd.grad(expected, (x, w), weights),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_many_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """More tiles than a band takes, in images and within one: each place is visited once."""
    for batch, side in ((3, 80), (20, 12), (2, 200)):
        x, w = noise(batch, 2, side, side).requires_grad_(), noise(2, 2, 3, 3).requires_grad_()
        monkeypatch.setattr(winograd, "CACHED", 1)
        squares = winograd.tiles(torch.zeros(batch, 2, side, side, dtype=torch.float64), 4)
        places = list(winograd.bands(squares))
        assert len(places) > 1
        for place in places:
            squares[place] += 1
            assert squares[0, 0][place[2:]][..., 0].numel() <= 64
        assert bool((squares == 1).all())
        found = winograd.convolve(x, winograd.of_weights(w))
        expected = nn.functional.conv2d(x, w, padding=1)
        torch.testing.assert_close(found, expected)
        mine = torch.autograd.grad(found.square().sum(), (x, w))
        torch.testing.assert_close(mine, torch.autograd.grad(expected.square().sum(), (x, w)))


def test_bands_fill_the_cache() -> None:
    """Of 64 channels twice as many tiles are taken as of 128, and never fewer than 64."""
    for channels, expected in ((64, 128), (128, 64), (512, 64), (16, 512)):
        squares = torch.empty(1, 1, 1, 64, 16, channels, device="meta")
        first = next(winograd.bands(squares))
        assert squares[first][0, 0, 0, :, :, 0].numel() == expected


def test_single_precision_loses_two_digits() -> None:
    """Sums of products in other coordinates: the error is below 1e-5 of the results' size."""
    x, w = noise(2, 64, 32, 32), noise(64, 64, 3, 3, seed=1)
    expected = nn.functional.conv2d(x, w, padding=1)
    found = winograd.convolve(x.float(), winograd.of_weights(w.float()))
    assert 0 < float((found - expected).square().mean() / expected.square().mean()) < 1e-10


def test_a_gradient_is_not_differentiated_again() -> None:
    """It says so instead of returning a wrong one."""
    x = noise(1, 2, 8, 8).requires_grad_()
    found = winograd.convolve(x, winograd.of_weights(noise(2, 2, 3, 3).requires_grad_()))
    (once,) = torch.autograd.grad(found.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        once.sum().backward()


def test_shapes_that_do_not_fit() -> None:
    """One line says what was given."""
    x = noise(1, 2, 8, 8)
    for wrong in (noise(36, 3, 2), noise(16, 2, 2)):
        with pytest.raises(ValueError, match=r"matrices \(\d+, \d, 2\) do not fit images \(1, 2"):
            winograd.convolve(x, wrong)
    with pytest.raises(ValueError, match="padding -1 leave nothing"):
        winograd.convolve(x, noise(36, 2, 2), -1)


# the layer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [0, 1])
def test_the_layer(monkeypatch: pytest.MonkeyPatch, bias: bool, padding: int) -> None:
    """It takes the way of tiles and gives what torch's layer gives, all gradients included."""
    net = layer(bias=bias, padding=padding)
    usual = nn.Conv2d(64, 80, 3, padding=padding, bias=bias).double()
    usual.load_state_dict(net.state_dict())
    x = noise(2, 64, 26, 30).requires_grad_()
    expected = usual(x)
    ways = count(monkeypatch)
    found = net(x)
    assert ways == ["tiles"]
    torch.testing.assert_close(found, expected)
    mine = torch.autograd.grad(found.square().sum(), (x, *net.parameters()))
    theirs = torch.autograd.grad(expected.square().sum(), (x, *usual.parameters()))
    torch.testing.assert_close(mine, theirs)


def test_the_layers_settings() -> None:
    """Padded by one and with a bias unless told otherwise; no state besides torch's."""
    net = Conv3x3(2, 3)
    assert net(torch.zeros(1, 2, 5, 6)).shape == (1, 3, 5, 6)
    assert list(net.state_dict()) == ["weight", "bias"]


def test_which_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles where the layer is wide, the numbers full and the tiles 64: 1024 pixels."""
    ways = count(monkeypatch)
    wide, x = layer().float(), noise(1, 64, 32, 32).float()
    wide(x)
    wide(x[..., :31])
    layer(63, 64).float()(x[:, :63])
    layer(64, 63).float()(x)
    with torch.autocast("cpu", torch.bfloat16):
        wide(x)
    layer().bfloat16()(x.bfloat16())
    wide.to("meta")(x.to("meta"))
    assert ways == ["tiles"] + 6 * ["direct"]


def test_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared for inference it needs 16 tiles; what is prepared is forgotten when it trains."""
    net = layer().eval()
    x = noise(1, 64, 16, 16)
    expected = net(x)
    ways = count(monkeypatch)
    net.prepare()
    torch.testing.assert_close(net(x), expected)
    net(x[..., :15])
    with monkeypatch.context() as patch:
        patch.setattr(winograd, "of_weights", lambda weight: pytest.fail("changed again"))
        net(x)
    assert net.eval().matrices is not None
    assert "matrices" not in net.state_dict()
    net.train()
    assert net.training
    assert net.matrices is None
    with torch.no_grad():
        net.weight.mul_(2)
    net(x)
    assert ways == ["tiles", "direct", "tiles", "direct"]
    for other in (layer(63), layer().bfloat16()):
        other.prepare()
        assert other.matrices is None
