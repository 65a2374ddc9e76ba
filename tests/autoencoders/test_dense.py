"""Proof for litgen/autoencoders/dense.py: loops over pixels, scikit-learn's PCA, sums by hand."""

import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from litgen.autoencoders import dense, linear


def images(count: int = 30, pixels: int = 12) -> torch.Tensor:
    """Return images with unlike pixels."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.rand(count, 4, generator=generator) @ torch.rand(4, pixels, generator=generator)
    return mixed + 0.1 * torch.rand(count, pixels, generator=generator)


def test_squared_error_sums_over_pixels() -> None:
    """eq:ae-loss by a loop; nothing is averaged."""
    x, y = images(), images().flip(0)
    expected = [
        sum((a - b) ** 2 for a, b in zip(p, q, strict=True))
        for p, q in zip(x.tolist(), y.tolist(), strict=True)
    ]
    assert dense.squared_error(x, y).tolist() == pytest.approx(expected, rel=1e-5)
    assert torch.tensor(expected).std() > 0
    with pytest.raises(ValueError, match=r"data \(30, 12\), reconstruction \(1, 12\)"):
        dense.squared_error(x, y[:1])


def test_a_linear_one_started_at_pca_is_pca() -> None:
    """eq:ae-start and eq:ae-linear: scikit-learn's reconstructions and whitened codes."""
    x = images()
    mean, covariance = linear.moments(x.double())
    directions, variances = linear.principal_directions(covariance, 3)
    model = dense.LinearAutoencoder(12, 3)
    model.start_at(mean.float(), directions.float(), variances.float())
    pca = PCA(3, whiten=True).fit(x.numpy())
    expected = torch.from_numpy(pca.inverse_transform(pca.transform(x.numpy())))
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=0)
        codes = model.encode(x)
    torch.testing.assert_close(codes.var(dim=0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
    assert codes.mean(dim=0).abs().max() < 1e-4
    with pytest.raises(ValueError, match="variances must be positive"):
        model.start_at(mean.float(), directions.float(), torch.tensor([1.0, 0.5, 0.0]))


def test_a_corrected_one_starts_as_its_line_and_then_bends() -> None:
    """eq:ae-corrected: equal to the line at first; one step later not, and every weight moves."""
    torch.manual_seed(0)
    x = images()
    model = dense.CorrectedAutoencoder(12, (8, 6), 3)
    torch.testing.assert_close(model(x), model.line(x))
    torch.testing.assert_close(model.encode(x), model.line.encode(x))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        dense.squared_error(x, model(x)).mean().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.decode(z), model.line.decode(z) + model.bend.decode(z))
    torch.testing.assert_close(model.encode(x), model.line.encode(x) + model.bend.encode(x))
    assert (model(x) - model.line(x)).abs().max() > 1e-3


@pytest.mark.parametrize("hidden", [(7,), (9, 5)])
def test_one_stack_computes_the_sum(hidden: tuple[int, ...]) -> None:
    """eq:ae-parts: line plus bend by one sequence of layers, for codes of any sign."""
    torch.manual_seed(0)
    line, bend = nn.Linear(2, 12), dense.DenseAutoencoder(12, hidden, 2).decode
    z = 3 * torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    stack = dense.single_stack(line, bend)
    kinds = [type(layer) for layer in stack]
    assert kinds == [nn.Linear, nn.ReLU] * len(hidden) + [nn.Linear]
    torch.testing.assert_close(stack(z), line(z) + bend(z), atol=1e-5, rtol=1e-5)
    assert bend(z).std() > 0.01
    with pytest.raises(ValueError, match="ReLU"):
        dense.single_stack(line, nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 12)))
    with pytest.raises(ValueError, match="ReLU"):
        dense.single_stack(line, nn.Sequential(nn.Linear(2, 12)))


def test_shapes_of_the_bent_one() -> None:
    """Codes of the asked width, mirrored layers, no bend at the code or at the image."""
    model = dense.DenseAutoencoder(12, (8, 6), 3, nn.Tanh)
    assert [m.out_features for m in model.encode if isinstance(m, nn.Linear)] == [8, 6, 3]
    assert [m.out_features for m in model.decode if isinstance(m, nn.Linear)] == [6, 8, 12]
    assert [type(m) for m in model.encode].count(nn.Tanh) == 2
    assert isinstance(model.encode[-1], nn.Linear)
    assert isinstance(model.decode[-1], nn.Linear)
    x = images()
    torch.testing.assert_close(model(x), model.decode(model.encode(x)))
    for sizes in ((0, 3), (12, 0)):
        with pytest.raises(ValueError, match="positive"):
            dense.LinearAutoencoder(*sizes)
