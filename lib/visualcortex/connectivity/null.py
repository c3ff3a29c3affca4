r"""Which scores of pairs are larger than those of spikes whose exact times mean nothing.

Interval jitter puts every spike anywhere in its window: counts of windows stay, and with them all
that is common to neurons and slower than a window; what is faster is lost. A method that is fitted
to jittered spikes says what its scores are by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator, clone
from tqdm.auto import tqdm

from visualcortex.connectivity.wiring import _matrices, _same_size
from visualcortex.spikes import SpikeTimes

NULLS = {"standardised": 3, "raw": 1, "pair": 2}  # and the draws that each needs
N_ROUNDS = 50  # of the fit of factors of sources and targets, which settles in a few


@dataclass(frozen=True, eq=False)
class NullScores:
    """Scores of the spikes as they are, and of jittered ones; made by `jitter_null`.

    Parameters
    ----------
    scores
        Of the spikes as they are, ``(source, target)``.
    draws
        Of jittered spikes, ``(draw, source, target)``.
    method
        The method, fitted to the spikes as they are.
    """

    scores: np.ndarray
    draws: np.ndarray
    method: BaseEstimator

    @property
    def known(self) -> np.ndarray:
        """Pairs whose score is finite in all fits, ``(source, target)``."""
        return np.isfinite(self.scores) & np.isfinite(self.draws).all(axis=0)

    def p_values(self, null: str = "standardised") -> np.ndarray:
        r"""How often chance makes a score as far from its null's centre, to either side.

        - ``"standardised"``: less the mean of the pair's draws, over a standard deviation
          :math:`u_i v_j` that is a product of a factor of the source and one of the target, and
          compared with all draws of all pairs, each standardised by the other draws:

          .. math:: p_{ij} = \frac{1 + \#\{|z^0| \ge |z_{ij}|\}}{1 + N}.

          It takes for granted that all pairs have one null distribution once they are so
          standardised, and needs three draws.
        - ``"raw"``: the same of scores as they are, for scores that have one null distribution
          already, as z values and probabilities should.
        - ``"pair"``: from Student's *t* with the mean and s.d. of the pair's own draws,
          :math:`t = (s - \bar s^0) / (\hat\sigma \sqrt{1 + 1/D})` with D - 1 degrees of freedom.
          Needs no other pair, but two draws, a normal null, and many draws to find anything:
          with five, t must exceed 13 for p < .0002.

        Bias: the pooled ways cannot go below 1 / (1 + N). They favour pairs whose null is wider
        than they know, and hide those whose null is narrower. All test whether timing within a
        window matters, not whether there is a synapse, and call more than synapses:

        - neurons that a third one drives at once;
        - the pair of a strong synapse turned around, with the other sign, since jitter spreads
          the synapse's coincidences over both directions: fewer, the wider the window, and see
          `without_turned`. A method that smooths correlograms by itself does the same.

        So a share of false calls is kept in networks without synapses, and not in networks: of
        50 simulated neurons, .3 of the calls at .1 were no synapse.

        Jitter also loses refractoriness and bursts; the null of neurons that have them is slightly
        too narrow or too wide.

        Parameters
        ----------
        null
            One of the three.

        Returns
        -------
        numpy.ndarray
            ``(source, target)``; NaN for pairs without a score.

        Raises
        ------
        ValueError
            There is no such null, or there are fewer draws than it needs.
        """
        if null not in NULLS or len(self.draws) < NULLS[null]:
            raise ValueError(
                f"null must be one of {', '.join(NULLS)}, which need {tuple(NULLS.values())} draws "
                f"or more; got {null!r} and {len(self.draws)}. Draw more often, or take raw ones."
            )
        if null == "pair":
            return self._by_pair()
        size, chance = self._raw() if null == "raw" else self._standardised()
        chance, known = np.sort(chance[:, self.known].ravel()), self.known
        p = np.full(self.scores.shape, np.nan)
        larger = len(chance) - np.searchsorted(chance, size[known])
        p[known] = (1 + larger) / (1 + len(chance))
        return p

    def _raw(self) -> tuple[np.ndarray, np.ndarray]:
        return np.abs(self.scores), np.abs(self.draws)

    def _standardised(self) -> tuple[np.ndarray, np.ndarray]:
        """Sizes of scores ``(source, target)`` and of draws, in standard deviations."""
        size = self._against(self.scores, self.draws)
        # a draw that had a part in its own standard deviation would be too small
        others = [np.delete(self.draws, k, axis=0) for k in range(len(self.draws))]
        pairs = zip(self.draws, others, strict=True)
        return size, np.stack([self._against(draw, rest) for draw, rest in pairs])

    def _against(self, scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """How far scores are from the mean of draws, in standard deviations of such a distance."""
        variance = np.where(self.known, draws.var(axis=0, ddof=1), np.nan)
        sd = np.sqrt(_products(variance) * (1 + 1 / len(draws)))
        return _over(scores - draws.mean(axis=0), sd)

    def _by_pair(self) -> np.ndarray:
        n, known = len(self.draws), self.known
        deviation = self.scores - self.draws.mean(axis=0)
        size = _over(deviation, self.draws.std(axis=0, ddof=1) * np.sqrt(1 + 1 / n))
        return np.where(known, 2 * stats.t.sf(np.where(known, size, 0), n - 1), np.nan)


class Realised(NamedTuple):
    """What called synapses are in truth.

    Parameters
    ----------
    false_share
        Share of called pairs without a synapse; 0 where none is called. Its mean over networks is
        the false discovery rate.
    turned_share
        Share of called pairs without a synapse that have one the other way round.
    found
        Share of the synapses that are called.
    n_called, n_synapses
        How many there are.
    """

    false_share: float
    turned_share: float
    found: float
    n_called: int
    n_synapses: int


def jittered(
    spikes: SpikeTimes,
    *,
    width: float,
    rng: np.random.Generator,
    start: float = 0.0,
    stop: float | None = None,
) -> SpikeTimes:
    r"""Put every spike anywhere in its window: interval jitter.

    A spike at *t* goes to :math:`t' \sim U[t_0 + k w,\ t_0 + (k + 1) w)`, with
    :math:`k = \lfloor (t - t_0) / w \rfloor`, independently of all others.

    Parameters
    ----------
    spikes
        Spike times in s.
    width
        Of a window *w*, s.
    rng
        Source of the draws.
    start, stop
        From where to where, s; spikes outside are left out. By default to the end of the window
        of the last spike. The last window may be narrower.

    Returns
    -------
    SpikeTimes
        Of as many neurons, which have as many spikes in every window.

    Raises
    ------
    ValueError
        Times make no sense.

    References
    ----------
    Harrison, M. T., and Geman, S. (2009). A rate and history-preserving resampling algorithm for
    neural spike trains. Neural Computation 21, 1244-1258.

    Amarasingham, A., Harrison, M. T., Hatsopoulos, N. G., and Geman, S. (2012). Conditional
    modeling and the jitter method of spike resampling. Journal of Neurophysiology 107, 517-531.
    """
    stop = _checked_end(spikes, width, start, stop)
    kept = spikes.between(start, stop)
    unit = np.repeat(np.arange(kept.n_units), kept.n_spikes)
    low = start + np.floor((kept.times - start) / width) * width
    high = np.minimum(low + width, stop)
    times = low + (high - low) * rng.random(len(low))
    # rounding must not carry a spike over an end
    times = np.clip(times, start, np.nextafter(stop, start))
    return SpikeTimes(times[np.lexsort((times, unit))], kept.ends)


def jitter_null(
    method: BaseEstimator,
    spikes: SpikeTimes,
    *,
    width: float = 0.1,
    n_draws: int = 10,
    rng: np.random.Generator,
    start: float = 0.0,
    stop: float | None = None,
    progress: bool = False,
) -> NullScores:
    """Fit a method to the spikes, and to draws of jittered ones.

    All neurons are jittered in each draw, each independently of the others. A method is fitted
    anew each time, with the same settings; null draws of all pairs are pooled afterwards
    (`NullScores.p_values`), so that 5 to 20 draws are enough; of a dear method 3, or one if its
    scores are alike for all pairs as they are.

    Parameters
    ----------
    method
        Estimator with ``fit(activity, start=..., stop=...)`` that sets ``scores_``
        ``(source, target)``; it is cloned, not changed.
    spikes
        Spike times in s.
    width
        Of a window, s: many times the longest delay and the width of a peak, and shorter than
        the time over which rates that neurons share change.
    n_draws
        How often spikes are jittered.
    rng
        Source of the draws.
    start, stop
        As in `jittered`.
    progress
        Whether to show a bar.

    Returns
    -------
    NullScores
        Its ``p_values()`` go to `q_values` or `discoveries`.

    Raises
    ------
    ValueError
        No draw, or times that make no sense.
    """
    if n_draws < 1:
        raise ValueError(f"n_draws must be 1 or more; got {n_draws}.")
    stop = _checked_end(spikes, width, start, stop)
    fitted = clone(method).fit(spikes, start=start, stop=stop)
    draws = []
    for _ in tqdm(range(n_draws), desc="jitter", disable=not progress):
        moved = jittered(spikes, width=width, rng=rng, start=start, stop=stop)
        draws.append(clone(method).fit(moved, start=start, stop=stop).scores_)
    return NullScores(np.asarray(fitted.scores_, np.float64), np.array(draws, np.float64), fitted)


def q_values(p: np.ndarray) -> np.ndarray:
    r"""Least false discovery rate at which each pair is called (Benjamini and Hochberg 1995).

    With the *m* p-values in order, :math:`q_{(k)} = \min_{l \ge k} m\, p_{(l)} / l`.

    Bias: controls the rate at :math:`q\, m_0 / m`, with :math:`m_0` pairs that are null, for
    p-values that are independent or positively dependent; too strict where synapses are many.

    Parameters
    ----------
    p
        p-values of any shape; NaN where there is none, and there only.

    Returns
    -------
    numpy.ndarray
        Of the same shape, from 0 to 1; NaN where `p` is.

    Raises
    ------
    ValueError
        A value is not from 0 to 1.
    """
    p = np.asarray(p, np.float64)
    known = ~np.isnan(p)
    values = p[known]
    if ((values < 0) | (values > 1)).any():
        raise ValueError(
            f"p-values must be from 0 to 1; got {values.min():g} to {values.max():g}. Scores are "
            f"no p-values: see jitter_null."
        )
    order = np.argsort(values)
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    lowest = np.minimum.accumulate(scaled[::-1])[::-1]
    q = np.full(p.shape, np.nan)
    q[known] = lowest[np.argsort(order)]
    return q


def discoveries(p: np.ndarray, rate: float = 0.05) -> np.ndarray:
    """Call pairs at a false discovery rate, as `q_values` at most that.

    Parameters
    ----------
    p
        p-values ``(source, target)``, NaN where there is none.
    rate
        Share of false calls aimed at.

    Returns
    -------
    numpy.ndarray
        Truth values of the same shape.

    Raises
    ------
    ValueError
        `rate` or a p-value is not from 0 to 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be above 0 and below 1, for example 0.05; got {rate}.")
    return q_values(p) <= rate  # NaN is not


def without_turned(called: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Of two calls of a pair, one each way and of opposite signs, keep the larger score.

    A strong synapse makes a score of the other sign the other way round: what jitter or smoothing
    spreads over both directions is missing there (`NullScores.p_values`). Calls of both ways with
    one sign stay.

    Bias: loses the weaker of the two synapses of an excitatory and an inhibitory neuron that drive
    each other. The share of false calls among those that stay is no longer that of
    Benjamini and Hochberg.

    Parameters
    ----------
    called
        Truth values ``(source, target)``, as of `discoveries`.
    scores
        ``(source, target)``, signed.

    Returns
    -------
    numpy.ndarray
        Truth values ``(source, target)``.

    Raises
    ------
    ValueError
        Matrices are not square or of one size.
    """
    called, scores = _same_size(called, scores)
    called = called != 0
    smaller = np.abs(scores) < np.abs(scores.T)
    return called & ~(called.T & smaller & (scores * scores.T < 0))


def realised_fdr(called: np.ndarray, weights: np.ndarray) -> Realised:
    """Count how many called pairs have no synapse, and how many synapses are called.

    Parameters
    ----------
    called
        Truth values ``(source, target)``, as of `discoveries`; the diagonal is not looked at.
    weights
        Of the synapses, ``(source, target)``; 0 where there is none.

    Returns
    -------
    Realised
        ``found`` is NaN where there is no synapse.

    Raises
    ------
    ValueError
        Matrices are not square or of one size, or weights are not finite.
    """
    called, weights = _matrices(called, weights)
    called = (called != 0) & ~np.eye(len(weights), dtype=bool)
    synapse = (weights != 0) & ~np.eye(len(weights), dtype=bool)
    n_called, n_synapses = int(called.sum()), int(synapse.sum())
    wrong = called & ~synapse
    return Realised(
        float(wrong.sum() / max(n_called, 1)),
        float((wrong & synapse.T).sum() / max(n_called, 1)),
        float((called & synapse).sum() / n_synapses) if n_synapses else float("nan"),
        n_called,
        n_synapses,
    )


def _checked_end(spikes: SpikeTimes, width: float, start: float, stop: float | None) -> float:
    """Return `stop`, once all times make sense: the end of the last spike's window by default."""
    if not (np.isfinite(width) and width > 0):
        raise ValueError(f"width must be a number of s above 0; got {width}. Choose 0.02, say.")
    if stop is None:
        last = spikes.times.max() if len(spikes.times) else start
        stop = start + (np.floor((last - start) / width) + 1) * width
    if not (np.isfinite([start, stop]).all() and start < stop):
        raise ValueError(
            f"start and stop must be in s, one after the other; got {start} and {stop}. Choose a "
            f"later stop."
        )
    return float(stop)


def _products(variance: np.ndarray) -> np.ndarray:
    """Fit a product of a source's and a target's factor, so that all their sums agree.

    Sums of rows and columns of the finite entries are those of a gamma or Poisson likelihood.
    """
    known = np.isfinite(variance)
    values = np.where(known, variance, 0)
    targets = np.ones(len(values))
    for _ in range(N_ROUNDS):
        sources = _ratio(values.sum(axis=1), known @ targets)
        targets = _ratio(values.sum(axis=0), sources @ known)
    return np.outer(sources, targets)


def _ratio(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)


def _over(deviation: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Sizes in standard deviations; without any, 0 for no deviation, and else infinite."""
    size = np.abs(deviation)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(size == 0, 0.0, size / sd)
