"""Whether the probabilities of a decoder mean what they say, and sets of classes that keep a word.

Probabilities are (trial, class), rows adding up to 1; labels are columns of them, 0 ... C - 1. A
probability is calibrated if what is said with 70 % comes true in 70 % of the trials. All of this
takes trials as independent; where neighbours in time are alike, p-values are too small.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from visualcortex.evaluation.intervals import _checked_level

SCHEMES = ("equal_mass", "equal_width")
METHODS = ("lac", "aps")
# a temperature beyond these says no more than that the data set no end to it
COLDEST, HOTTEST = 1e-3, 1e3
# how far probabilities may miss a sum of 1, by rounding in float16 or float32
ROUNDING = 2e-3
# simulated trials handled at a time
N_DRAWS = 4_000_000


class CalibrationTest(NamedTuple):
    """A calibration error, what it is by chance, (n_simulations,), and the p-value, one-sided."""

    observed: float
    null: np.ndarray
    p: float

    @property
    def excess(self) -> float:
        """Observed error less the mean of what finite trials make of perfect calibration."""
        return self.observed - float(self.null.mean())


class SetScores(NamedTuple):
    """Of each trial, (n_trials,): whether its set holds the true class, and how many it holds."""

    covered: np.ndarray
    size: np.ndarray


def top_k_correct(proba: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    r"""Whether the true class is among the k most probable ones, ties at their expected value.

    With h classes above the true one and e as probable as it, itself included, it is
    :math:`\min(1, \max(0, (k - h) / e))`: the chance of being among them when ties are broken at
    random. A decoder that says the same of all C classes gets k / C, not 0 or 1.

    Parameters
    ----------
    proba : (n_trials, n_classes) array
        Probabilities, or any scores: only their order counts.
    labels : (n_trials,) array of int
        True class of each trial, a column of `proba`.
    k : int
        From 1 to n_classes.

    Returns
    -------
    (n_trials,) array
        From 0 to 1; its mean is the top-k accuracy.

    Raises
    ------
    ValueError
        If shapes do not fit, a score is NaN, a label is no column, or k is out of range.
    """
    proba, labels = _aligned(proba, labels)
    if np.isnan(proba).any():
        raise ValueError(f"scores must not be NaN; got {np.isnan(proba).sum()}. Leave out trials.")
    if not 1 <= k <= proba.shape[1]:
        raise ValueError(f"k must be from 1 to the {proba.shape[1]} classes; got {k}")
    own = _of_labels(proba, labels)[:, None]
    higher, equal = (proba > own).sum(axis=1), (proba == own).sum(axis=1)
    return np.clip((k - higher) / equal, 0, 1)


def negative_log_likelihood(proba: np.ndarray, labels: np.ndarray) -> np.ndarray:
    r"""Surprise :math:`-\ln p_{i, y_i}` of each trial, in nats.

    The mean is the log loss, a proper score: in expectation nothing but the true probabilities
    has a lower one. Unbiased for new trials. Saying 1 / C of everything costs ln C.

    Parameters
    ----------
    proba : (n_trials, n_classes) array
        Probabilities.
    labels : (n_trials,) array of int
        True class of each trial, a column of `proba`.

    Returns
    -------
    (n_trials,) array
        Infinite where the true class was ruled out.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is no column, or rows are no probabilities.
    """
    proba, labels = _probabilities(proba, labels)
    with np.errstate(divide="ignore"):
        return -np.log(_of_labels(proba, labels))


def reliability_curve(
    proba: np.ndarray,
    labels: np.ndarray,
    *,
    n_bins: int = 15,
    scheme: str = "equal_mass",
    level: float = 0.95,
) -> pd.DataFrame:
    """Share of correct trials against the confidence with which the likeliest class was said.

    Trials are put in bins by their confidence, the highest probability of a trial. Of equally
    probable classes the first counts as said. Intervals are Wilson's (1927), for independent
    trials.

    Bias: the accuracy of a bin has none for the bin; a bin averages what happens within it.

    Parameters
    ----------
    proba : (n_trials, n_classes) array
        Probabilities.
    labels : (n_trials,) array of int
        True class of each trial, a column of `proba`.
    n_bins : int
        At most as many bins; those without trials are left out.
    scheme : {"equal_mass", "equal_width"}
        Bins between quantiles of the confidence, ties together, or of equal width from 0 to 1.
        A bin holds its upper edge.
    level : float
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        A row a bin, from the lowest confidence: "confidence" and "accuracy" (means over its
        trials), "low", "high" and "n".

    Raises
    ------
    ValueError
        If shapes do not fit, a label is no column, rows are no probabilities, or `n_bins`,
        `scheme` or `level` are not as described.

    References
    ----------
    Wilson, E. B. (1927). Probable inference. Journal of the American Statistical Association 22.
    """
    confidence, correct = _said(proba, labels)
    _, member, n = _bins(confidence, n_bins, scheme)
    accuracy = np.bincount(member, weights=correct) / n
    low, high = _wilson(accuracy, n, level)
    mean = np.bincount(member, weights=confidence) / n
    return pd.DataFrame(
        {"confidence": mean, "accuracy": accuracy, "low": low, "high": high, "n": n}
    )


def expected_calibration_error(
    proba: np.ndarray, labels: np.ndarray, *, n_bins: int = 15, scheme: str = "equal_mass"
) -> float:
    r"""Mean distance of accuracy from confidence, :math:`\sum_b \frac{n_b}{n} |a_b - c_b|`.

    Over bins b of the confidence, with accuracy a and mean confidence c (Naeini, Cooper &
    Hauskrecht 2015).

    Bias: upwards, and much for few trials. Of a decoder that is calibrated, a bin of n trials with
    accuracy a is off by about :math:`\sqrt{2 a (1 - a) / (\pi n)}`: 0.04 for 60 trials at 0.8.
    It grows with the number of bins; within bins, errors of both signs hide each other, which
    makes it too low. Read it beside `calibration_test`, or take `squared_calibration_error`.

    Parameters
    ----------
    proba, labels, n_bins, scheme
        As in `reliability_curve`.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        As `reliability_curve`.

    References
    ----------
    Naeini, M. P., Cooper, G. F. and Hauskrecht, M. (2015). Obtaining well calibrated
    probabilities using Bayesian binning. AAAI.
    """
    confidence, correct = _said(proba, labels)
    _, member, _ = _bins(confidence, n_bins, scheme)
    return float(np.abs(np.bincount(member, weights=correct - confidence)).sum() / len(correct))


def squared_calibration_error(
    proba: np.ndarray, labels: np.ndarray, *, n_bins: int = 15, scheme: str = "equal_mass"
) -> float:
    r"""Mean squared distance of accuracy from confidence, what chance adds to it taken away.

    .. math:: \sum_b \frac{n_b}{n} \left( \bar d_b^2 - \frac{s_b^2}{n_b} \right)

    with d the correctness of a trial (0 or 1) less its confidence, and :math:`\bar d_b` and
    :math:`s_b^2` its mean and sample variance in bin b. Where all trials of a bin have the same
    confidence, it is the estimator of Kumar, Liang & Ma (2019).

    Bias: none for the squared error between bins of fixed edges, so that it may be below 0; its
    root is biased. Bins of one trial count as 0. What happens within bins is not seen.

    Parameters
    ----------
    proba, labels, n_bins, scheme
        As in `reliability_curve`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `reliability_curve`.

    References
    ----------
    Kumar, A., Liang, P. and Ma, T. (2019). Verified uncertainty calibration. NeurIPS 32.
    """
    confidence, correct = _said(proba, labels)
    _, member, n = _bins(confidence, n_bins, scheme)
    off = correct - confidence
    mean = np.bincount(member, weights=off) / n
    spread = np.bincount(member, weights=(off - mean[member]) ** 2)
    by_chance = spread / np.maximum(n - 1, 1) / n
    return float(np.sum(np.where(n > 1, n * (mean**2 - by_chance), 0)) / len(off))


def calibration_test(
    proba: np.ndarray,
    labels: np.ndarray,
    *,
    rng: np.random.Generator,
    n_bins: int = 15,
    scheme: str = "equal_mass",
    n_simulations: int = 2000,
) -> CalibrationTest:
    """Compare the calibration error with that of a perfectly calibrated decoder as confident.

    In each simulation every trial comes out right with the probability of its confidence. Exact
    for independent trials: p = (1 + number of errors at least as high as the observed) /
    (1 + number of simulations). It asks about the likeliest class only.

    Parameters
    ----------
    proba, labels, n_bins, scheme
        As in `reliability_curve`.
    rng : numpy.random.Generator
        Source of the simulations.
    n_simulations : int
        Their number.

    Returns
    -------
    CalibrationTest
        Its ``excess`` is the error with its bias under calibration taken away; where a decoder is
        not calibrated that bias is smaller, and the excess somewhat too low.

    Raises
    ------
    ValueError
        As `reliability_curve`, or there is to be no simulation.
    """
    if n_simulations < 1:
        raise ValueError(f"n_simulations must be at least 1; got {n_simulations}")
    confidence, correct = _said(proba, labels)
    edges, member, _ = _bins(confidence, n_bins, scheme)
    in_bin = (member[:, None] == np.arange(len(edges))).astype(float)  # (n, B)

    def errors(right: np.ndarray) -> np.ndarray:
        """Error of each row of correctness, (R, n) to (R,)."""
        return np.abs((right - confidence) @ in_bin).sum(axis=1) / len(confidence)

    n_rows = max(1, N_DRAWS // len(confidence))
    sizes = [min(n_rows, n_simulations - done) for done in range(0, n_simulations, n_rows)]
    null = np.concatenate(
        [errors(rng.random((size, len(confidence))) < confidence) for size in sizes]
    )
    observed = float(errors(correct[None])[0])
    # rounding in another order of sums must not decide
    p = (1 + np.sum(null >= observed - 1e-12)) / (1 + n_simulations)
    return CalibrationTest(observed, null, float(p))


def temperature(log_proba: np.ndarray, labels: np.ndarray) -> float:
    r"""Temperature T that makes the labels likeliest, with :math:`p \propto e^{z / T}`.

    For log-probabilities (or logits) z, the mean surprise
    :math:`\ln \sum_c e^{\beta z_c} - \beta z_y` is convex in :math:`\beta = 1 / T`, and is least
    where the expectation of z under the tempered probabilities equals the mean of :math:`z_y` (Guo
    et al. 2017). Above 1 the decoder was too sure. The likeliest class stays the same.

    Bias: it is one number fitted to these trials; fit it to validation trials, and test others.

    Parameters
    ----------
    log_proba : (n_trials, n_classes) array
        Log-probabilities of validation trials, natural logarithm. Classes that are ruled out
        are minus infinity.
    labels : (n_trials,) array of int
        True class of each trial, a column of `log_proba`.

    Returns
    -------
    float
        Held between 0.001 and 1000, which it comes to where every trial is right, or the labels
        fit no better than chance.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is no column or was ruled out, or an entry is NaN or plus
        infinity.

    References
    ----------
    Guo, C. et al. (2017). On calibration of modern neural networks. ICML.
    """
    z, labels = _checked_logs(log_proba, labels)
    finite = np.where(np.isfinite(z), z, 0)  # what is ruled out has no part in the expectation
    reached = _of_labels(z, labels).mean()

    def slope(log_beta: float) -> float:
        """Derivative of the mean surprise by beta, which rises."""
        beta = math.exp(log_beta)
        return float((softmax(beta * z, axis=1) * finite).sum(axis=1).mean() - reached)

    low, high = -math.log(HOTTEST), -math.log(COLDEST)
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    return math.exp(-brentq(slope, low, high))


def tempered(log_proba: np.ndarray, temperature: float) -> np.ndarray:
    r"""Log-probabilities at another temperature, :math:`z / T - \ln \sum_c e^{z_c / T}`.

    Parameters
    ----------
    log_proba : (n_trials, n_classes) array
        Log-probabilities or logits, natural logarithm.
    temperature : float
        Positive; at 1 nothing changes.

    Returns
    -------
    (n_trials, n_classes) array
        ``numpy.exp`` makes probabilities of them.

    Raises
    ------
    ValueError
        If the temperature is not a positive number.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be a positive number; got {temperature}")
    return log_softmax(np.asarray(log_proba, dtype=float) / temperature, axis=1)


def conformal_sets(
    calibration_proba: np.ndarray,
    calibration_labels: np.ndarray,
    proba: np.ndarray,
    *,
    level: float = 0.9,
    method: str = "lac",
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    r"""Set of classes for each trial that holds the true one in a share `level` of trials.

    Split conformal prediction. Each calibration trial has a score of its true class, and a class
    is in the set of a trial if its score is at most the :math:`\lceil (n + 1) \, level \rceil`-th
    smallest of these. Scores: ``"lac"``, one minus the probability of the class, makes the
    smallest sets (Sadinle, Lei & Wasserman 2019), some of them empty; ``"aps"``, the probability
    of all likelier classes and a random share of its own, makes sets that are larger for harder
    trials (Romano, Sesia & Candès 2020).

    Bias: if calibration and test trials are exchangeable, coverage is at least `level` on average
    over both, and with no ties of scores at most 1 / (n + 1) more, however bad the decoder. It is
    no promise for each class or each trial, nor where responses drift between the two.

    Parameters
    ----------
    calibration_proba : (n, n_classes) array
        Probabilities of trials that the decoder was neither fitted to nor chosen on.
    calibration_labels : (n,) array of int
        Their true classes.
    proba : (n_trials, n_classes) array
        Probabilities of the trials that want a set.
    level : float
        Coverage aimed at. With less than level / (1 - level) calibration trials every set is of
        all classes.
    method : {"lac", "aps"}
        Which score.
    rng : numpy.random.Generator, optional
        Source of the random shares; needed for "aps".

    Returns
    -------
    (n_trials, n_classes) array of bool
        Whether each class is in the set. `set_scores` says how good they are.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is no column, rows are no probabilities, `level` is not in
        (0, 1), the method is unknown, or "aps" is without `rng`.

    References
    ----------
    Sadinle, M., Lei, J. and Wasserman, L. (2019). Least ambiguous set-valued classifiers with
    bounded error levels. Journal of the American Statistical Association 114.
    Romano, Y., Sesia, M. and Candès, E. (2020). Classification with valid and adaptive coverage.
    NeurIPS 33.
    """
    known, labels = _probabilities(calibration_proba, calibration_labels)
    proba = _checked_rows(np.asarray(proba, dtype=float))
    if proba.shape[1] != known.shape[1]:
        raise ValueError(
            f"calibration trials have {known.shape[1]} classes, but the others {proba.shape[1]}. "
            "Take both from one decoder."
        )
    if method not in METHODS or (method == "aps" and rng is None):
        raise ValueError(f"method must be one of {METHODS}, aps with rng; got {method!r}, {rng}")
    n = len(labels)
    # in decimals 0.9 * 10 is 9: rounding must not make it 10
    rank = math.ceil((n + 1) * _checked_level(level) - 1e-9)
    if rank > n:
        return np.ones(proba.shape, dtype=bool)
    own = _of_labels(_misfits(known, method, rng), labels)
    return _misfits(proba, method, rng) <= np.sort(own)[rank - 1]


def set_scores(sets: np.ndarray, labels: np.ndarray) -> SetScores:
    """Whether each set holds the true class, and how many classes it holds.

    Parameters
    ----------
    sets : (n_trials, n_classes) array of bool
        As `conformal_sets` makes them.
    labels : (n_trials,) array of int
        True class of each trial.

    Returns
    -------
    SetScores
        Means over trials estimate coverage and size without bias.

    Raises
    ------
    ValueError
        If shapes do not fit, or a label is no column.
    """
    sets, labels = _aligned(sets, labels)
    return SetScores(_of_labels(sets, labels).astype(bool), sets.sum(axis=1).astype(int))


def _misfits(proba: np.ndarray, method: str, rng: np.random.Generator | None) -> np.ndarray:
    """How badly each class fits each trial, (n, C)."""
    if method == "lac":
        return 1 - proba
    order = np.argsort(-proba, axis=1, kind="stable")
    ordered = np.take_along_axis(proba, order, axis=1)
    likelier = np.cumsum(ordered, axis=1) - ordered
    scores = np.empty_like(proba)
    np.put_along_axis(scores, order, likelier + rng.random((len(proba), 1)) * ordered, axis=1)
    return scores


def _said(proba: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence in the likeliest class of each trial, and whether it is right, 0 or 1."""
    proba, labels = _probabilities(proba, labels)
    guess = proba.argmax(axis=1)
    return np.minimum(_of_labels(proba, guess), 1), (guess == labels).astype(float)


def _bins(
    confidence: np.ndarray, n_bins: int, scheme: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the bins that are not empty, bin of each trial among them, and trials of each."""
    if scheme not in SCHEMES or n_bins < 1:
        raise ValueError(
            f"need at least one bin and a scheme of {SCHEMES}; got {n_bins} and {scheme!r}"
        )
    shares = np.linspace(0, 1, n_bins + 1)[1:-1]
    edges = np.quantile(confidence, shares) if scheme == "equal_mass" else shares
    return np.unique(np.searchsorted(edges, confidence), return_inverse=True, return_counts=True)


def _wilson(share: np.ndarray, n: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the score interval of a share of n."""
    z = norm.ppf((1 + _checked_level(level)) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def _of_labels(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return values[np.arange(len(labels)), labels]


def _aligned(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (trial, class) and the label of each, or an error if they do not fit."""
    values, labels = np.asarray(values), np.asarray(labels)
    if values.ndim != 2 or labels.shape != values.shape[:1] or 0 in values.shape:
        raise ValueError(
            "need one row of (trial, class) and one label a trial; got shapes "
            f"{values.shape} and {labels.shape}. Select the same trials from both."
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= values.shape[1]:
        raise ValueError(
            f"labels must be columns, whole numbers from 0 to {values.shape[1] - 1}; got "
            f"{labels.dtype}, {labels.min()} to {labels.max()}. Number them in the order of the "
            "decoder's classes_, for one with numpy.searchsorted(classes_, labels)."
        )
    return values, labels


def _probabilities(proba: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    proba, labels = _aligned(proba, labels)
    return _checked_rows(proba.astype(float)), labels


def _checked_rows(proba: np.ndarray) -> np.ndarray:
    """Return rows that are probabilities, or say why they are not."""
    # written so that NaN is refused too
    if proba.ndim != 2 or not (
        (proba >= 0).all() and np.allclose(proba.sum(axis=1), 1, rtol=0, atol=ROUNDING)
    ):
        raise ValueError(
            "rows must be probabilities of the classes of a trial, none negative, with the sum 1; "
            f"got shape {proba.shape} with entries from {proba.min():.3g} to {proba.max():.3g}. Of "
            "logits take scipy.special.softmax(logits, axis=1), of logarithms numpy.exp."
        )
    return proba


def _checked_logs(log_proba: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and the label of each row, or an error if they do not fit."""
    z, labels = _aligned(log_proba, labels)
    z = z.astype(float)
    if np.isnan(z).any() or np.isposinf(z).any() or np.isneginf(_of_labels(z, labels)).any():
        raise ValueError(
            "log-probabilities must be below infinity, not NaN, and finite for the true class; got "
            f"{np.isnan(z).sum()} NaN and {np.isinf(_of_labels(z, labels)).sum()} trials whose "
            "class was ruled out. Take logits, or mix in a little of 1 / n_classes first."
        )
    return z, labels
