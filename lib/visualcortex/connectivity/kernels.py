"""A synapse in each direction, fitted to the correlograms of all pairs at once."""

from __future__ import annotations

import numpy as np

from visualcortex.connectivity.correlograms import two_sided


def coupling_scores(
    correlograms: np.ndarray, *, decay: float = 8.0, delays: tuple[int, int] = (1, 2)
) -> np.ndarray:
    r"""How much of each correlogram the postsynaptic potential of a direct synapse explains.

    The counts at lags :math:`\ell \ne 0` of both sides are fitted, by least squares, with

    .. math:: C_{ij}(\ell) \approx b_{ij} + a_{ij}\,k(\ell) + a_{ji}\,k(-\ell), \qquad
              k(\ell) = \mathrm{mean}_d\, [\ell \ge d]\, e^{-(\ell - d)/\tau},

    and the score is :math:`a_{ij}` over its standard error, if counts are Poisson about *b*: a
    linear relative of the model of Kobayashi and others (2019). What is the same on both sides,
    as input that two neurons share, raises both and tells no direction; fitting both keeps a
    strong synapse one way from looking like a weak one the other way.

    Bias: shared input and chains of synapses at these lags count as synapses; with much of it,
    subtract the expectation under jitter first, at the price of slow synapses. That no slow bump is
    fitted besides was chosen by known synapses of a simulation, in which shared input is mild. The
    standard error leaves out that neurons are not Poisson.

    Parameters
    ----------
    correlograms
        Counts ``(source, target, lag)``, lags from 0 on, bins of about 1 ms.
    decay
        :math:`\tau` in bins; that of postsynaptic potentials in cortex is near 10 ms.
    delays
        First and last delay *d* in bins.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, signed, in standard errors; NaN on the diagonal, 0 for pairs
        without a coincidence.

    Raises
    ------
    ValueError
        The correlograms have another shape or too few lags, or a setting is out of range.

    References
    ----------
    Kobayashi, R., and others (2019). Reconstructing neuronal circuitry from parallel spike trains.
    Nature Communications 10, 4468.
    """
    counts = np.asarray(correlograms)
    _check(counts, decay, delays)
    longest = counts.shape[2] - 1
    lags = np.r_[-longest:0, 1 : longest + 1]
    age = lags[:, None] - np.arange(delays[0], delays[1] + 1)
    kernel = np.where(age >= 0, np.exp(-age / decay), 0).mean(axis=1)
    design = np.stack([np.ones(len(lags)), kernel, kernel[::-1]], axis=1)  # (lag, 3)
    solve = np.linalg.pinv(design)
    both = two_sided(counts)[:, :, longest + lags]  # (source, target, lag)
    level, forward = np.moveaxis(both @ solve[:2].T, 2, 0)
    error = np.sqrt(np.linalg.inv(design.T @ design)[1, 1] * np.maximum(level, 1e-12))
    scores = np.where(level > 0, forward / error, 0)
    np.fill_diagonal(scores, np.nan)
    return scores


def _check(counts: np.ndarray, decay: float, delays: tuple[int, int]) -> None:
    if counts.ndim != 3 or counts.shape[0] != counts.shape[1]:
        raise ValueError(
            f"correlograms must have shape (source, target, lag), as many sources as targets; got "
            f"{counts.shape}. Pass what cross_correlograms returns."
        )
    if not (1 <= delays[0] <= delays[1] and 0 < decay < np.inf):
        raise ValueError(
            f"delays must be whole bins, from 1 on and in order, and decay a number above 0; got "
            f"{delays} and {decay}. Choose, for instance, (1, 2) and 8 bins of 1 ms."
        )
    if counts.shape[2] < delays[1] + 3 * decay:
        raise ValueError(
            f"correlograms must reach {int(np.ceil(delays[1] + 3 * decay))} bins, to tell a "
            f"synapse from the level; got {counts.shape[2] - 1}. Compute longer lags."
        )
