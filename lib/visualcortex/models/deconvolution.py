"""From calcium traces to frames in which a neuron is active.

The indicator of a calcium recording decays slowly, so that one event shows in many frames. What
is new in a frame is what the decay of the frame before does not explain.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

# s.d. of a normal distribution over its median absolute deviation
MAD_TO_SD = 1.4826


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
