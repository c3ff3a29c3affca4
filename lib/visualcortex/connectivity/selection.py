"""Which synapses exist: Gibbs samples of a sparse, signed matrix near the best fit of a model."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

START_DENSITY = 0.15
NARROWEST = 0.3  # s.d. of sizes over their mean, at least
PACE = 0.2  # share of the way that the prior moves to the sampled sizes in a sweep
SETTLING = 10  # sweeps before the prior moves


class SampledSynapses(NamedTuple):
    """Posterior of a matrix of synapses, ``(source, target)``, 0 on the diagonal.

    Parameters
    ----------
    probability
        That the synapse exists.
    mean
        Of its coupling, 0 where it does not exist.
    density
        Of excitatory and of inhibitory synapses, ``(2,)``.
    """

    probability: np.ndarray
    mean: np.ndarray
    density: np.ndarray


def sample_synapses(
    couplings: np.ndarray,
    slope: np.ndarray,
    information: np.ndarray,
    signs: np.ndarray,
    *,
    n_sweeps: int = 150,
    seed: int = 0,
) -> SampledSynapses:
    r"""Sample which synapses exist, given a quadratic likelihood of all couplings.

    .. math::

        -\log L(b) = g^{\mathsf T} (b - b_0) + \tfrac12 (b - b_0)^{\mathsf T} H (b - b_0)

    A synapse exists with probability :math:`\pi`; its size then is normal, cut off at 0
    (spike and slab, Mitchell and Beauchamp 1988), and has the sign of its source. Density, mean and
    s.d. of sizes, of excitatory and of inhibitory synapses, follow the samples as they go
    (empirical Bayes). A sweep draws as many couplings as there are, at random, each given all
    others, and proposes to turn around each pair of neurons of one sign, since direction is what
    the data tell least of.

    Bias: that of the quadratic form, and of a prior that was learnt from the same data.

    Parameters
    ----------
    couplings
        :math:`b_0`, ``(source, target)``, of the signs of their sources; the diagonal is ignored.
    slope
        *g*, likewise.
    information
        *H*, ``(n * n, n * n)`` float32, rows in the order of ``couplings.ravel()``.
    signs
        1 or -1, ``(neuron,)``.
    n_sweeps
        Sweeps that count; a quarter as many come first.
    seed
        Of all draws.

    Raises
    ------
    ValueError
        Shapes do not fit together.

    References
    ----------
    Mitchell, T. J., and Beauchamp, J. J. (1988). Bayesian variable selection in linear regression.
    Journal of the American Statistical Association 83, 1023-1032.
    """
    n = len(signs)
    shapes = [np.shape(a) for a in (couplings, slope, information)]
    if shapes != [(n, n), (n, n), (n * n, n * n)]:
        raise ValueError(
            f"couplings and slope must be (n, n) and information (n * n, n * n) for {n} signs; got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    b = np.where(np.eye(n), 0.0, couplings).ravel()
    g = np.array(slope, dtype=float).ravel()
    signs = np.asarray(signs, dtype=float)
    prior = np.array([_start(b.reshape(n, n)[signs == sign]) for sign in (1, -1)])
    rng = np.random.default_rng(seed)
    drawn, total = np.zeros((2, n * n)), np.zeros((2, n * n))  # sums of probability and size; draws
    burn = max(n_sweeps // 4, 1)
    for sweep in range(burn + n_sweeps):
        if sweep == burn:
            drawn[:], total[:] = 0, 0
        _sweep(rng, information, b, g, signs, prior, drawn, total)
        if sweep >= SETTLING:
            _follow(prior, b.reshape(n, n), signs)
    # pairs that were never drawn have no probability of their own
    probability = drawn[0] / np.maximum(total[0], 1)
    mean = drawn[1] / n_sweeps
    return SampledSynapses(probability.reshape(n, n), mean.reshape(n, n), prior[:, 0].copy())


def _start(couplings: np.ndarray) -> tuple[float, float, float]:
    """Density, mean and s.d. of sizes: of the largest couplings of some sources."""
    sizes = np.sort(np.abs(couplings).ravel())[::-1]
    largest = sizes[: max(int(START_DENSITY * len(sizes)), 1)] if len(sizes) else np.ones(1)
    mean = max(largest.mean(), 1e-6)
    return START_DENSITY, mean, largest.std() + NARROWEST * mean


def _follow(prior: np.ndarray, couplings: np.ndarray, signs: np.ndarray) -> None:
    """Move the prior towards the sampled couplings, kind by kind."""
    for row, sign in zip(prior, (1, -1), strict=True):
        sizes = np.abs(couplings[signs == sign])
        found = sizes[sizes > 0]
        if len(found) > 3:
            row[0] = (len(found) + 1) / (sizes.size + 10)
            row[1] += PACE * (found.mean() - row[1])
            row[2] += PACE * (max(found.std(), NARROWEST * row[1]) - row[2])


@numba.njit(cache=True, nogil=True)
def _tail(z: float) -> float:  # pragma: no cover
    """Logarithm of the normal distribution function."""
    return math.log(max(0.5 * math.erfc(-z * math.sqrt(0.5)), 1e-300))


@numba.njit(cache=True, nogil=True)
def _above_zero(rng, mean: float, sd: float) -> float:  # pragma: no cover
    """Draw from a normal distribution cut off at 0 (far out, Robert 1995)."""
    least = -mean / sd
    if least < 2:
        while True:
            z = rng.standard_normal()
            if z > least:
                return mean + sd * z
    rate = 0.5 * (least + math.sqrt(least**2 + 4))
    while True:
        z = least + rng.standard_exponential() / rate
        if rng.random() < math.exp(-0.5 * (z - rate) ** 2):
            return mean + sd * z


@numba.njit(cache=True, nogil=True)
def _move(information, g, row, change):  # pragma: no cover
    for k in range(len(g)):
        g[k] += information[row, k] * change


@numba.njit(cache=True, nogil=True)
def _draw(rng, h, best, density, mean, sd):  # pragma: no cover
    """Probability of a synapse whose size has this likelihood, and a draw of the size, or 0."""
    sharp = h + 1 / sd**2
    middle = (h * best + mean / sd**2) / sharp
    odds = math.log(density / (1 - density)) - 0.5 * math.log(sharp * sd**2)
    odds += 0.5 * (sharp * middle**2 - (mean / sd) ** 2)
    odds += _tail(middle * math.sqrt(sharp)) - _tail(mean / sd)
    probability = 1 / (1 + math.exp(-min(max(odds, -50.0), 50.0)))
    if rng.random() < probability:
        return probability, _above_zero(rng, middle, 1 / math.sqrt(sharp))
    return probability, 0.0


@numba.njit(cache=True, nogil=True)
def _sweep(rng, information, b, g, signs, prior, drawn, total):  # pragma: no cover
    """Draw couplings one by one, then turn pairs around; adds to the sums."""
    n = len(signs)
    for _ in range(n * n):
        i, j = int(rng.random() * n), int(rng.random() * n)
        if i == j:
            continue
        k, kind = i * n + j, 0 if signs[i] > 0 else 1
        h = information[k, k]
        best = signs[i] * (b[k] - g[k] / h)
        p, size = _draw(rng, h, best, prior[kind, 0], prior[kind, 1], prior[kind, 2])
        drawn[0, k] += p
        total[0, k] += 1
        if size * signs[i] != b[k]:
            _move(information, g, k, size * signs[i] - b[k])
            b[k] = size * signs[i]
    for i in range(n):
        for j in range(i):
            k, m = i * n + j, j * n + i
            change = b[m] - b[k]
            if signs[i] != signs[j] or change == 0:
                continue
            bend = information[k, k] + information[m, m] - 2 * information[k, m]
            cost = change * (g[k] - g[m]) + 0.5 * change**2 * bend
            if rng.random() < math.exp(-cost) if cost > 0 else True:
                b[k], b[m] = b[m], b[k]
                _move(information, g, k, change)
                _move(information, g, m, -change)
    drawn[1] += b
