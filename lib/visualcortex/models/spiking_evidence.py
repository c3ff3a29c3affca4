"""From weights and their errors to scores, likeliest lags and probabilities of synapses."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_ndtr, logit

ROUNDS = 60  # of expectation and maximisation


def likelihood_scores(weights: np.ndarray, errors: np.ndarray) -> np.ndarray:
    r"""Signed root of twice the likelihood ratio of a Poisson count with and without a synapse.

    A synapse of weight *w* makes :math:`E e^w` coincidences of *E*, and the error of *w* is
    :math:`s = (E e^w)^{-1/2}`, so that

    .. math:: z = \mathrm{sign}(w)\, \sqrt{2 (w - 1 + e^{-w})} / s.

    Unlike :math:`w / s`, it does not underrate inhibition, which leaves few coincidences.

    Parameters
    ----------
    weights, errors
        Of one shape.
    """
    w = weights
    near = np.abs(w) < 1e-3
    safe = np.where(near, 1.0, w)
    gain = np.where(near, w**2 / 2, np.expm1(-safe) + safe)
    return np.sign(w) * np.sqrt(2 * np.maximum(gain, 0)) / errors


def likeliest_lags(z: np.ndarray) -> np.ndarray:
    """Return the likeliest lag of each pair, from scores ``(lag, pair)``, by a mixture."""
    share, lags, variance = 0.1, np.full(len(z), 1 / len(z)), 30.0
    for _ in range(ROUNDS):
        ratio = 0.5 * z**2 * variance / (1 + variance) - 0.5 * np.log1p(variance)
        weighed = ratio + np.log(lags)[:, None]
        most = weighed.max(axis=0)
        posterior = np.exp(weighed - most)
        total = posterior.sum(axis=0)
        posterior /= total
        linked = expit(most + np.log(total) + logit(share))
        share = float(np.clip(linked.mean(), 1e-4, 0.9))
        weight = posterior * linked
        lags = (weight.sum(axis=1) + 0.5) / (weight.sum() + 0.5 * len(z))
        variance = max(4.0, float((weight * z**2).sum() / weight.sum()) - 1)
    return weighed.argmax(axis=0)


def synapse_probabilities(
    scores: np.ndarray, signs: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Probability of each synapse, if all those of a source have one sign (Dale's principle).

    Scores are normal of mean 0 without a synapse. With one, a half-normal strength of the source's
    sign is added. Share, strength and the width without a synapse are those of expectation
    maximisation.

    Parameters
    ----------
    scores
        ``(source, target)``; the diagonal is not used.
    signs
        +1 or -1 of each source; by the scores if not given.

    Returns
    -------
    probabilities, signs, width
        ``(source, target)``, NaN on the diagonal; ``(source,)``; and the width.
    """
    n = len(scores)
    off = ~np.eye(n, dtype=bool)
    z = np.where(off, scores, 0)
    width, share, variance = max(1.0, np.median(np.abs(z[off])) / 0.6745), 0.1, 30.0
    for _ in range(ROUNDS):
        none = -0.5 * (z / width) ** 2 - np.log(width)
        total = width**2 + variance
        slope = np.sqrt(variance / total) / width
        linked = np.array(
            [
                -0.5 * z**2 / total - 0.5 * np.log(total) + np.log(2) + log_ndtr(s * slope * z)
                for s in (1, -1)
            ]
        )
        odds = linked - none + logit(share)
        row = (np.logaddexp(0, odds) * off).sum(2)  # (2, n)
        q = expit(row[0] - row[1]) if signs is None else (np.asarray(signs) > 0) * 1.0
        p = q[:, None] * expit(odds[0]) + (1 - q[:, None]) * expit(odds[1])
        share = float(np.clip(p[off].mean(), 1e-4, 0.9))
        variance = max(3.0, float((p * z**2)[off].sum() / p[off].sum()) - width**2)
        width = float(np.clip(np.sqrt(((1 - p) * z**2)[off].sum() / (1 - p)[off].sum()), 0.8, 4))
    p = np.where(off, p, np.nan)
    return p, np.where(q >= 0.5, 1.0, -1.0), width
