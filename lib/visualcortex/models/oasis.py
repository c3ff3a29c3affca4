r"""Least-squares fits of calcium traces by sparse, non-negative spikes: the solvers.

With c the calcium, :math:`s_t = c_t - \sum_k g_k c_{t-k}` (calcium before the trace is zero), the
problem is

.. math:: \min_{c,\; s \ge 0} \tfrac12 \|y - b - c\|^2 + \lambda \|s\|_1 .

Order one. Where s is zero, calcium decays by g a frame, so that a fit is a row of *pools*:
stretches of l frames with calcium :math:`v g^k`. Given the pools,
:math:`v = \sum g^k y_k / \sum g^{2k}`, and two neighbours are merged while the later one starts
below where the earlier one has decayed to (Friedrich et al. 2017). Written for
:math:`u_t = c_t / g^t` this is a weighted isotonic regression, which is why pools may be merged in
any order. The penalty is worth a shift of the trace by :math:`\lambda (1 - g)`, and by
:math:`\lambda` in the last frame. A larger penalty only merges.

Order two. The frames that hold spikes are found by exchange: calcium is fitted to the frames
chosen, by one backward and one forward recursion; frames with negative spikes leave, frames where
a spike would lower the objective enter, until there are none of either (block principal pivoting,
Portugal et al. 1994). This is exact as well, which pools at order two are not; pools of order one
are where it starts.

Arrays are (neuron, time), float64, and every neuron's trace has mean zero.

References
----------
Friedrich, J., Zhou, P. and Paninski, L. (2017). Fast online deconvolution of calcium imaging data.
PLoS Computational Biology 13, e1005423.
Portugal, L. F., Judice, J. J. and Vicente, L. N. (1994). A comparison of block pivoting and
interior-point algorithms for linear least squares problems with nonnegative variables. Mathematics
of Computation 63.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

# columns of an array of pools: sum of g^k y, sum of g^2k, g^length, length
SUM, WEIGHT, POWER, LENGTH = 0, 1, 2, 3
# decay below which it is zero: numbers that lose digits are slow
NOTHING = 1e-100
# relative error of the squared residuals at which the search for the penalty ends
CLOSE = 1e-10
# steps of the search that may move baseline and penalty at the same time
QUICK = 12
# state of the search for baseline and penalty
BASELINE, PENALTY, BOTTOM, TOP, LOW, HIGH, LOW_BASELINE, HIGH_BASELINE, STEPS = range(9)
# rounds of exchange without progress before frames are exchanged one by one
PATIENCE = 3
# relative change of the penalty after which the frames with spikes are guessed again
FAR = 0.02
# rounds of exchange after which it is given up, the fit then being close to the optimum only
MOST_ROUNDS = 1000
# frames within which small spikes are struck out one after the other
NEAR = 8
# rounds in which a baseline and spikes above a threshold are fitted to each other
N_BASELINES = 2


class Fit(NamedTuple):
    """Calcium and spikes (N, T), and what they were fitted with (N,)."""

    calcium: np.ndarray
    spikes: np.ndarray
    baseline: np.ndarray
    penalty: np.ndarray


def fit_order_one(
    traces: np.ndarray,
    decay: np.ndarray,
    energy: np.ndarray,
    baseline: np.ndarray,
    penalty: np.ndarray,
    smallest: np.ndarray,
    n_iterations: int = 100,
) -> Fit:
    r"""Fit autoregressive calcium of order one by pools, neuron by neuron.

    Exact at ``smallest`` 0. Above it, pools are also merged where the jump between them is below
    `smallest`, from the left to the right: a local optimum, since what was merged early is not
    taken apart when later frames would allow it. No jump but the first is then below `smallest`.

    Parameters
    ----------
    traces : (N, T) float64 array
        Each of mean zero.
    decay : (N,) array
        g, in [0, 1).
    energy : (N,) array
        Sum of squared residuals to be met where baseline or penalty are NaN.
    baseline : (N,) array
        b; where NaN, the one of the fit that meets `energy`, fitted together with the calcium, no
        lower than the trace.
    penalty : (N,) array
        :math:`\lambda`; where NaN, the one that meets `energy`.
    smallest : (N,) array
        Smallest spike. Above 0, a baseline that is NaN is fitted to the calcium once more after
        the threshold, twice in turn.
    n_iterations : int
        Limit of the search for the penalty.

    Returns
    -------
    Fit
        `spikes` of the first frame are zero: its calcium may be of earlier ones.
    """
    fit = Fit(np.empty_like(traces), np.empty_like(traces), baseline.copy(), penalty.copy())
    n_parts = min(len(traces), 4 * numba.get_num_threads())
    _fit_rows(n_parts, traces, decay, energy, smallest, n_iterations, *fit)
    return fit


def autocovariance(traces: np.ndarray, last: int) -> np.ndarray:
    """Return the mean product (N, last + 1) of traces (N, T) with themselves some frames later."""
    products = np.empty((len(traces), last + 1))
    _multiply(traces, products)
    return products


@numba.njit(cache=True, nogil=True, parallel=True, fastmath=True)
def _multiply(traces: np.ndarray, products: np.ndarray) -> None:
    """Write mean products at the lags that there is place for."""
    n_frames = traces.shape[1]
    for i in numba.prange(len(traces)):
        for lag in range(products.shape[1]):
            total = 0.0
            for t in range(n_frames - lag):
                total += traces[i, t] * traces[i, t + lag]
            products[i, lag] = total / (n_frames - lag)


@numba.njit(cache=True, nogil=True)
def _squares(trace: np.ndarray) -> float:
    """Sum of squares."""
    total = 0.0
    for value in trace:
        total += value * value
    return total


@numba.njit(cache=True, nogil=True)
def _settle(
    pools: np.ndarray,
    n: int,
    start: float,
    weight: float,
    power: float,
    length: float,
    smallest: float,
) -> int:
    """Add a pool to the `n` before it, and merge backwards while it starts too low."""
    while n > 0:
        held, base, decayed = pools[n - 1, SUM], pools[n - 1, WEIGHT], pools[n - 1, POWER]
        level = held if n > 1 else max(held, 0.0)
        if start * base >= decayed * level * weight + smallest * weight * base:
            break
        start = held + decayed * start
        weight = base + decayed * decayed * weight
        power *= decayed
        length += pools[n - 1, LENGTH]
        n -= 1
    pools[n, SUM], pools[n, WEIGHT] = start, weight
    pools[n, POWER] = power if power > NOTHING else 0.0
    pools[n, LENGTH] = length
    return n + 1


@numba.njit(cache=True, nogil=True)
def _pool(
    trace: np.ndarray, decay: float, shift: float, penalty: float, least: float, pools: np.ndarray
) -> int:
    """Pool a trace less `shift`, of which the last frame pays `penalty` once more; count them."""
    n_frames, n = len(trace), 0
    start, weight, power, length = trace[0] - shift, 1.0, decay, 1.0
    for t in range(1, n_frames):
        value = trace[t] - shift
        if t == n_frames - 1:
            value -= penalty * decay
        level = start if n > 0 else max(start, 0.0)
        if value * weight >= power * level + least * weight:
            n = _settle(pools, n, start, weight, power, length, least)
            start, weight, power, length = value, 1.0, decay, 1.0
            continue
        start += power * value
        weight += power * power
        power *= decay
        length += 1
        if power < NOTHING:
            power = 0.0
        if n > 0:
            # rarely more than one merge: the last pool stays in registers
            held, base, decayed = pools[n - 1, SUM], pools[n - 1, WEIGHT], pools[n - 1, POWER]
            level = held if n > 1 else max(held, 0.0)
            if start * base < decayed * level * weight + least * weight * base:
                n = _settle(pools, n, start, weight, power, length, least) - 1
                start, weight = pools[n, SUM], pools[n, WEIGHT]
                power, length = pools[n, POWER], pools[n, LENGTH]
    return _settle(pools, n, start, weight, power, length, least)


@numba.njit(cache=True, nogil=True)
def _pool_again(
    known: np.ndarray, n: int, decay: float, shift: float, penalty: float, pools: np.ndarray
) -> int:
    """Merge pools of the unshifted trace that a larger shift and penalty do not keep apart."""
    n_pools = 0
    for i in range(n):
        power = known[i, POWER]
        start = known[i, SUM] - shift * (1 - power) / (1 - decay)
        if i == n - 1:
            start -= penalty * power
        n_pools = _settle(pools, n_pools, start, known[i, WEIGHT], power, known[i, LENGTH], 0.0)
    return n_pools


@numba.njit(cache=True, nogil=True)
def _sums(
    pools: np.ndarray,
    n: int,
    decay: float,
    baseline: float,
    penalty: float,
    energy: float,
    n_frames: int,
) -> tuple[float, float, float, float, float]:
    """Sum of residuals and of their squares, and three sums that `advance_search` moves by.

    These are of squares, of products and of squares of how calcium falls with the baseline, and
    with the penalty, the pools being as they are.
    """
    crossed, total, bb, bp, pp = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        start, weight, power = pools[i, SUM], pools[i, WEIGHT], pools[i, POWER]
        if start > 0:
            area = (1 - power) / (1 - decay)
            paid = 1.0 if i == n - 1 else 1 - power
            level = start / weight
            crossed -= level * (start + 2 * (baseline * area + penalty * paid))
            total += level * area
            bb += area * area / weight
            bp += area * paid / weight
            pp += paid * paid / weight
    squares = energy + n_frames * baseline * baseline + crossed + 2 * baseline * total
    return -n_frames * baseline - total, squares, bb, bp, pp


@numba.njit(cache=True, nogil=True)
def begin_search(
    energy: float, n_frames: int, bottom: float, top: float, most: float
) -> np.ndarray:
    """Return the state of a search for a baseline in [bottom, top] and a penalty up to `most`."""
    state = np.empty(9)
    state[BASELINE] = min(max(-np.sqrt(energy / n_frames), bottom), top)
    state[PENALTY] = 0.0
    state[BOTTOM], state[TOP] = bottom, top
    state[LOW], state[HIGH] = -1.0, most
    state[LOW_BASELINE], state[HIGH_BASELINE] = -np.inf, np.inf
    state[STEPS] = 0
    return state


@numba.njit(cache=True, nogil=True)
def advance_search(
    state: np.ndarray,
    found: tuple[float, float, float, float, float],
    target: float,
    scale: float,
    n_frames: int,
) -> bool:
    """Move baseline and penalty to where residuals have mean zero and `target` squares, or stop.

    With the same pools, or frames with spikes, squares are c + k penalty^2 along the baselines of
    mean residual zero, k = pp + bp^2 / (T - bb): Newton's method. If that does not end soon, the
    baseline is settled before each move of the penalty: then squares only grow with the penalty,
    and both are kept between bounds.
    """
    rest, squares, bb, bp, pp = found
    b, penalty, bottom, top = state[BASELINE], state[PENALTY], state[BOTTOM], state[TOP]
    spread = np.sqrt(scale / n_frames)
    stuck = (b <= bottom and rest <= 0) or (b >= top and rest >= 0)
    level = stuck or abs(rest) <= CLOSE * spread * n_frames
    misfit = squares - target
    state[STEPS] += 1
    if level:
        if abs(misfit) <= CLOSE * scale or (penalty == 0 and misfit > 0):
            return True
        state[HIGH if misfit > 0 else LOW] = penalty
        if state[HIGH] - state[LOW] <= 1e-14 * state[HIGH]:
            return True
        state[LOW_BASELINE], state[HIGH_BASELINE] = -np.inf, np.inf
    left = 0.0 if stuck else n_frames - bb
    move = rest / left if left > 1e-9 * n_frames else 0.0
    if not level and state[STEPS] > QUICK:
        state[LOW_BASELINE if rest > 0 else HIGH_BASELINE] = b
        trial = min(max(b + move, bottom), top)
        low, high = state[LOW_BASELINE], state[HIGH_BASELINE]
        inside = low < trial < high and move != 0
        state[BASELINE] = trial if inside else (max(low, bottom) + min(high, top)) / 2
        return False
    per = bp / left if left > 1e-9 * n_frames else 0.0
    misfit += left * move * move - 2 * move * (rest - penalty * bp)
    pp += per * bp
    trial = np.sqrt(max(penalty * penalty - misfit / pp, 0.0)) if pp > 0 else np.inf
    if not state[LOW] < trial < state[HIGH]:
        trial = (max(state[LOW], 0.0) + state[HIGH]) / 2
    state[PENALTY] = trial
    state[BASELINE] = min(max(b + move + per * (trial - penalty), bottom), top)
    return False


@numba.njit(cache=True, nogil=True)
def _raw_pools(trace: np.ndarray, decay: float, shift: float, pools: np.ndarray) -> int:
    """Pools at a shift, with the sums of the trace without it."""
    n = _pool(trace, decay, shift, 0.0, 0.0, pools)
    for i in range(n):
        pools[i, SUM] += shift * (1 - pools[i, POWER]) / (1 - decay)
    return n


@numba.njit(cache=True, nogil=True)
def _search(
    trace: np.ndarray,
    decay: float,
    target: float,
    baseline: float,
    limit: int,
    known: np.ndarray,
    pools: np.ndarray,
) -> tuple[float, float]:
    """Find baseline (unless given) and penalty at which squared residuals are `target`.

    A baseline that is found is no lower than the trace.
    """
    n_frames, energy = len(trace), _squares(trace)
    bottom, top = (np.min(trace), 0.0) if np.isnan(baseline) else (baseline, baseline)
    scale = energy + n_frames * top * top
    most = _largest_penalty(trace, decay, 0.0, top)
    if scale <= target:
        return top, most
    state = begin_search(energy, n_frames, bottom, top, most)
    floor = state[BASELINE]
    n_known = _raw_pools(trace, decay, floor, known)
    for _ in range(limit):
        b, penalty = state[BASELINE], state[PENALTY]
        shift = b + penalty * (1 - decay)
        if shift < floor:
            floor = max(2 * shift - floor, bottom)
            n_known = _raw_pools(trace, decay, floor, known)
        n = _pool_again(known, n_known, decay, shift, penalty, pools)
        found = _sums(pools, n, decay, b, penalty, energy, n_frames)
        if advance_search(state, found, target, scale, n_frames):
            break
    return state[BASELINE], state[PENALTY]


@numba.njit(cache=True, nogil=True)
def _largest_penalty(trace: np.ndarray, first: float, second: float, baseline: float) -> float:
    """Smallest penalty at which there are no spikes: the most that one would explain."""
    most, after, later = 0.0, 0.0, 0.0
    for t in range(len(trace) - 1, -1, -1):
        after, later = trace[t] - baseline + first * after + second * later, after
        most = max(most, after)
    return most


@numba.njit(cache=True, nogil=True)
def _write(
    pools: np.ndarray, n: int, decay: float, calcium: np.ndarray, spikes: np.ndarray
) -> None:
    """Calcium and spikes of pools."""
    spikes[:] = 0
    t, level = 0, 0.0
    for i in range(n):
        start = max(pools[i, SUM] / pools[i, WEIGHT], 0.0)
        if i > 0:
            spikes[t] = max(start - level, 0.0)
        level = start
        for _ in range(int(pools[i, LENGTH])):
            calcium[t] = level
            level *= decay
            if level < NOTHING:
                level = 0.0
            t += 1


@numba.njit(cache=True, nogil=True)
def _fit_row(
    trace: np.ndarray,
    decay: float,
    energy: float,
    baseline: float,
    penalty: float,
    smallest: float,
    limit: int,
    known: np.ndarray,
    pools: np.ndarray,
    calcium: np.ndarray,
    spikes: np.ndarray,
) -> tuple[float, float]:
    """Fit a neuron; calcium and spikes are written, baseline and penalty returned."""
    n_fits = 1 + N_BASELINES * (np.isnan(baseline) and smallest > 0)
    if np.isnan(baseline) or np.isnan(penalty):
        baseline, found = _search(trace, decay, energy, baseline, limit, known, pools)
        penalty = found if np.isnan(penalty) else penalty
    for k in range(n_fits):
        if k > 0:
            baseline = -np.mean(calcium)
        shift = baseline + penalty * (1 - decay)
        n = _pool(trace, decay, shift, penalty, smallest, pools)
        _write(pools, n, decay, calcium, spikes)
    return baseline, penalty


@numba.njit(cache=True, nogil=True, parallel=True)
def _fit_rows(
    n_parts: int,
    traces: np.ndarray,
    decay: np.ndarray,
    energy: np.ndarray,
    smallest: np.ndarray,
    limit: int,
    calcium: np.ndarray,
    spikes: np.ndarray,
    baseline: np.ndarray,
    penalty: np.ndarray,
) -> None:
    """Fit every neuron; the last four are written, baseline and penalty where they are NaN."""
    n_neurons, n_frames = traces.shape
    # memory for pools is asked for once in a part, since that takes as long as a fit
    for part in numba.prange(n_parts):
        known, pools = np.empty((n_frames, 4)), np.empty((n_frames, 4))
        for i in range(part, n_neurons, n_parts):
            baseline[i], penalty[i] = _fit_row(
                traces[i], decay[i], energy[i], baseline[i], penalty[i], smallest[i], limit,
                known, pools, calcium[i], spikes[i],
            )  # fmt: skip


def fit_order_two(
    traces: np.ndarray,
    coefficients: np.ndarray,
    energy: np.ndarray,
    baseline: np.ndarray,
    penalty: np.ndarray,
    smallest: np.ndarray,
    n_iterations: int = 100,
) -> Fit:
    r"""Fit autoregressive calcium of order two by exchange of frames, neuron by neuron.

    Exact at ``smallest`` 0, if exchange ends within a thousand rounds: it mostly takes ten, and
    more where both decay and rise are slow. Above it, spikes of that fit that are too small and no
    larger than their neighbours are struck out, and the others fitted again, until none is too
    small: a local optimum, since what is struck out does not come back.

    Parameters
    ----------
    traces : (N, T) float64 array
        Each of mean zero.
    coefficients : (N, 2) array
        Of calcium one and two frames ago, such that calcium decays without oscillation.
    energy, baseline, penalty, smallest : (N,) arrays
        As in `fit_order_one`.
    n_iterations : int
        Limit of the search for the penalty.

    Returns
    -------
    Fit
        `spikes` of the first two frames are zero: their calcium may be of earlier ones.
    """
    fit = Fit(np.empty_like(traces), np.empty_like(traces), baseline.copy(), penalty.copy())
    _fit_rows_two(traces, coefficients, energy, smallest, n_iterations, *fit)
    return fit


@numba.njit(cache=True, nogil=True)
def _guess(
    trace: np.ndarray,
    model: tuple[float, float],
    baseline: float,
    penalty: float,
    pools: np.ndarray,
    chosen: np.ndarray,
) -> None:
    """Choose the frames in which the fit of order one, without the rise, has spikes.

    Exchange from here takes a few rounds; from no frames at all, or with a slow decay, many.
    """
    decay, rise = _roots(model)
    penalty *= 1 - rise
    n = _pool(trace, decay, baseline + penalty * (1 - decay), penalty, 0.0, pools)
    chosen[:] = False
    t = 0
    for i in range(n):
        chosen[t] = pools[i, SUM] > 0
        t += int(pools[i, LENGTH])


@numba.njit(cache=True, nogil=True)
def _roots(model: tuple[float, float]) -> tuple[float, float]:
    """Decay and rise of a frame."""
    half = model[0] / 2
    root = np.sqrt(max(half * half + model[1], 0.0))
    return half + root, max(half - root, 0.0)


@numba.njit(cache=True, nogil=True)
def _recursion(
    trace: np.ndarray,
    model: tuple[float, float],
    baseline: float,
    penalty: float,
    chosen: np.ndarray,
    work: np.ndarray,
) -> None:
    """Fit calcium with free spikes in the chosen frames and none elsewhere.

    Backwards, what the rest of the trace costs is a quadratic in the calcium of two frames; in a
    chosen frame, the best calcium given the one before is a - h c. Forwards, calcium and spikes
    follow. `work` holds a, h, calcium and spikes.
    """
    first, second = model
    level, carry, calcium, spikes = work[0], work[1], work[2], work[3]
    n_frames = len(trace)
    w11, w12, w22, q1, q2 = 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(n_frames - 1, -1, -1):
        w11, q1 = w11 + 1, q1 + trace[t] - baseline
        if chosen[t]:
            carry[t], level[t] = w12 / w11, (q1 - penalty) / w11
            q1, q2 = q2 - w12 * level[t] + penalty * first, penalty * second
            w11, w12, w22 = w22 - w12 * carry[t], 0.0, 0.0
        else:
            q1, q2 = q1 * first + q2, q1 * second
            w22, w12, w11 = (
                w11 * second * second,
                (w11 * first + w12) * second,
                (w11 * first + 2 * w12) * first + w22,
            )
    before, earlier = 0.0, 0.0
    for t in range(n_frames):
        now = first * before + second * earlier
        spikes[t] = 0.0
        if chosen[t]:
            spikes[t] = level[t] - carry[t] * before - now
            now = level[t] - carry[t] * before
        if abs(now) < NOTHING:
            now = 0.0
        calcium[t] = now
        earlier, before = before, now


@numba.njit(cache=True, nogil=True)
def _wrong(
    trace: np.ndarray,
    model: tuple[float, float],
    baseline: float,
    penalty: float,
    tolerance: float,
    allowed: np.ndarray,
    chosen: np.ndarray,
    work: np.ndarray,
) -> int:
    """Mark in ``work[0]`` the frames to leave (negative spike) and to enter (a spike would pay)."""
    n_wrong, after, later = 0, 0.0, 0.0
    for t in range(len(trace) - 1, -1, -1):
        gain = trace[t] - baseline - work[2, t] + model[0] * after + model[1] * later
        after, later = gain, after
        if chosen[t]:
            wrong = work[3, t] < -tolerance
        else:
            wrong = allowed[t] and gain > penalty + tolerance
        work[0, t] = wrong
        n_wrong += wrong
    return n_wrong


@numba.njit(cache=True, nogil=True)
def _exchange(
    trace: np.ndarray,
    model: tuple[float, float],
    baseline: float,
    penalty: float,
    tolerance: float,
    allowed: np.ndarray,
    chosen: np.ndarray,
    work: np.ndarray,
) -> None:
    """Exchange frames until the fit is optimal.

    All wrong frames at once; where that does not help, only wrong frames that are far from each
    other; in the end only the last one, which is known to end (Murty 1974).
    """
    n_frames = len(trace)
    fewest, patience, apart = n_frames + 1, PATIENCE, 1
    for _ in range(MOST_ROUNDS):
        _recursion(trace, model, baseline, penalty, chosen, work)
        n_wrong = _wrong(trace, model, baseline, penalty, tolerance, allowed, chosen, work)
        if n_wrong == 0:
            return
        if n_wrong < fewest:
            fewest, patience, apart = n_wrong, PATIENCE, 1
        elif patience > 0:
            patience -= 1
        else:
            apart, patience = min(8 * apart, n_frames), PATIENCE if apart < n_frames else 0
        last = 2 * n_frames
        for t in range(n_frames - 1, -1, -1):
            if work[0, t] > 0 and last - t >= apart:
                chosen[t] = not chosen[t]
                last = t


@numba.njit(cache=True, nogil=True)
def _search_two(
    trace: np.ndarray,
    model: tuple[float, float],
    target: float,
    baseline: float,
    limit: int,
    known: np.ndarray,
    pools: np.ndarray,
    allowed: np.ndarray,
    chosen: np.ndarray,
    work: np.ndarray,
) -> tuple[float, float]:
    """Find baseline (unless given) and penalty at which squared residuals are `target`.

    It begins with what order one finds.
    """
    n_frames, energy = len(trace), _squares(trace)
    bottom, top = (np.min(trace), 0.0) if np.isnan(baseline) else (baseline, baseline)
    scale = energy + n_frames * top * top
    most = _largest_penalty(trace, model[0], model[1], top)
    if scale <= target:
        return top, most
    decay, rise = _roots(model)
    state = begin_search(energy, n_frames, bottom, top, most)
    b, penalty = _search(trace, decay, target, baseline, limit, known, pools)
    state[BASELINE], state[PENALTY] = b, min(penalty / (1 - rise), most)
    constant, none = np.ones(n_frames), np.zeros(n_frames)
    unit, paid = np.empty_like(work), np.empty_like(work)
    before = np.inf
    for _ in range(limit):
        b, penalty = state[BASELINE], state[PENALTY]
        if abs(penalty - before) > FAR * penalty:
            _guess(trace, model, b, penalty, pools, chosen)
        before = penalty
        _exchange(trace, model, b, penalty, 1e-9 * np.sqrt(scale / n_frames), allowed, chosen, work)
        _recursion(constant, model, 0.0, 0.0, chosen, unit)
        _recursion(none, model, 0.0, 1.0, chosen, paid)
        found = _sums_two(trace, b, work[2], unit[2], paid[2])
        if advance_search(state, found, target, scale, n_frames):
            break
    return state[BASELINE], state[PENALTY]


@numba.njit(cache=True, nogil=True)
def _sums_two(
    trace: np.ndarray, baseline: float, calcium: np.ndarray, unit: np.ndarray, paid: np.ndarray
) -> tuple[float, float, float, float, float]:
    """What `_sums` returns, with the frames with spikes as they are.

    `unit` is the calcium fitted to a constant one, `paid` to zero with a penalty of one.
    """
    total, squares, bb, bp, pp = 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(len(trace)):
        rest = trace[t] - baseline - calcium[t]
        total += rest
        squares += rest * rest
        bb += unit[t]
        bp -= paid[t]
        pp += paid[t] * paid[t]
    return total, squares, bb, bp, pp


@numba.njit(cache=True, nogil=True)
def _strike_out(
    trace: np.ndarray,
    model: tuple[float, float],
    baseline: float,
    penalty: float,
    tolerance: float,
    smallest: float,
    allowed: np.ndarray,
    chosen: np.ndarray,
    work: np.ndarray,
) -> None:
    """Take out spikes that are too small and no larger than their neighbours, and fit again."""
    n_struck = 1
    while n_struck > 0:
        _exchange(trace, model, baseline, penalty, tolerance, allowed, chosen, work)
        n_struck, last = 0, -NEAR
        places = np.flatnonzero(chosen)
        for k, t in enumerate(places):
            size, least = work[3, t], smallest
            # the first two frames hold the calcium of earlier spikes
            for other in (k - 1, k + 1):
                if 0 <= other < len(places) and 1 < places[other] and abs(places[other] - t) < NEAR:
                    least = min(least, work[3, places[other]])
            small = size < smallest and size <= least and t > 1
            if small and t - last >= NEAR:
                chosen[t], allowed[t], last = False, False, t
                n_struck += 1


@numba.njit(cache=True, nogil=True)
def _fit_row_two(
    trace: np.ndarray,
    model: tuple[float, float],
    energy: float,
    baseline: float,
    penalty: float,
    smallest: float,
    limit: int,
    calcium: np.ndarray,
    spikes: np.ndarray,
) -> tuple[float, float]:
    """Fit a neuron; calcium and spikes are written, baseline and penalty returned."""
    n_frames = len(trace)
    allowed, chosen = np.ones(n_frames, np.bool_), np.zeros(n_frames, np.bool_)
    work, pools = np.empty((4, n_frames)), np.empty((n_frames, 4))
    n_fits = 1 + N_BASELINES * (np.isnan(baseline) and smallest > 0)
    guessed = False
    if np.isnan(baseline) or np.isnan(penalty):
        known = np.empty((n_frames, 4))
        baseline, found = _search_two(
            trace, model, energy, baseline, limit, known, pools, allowed, chosen, work
        )
        guessed = np.isnan(penalty) and np.any(chosen)
        penalty = found if np.isnan(penalty) else penalty
    if not guessed:
        _guess(trace, model, baseline, penalty, pools, chosen)
    tolerance = 1e-9 * np.sqrt(_squares(trace) / n_frames)
    for k in range(n_fits):
        if k > 0:
            baseline = -np.mean(work[2])
        _strike_out(trace, model, baseline, penalty, tolerance, smallest, allowed, chosen, work)
    for t in range(n_frames):
        calcium[t] = max(work[2, t], 0.0)
        spikes[t] = max(work[3, t], 0.0) if t > 1 else 0.0
    return baseline, penalty


@numba.njit(cache=True, nogil=True, parallel=True)
def _fit_rows_two(
    traces: np.ndarray,
    coefficients: np.ndarray,
    energy: np.ndarray,
    smallest: np.ndarray,
    limit: int,
    calcium: np.ndarray,
    spikes: np.ndarray,
    baseline: np.ndarray,
    penalty: np.ndarray,
) -> None:
    """Fit every neuron; the last four are written, baseline and penalty where they are NaN."""
    for i in numba.prange(len(traces)):
        baseline[i], penalty[i] = _fit_row_two(
            traces[i], (coefficients[i, 0], coefficients[i, 1]), energy[i], baseline[i],
            penalty[i], smallest[i], limit, calcium[i], spikes[i],
        )  # fmt: skip
