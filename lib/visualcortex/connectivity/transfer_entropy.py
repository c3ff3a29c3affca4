"""Wiring by what the past of one neuron tells of the next state of another: transfer entropy."""

from __future__ import annotations

import numba
import numpy as np
from sklearn.base import BaseEstimator

from visualcortex.connectivity.observed import observed_bins
from visualcortex.spikes import SpikeTimes

MOST_STATES = 256  # of a word, which is held in a byte
BITS = 1 / np.log(2)


class TransferEntropy(BaseEstimator):
    r"""Information that a source's past has on a target's next state, beyond the target's own past.

    Of symbols *x*, the target's past of *k* bins and the source's of *l* bins, *d* bins ago,

    .. math:: T_{ij}(d) = \sum p(x_{t,j}, x^{(k)}_{t-1,j}, x^{(l)}_{t-d,i})
              \log_2 \frac{p(x_{t,j} \mid x^{(k)}_{t-1,j}, x^{(l)}_{t-d,i})}
                          {p(x_{t,j} \mid x^{(k)}_{t-1,j})}, \qquad
              s_{ij} = \max_d T_{ij}(d),

    with :math:`x^{(l)}_{t} = (x_t, \dots, x_{t-l+1})`. With :math:`d = 0` the source's same bin is
    part of its past: the generalised transfer entropy of Stetter and others (2012), for frames that
    are longer than a synapse takes. They also leave out times at which the whole network is active
    (`quietest`). Both are for frames; for spikes in bins of 1 ms, look through delays.

    From each sum what too few samples add to it on average is subtracted (Miller 1955): with *m*
    states that occur of each word, and *n* samples,

    .. math:: \frac{m(x_j, x^{(k)}_j) - m(x^{(k)}_j) - m(x_j, x^{(k)}_j, x^{(l)}_i)
                    + m(x^{(k)}_j, x^{(l)}_i)}{2 n \ln 2},

    with the sign of a loss. Bias: little is left where all states are frequent; the largest of
    several delays is above 0 by chance. A common source and a chain count as synapses. It has no
    sign by definition: no score tells excitation from inhibition.

    Parameters
    ----------
    step
        Width of a bin, or duration of a frame, s.
    delays
        First and last delay *d*, in bins; (0, 0) is the same-bin version.
    own, others
        *k* and *l*.
    levels
        Symbols. 2 with spikes or counts: whether there is a spike. With traces, see `differences`.
    differences
        Whether an array is of traces: its differences from frame to frame are made symbols by
        quantiles of each neuron.
    floor
        Share of the differences in the lowest symbol; the others have equal shares of the rest.
    quietest
        Share of the bins that count: those with the lowest mean activity. 1 is all.

    Attributes
    ----------
    scores_ : (source, target) numpy.ndarray
        Bits a bin, 0 or more; NaN on the diagonal, as everywhere here.
    information_ : (source, target) numpy.ndarray
        The same, not cut off at 0.
    delays_ : (source, target) numpy.ndarray
        Of the largest, s.

    Notes
    -----
    The defaults of `delays`, `own` and `others` were chosen among five settings on two simulated
    networks of 40 neurons (`WiredNetwork`).

    References
    ----------
    Schreiber, T. (2000). Measuring information transfer. Physical Review Letters 85, 461-464.

    Stetter, O., and others (2012). Model-free reconstruction of excitatory neuronal connectivity
    from calcium imaging signals. PLoS Computational Biology 8, e1002653.

    Ito, S., and others (2011). Extending transfer entropy improves identification of effective
    connectivity in a spiking cortical network model. PLoS ONE 6, e27431.
    """

    def __init__(
        self,
        *,
        step: float = 0.001,
        delays: tuple[int, int] = (1, 6),
        own: int = 2,
        others: int = 3,
        levels: int = 2,
        differences: bool = False,
        floor: float = 0.8,
        quietest: float = 1.0,
    ) -> None:
        self.step, self.delays, self.own, self.others = step, delays, own, others
        self.levels, self.differences = levels, differences
        self.floor, self.quietest = floor, quietest

    def fit(
        self, activity: SpikeTimes | np.ndarray, *, start: float = 0.0, stop: float | None = None
    ) -> TransferEntropy:
        """Measure all ordered pairs at all delays.

        Parameters
        ----------
        activity
            Spike times, or counts or traces ``(time, neuron)`` whose rows last `step`.
        start, stop
            From where to where, s; by default all.

        Raises
        ------
        ValueError
            Settings are out of range, or there are fewer bins than the words need.
        """
        self._check()
        values = observed_bins(activity, self.step, start, stop)
        symbols = self._symbols(values)
        first = max(self.own, self.delays[1] + self.others - 1)
        if len(symbols) < first + 2:
            raise ValueError(
                f"words and delays reach back {first} bins; got {len(symbols)}. Record for longer."
            )
        kept = self._quiet(values[-len(symbols) :])[first:]
        target = _words(symbols, self.own + 1, self.levels)  # x_t is the lowest digit
        source = _words(symbols, self.others, self.levels)
        found = np.stack(
            [
                self._information(target[first:], source[first - d : len(source) - d], kept)
                for d in range(self.delays[0], self.delays[1] + 1)
            ]
        )  # (delay, source, target)
        at = found.argmax(axis=0)
        self.information_ = np.take_along_axis(found, at[None], axis=0)[0]
        self.delays_ = (at + self.delays[0]) * self.step
        for matrix in (self.information_, self.delays_):
            np.fill_diagonal(matrix, np.nan)
        self.scores_ = np.maximum(self.information_, 0)
        return self

    def _symbols(self, values: np.ndarray) -> np.ndarray:
        """Symbols ``(time, neuron)``, bytes; the commonest should be 0."""
        if not self.differences:
            whole = (values >= 0).all() and (values == np.floor(values)).all()
            if not whole:
                raise ValueError(
                    "activity must be spikes or counts; got values that are not. Pass "
                    "differences=True for traces."
                )
            return np.minimum(values, self.levels - 1).astype(np.uint8)
        rises = np.diff(values, axis=0)
        shares = np.linspace(self.floor, 1, self.levels)[:-1]
        borders = np.quantile(rises, shares, axis=0)  # (level - 1, neuron)
        return sum((rises > border).astype(np.uint8) for border in borders)

    def _quiet(self, values: np.ndarray) -> np.ndarray:
        """Tell the bins of lowest mean activity, ``(time,)``."""
        mean = values.mean(axis=1, dtype=np.float64)
        if self.quietest == 1:
            return np.ones(len(mean), bool)
        return mean <= np.quantile(mean, self.quietest)

    def _information(self, target: np.ndarray, source: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Bits a bin of all pairs ``(source, target)`` at one delay, corrected."""
        n_own, n_source = self.levels ** (self.own + 1), self.levels**self.others
        counts = joint_counts(target[kept], source[kept], n_own, n_source)
        return corrected_transfer_entropy(
            counts.reshape(*counts.shape[:2], -1, self.levels, n_source)
        )

    def _check(self) -> None:
        """Complain of settings."""
        if not 0 <= self.delays[0] <= self.delays[1] or min(self.own, self.others) < 1:
            raise ValueError(
                f"delays must be the first and the last, in bins from 0 on, own and others at "
                f"least 1; got {self.delays}, {self.own} and {self.others}."
            )
        states = self.levels ** (max(self.own + 1, self.others))
        if not 2 <= self.levels <= states <= MOST_STATES:
            raise ValueError(
                f"levels must be 2 or more, and words of at most {MOST_STATES} states; got "
                f"{self.levels} levels and {states} states. Choose shorter words."
            )
        if not (0 < self.floor < 1 and 0 < self.quietest <= 1):
            raise ValueError(
                f"floor must be between 0 and 1, and quietest above 0 and at most 1; got "
                f"{self.floor} and {self.quietest}."
            )


def corrected_transfer_entropy(counts: np.ndarray) -> np.ndarray:
    r"""Transfer entropy of counted words, less what too few samples add to it.

    .. math:: T = H(x, p) - H(p) - H(x, p, s) + H(p, s)

    of next symbol *x*, past *p* and the source's past *s*, each entropy that of the relative
    frequencies :math:`+ (m - 1) / 2n`, with *m* states that occur of *n* samples (Miller 1955).

    Parameters
    ----------
    counts
        ``(..., past, next, source)``.

    Returns
    -------
    numpy.ndarray
        Bits, ``(...,)``; below 0 where the correction is more than there was.
    """
    counts = counts.astype(np.float64)
    by_word = counts.sum(axis=-1)  # (..., past, next)
    by_past = counts.sum(axis=-2)  # (..., past, source)
    alone = by_word.sum(axis=-1)  # (..., past)
    parts = ((by_word, 2, 1), (alone, 1, -1), (counts, 3, -1), (by_past, 2, 1))
    return sum(sign * _entropy(words, n_axes) for words, n_axes, sign in parts)


def joint_counts(
    target: np.ndarray, source: np.ndarray, n_target: int, n_source: int
) -> np.ndarray:
    """Count how often each state of each target occurs with each state of each source.

    Only times at which a source is not in state 0 are gone through, which makes rare spikes cheap.

    Parameters
    ----------
    target, source
        States ``(time, neuron)``, bytes.
    n_target, n_source
        How many states there are.

    Returns
    -------
    numpy.ndarray
        ``(source, target, target state, source state)``, int64.
    """
    n_sources, n = source.shape[1], target.shape[1]
    counts = np.zeros((n_sources, n, n_target, n_source), np.int64)
    marginal = np.stack([np.bincount(target[:, j], minlength=n_target) for j in range(n)])
    _count_words(np.ascontiguousarray(target), np.ascontiguousarray(source.T), counts)
    counts[..., 0] = marginal - counts[..., 1:].sum(axis=-1)
    return counts


def _entropy(counts: np.ndarray, n_axes: int) -> np.ndarray:
    """Entropy over the last axes in bits, with the correction for few samples."""
    flat = counts.reshape(*counts.shape[:-n_axes], -1)
    total = flat.sum(axis=-1)
    logs = np.log(np.where(flat > 0, flat, 1))
    plain = np.log(total) - (flat * logs).sum(axis=-1) / total
    return (plain + ((flat > 0).sum(axis=-1) - 1) / (2 * total)) * BITS


def _words(symbols: np.ndarray, length: int, levels: int) -> np.ndarray:
    """Number each word that ends at each bin, ``(time, neuron)``; its last symbol counts as one."""
    words = symbols.copy()
    for back in range(1, length):
        words[back:] += (symbols[:-back] * levels**back).astype(np.uint8)
    return words


@numba.njit(cache=True, nogil=True)
def _count_words(target: np.ndarray, source: np.ndarray, counts: np.ndarray) -> None:
    """Count in place; `target` is (time, neuron), `source` (neuron, time)."""
    n_sources, n_time = source.shape
    n = target.shape[1]
    for i in range(n_sources):
        for t in range(n_time):
            state = source[i, t]
            if state != 0:
                for j in range(n):
                    counts[i, j, target[t, j], state] += 1
