"""Slow, obvious judges. They import torch, numpy, scipy and math, and never litgen."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import scipy.optimize
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

Function = Callable[[Tensor], Tensor]


def integrate(f: Function, low: float, high: float, nodes: int = 4001) -> Tensor:
    """Integrate f over an interval by the trapezoid rule; f maps (nodes,) to (nodes, ...)."""
    x = torch.linspace(low, high, nodes, dtype=torch.float64)
    return torch.trapezoid(f(x), x, dim=0)


def integrate_plane(f: Function, extent: float, nodes: int = 401) -> Tensor:
    """Integrate f over the square from -extent to extent; f maps (n, 2) to (n,)."""
    axis = torch.linspace(-extent, extent, nodes, dtype=torch.float64)
    values = f(torch.cartesian_prod(axis, axis)).view(nodes, nodes)
    return torch.trapezoid(torch.trapezoid(values, axis, dim=1), axis, dim=0)


def kl_by_quadrature(p: Normal, q: Normal) -> Tensor:
    """Integrate p (log p - log q) for one-dimensional distributions."""
    low, high = (p.mean - 14 * p.stddev).item(), (p.mean + 14 * p.stddev).item()
    return integrate(lambda x: p.log_prob(x).exp() * (p.log_prob(x) - q.log_prob(x)), low, high)


def normal_nodes(dims: int, nodes: int = 12) -> tuple[Tensor, Tensor]:
    """Return points (n, dims) and weights (n,) that average over N(0, I).

    Gauss-Hermite: exact for polynomials of degree below twice the nodes of an axis.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    axes = list(itertools.product(range(nodes), repeat=dims))
    grid = [[points[i] for i in index] for index in axes]
    product = [math.prod(weights[i] / math.sqrt(2 * math.pi) for i in index) for index in axes]
    return torch.tensor(grid, dtype=torch.float64), torch.tensor(product, dtype=torch.float64)


def log_mean_exp(values: list[float]) -> float:
    """Return log of the mean of exp(values), one after the other, summed without rounding."""
    largest = max(values)
    return largest + math.log(math.fsum(math.exp(v - largest) for v in values) / len(values))


def all_binary(pixels: int) -> Tensor:
    """Return all 2^pixels binary images, (2^pixels, pixels)."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=pixels)), dtype=torch.float64)


def grey_levels() -> Tensor:
    """Return the 256 grey values of 8-bit images, from 0 to 1."""
    return torch.arange(256, dtype=torch.float64) / 255


def logistic_bins(mean: float, scale: float) -> np.ndarray:
    """Return a logistic's mass in each of 256 bins, by differences of scipy's cdf.

    Where the upper tail would cancel, differences of its survival function.
    """
    edges = (np.arange(1, 256) - 0.5) / 255
    below = np.concatenate([[0.0], scipy.stats.logistic.cdf(edges, mean, scale), [1.0]])
    above = np.concatenate([[1.0], scipy.stats.logistic.sf(edges, mean, scale), [0.0]])
    return np.where(below[1:] < 0.5, np.diff(below), -np.diff(above))


def central_difference(f: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5) -> Tensor:
    """Return the gradient of a scalar function, one coordinate at a time."""
    gradient = torch.zeros_like(x)
    for index in itertools.product(*map(range, x.shape)):
        nudge = torch.zeros_like(x)
        nudge[index] = step
        gradient[index] = (f(x + nudge) - f(x - nudge)) / (2 * step)
    return gradient


class JointGaussian:
    """The joint law of (z, x) for z ~ N(0, I), x = W z + b + sigma noise, conditioned by blocks.

    Its covariance is [[I, W^T], [W, W W^T + sigma^2 I]]; the evidence is the lower block, the
    posterior its Schur complement.
    """

    def __init__(self, weight: Tensor, bias: Tensor, scale: float):
        pixels, self.latent = weight.shape
        self.bias = bias
        top = torch.cat([torch.eye(self.latent, dtype=weight.dtype), weight.T], dim=1)
        noise = scale**2 * torch.eye(pixels, dtype=weight.dtype)
        self.cov = torch.cat([top, torch.cat([weight, weight @ weight.T + noise], dim=1)])
        mean = torch.cat([torch.zeros(self.latent, dtype=weight.dtype), bias])
        self.joint = MultivariateNormal(mean, self.cov)

    def evidence(self) -> MultivariateNormal:
        """Return the law of x."""
        return MultivariateNormal(self.bias, self.cov[self.latent :, self.latent :])

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """Return the law of z given each row of x."""
        k = self.latent
        gain = self.cov[:k, k:] @ torch.linalg.inv(self.cov[k:, k:])
        cov = self.cov[:k, :k] - gain @ self.cov[k:, :k]
        return MultivariateNormal((x - self.bias) @ gain.T, (cov + cov.T) / 2)


def diagonal_normal(mean: Tensor, log_var: Tensor) -> MultivariateNormal:
    """Return N(mean, diag(exp(log_var))) as a full Gaussian."""
    return MultivariateNormal(mean, torch.diag_embed(log_var.exp()))


def convolve(image: Tensor, kernel: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    """Cross-correlate (channels, height, width) with (outputs, channels, k, k), pixel by pixel."""
    outputs, _, size, _ = kernel.shape
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=image.dtype)
    padded[:, padding : padding + height, padding : padding + width] = image
    rows = (height + 2 * padding - size) // stride + 1
    columns = (width + 2 * padding - size) // stride + 1
    result = torch.zeros(outputs, rows, columns, dtype=image.dtype)
    for o, i, j in itertools.product(range(outputs), range(rows), range(columns)):
        window = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
        result[o, i, j] = (window * kernel[o]).sum() + bias[o]
    return result


def group_norm(image: Tensor, groups: int, weight: Tensor, bias: Tensor) -> Tensor:
    """Normalise each group of channels of (channels, height, width) to mean 0 and variance 1."""
    result = torch.empty_like(image)
    size = len(image) // groups
    for group in range(groups):
        part = image[group * size : (group + 1) * size]
        variance = ((part - part.mean()) ** 2).mean()
        result[group * size : (group + 1) * size] = (part - part.mean()) / (variance + 1e-5).sqrt()
    return result * weight[:, None, None] + bias[:, None, None]


def ppca_em_by_sums(x: Tensor, weight: Tensor, noise_var: float) -> tuple[Tensor, float]:
    """Return weight and noise after one EM step of probabilistic PCA, one datum after the other.

    The E step conditions the joint Gaussian, the M step solves the normal equations of a
    regression of the data on their codes.
    """
    dims, latent = weight.shape
    mean = x.mean(dim=0)
    law = JointGaussian(weight, mean, noise_var**0.5)
    left = torch.zeros(dims, latent, dtype=x.dtype)
    right = torch.zeros(latent, latent, dtype=x.dtype)
    codes = []
    for row in x:
        posterior = law.posterior(row)
        second = posterior.covariance_matrix + torch.outer(posterior.mean, posterior.mean)
        codes.append((posterior.mean, second))
        left += torch.outer(row - mean, posterior.mean)
        right += second
    new = left @ torch.linalg.inv(right)
    squares = 0.0
    for row, (first, second) in zip(x, codes, strict=True):
        d = row - mean
        squares += (d @ d - 2 * first @ new.T @ d + torch.trace(second @ new.T @ new)).item()
    return new, squares / (len(x) * dims)


def mixture_step(
    x: Tensor, weights: Tensor, means: Tensor, covariances: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Take one step of EM, datum by datum; return responsibilities and new parameters."""
    count, components = len(x), len(weights)
    posterior = torch.zeros(count, components, dtype=x.dtype)
    for i, c in itertools.product(range(count), range(components)):
        density = scipy.stats.multivariate_normal(means[c].numpy(), covariances[c].numpy())
        posterior[i, c] = weights[c] * density.pdf(x[i].numpy())
    for i in range(count):
        posterior[i] = posterior[i] / posterior[i].sum()
    new_weights, new_means = torch.zeros_like(weights), torch.zeros_like(means)
    new_covariances = torch.zeros_like(covariances)
    for c in range(components):
        total = sum(posterior[i, c] for i in range(count))
        new_weights[c] = total / count
        for i in range(count):
            new_means[c] += posterior[i, c] * x[i] / total
        for i in range(count):
            apart = x[i] - new_means[c]
            new_covariances[c] += posterior[i, c] * torch.outer(apart, apart) / total
    return posterior, new_weights, new_means, new_covariances


def negative_sampling_loss(
    centre: list[float], context: list[float], negatives: list[list[float]]
) -> float:
    """Return skip-gram's loss of one pair, number by number."""

    def log_logistic(x: float) -> float:
        return -math.log1p(math.exp(-x))

    def product(a: list[float], b: list[float]) -> float:
        total = 0.0
        for p, q in zip(a, b, strict=True):
            total += p * q
        return total

    total = -log_logistic(product(context, centre))
    for negative in negatives:
        total -= log_logistic(-product(negative, centre))
    return total


def reliability_by_loops(label: Tensor, logits: Tensor, bins: int) -> tuple[Tensor, ...]:
    """Return count, mean confidence and accuracy of each bin (i/bins, (i+1)/bins]."""
    rows: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for true, row in zip(label.tolist(), logits.double(), strict=True):
        weights = [math.exp(v - max(row.tolist())) for v in row.tolist()]
        best = max(range(len(weights)), key=lambda c: weights[c])
        confidence = weights[best] / math.fsum(weights)
        i = next(i for i in range(bins) if confidence <= (i + 1) / bins or i == bins - 1)
        rows[i].append((confidence, best == true))
    columns = [
        [float(len(row)) for row in rows],
        [math.fsum(c for c, _ in row) / max(len(row), 1) for row in rows],
        [math.fsum(r for _, r in row) / max(len(row), 1) for row in rows],
    ]
    return tuple(torch.tensor(column, dtype=torch.float64) for column in columns)


def momentum_radius(rate: float, momentum: float, curvature: float, nesterov: bool) -> float:
    """Return the spectral radius of one step of momentum on (x, sum of gradients)."""
    buffer = np.array([curvature, momentum])
    moved = curvature * np.array([1.0, 0.0]) + momentum * buffer if nesterov else buffer
    step = np.stack([np.array([1.0, 0.0]) - rate * moved, buffer])
    return float(np.abs(np.linalg.eigvals(step)).max())


def convolve_window(
    image: Tensor, kernel: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """Convolve (channels, height, width) with (outputs, channels, rows, columns), term by term.

    Six loops; a pixel outside the image is worth zero.
    """
    outputs, channels, rows, columns = kernel.shape
    _, height, width = image.shape
    out_height = len(range(-padding, height + padding - dilation * (rows - 1), stride))
    out_width = len(range(-padding, width + padding - dilation * (columns - 1), stride))
    y = torch.zeros(outputs, out_height, out_width, dtype=image.dtype)
    for o, u, v in itertools.product(range(outputs), range(out_height), range(out_width)):
        for c, i, j in itertools.product(range(channels), range(rows), range(columns)):
            r, s = u * stride - padding + i * dilation, v * stride - padding + j * dilation
            if 0 <= r < height and 0 <= s < width:
                y[o, u, v] += kernel[o, c, i, j] * image[c, r, s]
    return y


def matrix_of(f: Function, shape: tuple[int, ...]) -> Tensor:
    """Return the matrix of a linear map, one basis vector at a time; rows are outputs."""
    size = math.prod(shape)
    basis = torch.eye(size, dtype=torch.float64).view(size, *shape)
    return torch.stack([f(vector).flatten() for vector in basis], dim=1)


def transport_critic(
    real: np.ndarray, fake: np.ndarray
) -> tuple[Callable[[np.ndarray], float], list[int], float]:
    """Return a critic of slope at most 1 that gains most between two sets of n points each.

    By linear programming over its values at the 2n points, carried on as steeply as allowed from
    the data downwards; with it the partner of each sample, and the distance.
    """
    points, n = np.concatenate([real, fake]), len(real)
    rows, limits = [], []
    for i, j in itertools.permutations(range(2 * n), 2):
        row = np.zeros(2 * n)
        row[i], row[j] = 1, -1
        rows.append(row)
        limits.append(float(np.linalg.norm(points[i] - points[j])))
    gain = np.concatenate([np.full(n, 1 / n), np.full(n, -1 / n)])
    bounds = [(0, 0)] + [(None, None)] * (2 * n - 1)
    best = scipy.optimize.linprog(-gain, np.array(rows), limits, bounds=bounds)
    cost = [[float(np.linalg.norm(x - y)) for x in real] for y in fake]
    partner = scipy.optimize.linear_sum_assignment(cost)[1].tolist()

    def critic(x: np.ndarray) -> float:
        far = np.linalg.norm(real - x, axis=1)
        return float((best.x[:n] - far).max())

    return critic, partner, float(-best.fun)


def transposed_ones(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Spread each pixel over the places that a kernel of ones reaches, one tap after the other."""
    rows, columns = ((n - 1) * stride - 2 * padding + kernel for n in x.shape)
    y = torch.zeros(rows, columns, dtype=x.dtype)
    for i, j in itertools.product(*map(range, x.shape)):
        for a, b in itertools.product(range(kernel), repeat=2):
            r, c = i * stride - padding + a, j * stride - padding + b
            if 0 <= r < rows and 0 <= c < columns:
                y[r, c] += x[i, j]
    return y


def transport_program(p: np.ndarray, q: np.ndarray, cost: np.ndarray) -> tuple[float, np.ndarray]:
    """Return value and plan of the cheapest transport, by scipy's linear programming."""
    n, m = cost.shape
    rows = [[1.0 if k // m == i else 0.0 for k in range(n * m)] for i in range(n)]
    columns = [[1.0 if k % m == j else 0.0 for k in range(n * m)] for j in range(m)]
    bounds = np.concatenate([p, q])
    found = scipy.optimize.linprog(cost.ravel(), A_eq=np.array(rows + columns), b_eq=bounds)
    return float(found.fun), found.x.reshape(n, m)


def price_program(p: np.ndarray, q: np.ndarray, cost: np.ndarray) -> float:
    """Return the most that prices f_i + g_j <= cost_ij earn, by scipy's linear programming."""
    n, m = cost.shape
    rows, limits = [], []
    for i, j in itertools.product(range(n), range(m)):
        rows.append([float(k in (i, n + j)) for k in range(n + m)])
        limits.append(cost[i, j])
    earn = -np.concatenate([p, q])
    found = scipy.optimize.linprog(earn, A_ub=np.array(rows), b_ub=limits, bounds=(None, None))
    return -float(found.fun)


def painted_tents(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Enlarge maps by adding a tent for every unit, pixel by pixel (eq:fcn-upsampling)."""
    height, width = x.shape[2:]
    y = x.new_zeros(*x.shape[:2], height * factor, width * factor)
    for r in range(y.shape[2]):
        for s in range(y.shape[3]):
            for u in range(height):
                for v in range(width):
                    down = abs((r + 0.5) / factor - 0.5 - u)
                    across = abs((s + 0.5) / factor - 0.5 - v)
                    if down < 1 and across < 1:
                        y[:, :, r, s] += (1 - down) * (1 - across) * x[:, :, u, v]
    return y


def between_neighbours(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Interpolate bilinearly between the nearest units; beyond the last one, repeat it."""
    height, width = x.shape[2:]
    y = x.new_zeros(*x.shape[:2], height * factor, width * factor)
    for r in range(y.shape[2]):
        for s in range(y.shape[3]):
            a = min(max((r + 0.5) / factor - 0.5, 0.0), height - 1.0)
            b = min(max((s + 0.5) / factor - 0.5, 0.0), width - 1.0)
            u, v = min(int(a), max(height - 2, 0)), min(int(b), max(width - 2, 0))
            below, right = min(u + 1, height - 1), min(v + 1, width - 1)
            top = (1 - (b - v)) * x[:, :, u, v] + (b - v) * x[:, :, u, right]
            bottom = (1 - (b - v)) * x[:, :, below, v] + (b - v) * x[:, :, below, right]
            y[:, :, r, s] = (1 - (a - u)) * top + (a - u) * bottom
    return y


def pooled_by_loops(image: Tensor, window: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the maxima of an image's windows and their flat places, window after window.

    Windows do not overlap; those that reach beyond the image end with it.
    """
    height, width = image.shape
    tops, lefts = range(0, height, window[0]), range(0, width, window[1])
    maxima = torch.zeros(len(tops), len(lefts), dtype=image.dtype)
    places = torch.zeros(len(tops), len(lefts), dtype=torch.long)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            best = -math.inf
            for row in range(top, min(top + window[0], height)):
                for column in range(left, min(left + window[1], width)):
                    if image[row, column] > best:
                        best = image[row, column].item()
                        maxima[i, j], places[i, j] = best, row * width + column
    return maxima, places


def outline_f1(true: np.ndarray, found: np.ndarray, classes: int, distance: float) -> float:
    """Return the mean F1 of the outlines of classes, by the distance of all pairs of pixels."""

    def outline(labels: np.ndarray, c: int) -> np.ndarray:
        points = []
        for row, column in np.argwhere(labels == c):
            for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                y, x = row + down, column + right
                inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
                if inside and labels[y, x] != c:
                    points.append((row, column))
                    break
        return np.array(points, float).reshape(-1, 2)

    def met(some: np.ndarray, others: np.ndarray) -> float:
        gaps = np.linalg.norm(some[:, None] - others[None], axis=2)
        return float((gaps <= distance).any(axis=1).mean()) if len(some) else 0.0

    each = []
    for c in range(classes):
        a, b = outline(true, c), outline(found, c)
        if len(a):
            precision, recall = met(b, a), met(a, b)
            total = precision + recall
            each.append(2 * precision * recall / total if total else 0.0)
    return float(np.mean(each)) if each else math.nan


def distances_by_pairs(inside: Tensor) -> Tensor:
    """Return each pixel's distance to the nearest pixel of a set, one pair after the other."""
    members = [(int(y), int(x)) for y, x in inside.nonzero()]
    found = torch.full(inside.shape, math.inf, dtype=torch.float64)
    for y, x in itertools.product(*map(range, inside.shape)):
        for v, u in members:
            found[y, x] = min(float(found[y, x]), math.hypot(y - v, x - u))
    return found


def keys_cubic(t: float, a: float = -0.75) -> float:
    """Return the kernel of cubic convolution at a distance (Keys, 1981)."""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def bicubic(values: Tensor, y: float, x: float) -> float:
    """Interpolate values (rows, columns) at a place; the outermost ones go on beyond the edge."""
    rows, columns = values.shape
    total = 0.0
    for i in range(math.floor(y) - 1, math.floor(y) + 3):
        for j in range(math.floor(x) - 1, math.floor(x) + 3):
            value = float(values[min(max(i, 0), rows - 1), min(max(j, 0), columns - 1)])
            total += keys_cubic(y - i) * keys_cubic(x - j) * value
    return total


def flooded(inside: Tensor) -> list[set[tuple[int, int]]]:
    """Return the connected pieces of a mask as sets of pixels, by a walk with a list of places."""
    left = {(int(y), int(x)) for y, x in inside.nonzero()}
    pieces = []
    while left:
        piece, places = set(), [left.pop()]
        while places:
            y, x = places.pop()
            piece.add((y, x))
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if near in left:
                    left.remove(near)
                    places.append(near)
        pieces.append(piece)
    return pieces


def walks_of_a_u(slope: float, levels: int, blocks: int, long: bool, short: bool) -> list[float]:
    """Return the weight of all walks from each layer of a U to its last one.

    The U is drawn as a graph: A[i, j] is the weight of the edge from i to j, and I + A + A^2 + ...
    adds up walks of every length.
    """
    edges: dict[tuple[str, str], float] = {}
    order = ["first"]
    ends: list[str] = []
    for stage in range(2 * levels + 1):
        door = f"into {stage}"
        edges[(ends[-1] if ends else "first"), door] = 1.0
        if long and stage > levels:
            edges[ends[2 * levels - stage], door] = 1.0
        before = door
        for block in range(blocks):
            here = f"{stage}.{block}"
            edges[before, here] = slope + (1.0 if short else 0.0)
            order.append(here)
            before = here
        ends.append(before)
    names = sorted({name for pair in edges for name in pair})
    matrix = np.zeros((len(names), len(names)))
    for (a, b), weight in edges.items():
        matrix[names.index(a), names.index(b)] = weight
    total = power = np.eye(len(names))
    for _ in names:
        power = power @ matrix
        total = total + power
    return [float(total[names.index(name), names.index(ends[-1])]) for name in order]


def enumerated_trains(
    switch: np.ndarray, drive: np.ndarray, recovery: float, bins: int
) -> tuple[Tensor, Tensor]:
    """Return all spike trains of a few neurons with a shared hidden state, and their probability.

    (2^(neurons bins), neurons, bins) and (2^(neurons bins),): every path of hidden state and
    spikes is followed by itself, from a law that many steps from an even one have led to.
    """
    states, neurons = len(switch), len(drive)
    spikes = list(itertools.product([0, 1], repeat=neurons))
    joint = list(itertools.product(range(states), spikes))

    def step(before: tuple[int, tuple[int, ...]], after: tuple[int, tuple[int, ...]]) -> float:
        p = float(switch[before[0]][after[0]])
        for i in range(neurons):
            fires = float(drive[i][after[0]]) * (recovery if before[1][i] else 1.0)
            p *= fires if after[1][i] else 1 - fires
        return p

    table = np.array([[step(a, b) for b in joint] for a in joint])
    law = np.full(len(joint), 1 / len(joint)) @ np.linalg.matrix_power(table, 4096)
    found: dict[tuple[tuple[int, ...], ...], float] = {}
    paths = [([i], float(p)) for i, p in enumerate(law)]
    for _ in range(bins - 1):
        paths = [
            ([*path, j], p * table[path[-1], j]) for path, p in paths for j in range(len(joint))
        ]
    for path, p in paths:
        seen = tuple(joint[i][1] for i in path)
        found[seen] = found.get(seen, 0.0) + p
    trains = torch.tensor(list(found), dtype=torch.float64).transpose(1, 2)
    return trains, torch.tensor(list(found.values()), dtype=torch.float64)
