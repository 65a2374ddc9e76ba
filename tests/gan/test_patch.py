"""Proof for litgen/gan/patch.py: the field read off gradients, channels by hand, bad input."""

import inspect

import pytest
import torch
from torch import nn

from litgen.gan import patch
from litgen.gan.patch import Norm, PatchCritic, geometry, receptive_field
from litgen.primer.receptive_field import seen_pixels


@pytest.mark.parametrize(("halvings", "field"), [(0, 1), (1, 16), (2, 34), (3, 70), (5, 286)])
def test_the_paper_s_fields(halvings: int, field: int) -> None:
    """eq:p2p-field gives the paper's 1, 16, 70 and 286 pixels, and 34 between them."""
    layers = geometry(PatchCritic(3, 1, halvings))
    assert receptive_field(layers) == field
    assert len(layers) == (halvings + 2 if halvings else 3)


@pytest.mark.parametrize(("halvings", "side", "field"), [(0, 9, 1), (1, 40, 16), (3, 160, 70)])
def test_a_logit_s_gradient_covers_its_field(halvings: int, side: int, field: int) -> None:
    """eq:p2p-patch: the pixels that move a logit inside are a square of the computed side, and
    the neighbour's square lies as many pixels further as the strides' product."""
    torch.manual_seed(0)
    critic = PatchCritic(2, 4, halvings, norm="none").double()
    x = torch.randn(2, 2, side, side, dtype=torch.float64)

    def rows(place: int) -> list[int]:
        seen = seen_pixels(lambda images: critic(images)[:, None], x, place, place)
        assert torch.equal(seen.any(dim=0), seen.any(dim=1))
        return seen.any(dim=1).nonzero().flatten().tolist()

    middle = critic(x).shape[1] // 2
    first, second = rows(middle), rows(middle + 1)
    assert first == list(range(first[0], first[0] + field))
    assert second[0] - first[0] == 2**halvings
    assert receptive_field(geometry(critic)) == field


def test_what_an_image_s_own_moments_let_in() -> None:
    """With instance normalisation a logit depends on every pixel; with fixed moments it does
    not."""
    torch.manual_seed(0)
    x = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    shares = {}
    for norm in ("instance", "batch"):
        critic = PatchCritic(1, 4, 1, norm=norm).double().eval()  # type: ignore[arg-type]
        seen = seen_pixels(lambda images, c=critic: c(images)[:, None], x, 15, 15)  # type: ignore[misc]
        shares[norm] = seen.double().mean().item()
    assert shares["instance"] > 0.99
    assert shares["batch"] == (16 / 64) ** 2


def test_layers_by_hand() -> None:
    """The paper's C64-C128-C256-C512: kernels, strides, paddings, norms, slopes, every weight."""
    critic = PatchCritic(6, 64, 3)
    assert geometry(critic) == [(4, 2)] * 3 + [(4, 1)] * 2
    convolutions = [m for m in critic.layers if isinstance(m, nn.Conv2d)]
    assert [c.in_channels for c in convolutions] == [6, 64, 128, 256, 512]
    assert convolutions[-1].out_channels == 1
    assert {c.padding for c in convolutions} == {(1, 1)}
    weights = 16 * (6 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    others = 64 + 1 + 2 * (128 + 256 + 512)
    assert sum(p.numel() for p in critic.parameters()) == weights + others
    assert sum(isinstance(m, nn.BatchNorm2d) for m in critic.layers) == 3
    slopes = {m.negative_slope for m in critic.layers if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.2}
    for layer in convolutions:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    pixels = PatchCritic(6, 64, 0)
    assert [m.weight.shape for m in pixels.layers if isinstance(m, nn.Conv2d)] == [
        (64, 6, 1, 1),
        (128, 64, 1, 1),
        (1, 128, 1, 1),
    ]
    deep = [m.out_channels for m in PatchCritic(1, 2, 5).layers if isinstance(m, nn.Conv2d)]
    assert deep == [2, 4, 8, 16, 16, 16, 1]


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("none", nn.Identity)])
def test_where_norms_stand(norm: Norm, kind: type[nn.Module]) -> None:
    """Behind all convolutions but the first and the last; a bias only where no norm takes it."""
    layers = list(PatchCritic(1, 2, 2, norm).layers)
    found = [type(m) for m in layers[1::3]]
    assert found == [nn.Identity, kind, kind]
    biases = [m.bias is not None for m in layers if isinstance(m, nn.Conv2d)]
    assert biases == [True, norm == "none", norm == "none", True]


def test_the_paper_s_critic() -> None:
    """Three halvings from 64 channels of a picture; an image's own moments have gains, too."""
    critic = PatchCritic()
    assert (critic.channels, critic.halvings) == (3, 3)
    assert critic.layers[0].weight.shape == (64, 3, 4, 4)
    learned = [
        sum(p.numel() for p in PatchCritic(1, 2, 2, norm).parameters())  # type: ignore[arg-type]
        for norm in ("batch", "instance")
    ]
    assert learned[0] == learned[1]


def test_maps_of_logits() -> None:
    """Of 32 pixels, 32, 14, 6 and 2 places a side; a condition is the first channels."""
    torch.manual_seed(0)
    x, condition = torch.randn(3, 3, 32, 32), torch.randn(3, 2, 32, 32)
    for halvings, places in enumerate((32, 14, 6, 2)):
        critic = PatchCritic(5, 4, halvings, norm="instance")
        logits = critic(x, condition)
        assert logits.shape == (3, places, places)
        assert logits.std() > 0
        torch.testing.assert_close(critic(torch.cat([condition, x], dim=1)), logits)


def test_what_does_not_fit_is_refused() -> None:
    """Sizes, channels, smallness, and settings of which no critic can be made."""
    critic = PatchCritic(5, 2, 2)
    x = torch.zeros(2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"\(2, 3, 16, 16\), conditions \(2, 2, 16, 12\)"):
        critic(x, torch.zeros(2, 2, 16, 12))
    with pytest.raises(ValueError, match="must agree"):
        critic(x, torch.zeros(3, 2, 16, 16))
    with pytest.raises(ValueError, match="takes 5 channels"):
        critic(x)
    with pytest.raises(ValueError, match="at least 12x12"):
        critic(torch.zeros(2, 5, 11, 16))
    assert critic(torch.zeros(2, 5, 12, 12)).shape == (2, 1, 1)
    assert PatchCritic(5, 2, 0)(torch.zeros(2, 5, 1, 1)).shape == (2, 1, 1)
    for settings in ((0, 2, 2), (3, 0, 2), (3, 2, -1), (3, 2, 2, "batch", 0)):
        with pytest.raises(ValueError, match="cannot have"):
            PatchCritic(*settings)
    with pytest.raises(ValueError, match="unknown norm 'layer'"):
        inspect.unwrap(patch.normalisation)("layer", 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not square"):
        geometry(nn.Conv2d(1, 1, (3, 4)))
    with pytest.raises(ValueError, match=r"stride \(1, 2\): not square"):
        geometry(nn.Conv2d(1, 1, 3, (1, 2)))
