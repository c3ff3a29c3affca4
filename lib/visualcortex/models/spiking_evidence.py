"""From weights and their errors to scores, likeliest lags and probabilities of synapses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_ndtr, logit, logsumexp

ROUNDS = 60  # of expectation and maximisation
FARTHEST = 30.0  # weight below which a synapse leaves no coincidence at all


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
    safe = np.clip(np.where(near, 1.0, w), -FARTHEST, None)
    gain = np.where(near, w**2 / 2, np.expm1(-safe) + safe)
    return np.sign(w) * np.sqrt(2 * np.maximum(gain, 0)) / errors


def likeliest_lags(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Likeliest lag of each pair, by a mixture of pairs with and without a synapse.

    Parameters
    ----------
    z
        Scores ``(lag, pair)``.

    Returns
    -------
    lags, share
        ``(pair,)``; and how many synapses have each lag, ``(lag,)``, of sum 1.
    """
    linked, share, variance = 0.1, np.full(len(z), 1 / len(z)), 30.0
    for _ in range(ROUNDS):
        ratio = 0.5 * z**2 * variance / (1 + variance) - 0.5 * np.log1p(variance)
        weighed = ratio + np.log(share)[:, None]
        total = logsumexp(weighed, axis=0)
        chance = expit(total + logit(linked))
        weight = np.exp(weighed - total) * chance
        linked = float(np.clip(chance.mean(), 1e-3, 0.5))
        share = (weight.sum(axis=1) + 0.5) / (weight.sum() + 0.5 * len(z))
        variance = max(4.0, float((weight * z**2).sum() / weight.sum()) - 1)
    return weighed.argmax(axis=0), share


def averaged_scores(z: np.ndarray, best: np.ndarray, at: np.ndarray) -> np.ndarray:
    r"""Scores for which the lag was not chosen, but averaged over.

    .. math:: s = \mathrm{sign}(z)\, \sqrt{2 \log \sum_\ell \pi_\ell\, e^{z_\ell^2 / 2}},

    where :math:`\pi` is how many synapses have each lag. A pair that is as likely at any lag
    gains nothing from having ten of them.

    Parameters
    ----------
    z
        Scores of each lag ``(lag, pair)``, of pairs one by one.
    best
        Better scores at one of the lags, ``(pair,)``: all of a pair are brought to their scale.
    at
        Which lag, ``(pair,)``.
    """
    _, share = likeliest_lags(z)
    there = np.abs(np.take_along_axis(z, at[None], axis=0)[0])
    scale = np.where(there > 1, np.clip(np.abs(best) / np.maximum(there, 1), 0.2, 5), 1)
    evidence = logsumexp(0.5 * (z * scale) ** 2, axis=0, b=share[:, None])
    return np.sign(best) * np.sqrt(2 * np.maximum(evidence, 0))


class Found(NamedTuple):
    """What a mixture makes of scores.

    Parameters
    ----------
    probabilities
        ``(source, target)``, NaN on the diagonal.
    signs
        +1 or -1, ``(source,)``.
    centre, width
        Mean and standard deviation of scores without a synapse.
    """

    probabilities: np.ndarray
    signs: np.ndarray
    centre: float
    width: float


def synapse_probabilities(scores: np.ndarray, signs: np.ndarray | None = None) -> Found:
    """Probability of each synapse, if all those of a source have one sign (Dale's principle).

    Scores are normal without a synapse, of a mean and a width that are fitted (Efron 2004). With
    one, a half-normal strength of the source's sign is added. Share and strength are those of
    expectation maximisation, too.

    Bias: what pairs have in common without a synapse widens the null for all; weak synapses are
    counted to it.

    Parameters
    ----------
    scores
        ``(source, target)``; the diagonal is not used.
    signs
        +1 or -1 of each source; by the scores if not given.

    References
    ----------
    Efron, B. (2004). Large-scale simultaneous hypothesis testing. Journal of the American
    Statistical Association 99, 96-104.
    """
    off = ~np.eye(len(scores), dtype=bool)
    known = scores[off]
    centre = float(np.median(known))
    width, share, variance = max(0.5, np.median(np.abs(known - centre)) / 0.6745), 0.1, 30.0
    for _ in range(ROUNDS):
        z = np.where(off, scores - centre, 0)
        odds = _odds(z, width, variance) + logit(share)
        row = (np.logaddexp(0, odds) * off).sum(axis=2)  # (sign, source)
        up = expit(row[0] - row[1]) if signs is None else (np.asarray(signs) > 0) * 1.0
        p = up[:, None] * expit(odds[0]) + (1 - up[:, None]) * expit(odds[1])
        share = float(np.clip(p[off].mean(), 1e-4, 0.9))
        variance = max(3.0, float((p * z**2)[off].sum() / p[off].sum()) - width**2)
        none = (1 - p)[off] / (1 - p)[off].sum()
        width = float(np.clip(np.sqrt(none @ z[off] ** 2), 0.5, 4))
        centre = float(np.clip(none @ known, -1, 1))
    return Found(np.where(off, p, np.nan), np.where(up >= 0.5, 1.0, -1.0), centre, width)


def _odds(z: np.ndarray, width: float, variance: float) -> np.ndarray:
    """Log of the likelihood ratio of a synapse of either sign, ``(sign, source, target)``."""
    none, total = -0.5 * (z / width) ** 2 - np.log(width), width**2 + variance
    slope = np.sqrt(variance / total) / width
    either = -0.5 * z**2 / total - 0.5 * np.log(total) + np.log(2) - none
    return np.stack([either + log_ndtr(sign * slope * z) for sign in (1, -1)])
