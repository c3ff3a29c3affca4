r"""Recurrent spiking networks that are trained through time by surrogate gradients.

Leaky integrate-and-fire neurons in steps of time, with recurrent weights W (source, target):

.. math::

    v_t = \beta \odot v_{t-1} + x_t + s_{t-1} W - \vartheta s_{t-1}, \qquad
    s_t = [v_t > \vartheta].

The derivative of the step is replaced by that of a fast sigmoid (Zenke and Ganguli 2018),
:math:`g_t = (1 + \kappa |v_t - \vartheta|)^{-2}`; the last term, the reset, has none. With it the
adjoint runs backwards in one pass. With the gradients :math:`\bar s_t, \bar v_t` that come from
outside,

.. math::

    a_t = \bar v_t + \beta \odot a_{t+1} + g_t \odot (\bar s_t + a_{t+1} W^\top),

and :math:`\partial x_t = a_t`, :math:`\partial W = \sum_t s_{t-1}^\top a_t`,
:math:`\partial \beta = \sum_t a_t \odot v_{t-1}`. The whole run is one function to the automatic
differentiation, so that nothing is recorded step by step. Two engines do the same: loops in which
a spike costs as much as its synapses, and nothing where there is none, and tensor operations for
any device.

References
----------
Zenke, F., and Ganguli, S. (2018). SuperSpike: supervised learning in multilayer spiking neural
networks. Neural Computation 30, 1514-1541.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

ENGINES = ("auto", "loops", "tensors")
ROWS = 4  # of the weights that are multiplied at a time


class Run(NamedTuple):
    """Spikes, 0 or 1, and potentials before the reset, each ``(time, batch, neuron)``."""

    spikes: torch.Tensor
    potential: torch.Tensor


def run_network(
    drive: torch.Tensor,
    weights: torch.Tensor,
    decay: torch.Tensor | float,
    *,
    threshold: float = 1.0,
    sharpness: float = 25.0,
    start: Run | None = None,
    engine: str = "auto",
) -> Run:
    r"""Run leaky integrate-and-fire neurons through all steps, differentiable in three arguments.

    Parameters
    ----------
    drive
        Input from outside :math:`x_t`, ``(time, batch, neuron)``, in units of the threshold's.
    weights
        W, ``(source, target)``: what a spike adds to its target's potential one step later.
    decay
        :math:`\beta`, the part of a potential that is left after a step, one number or
        ``(neuron,)``: :math:`e^{-\Delta / \tau}`.
    threshold
        :math:`\vartheta`, which a spike also takes from the potential.
    sharpness
        :math:`\kappa`, per unit of potential: the surrogate is felt within about its inverse.
    start
        An earlier run that this one goes on from; no gradient reaches it. At rest by default.
    engine
        ``"loops"``, compiled, on the CPU; ``"tensors"``, on any device; ``"auto"`` takes loops on
        the CPU.

    Returns
    -------
    Run
        Spikes and potentials, in the type of `drive`.

    Raises
    ------
    ValueError
        Shapes, types or devices do not fit, or the engine is not known.

    Notes
    -----
    Bias: the surrogate is not the derivative of anything; its gradients say where to go and not how
    far. Memory: spikes and potentials once, and as much again in the backward pass. Both engines
    and a step-by-step run differ by the rounding of sums only, by which a potential within rounding
    of the threshold may spike in one of them.
    """
    decay = torch.as_tensor(decay, dtype=drive.dtype, device=drive.device)
    _check_run(drive, weights, decay, threshold, sharpness, engine)
    decay = decay.expand(drive.shape[2])
    loops = engine == "loops" or (engine == "auto" and drive.device.type == "cpu")
    first = torch.zeros_like(drive[0]), torch.zeros_like(drive[0])
    if start is not None:
        first = start.spikes[-1].detach(), start.potential[-1].detach()
    arguments = (drive, weights, decay, *first, float(threshold), float(sharpness), loops)
    return Run(*_Scan.apply(*arguments))


class RecurrentNetwork(nn.Module):
    r"""Leaky integrate-and-fire neurons with excitatory and inhibitory sources, to be trained.

    By Dale's principle all synapses of a source have one sign,
    :math:`W_{ij} = \sigma_i\, m_{ij}` with :math:`m_{ij} \ge 0` the softplus of a parameter, and
    :math:`\sigma_i` given; :math:`W_{ii} = 0`. Input weights are free.

    Parameters
    ----------
    n_inputs
        Channels of input.
    signs
        :math:`\sigma`, +1 or -1 ``(neuron,)``.
    decay
        :math:`\beta` that training starts from; it stays in (0, 1).
    strength
        Size of the recurrent weights that training starts from, as a part of the threshold.
    seed
        Of the weights that training starts from.
    threshold, sharpness
        As for `run_network`.

    Raises
    ------
    ValueError
        Signs are not +1 or -1, or the decay is not between 0 and 1.
    """

    def __init__(
        self,
        n_inputs: int,
        signs: np.ndarray,
        *,
        decay: float = 0.9,
        strength: float = 0.02,
        seed: int = 0,
        threshold: float = 1.0,
        sharpness: float = 25.0,
    ) -> None:
        super().__init__()
        signs = np.asarray(signs, np.float32)
        if signs.ndim != 1 or not np.isin(signs, (-1, 1)).all() or not 0 < decay < 1:
            raise ValueError(
                f"signs must be +1 or -1 (neuron,), and decay between 0 and 1; got shape "
                f"{signs.shape} with values {np.unique(signs)[:5]}, and {decay}."
            )
        draw, n = torch.Generator().manual_seed(seed), len(signs)
        self.threshold, self.sharpness = threshold, sharpness
        self.register_buffer("signs", torch.from_numpy(signs))
        self.inputs = nn.Parameter(torch.randn(n_inputs, n, generator=draw) / n_inputs**0.5)
        size = strength * threshold * torch.rand(n, n, generator=draw).clamp(min=1e-3)
        self.magnitude = nn.Parameter(torch.log(torch.expm1(size)))
        self.leak = nn.Parameter(torch.full((n,), float(np.log(decay / (1 - decay)))))

    def weights(self) -> torch.Tensor:
        """Return recurrent weights ``(source, target)`` that keep to Dale's principle."""
        free = nn.functional.softplus(self.magnitude) * self.signs[:, None]
        return free - torch.diag(torch.diagonal(free))

    def forward(
        self, inputs: torch.Tensor, start: Run | None = None, noise: torch.Tensor | None = None
    ) -> Run:
        """Run through inputs ``(time, batch, channel)`` and noise ``(time, batch, neuron)``."""
        drive = inputs @ self.inputs
        return run_network(
            drive if noise is None else drive + noise,
            self.weights(),
            torch.sigmoid(self.leak),
            threshold=self.threshold,
            sharpness=self.sharpness,
            start=start,
        )


class _Scan(torch.autograd.Function):
    """All steps forwards and, by the adjoint, backwards."""

    @staticmethod
    def forward(ctx, drive, weights, decay, spikes, potential, threshold, sharpness, loops):
        """Return spikes and potentials; keep them for the way back."""
        run = _forward_loops if loops else _forward_tensors
        found = run(drive.detach(), weights.detach(), decay.detach(), spikes, potential, threshold)
        ctx.save_for_backward(weights, decay, spikes, potential, *found)
        ctx.settings = threshold, sharpness, loops
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx, to_spikes, to_potential):
        """Return gradients of input, weights and decay."""
        threshold, sharpness, loops = ctx.settings
        run = _backward_loops if loops else _backward_tensors
        found = run(*ctx.saved_tensors, to_spikes, to_potential, threshold, sharpness)
        return *found, *(None,) * 5


def _forward_tensors(drive, weights, decay, spikes, potential, threshold):
    """Step through time, three operations a step; the reset is part of the weights."""
    effect = weights - threshold * torch.eye(len(weights)).to(weights)
    level = torch.tensor(threshold).to(drive)  # compares faster than a Python number
    potentials, fired = torch.empty_like(drive), torch.empty_like(drive)
    for x, v, s in zip(drive.unbind(), potentials.unbind(), fired.unbind(), strict=True):
        torch.addmm(x, spikes, effect, out=v)
        v.addcmul_(potential, decay)
        torch.gt(v, level, out=s)
        spikes, potential = s, v
    return fired, potentials


def _backward_tensors(
    weights, decay, before, start, spikes, potential, to_spikes, to_potential, threshold, sharpness
):
    """Step backwards, three operations a step; then sum over time and batch."""
    slope = (potential - threshold).abs_().mul_(sharpness).add_(1).pow_(-2)
    back, adjoint = weights.T.contiguous(), to_potential.clone()
    after = torch.zeros_like(adjoint[0])
    steps = zip(adjoint.unbind(), to_spikes.unbind(), slope.unbind(), strict=True)
    for a, from_outside, g in reversed(list(steps)):
        a.addcmul_(after, decay)
        a.addcmul_(g, torch.addmm(from_outside, after, back))
        after = a
    by_weights = before.T @ adjoint[0]
    by_weights.addmm_(spikes[:-1].flatten(0, 1).T, adjoint[1:].flatten(0, 1))
    products = torch.mul(adjoint[1:], potential[:-1], out=slope[1:])
    return adjoint, by_weights, (adjoint[0] * start).sum(0) + products.sum((0, 1))


def _forward_loops(drive, weights, decay, spikes, potential, threshold):
    """Take tensors to the compiled run and back."""
    arrays = [_array(x) for x in (drive, weights, decay, spikes, potential)]
    found = np.empty_like(arrays[0]), np.empty_like(arrays[0])
    _run(*arrays, arrays[0].dtype.type(threshold), *found)
    return tuple(torch.from_numpy(x) for x in found)


def _backward_loops(weights, *tensors_and_settings):
    """Take tensors to the compiled adjoint and back; rows of the weights in fours."""
    *arrays, threshold, sharpness = tensors_and_settings
    rows = nn.functional.pad(weights.detach(), (0, 0, 0, -len(weights) % ROWS))
    rows, arrays = _array(rows), [_array(x) for x in arrays]
    kind = rows.dtype.type
    found = np.empty_like(arrays[-1]), np.zeros(weights.shape, kind), np.zeros(len(weights))
    _run_back(rows, *arrays, kind(threshold), kind(sharpness), *found)
    return tuple(torch.from_numpy(x).to(weights.dtype) for x in found)


def _array(x: torch.Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


@numba.njit(cache=True, nogil=True)
def _run(drive, weights, decay, first, start, threshold, spikes, potential):  # pragma: no cover
    """Each spike adds its row of the weights to the next step; the rest is decay."""
    n_time, n_batch, n = drive.shape
    now, fired = np.empty(n, drive.dtype), np.empty(n, np.int64)
    for b in range(n_batch):
        now[:] = start[b]
        n_fired = 0
        for i in range(n):
            if first[b, i] > 0:
                fired[n_fired] = i
                n_fired += 1
        for t in range(n_time):
            for j in range(n):
                now[j] = decay[j] * now[j] + drive[t, b, j]
            for k in range(n_fired):
                row = weights[fired[k]]
                for j in range(n):
                    now[j] += row[j]
                now[fired[k]] -= threshold
            n_fired = 0
            for j in range(n):
                potential[t, b, j] = now[j]
                spikes[t, b, j] = now[j] > threshold
                if now[j] > threshold:
                    fired[n_fired] = j
                    n_fired += 1


@numba.njit(cache=True, nogil=True)
def _run_back(
    rows,
    decay,
    first,
    start,
    spikes,
    potential,
    to_spikes,
    to_potential,
    threshold,
    sharpness,
    adjoint,
    by_weights,
    by_decay,
):  # pragma: no cover
    """Sources collect from their targets; spikes of the step before add to their weights."""
    n_time, n_batch, n = potential.shape
    kind = adjoint.dtype.type
    one, nothing = kind(1), kind(0)
    smallest = kind(np.finfo(adjoint.dtype).tiny)  # below it numbers are slow, and of no use
    after = np.zeros((n_batch, n), adjoint.dtype)
    reached = np.empty((n_batch, len(rows)), adjoint.dtype)
    for t in range(n_time - 1, -1, -1):
        _reach(rows, after, reached)
        fired, level = (spikes[t - 1], potential[t - 1]) if t else (first, start)
        for b in range(n_batch):
            now, later, before = adjoint[t, b], after[b], level[b]
            for i in range(n):
                root = one + sharpness * abs(potential[t, b, i] - threshold)
                a = to_potential[t, b, i] + decay[i] * later[i]
                a += (to_spikes[t, b, i] + reached[b, i]) / (root * root)
                now[i] = a if abs(a) >= smallest else nothing
                by_decay[i] += now[i] * before[i]
        _add_rows(fired, adjoint[t], by_weights)
        after = adjoint[t]


@numba.njit(cache=True, nogil=True)
def _add_rows(fired, adjoint, by_weights):  # pragma: no cover
    """Add the row of the adjoint to the rows of those that fired."""
    n_batch, n = fired.shape
    who = np.empty(n, np.int64)
    for b in range(n_batch):
        n_fired = 0
        for i in range(n):  # without a branch, which would often be guessed wrongly
            who[n_fired] = i
            n_fired += fired[b, i] > 0
        now = adjoint[b]
        for k in range(n_fired):
            total = by_weights[who[k]]
            for j in range(n):
                total[j] += now[j]


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _reach(rows, after, reached):  # pragma: no cover
    """Product of weights and adjoint; four rows at a time share what is read of the adjoint."""
    n = rows.shape[1]
    for i in range(0, len(rows), ROWS):
        p, q, r, s = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        for b in range(len(after)):
            a = after[b]
            by_p = by_q = by_r = by_s = rows.dtype.type(0)
            for j in range(n):
                by_p += p[j] * a[j]
                by_q += q[j] * a[j]
                by_r += r[j] * a[j]
                by_s += s[j] * a[j]
            reached[b, i], reached[b, i + 1], reached[b, i + 2] = by_p, by_q, by_r
            reached[b, i + 3] = by_s


def _check_run(
    drive: torch.Tensor,
    weights: torch.Tensor,
    decay: torch.Tensor,
    threshold: float,
    sharpness: float,
    engine: str,
) -> None:
    """Refuse what does not fit together."""
    if drive.ndim != 3 or 0 in drive.shape or not drive.is_floating_point():
        raise ValueError(
            f"drive must be real (time, batch, neuron), none of them empty; got shape "
            f"{tuple(drive.shape)} of {drive.dtype}. A single run is drive[:, None]."
        )
    n = drive.shape[2]
    if weights.shape != (n, n) or decay.shape not in ((), (1,), (n,)):
        raise ValueError(
            f"for {n} neurons weights must be ({n}, {n}), (source, target), and decay one number "
            f"or ({n},); got {tuple(weights.shape)} and {tuple(decay.shape)}."
        )
    if weights.dtype != drive.dtype or weights.device != drive.device:
        raise ValueError(
            f"weights must be of the type and on the device of drive, {drive.dtype} on "
            f"{drive.device}; got {weights.dtype} on {weights.device}. Convert one of them."
        )
    if engine not in ENGINES or (engine == "loops" and drive.device.type != "cpu"):
        raise ValueError(
            f"engine must be one of {', '.join(ENGINES)}, loops on the CPU only; got {engine!r} "
            f"for {drive.device}."
        )
    if not (threshold > 0 and sharpness > 0):
        raise ValueError(
            f"threshold and sharpness must be above 0; got {threshold} and {sharpness}."
        )
