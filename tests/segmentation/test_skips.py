"""Proof for litgen/segmentation/skips.py: closed forms in autograd, finite differences, counts."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from litgen.segmentation import paths, scores, skips
from litgen.segmentation.skips import VARIANTS, SkipNet

NAMES = sorted(VARIANTS)


def net(variant: str, seed: int = 0, **sizes: int | float | bool | None) -> SkipNet:
    """Return a small network of doubles; without normalisation unless told otherwise."""
    torch.manual_seed(seed)
    has = VARIANTS[variant]
    settings = {"width": 4, "levels": 2, "blocks": 2, "norm": False} | sizes
    return SkipNet(long=has.long, short=has.short, **settings).double()  # type: ignore[arg-type]


def scalar(variant: str, slope: float, **sizes: int) -> SkipNet:
    """Return a network of one channel whose every block multiplies what is positive."""
    model = net(variant, width=1, **sizes)
    with torch.no_grad():
        for conv in model.convolutions():
            conv.weight.zero_()
            middle = conv.kernel_size[0] // 2
            conv.weight[:, :, middle, middle] = slope
            conv.bias.zero_()  # type: ignore[union-attr]
        for conv in (model.first, model.last):
            conv.weight /= slope
    return model


@pytest.mark.parametrize("variant", NAMES)
def test_the_network_has_the_slopes_of_the_closed_form(variant: str) -> None:
    """eq:skips-u, eq:skips-block, eq:skips-long: autograd through a network of one number."""
    has, levels, blocks, slope = VARIANTS[variant], 3, 2, 0.4
    model = scalar(variant, slope, levels=levels, blocks=blocks)
    image = torch.full((2, 1, 16, 8), 1.3, dtype=torch.float64)
    found = [grad.sum().item() for grad in skips.layer_gradients(model, image)]
    expected = paths.u_profile(slope, levels, blocks, has.long, has.short)
    assert found == pytest.approx(expected.tolist(), rel=1e-9)
    assert len({round(value, 9) for value in found}) > blocks * levels


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("variant", NAMES)
def test_only_long_skips_lead_around_the_middle(variant: str, norm: bool) -> None:
    """eq:skips-around: exactly zero without them, whatever else there is; not zero with them."""
    model = net(variant, norm=norm)
    x = torch.randn(3, 1, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = torch.autograd.grad(model(x.requires_grad_()).sum(), x)[0]
    assert whole.abs().max() > 0
    left = skips.around(model, x)
    assert (left.abs().max() > 0) == VARIANTS[variant].long
    assert left.shape == x.shape
    assert not any(part._forward_hooks for part in model.modules())


def test_what_goes_around_is_what_a_small_change_does() -> None:
    """eq:skips-around: finite differences through a copy whose middle is multiplied by zero."""
    model = net("both")
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = skips.around(model, x)

    class Silent(torch.nn.Module):
        """Says nothing."""

        def forward(self, h: Tensor) -> Tensor:
            """Return zeros."""
            return 0 * h

    model.stages[2] = torch.nn.Sequential(Silent())
    with torch.no_grad():
        for i, j in ((0, 0), (1, 2), (3, 3)):
            up, down = x.clone(), x.clone()
            up[0, 0, i, j] += 1e-6
            down[0, 0, i, j] -= 1e-6
            slope = (model(up).sum() - model(down).sum()).item() / 2e-6
            assert found[0, 0, i, j].item() == pytest.approx(slope, abs=1e-7)
    assert found.std() > 0


def test_frozen_networks_have_a_way_around_too() -> None:
    """Restored networks ask for no gradients of their weights."""
    x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    frozen = {name: net(name).requires_grad_(False) for name in ("long", "none")}
    assert skips.around(frozen["long"], x).abs().max() > 0
    assert skips.around(frozen["none"], x).abs().max() == 0


@pytest.mark.parametrize("variant", NAMES)
def test_gradients_are_those_of_finite_differences(variant: str) -> None:
    """A detached skip would pass every forward test: the image's gradient must be the slope."""
    model = net(variant, gain=1.0)
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (found,) = torch.autograd.grad(model(x.requires_grad_()).mean(), x)
    way = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        change = (model(x + 1e-6 * way) - model(x - 1e-6 * way)).mean().item() / 2e-6
    assert (found * way).sum().item() == pytest.approx(change, rel=1e-5, abs=1e-12)


def by_hand(model: SkipNet, x: Tensor, long: bool, short: bool) -> Tensor:
    """Compute a network of two levels with one block a stage, written out line by line."""
    convs = [(c.weight, c.bias) for c in model.convolutions()]

    def block(h: Tensor, i: int) -> Tensor:
        y = F.conv2d(h.clamp_min(0), *convs[i], padding=1)
        return h + y if short else y

    fine = block(F.conv2d(x, *convs[0], padding=1), 1)
    half = block(fine.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5)), 2)
    low = block(half.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5)), 3)
    grown = low.repeat_interleave(2, 2).repeat_interleave(2, 3)
    grown = block(grown + half if long else grown, 4).repeat_interleave(2, 2)
    grown = grown.repeat_interleave(2, 3)
    return F.conv2d(block(grown + fine if long else grown, 5).clamp_min(0), *convs[6])


@pytest.mark.parametrize("variant", NAMES)
def test_the_network_written_out(variant: str) -> None:
    """eq:skips-block, eq:skips-long: stage by stage, with maxima and copies of pixels."""
    model = net(variant, blocks=1)
    x = torch.randn(2, 1, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    has = VARIANTS[variant]
    torch.testing.assert_close(model(x), by_hand(model, x, has.long, has.short))
    states = model.states(x)
    assert [tuple(s.shape[2:]) for s in states] == [
        *((8, 12), (8, 12), (4, 6), (2, 3), (4, 6), (8, 12), (8, 12))
    ]
    assert len(model.blocks()) == 5
    assert len(model.convolutions()) == 7


def test_normalisation_comes_first_and_is_that_of_torch() -> None:
    """eq:skips-block: convolution of the rectified, normalised input."""
    torch.manual_seed(0)
    block = skips.Block(3, short=True, norm=True).double()
    x = 2 + torch.randn(5, 3, 4, 4, dtype=torch.float64)
    z = (x - x.mean(dim=(0, 2, 3), keepdim=True)) / torch.sqrt(
        x.var(dim=(0, 2, 3), unbiased=False, keepdim=True) + 1e-5
    )
    expected = x + F.conv2d(z.clamp_min(0), block.conv.weight, block.conv.bias, padding=1)
    torch.testing.assert_close(block(x), expected)


def test_the_last_layer_normalises_too() -> None:
    """What the last block says is normalised and rectified before it becomes logits."""
    model = net("both", norm=True)
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    said = model.states(x)
    z = F.batch_norm(said[-2], None, None, training=True).clamp_min(0)
    torch.testing.assert_close(said[-1], F.conv2d(z, model.last.weight, model.last.bias))


def test_the_weights_of_the_logits_are_those_given() -> None:
    """Gradients in the layers: autograd of the weighted sum, and of the mean if none are given."""
    model = net("both")
    draw = torch.Generator().manual_seed(9)
    x, pull = torch.randn(2, 1, 1, 8, 8, dtype=torch.float64, generator=draw)
    *layers, logits = model.states(x)
    for given, total in ((pull, (logits * pull).sum()), (None, logits.mean())):
        expected = torch.autograd.grad(total, layers, retain_graph=True)
        torch.testing.assert_close(skips.layer_gradients(model, x, given), list(expected))


def test_all_variants_have_the_same_weights() -> None:
    """Names, shapes and, from the same seed, values: only the wiring differs."""
    states = [net(name, norm=True).state_dict() for name in NAMES]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        for key in state:
            assert torch.equal(state[key], states[0][key])


def test_a_gain_is_what_the_weights_have() -> None:
    """eq:skips-gain: blocks start with it, the outer convolutions as PyTorch has them."""
    model, plain = (net("both", width=32, gain=g) for g in (0.7, None))
    for block, other in zip(model.blocks(), plain.blocks(), strict=True):
        assert paths.convolution_gain(block.conv.weight) == pytest.approx(0.7, rel=0.06)
        assert paths.convolution_gain(other.conv.weight) == pytest.approx(1 / 6, rel=0.06)
    assert torch.equal(model.first.weight, plain.first.weight)
    assert all(b.conv.weight.abs().max() == 0 for b in net("both", gain=0.0).blocks())


def test_mean_squares_follow_the_gain() -> None:
    """eq:skips-u for mean squares: random networks, averaged over starts, large images."""
    draw = torch.Generator().manual_seed(6)
    x, pull = torch.randn(2, 2, 1, 32, 32, dtype=torch.float64, generator=draw)
    for variant, gain in (("none", 0.5), ("both", 0.3)):
        has = VARIANTS[variant]
        expected = paths.u_profile(gain, 1, 2, has.long, has.short)
        total = torch.zeros(7, dtype=torch.float64)
        for seed in range(12):
            model = net(variant, seed, width=16, levels=1, gain=gain)
            for conv in model.convolutions():
                torch.nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            total += torch.stack([g.square().sum() for g in skips.layer_gradients(model, x, pull)])
        ratio = total / total[-1] / expected * expected[-1]
        assert ratio.log().abs().max() < math.log(1.6), variant


@pytest.mark.parametrize("removed", range(10))
def test_a_block_is_taken_out(removed: int) -> None:
    """The copy passes on what came in; the network itself stays whole."""
    model = net("both")
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    before = model(x)
    cut = skips.without(model, removed)
    torch.nn.init.zeros_(model.blocks()[removed].conv.weight)  # a residual block that adds nothing
    torch.nn.init.zeros_(model.blocks()[removed].conv.bias)  # type: ignore[arg-type]
    torch.testing.assert_close(cut(x), model(x))
    assert not torch.allclose(cut(x), before)
    with pytest.raises(ValueError, match="there are 10 blocks, 0 to 9, not 10"):
        skips.without(model, 10)


def test_a_point_stays_in_its_place() -> None:
    """A skip that is shifted by a pixel moves what it carries: here nothing else carries."""
    model = scalar("long", 1.0, levels=2, blocks=1)
    image = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    image[0, 0, 5, 2] = 1
    out = model(image)
    assert (out == out.max()).nonzero().tolist() == [[0, 0, 5, 2]]


def test_a_fresh_block_adds_nothing_on_average() -> None:
    """eq:skips-block: a rectifier after the convolution would make every block add."""
    x = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(8))
    torch.manual_seed(0)
    said = torch.stack([skips.Block(8, True, False)(x) - x for _ in range(200)])
    assert abs(said.mean().item()) < 0.1 * said.std().item()


@pytest.mark.usefixtures("unchecked")
def test_maps_that_do_not_fit_are_refused() -> None:
    """Also those that a sum would broadcast, and images that cannot be halved."""
    with pytest.raises(ValueError, match=r"\(1, 4, 1, 1\) does not fit maps of \(1, 4, 2, 2\)"):
        skips.added(torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 1, 1))
    for shape in ((1, 1, 10, 8), (1, 1, 8, 6), (1, 1, 0, 8)):
        with pytest.raises(ValueError, match="multiples of 4"):
            net("both")(torch.zeros(shape, dtype=torch.float64))
    for sizes in ({"width": 0}, {"levels": 0}, {"blocks": 0}, {"gain": -0.1}):
        with pytest.raises(ValueError, match="must be positive, a gain not negative"):
            net("both", **sizes)


def test_dice_by_hand() -> None:
    """eq:skips-dice: of two maps drawn by hand; and 2 J / (1 + J) of the cells' IoU."""
    truth = torch.tensor([[0, 1, 1], [0, 1, 0]])
    found = torch.tensor([[0, 1, 0], [1, 1, 0]])
    counts = scores.confusion(truth, found, 2)
    assert skips.dice(counts) == pytest.approx(2 * 2 / (3 + 3))
    counts = torch.tensor([[50, 7], [11, 30]])
    iou = scores.class_ious(counts)[1].item()
    assert skips.dice(counts) == pytest.approx(2 * iou / (1 + iou))
    assert skips.dice(counts) == pytest.approx(60 / (60 + 7 + 11))


def test_variants_are_all_four() -> None:
    """Each once."""
    assert VARIANTS["both"] == (True, True)
    assert VARIANTS["long"] == (True, False)
    assert VARIANTS["short"] == (False, True)
    assert VARIANTS["none"] == (False, False)
