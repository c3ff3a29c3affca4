"""Pools of all traces at the same time: the fit of order one for a GPU.

What `visualcortex.models.oasis` says of pools holds; neighbours are merged in rounds instead of one
after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from visualcortex.models.oasis import BASELINE, PENALTY, advance_search, begin_search


def fit_order_one_batched(
    traces: Tensor,
    decay: Tensor,
    energy: Tensor,
    baseline: Tensor,
    penalty: Tensor,
    n_iterations: int = 100,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fit autoregressive calcium of order one, the pools of all neurons at the same time.

    In rounds: every run of pools each of which starts below where the one before has decayed to is
    merged into one, in all neurons at once, until there is none. What `fit_order_one` fits without
    a smallest spike, within rounding, on any device. A round costs what the pools that are left
    cost; their number falls fast, but a trace that is contrived can need as many rounds as frames.
    Sums on a GPU are added in no fixed order, so that runs differ in the last digits.

    Parameters
    ----------
    traces : (N, T) float64 tensor
        Each of mean zero.
    decay, energy, baseline, penalty : (N,) tensors
        As in `fit_order_one`; on the device of the traces.
    n_iterations : int
        Limit of the search for the penalty.

    Returns
    -------
    tuple of Tensor
        Calcium and spikes (N, T), baseline and penalty (N,).
    """
    if torch.isnan(baseline).any() or torch.isnan(penalty).any():
        fitted, found, quiet = _search_batched(traces, decay, energy, baseline, n_iterations)
        quiet &= torch.isnan(penalty)
        baseline = torch.where(torch.isnan(baseline), fitted, baseline)
        penalty = torch.where(torch.isnan(penalty), found, penalty)
    else:
        quiet = torch.zeros_like(penalty, dtype=torch.bool)
    # the largest penalty leaves no calcium; a larger shift says so in one round
    nothing = (traces.amax(1) - baseline).clamp(min=0) + 1
    shift = baseline + torch.where(quiet, nothing, penalty * (1 - decay))
    pools = _merged(_single_frames(traces, decay, shift, penalty), decay)
    calcium, spikes = _unfolded(pools, decay, traces.shape)
    return calcium, spikes, baseline, penalty


class _Pools(NamedTuple):
    """Pools of all neurons in order: sums, weights, powers, lengths, neuron, whether first."""

    start: Tensor
    weight: Tensor
    power: Tensor
    length: Tensor
    neuron: Tensor
    first: Tensor

    @property
    def last(self) -> Tensor:
        """Whether a pool is its neuron's last."""
        return torch.cat([self.first[1:], self.first.new_ones(1)])


def _single_frames(traces: Tensor, decay: Tensor, shift: Tensor, penalty: Tensor) -> _Pools:
    """Make each frame a pool."""
    n_neurons, n_frames = traces.shape
    values = traces - shift[:, None]
    values[:, -1] -= penalty * decay
    neuron = torch.arange(n_neurons, device=traces.device).repeat_interleave(n_frames)
    first = torch.zeros(n_neurons, n_frames, dtype=torch.bool, device=traces.device)
    first[:, 0] = True
    ones = torch.ones_like(values).flatten()
    return _Pools(values.flatten(), ones, decay[neuron], ones, neuron, first.flatten())


def _merged(pools: _Pools, decay: Tensor) -> _Pools:
    """Merge runs of pools, all at once, until each starts above what is left of the one before."""
    while True:
        level = pools.start / pools.weight
        left = pools.power * torch.where(pools.first, level.clamp(min=0), level)
        apart = torch.ones_like(pools.first)
        apart[1:] = (level[1:] >= left[:-1]) | pools.first[1:]
        if bool(apart.all()):
            return pools
        group = apart.cumsum(0) - 1
        n_groups = int(group[-1]) + 1
        begin = pools.length.cumsum(0) - pools.length
        # counted from the start of the run, so that no power gets out of range
        factor = decay[pools.neuron] ** (begin - begin[apart][group])
        neuron = pools.neuron[apart]
        length = _summed(pools.length, group, n_groups)
        pools = _Pools(
            _summed(factor * pools.start, group, n_groups),
            _summed(factor**2 * pools.weight, group, n_groups),
            decay[neuron] ** length,
            length,
            neuron,
            pools.first[apart],
        )


def _summed(values: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Sum over the members of each group."""
    return values.new_zeros(n_groups).index_add_(0, group, values)


def _unfolded(pools: _Pools, decay: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Calcium and spikes (N, T) of pools."""
    level = (pools.start / pools.weight).clamp(min=0)
    length = pools.length.long()
    begin = length.cumsum(0) - length
    since = torch.arange(shape.numel(), device=level.device) - begin.repeat_interleave(length)
    rate = decay[pools.neuron].repeat_interleave(length)
    calcium = level.repeat_interleave(length) * rate**since
    jump = level.clone()
    jump[1:] -= pools.power[:-1] * level[:-1]
    spikes = torch.zeros_like(calcium)
    later = ~pools.first
    spikes[begin[later]] = jump[later].clamp(min=0)
    return calcium.reshape(shape), spikes.reshape(shape)


def _sums_batched(
    pools: _Pools, decay: Tensor, baseline: Tensor, penalty: Tensor, energy: Tensor, n_frames: int
) -> np.ndarray:
    """What `_sums` returns, for all neurons: (N, 5)."""
    n_neurons = len(decay)
    area = (1 - pools.power) / (1 - decay)[pools.neuron]
    paid = torch.where(pools.last, 1.0, 1 - pools.power)
    level = (pools.start / pools.weight).clamp(min=0)
    weight = torch.where(level > 0, pools.weight, torch.inf)
    raw = baseline[pools.neuron] * area + penalty[pools.neuron] * paid
    terms = (level * (pools.start + 2 * raw), level * area)
    terms += (area * area / weight, area * paid / weight, paid * paid / weight)
    crossed, total, *moves = (_summed(term, pools.neuron, n_neurons) for term in terms)
    squares = energy + n_frames * baseline**2 - crossed + 2 * baseline * total
    return torch.stack([-n_frames * baseline - total, squares, *moves], 1).cpu().numpy()


@numba.njit(cache=True, nogil=True)
def _advance_rows(
    states: np.ndarray,
    found: np.ndarray,
    target: np.ndarray,
    scale: np.ndarray,
    n_frames: int,
    done: np.ndarray,
) -> None:
    """Advance the search of every neuron that is not done."""
    for i in range(len(states)):
        if not done[i]:
            sums = (found[i, 0], found[i, 1], found[i, 2], found[i, 3], found[i, 4])
            done[i] = advance_search(states[i], sums, target[i], scale[i], n_frames)


def _search_batched(
    traces: Tensor, decay: Tensor, target: Tensor, baseline: Tensor, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_search` does, for all neurons, and which have no spikes."""
    n_neurons, n_frames = traces.shape
    free = torch.isnan(baseline)
    bottom, top = torch.where(free, traces.amin(1), baseline), baseline.nan_to_num(0.0)
    energy = (traces**2).sum(1)
    scale = energy + n_frames * top**2
    most, none = _largest_penalty_batched(traces - top[:, None], decay), torch.zeros_like(top)
    rows = [x.cpu().numpy() for x in (energy, bottom, top, most, target, scale)]
    states = np.stack(
        [begin_search(rows[0][i], n_frames, *(x[i] for x in rows[1:4])) for i in range(n_neurons)]
    )
    quiet = scale <= target
    done = quiet.cpu().numpy().copy()
    floor, known = torch.full_like(top, torch.inf), None
    for _ in range(limit):
        if done.all():
            break
        b, penalty = (traces.new_tensor(states[:, column]) for column in (BASELINE, PENALTY))
        shift = b + penalty * (1 - decay)
        if known is None or bool((shift < floor).any()):
            floor = torch.minimum(shift, floor)
            known = _merged(_single_frames(traces, decay, floor, none), decay)
            known = _shifted(known, decay, -floor, none)
        pools = _merged(_shifted(known, decay, shift, penalty), decay)
        found = _sums_batched(pools, decay, b, penalty, energy, n_frames)
        _advance_rows(states, found, *rows[4:], n_frames, done)
    b, penalty = (traces.new_tensor(states[:, column]) for column in (BASELINE, PENALTY))
    return torch.where(quiet, top, b), torch.where(quiet, most, penalty), quiet


def _shifted(pools: _Pools, decay: Tensor, shift: Tensor, penalty: Tensor) -> _Pools:
    """Pools of traces that are shifted and pay the penalty of the last frame."""
    area = (1 - pools.power) / (1 - decay)[pools.neuron]
    start = pools.start - shift[pools.neuron] * area
    start -= torch.where(pools.last, penalty[pools.neuron] * pools.power, 0.0)
    return pools._replace(start=start)


def _largest_penalty_batched(traces: Tensor, decay: Tensor) -> Tensor:
    """What `_largest_penalty` does, by doubling the reach of the sum from the right."""
    gain, reach = traces.clone(), 1
    while reach < traces.shape[1]:
        longer = gain.clone()
        longer[:, :-reach] += (decay**reach)[:, None] * gain[:, reach:]
        gain, reach = longer, 2 * reach
    return gain.amax(1).clamp(min=0)
