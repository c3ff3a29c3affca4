"""From calcium traces to spikes, or to frames in which a neuron is active.

The indicator of a calcium recording decays slowly, so that one event shows in many frames. What
is new in a frame is what the decay of the frames before does not explain: `active_frames` asks
whether it is more than noise, `deconvolve` how much it is, given the rest of the trace.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from scipy.signal import firwin
from torch import Tensor

from visualcortex.models.oasis import (
    Fit,
    autocovariance,
    fit_order_one,
    fit_order_two,
)
from visualcortex.models.oasis_batched import fit_order_one_batched
from visualcortex.training import choose_device

# s.d. of a normal distribution over its median absolute deviation
MAD_TO_SD = 1.4826
# length of the high-pass filter of the noise, and so the fewest frames that it needs
TAPS = 25
# its edge in units of half the frame rate, and the shape of its window: -50 dB below a quarter
EDGE, WINDOW = 0.6, ("kaiser", 5.0)
# numbers handled at a time: traces in float64 and what is made of them stay in fast memory
BLOCK = {"cpu": 2**19, "cuda": 2**25}
# decay of a trace that does not vary
DECAY_IF_CONSTANT = 0.9
# time constants that are tried, in frames
TIME_CONSTANTS = tuple(np.geomspace(0.3, 2000, 100).tolist())
# halvings of the steps between time constants
N_HALVINGS = 12


class Deconvolved(NamedTuple):
    """Calcium and spikes inferred from traces, and the parameters of the inference."""

    calcium: np.ndarray
    spikes: np.ndarray
    baseline: np.ndarray
    coefficients: np.ndarray
    noise: np.ndarray
    penalty: np.ndarray


def deconvolve(
    traces: np.ndarray,
    *,
    order: int = 1,
    decay: ArrayLike | None = None,
    noise: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
    penalty: str | ArrayLike = "noise",
    smallest: ArrayLike = 0.0,
    lags: int = 20,
    batched: bool = False,
    device: str | torch.device = "cpu",
    n_iterations: int = 100,
) -> Deconvolved:
    r"""Infer spikes from calcium traces (OASIS, Friedrich et al. 2017), neuron by neuron.

    Calcium c is an autoregressive process driven by spikes
    :math:`s_t = c_t - \sum_{k \le \mathrm{order}} g_k c_{t-k} \ge 0`, fitted to the trace y by

    .. math:: \min_{c} \tfrac12 \|y - b - c\|^2 + \lambda \|s\|_1 .

    With ``penalty="noise"``, :math:`\lambda` is the one at which
    :math:`\|y - b - c\|^2 = \sigma^2 T`: the sparsest spikes that explain the trace up to its
    noise. If it is not given, b is fitted together with calcium under this constraint, no lower
    than the trace, whatever the penalty that is used then. Both orders are exact optima (see
    `visualcortex.models.oasis`). With ``smallest`` above 0, spikes are zero or at least as large,
    which is not convex: the result is then a local optimum. Calcium and spikes scale with the
    trace, if penalty and `smallest` do.

    Bias: spikes are in units of the trace and not counts. The penalty shrinks them, most where
    they are isolated; noise adds small ones, mostly beside large ones, so that the number of
    frames above zero says little: set `smallest`, or sum spikes over some frames. Many spikes in
    a row count as a higher baseline. The baseline is too high by what the penalty takes from
    calcium: the more, the more often the neuron fires. Where noise is
    given too low, too much is explained: :math:`\lambda` is smaller, at least 0. Estimated noise
    and coefficients have biases of their own, see `estimate_noise` and `estimate_coefficients`.

    Parameters
    ----------
    traces : (n_neurons, n_frames) array
        Fluorescence, a row a neuron, in any unit; finite.
    order : {1, 2}
        Of the autoregression: 1 rises at once and decays, 2 has a rise time as well.
    decay : float, (n_neurons,) array, (order,) sequence or (n_neurons, order) array, optional
        Coefficients g per frame: for order 1, exp(-1 / (time constant * frame rate)) in [0, 1);
        for order 2, (d + r, -d r) with decay d and rise r of a frame, both in [0, 1).
        Default: `estimate_coefficients`.
    noise : float or (n_neurons,) array, optional
        :math:`\sigma`, s.d. of white noise. Default: `estimate_noise`, if anything depends on it.
    baseline : float or (n_neurons,) array, optional
        b.
    penalty : "noise", float or (n_neurons,) array
        :math:`\lambda`, in units of the trace. 0 is the plain non-negative fit. If `smallest` is
        above 0, "noise" is 0: the threshold takes the place of the penalty.
    smallest : float or (n_neurons,) array
        Smallest spike, in units of the trace.
    lags : int
        Lags of the autocovariance that `estimate_coefficients` looks at.
    batched : bool
        Fit all neurons in the same operations of PyTorch. The same numbers, slower on a CPU.
    device : str or torch.device
        Where to compute; "auto" is the GPU if there is one. A GPU implies `batched`, which knows
        order 1 without `smallest`.
    n_iterations : int
        Limit of the search for the penalty, which mostly takes less than twenty.

    Returns
    -------
    Deconvolved
        `calcium` and `spikes` (n_neurons, n_frames), `baseline`, `noise` and `penalty`
        (n_neurons,), `coefficients` (n_neurons, order), float32 if the traces are, else float64.
        Spikes of the first `order` frames are zero, since calcium there may be of earlier ones.
        `noise` is NaN if nothing depended on it. A constant trace has no spikes, and decay
        0.9 if it was to be estimated. A trace that is no more than its noise has none either,
        and the smallest penalty at which that is the optimum.

    Raises
    ------
    ValueError
        If an array has the wrong shape or values, or the device cannot do what is asked for.

    References
    ----------
    Friedrich, J., Zhou, P. and Paninski, L. (2017). Fast online deconvolution of calcium imaging
    data. PLoS Computational Biology 13, e1005423.
    """
    traces = _checked_traces(traces)
    n_neurons, n_frames = traces.shape
    chosen = choose_device(device)
    known = _Known(
        _checked_decay(decay, order, n_neurons),
        _per_neuron("noise", noise, n_neurons),
        _per_neuron("baseline", baseline, n_neurons, least=-np.inf),
        _checked_penalty(penalty, smallest, n_neurons),
        _per_neuron("smallest", smallest, n_neurons),
    )
    batched = batched or chosen.type != "cpu"
    if batched and (order != 1 or known.smallest.any()):
        raise ValueError(
            "on a GPU, and batched, only order 1 without `smallest` can be fitted; got order "
            f'{order}, smallest {smallest}: use device="cpu", batched=False'
        )
    dtype = np.float32 if traces.dtype == np.float32 else np.float64
    result = Deconvolved(
        *(np.empty(traces.shape, dtype) for _ in range(2)),
        np.empty(n_neurons, dtype),
        np.empty((n_neurons, order), dtype),
        *(np.empty(n_neurons, dtype) for _ in range(2)),
    )
    step = max(BLOCK["cpu" if chosen.type == "cpu" else "cuda"] // n_frames, 16)
    for first in range(0, n_neurons, step):
        rows = slice(first, first + step)
        part = _Known(*(None if value is None else value[rows] for value in known))
        found = _deconvolve_block(
            traces[rows], part, order, lags, n_iterations, chosen if batched else None
        )
        for whole, block in zip(result, found, strict=True):
            whole[rows] = block
    return result


class _Known(NamedTuple):
    """Parameters of some neurons, None or NaN where they are to be estimated."""

    decay: np.ndarray | None
    noise: np.ndarray
    baseline: np.ndarray
    penalty: np.ndarray
    smallest: np.ndarray


def _deconvolve_block(
    traces: np.ndarray,
    known: _Known,
    order: int,
    lags: int,
    n_iterations: int,
    device: torch.device | None,
) -> Deconvolved:
    """Deconvolve some neurons, batched if there is a device."""
    centred = traces.astype(np.float64)
    offset = centred[:, 0].copy()  # of a constant trace, nothing is left, not even by rounding
    centred -= offset[:, None]
    mean = centred.mean(1)
    centred -= mean[:, None]
    offset += mean
    tensor = torch.from_numpy(centred).to(device or "cpu")
    noise, coefficients = known.noise, known.decay
    open_ends = np.isnan(known.baseline) | np.isnan(known.penalty)
    if coefficients is None or (np.isnan(noise).all() and open_ends.any()):
        covariance = _autocovariance(tensor, lags)
        noise = _noise(covariance) if np.isnan(noise).all() else noise
        if coefficients is None:
            coefficients = _coefficients(covariance[:, : lags + 1], noise, order)
    energy = noise**2 * centred.shape[1]
    baseline = known.baseline - offset
    if device is not None:
        settings = (coefficients[:, 0], energy, baseline, known.penalty)
        fitted = fit_order_one_batched(
            tensor, *(tensor.new_tensor(value) for value in settings), n_iterations
        )
        fit = Fit(*(value.cpu().numpy() for value in fitted))
    else:
        fit = _fitted(centred, coefficients, energy, baseline, known, n_iterations)
    return Deconvolved(
        fit.calcium, fit.spikes, fit.baseline + offset, coefficients, noise, fit.penalty
    )


def _fitted(
    centred: np.ndarray,
    coefficients: np.ndarray,
    energy: np.ndarray,
    baseline: np.ndarray,
    known: _Known,
    n_iterations: int,
) -> Fit:
    """Fit in compiled code."""
    solve, model = (fit_order_two, coefficients)
    if coefficients.shape[1] == 1:
        solve, model = fit_order_one, coefficients[:, 0]
    return solve(centred, model, energy, baseline, known.penalty, known.smallest, n_iterations)


def estimate_noise(traces: np.ndarray, device: str | torch.device = "cpu") -> np.ndarray:
    r"""Estimate the s.d. of white noise from the upper half of the power spectrum.

    .. math:: \hat\sigma^2 = \int |H(f)|^2 P(f) \, df = \sum_k a_k R_k ,

    with P the power spectrum, R the autocovariance, and H a high-pass filter of 25 frames that
    keeps frequencies from about .35 cycles per frame, drops those below .25, and keeps the
    variance of white noise; a is the autocorrelation of its impulse response.

    Bias: upwards, by the power of the calcium at these frequencies. Spikes of variance v a frame
    in an indicator of order 1 with slow decay add about .3 v to :math:`\sigma^2`; order 2 adds
    less. Noise that is correlated between frames is not white, and its slow parts do not count:
    resampled or smoothed traces look cleaner than they are. The relative standard error is about
    1.1 / sqrt(n_frames).

    Parameters
    ----------
    traces : (n_neurons, n_frames) array
        Fluorescence in any unit; finite, at least 25 frames.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    (n_neurons,) array
        In units of the traces.

    Raises
    ------
    ValueError
        If there are too few frames, or the traces are not finite.
    """
    return _noise(_autocovariance(_centred(traces, device), 0))


def _centred(traces: np.ndarray, device: str | torch.device) -> Tensor:
    """Return checked traces of mean zero in float64."""
    traces = _checked_traces(traces)
    # of a constant trace, nothing is left, not even by rounding
    centred = traces - traces[:, :1].astype(np.float64)
    centred -= centred.mean(1, keepdims=True)
    return torch.from_numpy(centred).to(choose_device(device))


def _autocovariance(centred: Tensor, lags: int) -> np.ndarray:
    """Autocovariance (N, lags + 1) of traces of mean zero, at lags enough for the noise."""
    n_frames = centred.shape[1]
    last = min(max(lags, TAPS - 1), n_frames - 1)
    if centred.device.type == "cpu":
        return autocovariance(centred.numpy(), last)
    products = [(centred[:, k:] * centred[:, : n_frames - k]).mean(1) for k in range(last + 1)]
    return torch.stack(products, 1).cpu().numpy()


def _noise(covariance: np.ndarray) -> np.ndarray:
    """Estimate noise from autocovariances."""
    if covariance.shape[1] < TAPS:
        raise ValueError(
            f"noise cannot be estimated from {covariance.shape[1]} frames, {TAPS} are needed: "
            "pass `noise`"
        )
    response = firwin(TAPS, EDGE, window=WINDOW, pass_zero=False)
    weights = np.correlate(response, response, "full")[TAPS - 1 :]
    weights[1:] *= 2
    variance = covariance[:, :TAPS] @ (weights / weights[0])
    return np.sqrt(np.maximum(variance, 0))


def estimate_coefficients(
    traces: np.ndarray,
    noise: ArrayLike | None = None,
    *,
    order: int = 1,
    lags: int = 20,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    r"""Estimate autoregressive coefficients from the autocovariance.

    That of calcium with independent spikes is known but for its size,

    .. math:: R_k \propto \frac{d^{k+1}}{1 - d^2} - \frac{r^{k+1}}{1 - r^2}

    with decay d and rise r of a frame (r = 0 at order 1). White noise adds :math:`\sigma^2` at
    lag 0. The d and r returned are those whose curve is closest, in least squares over lags 0 to
    `lags`, to the autocovariance of the trace less :math:`\sigma^2`; time constants from 0.3 to
    2000 frames are considered.

    Bias: whatever else is slow, such as drift or neuropil, lengthens the decay, as do bursts; of
    a drifting trace it is the drift's, so that a decay known of the indicator is better. The
    mean is that of the trace, which shortens it, if there are few events or frames: in simulations
    with an event in a hundred frames and noise of .3 of its size, d = .95 came out within .002 of
    it (median) from 3,000 frames on, and as .946 from 1,000. Regressing the autocovariance on its
    own past, as is usual, has the noise of the past against it: it makes d too small when noise is
    strong, and r too small almost always.

    Parameters
    ----------
    traces : (n_neurons, n_frames) array
        Fluorescence in any unit; finite.
    noise : float or (n_neurons,) array, optional
        S.d. of white noise. Default: `estimate_noise`.
    order : {1, 2}
        Of the autoregression.
    lags : int
        Largest lag, in frames; less than the frames there are are used. Best somewhat below the
        decay time.
    device : str or torch.device
        Where to compute.

    Returns
    -------
    (n_neurons, order) array
        For order 1 d, for order 2 (d + r, -d r). Of a constant trace, d is 0.9 and r is 0.

    Raises
    ------
    ValueError
        If an array or the order is not as described.
    """
    _checked_order(order)
    covariance = _autocovariance(_centred(traces, device), lags)
    sd = _per_neuron("noise", noise, len(covariance))
    sd = _noise(covariance) if noise is None else sd
    return _coefficients(covariance[:, : lags + 1], sd, order)


def _coefficients(covariance: np.ndarray, noise: np.ndarray, order: int) -> np.ndarray:
    """Estimate coefficients from autocovariances."""
    constant, last = covariance[:, 0] <= 0, covariance.shape[1] - 1
    calcium = covariance.copy()
    calcium[:, 0] -= noise**2
    times = np.log(TIME_CONSTANTS)
    pairs = times[:, None]
    if order == 2:
        pairs = times[np.stack(np.tril_indices(len(times), -1), 1)]
    best = (calcium @ _shapes(pairs, last).T).argmax(1)
    logs = _refined(calcium, pairs[best], times[1] - times[0])
    roots = np.exp(-np.exp(-logs))
    roots[constant] = [DECAY_IF_CONSTANT, 0.0][:order]
    if order == 1:
        return roots
    return np.stack([roots.sum(1), -roots.prod(1)], 1)


def _refined(covariance: np.ndarray, logs: np.ndarray, step: float) -> np.ndarray:
    """Move each pair of time constants to where the curve is closer, by ever smaller steps."""
    order, last = logs.shape[1], covariance.shape[1] - 1
    moves = np.array(list(itertools.product([-1.0, 0.0, 1.0], repeat=order)))
    for _ in range(N_HALVINGS):
        step /= 2
        near = logs[:, None] + step * moves  # (N, moves, order)
        if order == 2:
            near[..., 1] = np.minimum(near[..., 1], near[..., 0] - 1e-3)
        match = np.einsum("nl,nml->nm", covariance, _shapes(near, last))
        logs = near[np.arange(len(logs)), match.argmax(1)]
    return logs


def _shapes(logs: np.ndarray, last: int) -> np.ndarray:
    """Autocovariances of norm one at lags 0 to `last`, for logarithms of time constants."""
    rate = np.exp(-logs)[..., None]  # (..., order, 1)
    terms = np.exp(-rate * np.arange(1, last + 2)) / -np.expm1(-2 * rate)
    shape = terms[..., 0, :] if logs.shape[-1] == 1 else terms[..., 0, :] - terms[..., 1, :]
    return shape / np.linalg.norm(shape, axis=-1, keepdims=True)


def _checked_traces(traces: np.ndarray) -> np.ndarray:
    """Return traces as a real matrix of finite numbers."""
    traces = np.asarray(traces)
    if traces.ndim != 2 or traces.shape[0] < 1 or traces.shape[1] < 3:
        raise ValueError(
            f"traces must be (n_neurons, n_frames) with at least three frames; got {traces.shape}"
        )
    if traces.dtype.kind not in "fiu":
        raise ValueError(f"traces must be real numbers; got {traces.dtype}")
    finite = np.isfinite(traces).all(1)
    if not finite.all():
        raise ValueError(
            f"{np.sum(~finite)} of {len(traces)} traces have NaN or infinite frames, the first is "
            f"row {np.argmin(finite)}: cut them off or fill them in"
        )
    return traces


def _checked_order(order: int) -> None:
    """Refuse orders that are not known."""
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2; got {order!r}")


def _per_neuron(
    name: str, value: ArrayLike | None, n_neurons: int, least: float = 0.0
) -> np.ndarray:
    """Return one number a neuron, NaN for None."""
    if value is None:
        return np.full(n_neurons, np.nan)
    array = np.asarray(value, np.float64)
    if array.shape not in ((), (n_neurons,)):
        raise ValueError(f"{name} must be a number or one for each neuron; got {array.shape}")
    if not (np.isfinite(array) & (array >= least)).all():
        raise ValueError(f"{name} must be finite and no less than {least}; got {value}")
    return np.broadcast_to(array, n_neurons).copy()


def _checked_penalty(penalty: str | ArrayLike, smallest: ArrayLike, n_neurons: int) -> np.ndarray:
    """Return one penalty a neuron, NaN where it is to be found."""
    if isinstance(penalty, str):
        if penalty != "noise":
            raise ValueError(f'penalty must be "noise" or a number; got {penalty!r}')
        return np.where(_per_neuron("smallest", smallest, n_neurons) > 0, 0.0, np.nan)
    return _per_neuron("penalty", np.asarray(penalty, np.float64), n_neurons)


def _checked_decay(decay: ArrayLike | None, order: int, n_neurons: int) -> np.ndarray | None:
    """Return coefficients (N, order) of a process that decays without oscillation."""
    _checked_order(order)
    if decay is None:
        return None
    given = np.asarray(decay, np.float64)
    if order == 1 and given.ndim < 2 and given.shape != (1,):
        given = given[..., None]
    if given.shape not in ((order,), (n_neurons, order)):
        raise ValueError(
            f"decay of order {order} must be ({order},) or ({n_neurons}, {order}); got "
            f"{np.shape(decay)}"
        )
    given = np.broadcast_to(given, (n_neurons, order)).copy()
    # roots of z^2 - g_1 z - g_2, both in [0, 1)
    first, second = given[:, 0], given[:, 1] if order == 2 else np.zeros(n_neurons)
    real = first**2 / 4 + second >= -1e-12
    if not (real & (first >= 0) & (first < 2) & (second <= 0) & (first + second < 1)).all():
        raise ValueError(
            "calcium must decay without oscillation: g in [0, 1), or (d + r, -d r) with d and r "
            f"in [0, 1), per frame; got {decay}"
        )
    return given


def active_frames(
    responses: xr.DataArray, *, decay_time: float = 0.5, threshold: float = 2.5
) -> xr.DataArray:
    r"""Mark the frames in which the fluorescence rises by more than noise explains.

    With g = exp(-dt / decay_time), the increment :math:`d_t = x_t - g\,x_{t-1}` of an indicator
    that decays exponentially is the amplitude of the events of frame t plus noise and a constant.
    A frame is active if :math:`d_t - \mathrm{median}(d) > k\,\hat\sigma`, where :math:`\hat\sigma
    = 1.4826\,\mathrm{MAD}(d)` is taken neuron by neuron over all trials.

    Behaviour: with normal noise, a frame without event is active with probability about
    1 - Phi(k), .006 at k = 2.5, and a frame with an event of amplitude A is missed with probability
    Phi(k - A / sigma_d), where sigma_d = sigma sqrt(1 + g^2) for white noise of s.d. sigma.
    The frame after a false alarm is less often active. Two events in one frame count once, so
    that rates are too low by about half their square per frame. Events in
    more than a tenth or so of the frames inflate the MAD: the test becomes conservative. A
    decay_time that is too long marks nothing false but misses events in decaying traces; one that
    is too short marks decaying frames as active. The first frame of a trial has none before it
    and is never active.

    Parameters
    ----------
    responses : xarray.DataArray
        Traces with dims (trial, time, neuron), in order of time, "time" in s, any unit of
        fluorescence; or anything of quantity "active frames", which is returned unchanged.
    decay_time : float
        Time constant of the indicator in s.
    threshold : float
        k, in robust standard deviations of the increment.

    Returns
    -------
    xarray.DataArray
        Same dims and coordinates; 1 in active frames and 0 elsewhere, quantity "active frames".

    Raises
    ------
    ValueError
        If there is no time axis, or decay time or threshold are not positive.
    """
    if responses.attrs.get("quantity") == "active frames":
        return responses
    if responses.dims != ("trial", "time", "neuron") or responses.sizes["time"] < 2:
        raise ValueError(
            "active_frames needs traces with dims ('trial', 'time', 'neuron') and at least two "
            f"frames; got {dict(responses.sizes)}"
        )
    if decay_time <= 0 or threshold <= 0:
        raise ValueError(
            f"decay_time and threshold must be positive; got {decay_time} s and {threshold}"
        )
    traces = responses.to_numpy()  # (B, T, N)
    decay = np.exp(-np.diff(responses["time"].to_numpy()) / decay_time)[:, None]  # (T-1, 1)
    increment = traces[:, 1:] - decay * traces[:, :-1]
    excess = increment - np.median(increment, axis=(0, 1))
    noise = MAD_TO_SD * np.median(np.abs(excess), axis=(0, 1))  # (N,)
    active = np.zeros(traces.shape)
    active[:, 1:] = excess > threshold * noise
    attrs = {**responses.attrs, "quantity": "active frames", "units": "1"}
    return responses.copy(data=active).assign_attrs(attrs)
