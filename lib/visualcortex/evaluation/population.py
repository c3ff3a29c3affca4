"""Statistics of a set of trials: what synthetic trials have to share with real ones.

Activity is (trial, time, neuron) or (trial, neuron), values in [0, 1]: frames in which a neuron is
active, or the fraction of them. Each statistic has its definition and its bias at its own function;
`population_statistics` measures those that `placement` compares.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import fft

from visualcortex.evaluation.scores import mean_rates, noise_correlations, trial_rates

# what is left of a constant after the subtraction of its mean is rounding, not variance
ROUNDING = 1e-24


class Irregularity(NamedTuple):
    """Irregularity of the intervals of each neuron, and of how many pairs of intervals."""

    cv2: np.ndarray
    lv: np.ndarray
    n_pairs: np.ndarray


def condition_means(activity: np.ndarray, labels: np.ndarray) -> np.ndarray:
    r"""Mean activity of each neuron under each stimulus: its tuning.

    :math:`m_{si} = \frac{1}{n_s} \sum_{r: s(r) = s} \bar x_{ri}`, unbiased. What tells stimuli
    apart in it holds sampling noise too: its variance over stimuli is too large by the mean of
    :math:`\sigma_{si}^2 / n_s`.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1].
    labels : (n_trials,) array of int
        Stimulus of each trial.

    Returns
    -------
    (n_stimuli, n_neurons) array
        Stimuli in ascending order.

    Raises
    ------
    ValueError
        If activity is not what is described above, or there is not one label a trial.
    """
    frames = _frames(activity)
    return _means(frames.mean(axis=1), _one_hot(labels, len(frames)))


def lagged_correlations(
    activity: np.ndarray, labels: np.ndarray | None, max_lag: int = 0
) -> np.ndarray:
    r"""Correlation of the frames of every neuron with later frames of every other, all lags.

    .. math::

        c_{\ell ij} = \frac{\sum_{r,\, t < T - \ell} e_{rti}\, e_{r,t+\ell,j}}
            {\sqrt{\sum_{r,\, t < T - \ell} e_{rti}^2 \; \sum_{r,\, t \ge \ell} e_{rtj}^2}}

    With labels, :math:`e_{rti} = x_{rti} - \bar x_{s(r) t i}`: noise correlation, pooled over
    stimuli and frames. Without, :math:`e_{rti} = x_{rti} - \bar x_i`: total correlation, what
    stimulus and time in the trial make neurons do together included.

    Bias: noise correlations are pulled towards zero by about :math:`\rho (1 - \rho^2) / 2 \nu`,
    with :math:`\nu` the effective number of independent frames (of trials, where activity is slow),
    one less for each mean that is subtracted. Slow drift within a stimulus counts as noise. Of
    activity without a time axis there is lag 0 only, a correlation of trials.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1].
    labels : (n_trials,) array of int, or None
        Stimulus of each trial; None for total correlations.
    max_lag : int
        Largest lag, in frames, less than the length of a trial.

    Returns
    -------
    (max_lag + 1, n_neurons, n_neurons) array
        ``[lag, i, j]``: frame t of neuron i with frame t + lag of neuron j; symmetric at lag 0.
        NaN for neurons that do not vary.

    Raises
    ------
    ValueError
        If activity is not what is described above, labels do not fit, no stimulus was shown twice,
        or the trials are too short for the lag.
    """
    frames = _frames(activity)
    _check_lag(max_lag, frames.shape[1])
    residual = _residual(frames, labels)
    length = fft.next_fast_len(frames.shape[1] + max_lag, real=True)
    spectrum = fft.rfft(residual.transpose(1, 0, 2), length, axis=0)  # (F, B, N)
    crossed = spectrum.conj().transpose(0, 2, 1) @ spectrum  # (F, N, N)
    products = fft.irfft(crossed, length, axis=0)[: max_lag + 1]
    early, late = _norms(residual, frames, max_lag)
    return products / (early[:, :, None] * late[:, None, :])


def autocorrelations(activity: np.ndarray, labels: np.ndarray | None, max_lag: int) -> np.ndarray:
    """Correlation of the frames of each neuron with its own later frames.

    The diagonal of `lagged_correlations`, of which only it is computed; definition and bias there.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1].
    labels : (n_trials,) array of int, or None
        Stimulus of each trial; None for total correlations.
    max_lag : int
        Largest lag, in frames, less than the length of a trial.

    Returns
    -------
    (max_lag + 1, n_neurons) array
        1 at lag 0; NaN for neurons that do not vary.

    Raises
    ------
    ValueError
        As `lagged_correlations`.
    """
    frames = _frames(activity)
    _check_lag(max_lag, frames.shape[1])
    residual = _residual(frames, labels)
    n_time = frames.shape[1]
    products = [
        np.einsum("rti,rti->i", residual[:, : n_time - lag], residual[:, lag:])
        for lag in range(max_lag + 1)
    ]
    early, late = _norms(residual, frames, max_lag)
    return np.stack(products) / (early * late)


def count_distribution(activity: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    r"""Distribution of the number of neurons that are active in the same frame, P(K) or P(K | s).

    :math:`P(K = k)` is the share of frames, of all trials, with :math:`\sum_i x_{rti} = k`.
    Unbiased. Over all stimuli, K varies with the stimulus too, which can bury what neurons share;
    given the stimulus it does not. Of activity that is graded the sum is rounded: then K is the
    number of active neurons on average over the frames that were pooled, which hides whether they
    were active together.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1].
    labels : (n_trials,) array of int, optional
        Stimulus of each trial, for one distribution a stimulus.

    Returns
    -------
    (n_neurons + 1,) array, or (n_stimuli, n_neurons + 1)
        Each distribution adds up to 1.

    Raises
    ------
    ValueError
        If activity is not what is described above, or there is not one label a trial.
    """
    frames = _frames(activity)
    n_trials, _, n_neurons = frames.shape
    active = np.rint(frames.sum(axis=2)).astype(int)  # (B, T)
    places = active + (n_neurons + 1) * np.arange(n_trials)[:, None]
    counts = np.bincount(places.ravel(), minlength=n_trials * (n_neurons + 1))
    shares = counts.reshape(n_trials, n_neurons + 1) / active.shape[1]
    return shares.mean(axis=0) if labels is None else _means(shares, _one_hot(labels, n_trials))


def active_frame_distribution(activity: np.ndarray, n_frames: int | None = None) -> np.ndarray:
    """Distribution, over trials, of the number of frames in which each neuron is active.

    Unbiased. Its two ends tell how often a neuron is silent through a trial, and how often active
    in every frame.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1]; without a time axis, the fraction of `n_frames` frames.
    n_frames : int, optional
        Frames behind each fraction; needed without a time axis, ignored otherwise.

    Returns
    -------
    (n_neurons, n_frames + 1) array
        Each row adds up to 1.

    Raises
    ------
    ValueError
        If activity is not what is described above, or has no time axis and `n_frames` is missing.
    """
    counts, n_frames = _active_counts(activity, n_frames)
    counts = np.rint(counts).astype(int)
    n_trials, n_neurons = counts.shape
    places = counts + (n_frames + 1) * np.arange(n_neurons)
    table = np.bincount(places.ravel(), minlength=n_neurons * (n_frames + 1))
    return table.reshape(n_neurons, n_frames + 1) / n_trials


def fano_factors(
    activity: np.ndarray, labels: np.ndarray, n_frames: int | None = None
) -> np.ndarray:
    r"""Variance over mean of the number of active frames, over the trials of a stimulus.

    :math:`F_{si} = \hat\sigma_{si}^2 / m_{si}`, the variance with :math:`n_s - 1`. Independent
    frames of probability p give 1 - p. Bias: of a ratio, small for many trials; with few, neurons
    that happen to be silent are left out, which are those of low rate.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1]; without a time axis, the fraction of `n_frames` frames.
    labels : (n_trials,) array of int
        Stimulus of each trial.
    n_frames : int, optional
        Frames behind each fraction; needed without a time axis, ignored otherwise.

    Returns
    -------
    (n_stimuli, n_neurons) array
        NaN where a neuron is silent, and for stimuli of a single trial.

    Raises
    ------
    ValueError
        If activity or labels are not what is described above, or `n_frames` is missing.
    """
    counts, _ = _active_counts(activity, n_frames)
    one_hot = _one_hot(labels, len(counts))
    mean = _means(counts, one_hot)
    squares = one_hot.T @ (counts - one_hot @ mean) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = squares / (one_hot.sum(axis=0) - 1)[:, None]
        return np.where(mean > 0, variance / mean, np.nan)


def interval_irregularity(activity: np.ndarray) -> Irregularity:
    r"""How irregular the intervals between a neuron's active frames are: CV2 and LV.

    Over pairs of successive intervals I, J between the active frames of a trial, all trials
    together, :math:`\mathrm{CV2} = \langle 2 |I - J| / (I + J) \rangle` (Holt et al. 1996) and
    :math:`\mathrm{LV} = \langle 3 (I - J)^2 / (I + J)^2 \rangle` (Shinomoto et al. 2003): 0 for a
    clock, 1 for a Poisson process in continuous time; less for one in frames, the more so the
    higher its rate.

    Bias: a trial holds only intervals that fit into it, so long ones are missing; the shorter the
    trials, the lower both are. Compare sets of trials of the same length.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) array
        Active frames, 0 or 1.

    Returns
    -------
    Irregularity
        Three (n_neurons,) arrays; NaN, NaN and 0 for neurons without a pair of intervals.

    Raises
    ------
    ValueError
        If activity has no time axis or is not binary.

    References
    ----------
    Holt, G. R. et al. (1996). Journal of Neurophysiology 75, 1806-1814.
    Shinomoto, S., Shima, K. & Tanji, J. (2003). Neural Computation 15, 2823-2842.
    """
    frames = _frames(activity)
    if np.ndim(activity) != 3 or ((frames != 0) & (frames != 1)).any():
        raise ValueError(
            "intervals need active frames, 0 or 1, (trial, time, neuron); got an array of shape "
            f"{np.shape(activity)} with values in [{frames.min():g}, {frames.max():g}]"
        )
    n_trials, _, n_neurons = frames.shape
    neuron, trial, time = np.nonzero(frames.transpose(2, 0, 1))
    train = neuron * n_trials + trial
    interval = np.diff(time)
    inside = train[2:] == train[:-2]  # three events of one train: two successive intervals
    first, second = interval[:-1][inside], interval[1:][inside]
    contrast = np.abs(first - second) / (first + second)
    owner = neuron[:-2][inside]
    n_pairs = np.bincount(owner, minlength=n_neurons)
    per_pair = np.where(n_pairs > 0, 1 / np.maximum(n_pairs, 1), np.nan)
    cv2 = 2 * np.bincount(owner, contrast, minlength=n_neurons) * per_pair
    lv = 3 * np.bincount(owner, contrast**2, minlength=n_neurons) * per_pair
    return Irregularity(cv2, lv, n_pairs)


def van_rossum_distances(
    first: np.ndarray,
    second: np.ndarray | None = None,
    *,
    time_constant: float,
    pooled: bool = False,
) -> np.ndarray:
    r"""Van Rossum distance of every trial from every other, all pairs and neurons at once.

    Events in frames t and u are alike by :math:`K_{tu} = e^{-|t - u| / \tau}`; then
    :math:`d^2(x, y) = x K x^T + y K y^T - 2\, x K y^T` (van Rossum 2001; in this matrix form
    Houghton & Kreuz 2012). One event away from silence lies at distance 1. Pooled over neurons,
    :math:`d^2` is the sum of those of the neurons (each a labelled line).

    Bias: none as a distance; a *distribution* of distances is not a statistic of pairs of
    independent trials, since each trial is in many pairs. Identical trials lie within rounding of
    zero, about 1e-8 times their size.

    Parameters
    ----------
    first : (n_first, n_time, n_neurons) or (n_first, n_neurons) array
        Activity in [0, 1]. Without a time axis the distance is the difference of the rates.
    second : (n_second, n_time, n_neurons) or (n_second, n_neurons) array, optional
        By default `first`.
    time_constant : float
        tau in frames: short, a distance of coincidences; long, of counts.
    pooled : bool
        Whether to give one distance of the population instead of one a neuron.

    Returns
    -------
    (n_neurons, n_first, n_second) array, or (n_first, n_second) if pooled

    Raises
    ------
    ValueError
        If the activities are not what is described above or do not fit each other, or the time
        constant is not positive.

    References
    ----------
    van Rossum, M. C. W. (2001). Neural Computation 13, 751-763.
    Houghton, C. & Kreuz, T. (2012). Network 23, 48-58.
    """
    rows = _frames(first)
    columns = rows if second is None else _frames(second)
    if rows.shape[1:] != columns.shape[1:]:
        raise ValueError(
            "the two sets must have the same frames and neurons; "
            f"got {np.shape(first)} and {np.shape(second)}"
        )
    if not time_constant > 0:
        raise ValueError(f"time_constant must be positive, in frames; got {time_constant}")
    time = np.arange(rows.shape[1])
    kernel = np.exp(-np.abs(time[:, None] - time) / time_constant)  # (T, T)
    smooth_rows, rows = _by_neuron(rows, kernel, pooled)
    smooth_columns, columns = _by_neuron(columns, kernel, pooled)
    squares = (smooth_rows * rows).sum(axis=2)[:, :, None]
    squares = squares + (smooth_columns * columns).sum(axis=2)[:, None, :]
    squares -= 2 * smooth_rows @ columns.transpose(0, 2, 1)  # (N, B, C)
    distances = np.sqrt(np.maximum(squares, 0))
    return distances[0] if pooled else distances


def distances_within_stimuli(
    activity: np.ndarray, labels: np.ndarray, *, time_constant: float
) -> np.ndarray:
    """Pooled van Rossum distances of all pairs of different trials of the same stimulus.

    What `histogram_divergence` compares between sets: how far trials lie apart. Bias: a resample
    that holds a trial twice holds a distance of zero; give it no bootstrap over trials.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1].
    labels : (n_trials,) array of int
        Stimulus of each trial.
    time_constant : float
        Of `van_rossum_distances`, in frames.

    Returns
    -------
    (n_pairs,) array

    Raises
    ------
    ValueError
        As `van_rossum_distances`, or if labels do not fit.
    """
    one_hot = _one_hot(labels, len(activity))
    distances = van_rossum_distances(activity, time_constant=time_constant, pooled=True)
    same = np.triu(one_hot @ one_hot.T, k=1) > 0
    return distances[same]


def population_statistics(
    activity: np.ndarray,
    labels: np.ndarray,
    *,
    max_lag: int = 3,
    n_frames: int | None = None,
) -> dict[str, np.ndarray]:
    """The statistics by which one set of trials is compared with another.

    Pairs are those of different neurons, i < j, and at lags above 0 both ways round. Of activity
    without a time axis, what needs one is left out; what needs the number of active frames is left
    out without `n_frames`. Biases as of each function; all of them cancel, to first order, between
    sets of the same size.

    Parameters
    ----------
    activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
        Activity in [0, 1].
    labels : (n_trials,) array of int
        Stimulus of each trial, one of them at least twice.
    max_lag : int
        Largest lag in frames.
    n_frames : int, optional
        Frames behind each fraction, for activity without a time axis.

    Returns
    -------
    dict from name to array
        "rates" (n_neurons,); "tuning" (n_stimuli * n_neurons,), deviations of condition means from
        their mean over stimuli; "noise correlations" of trials, "frame correlations" (noise) and
        "total correlations" of frames, each (n_pairs,); "lagged correlations"
        (max_lag * 2 n_pairs,); "autocorrelations" (max_lag * n_neurons,); "active neurons"
        (n_neurons + 1,), P(K), and "active neurons given stimulus" (n_stimuli, n_neurons + 1),
        P(K | s); "active frames" (n_neurons, n_frames + 1); "fano factors"
        (n_neurons,), mean over stimuli.

    Raises
    ------
    ValueError
        If activity or labels are not what is described above.
    """
    frames = _frames(activity)
    tuning = condition_means(frames, labels)
    upper = np.triu_indices(frames.shape[2], k=1)
    found = {
        "rates": mean_rates(frames),
        "tuning": (tuning - tuning.mean(axis=0)).ravel(),
        "noise correlations": noise_correlations(frames, labels)[upper],
        "total correlations": lagged_correlations(frames, None)[0][upper],
        "active neurons": count_distribution(frames),
        "active neurons given stimulus": count_distribution(frames, labels),
    }
    if np.ndim(activity) == 3:
        found |= _in_time(frames, labels, min(max_lag, frames.shape[1] - 1), upper)
    if np.ndim(activity) == 3 or n_frames is not None:
        found["active frames"] = active_frame_distribution(activity, n_frames)
        found["fano factors"] = _mean_where_finite(fano_factors(activity, labels, n_frames))
    return found


def _in_time(
    frames: np.ndarray, labels: np.ndarray, max_lag: int, upper: tuple[np.ndarray, np.ndarray]
) -> dict[str, np.ndarray]:
    """Those of the statistics that need a time axis."""
    lagged = lagged_correlations(frames, labels, max_lag)
    between = ~np.eye(frames.shape[2], dtype=bool)
    return {
        "frame correlations": lagged[0][upper],
        "lagged correlations": lagged[1:, between].ravel(),
        "autocorrelations": lagged[1:, ~between].ravel(),
    }


def _mean_where_finite(values: np.ndarray) -> np.ndarray:
    """Mean over rows, NaN left out; NaN where nothing is left."""
    finite = np.isfinite(values)
    n = finite.sum(axis=0)
    return np.where(n > 0, np.where(finite, values, 0).sum(axis=0) / np.maximum(n, 1), np.nan)


def _frames(activity: np.ndarray) -> np.ndarray:
    """Return activity as (B, T, N), one frame where there is no time, or say what is wrong."""
    frames = np.asarray(activity, dtype=float)
    if frames.ndim not in (2, 3) or 0 in frames.shape:
        raise ValueError(
            "activity must be (trial, neuron) or (trial, time, neuron) with at least one of each; "
            f"got an array of shape {frames.shape}"
        )
    low, high = frames.min(), frames.max()
    if not (low >= 0 and high <= 1):  # NaN fails both
        raise ValueError(
            "activity must be active frames or fractions of them, finite and in [0, 1]; got values "
            f"in [{low:g}, {high:g}]. Turn traces into active frames first."
        )
    return frames if frames.ndim == 3 else frames[:, None, :]


def _one_hot(labels: np.ndarray, n_trials: int) -> np.ndarray:
    """Which stimulus, in ascending order, each trial shows, (B, S) of 0.0 and 1.0."""
    labels = np.asarray(labels)
    if labels.shape != (n_trials,):
        raise ValueError(f"need one label a trial, ({n_trials},); got shape {labels.shape}")
    return (labels[:, None] == np.unique(labels)).astype(float)


def _means(values: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Mean over the trials of each stimulus: (B, M) -> (S, M)."""
    return (one_hot.T @ values) / one_hot.sum(axis=0)[:, None]


def _residual(frames: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Deviations from the mean of stimulus and frame, or of all trials and frames, (B, T, N)."""
    if labels is None:
        return frames - frames.mean(axis=(0, 1))
    one_hot = _one_hot(labels, len(frames))
    if one_hot.sum(axis=0).max() < 2:
        raise ValueError("noise correlations need a stimulus that is shown at least twice")
    flat = frames.reshape(len(frames), -1)  # (B, TN)
    return (flat - one_hot @ _means(flat, one_hot)).reshape(frames.shape)


def _norms(residual: np.ndarray, frames: np.ndarray, max_lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Norms of the residuals without the last and the first frames, lag by lag, 2 x (L + 1, N)."""
    power = np.einsum("rti,rti->ti", residual, residual)
    silent = ROUNDING * np.einsum("rti,rti->i", frames, frames)
    kept = len(power) - np.arange(max_lag + 1) - 1  # last frame that has one `lag` frames later
    early = np.cumsum(power, axis=0)[kept]
    late = np.cumsum(power[::-1], axis=0)[kept]
    early, late = (np.where(part > silent, part, np.nan) for part in (early, late))
    return np.sqrt(early), np.sqrt(late)


def _check_lag(max_lag: int, n_time: int) -> None:
    """Raise an error unless trials hold two frames that are this far apart."""
    if not 0 <= max_lag < n_time:
        raise ValueError(
            f"max_lag must be from 0 to {n_time - 1}, less than the {n_time} frames of a trial; "
            f"got {max_lag}"
        )


def _active_counts(activity: np.ndarray, n_frames: int | None) -> tuple[np.ndarray, int]:
    """Active frames of each neuron in each trial, (B, N), and of how many frames."""
    frames = _frames(activity)
    if np.ndim(activity) == 2 and n_frames is None:
        raise ValueError(
            "activity without a time axis is a fraction of frames: pass n_frames, how many they are"
        )
    n_frames = frames.shape[1] if np.ndim(activity) == 3 else n_frames
    return trial_rates(frames) * n_frames, n_frames


def _by_neuron(
    frames: np.ndarray, kernel: np.ndarray, pooled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Trials smoothed by the kernel and as they are, each (N, B, T), or (1, B, N * T) if pooled."""
    trains = np.ascontiguousarray(frames.transpose(2, 0, 1))  # (N, B, T)
    smooth = trains @ kernel
    if not pooled:
        return smooth, trains
    n_trials = len(frames)
    return tuple(x.transpose(1, 0, 2).reshape(1, n_trials, -1) for x in (smooth, trains))
