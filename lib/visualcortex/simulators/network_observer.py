"""Who knows the simulated network: how well scenes could be told from its spikes at best."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from visualcortex.simulators.cortex import SLOT_MS, SLOT_STEPS
from visualcortex.simulators.probes import ProbesTruth, Session
from visualcortex.simulators.spiking_network import STEP_MS, Synapses

LEAD_MS = 250  # ms before a scene in which spikes still matter: twelve times the slowest decay


class SceneLogLikelihood(NamedTuple):
    """Log-likelihood of each scene, ``(trial, scene)``, up to a constant in each trial.

    ``network`` is of the spikes of all neurons, an upper bound on every decoder; ``recorded`` of
    those of the recorded units alone, the others being given.
    """

    network: np.ndarray
    recorded: np.ndarray


def scene_log_likelihood(truth: ProbesTruth, trials: np.ndarray) -> SceneLogLikelihood:
    r"""Log-likelihood of each scene, given all that happened otherwise.

    With the input :math:`a_{s,i}\,k_i(t)` that scene *s* would add to neuron *i*, and the rate
    :math:`\lambda_i(t)` that it would have without any scene in that trial,

    .. math::

        \log p(\mathrm{spikes} \mid s) = \sum_i \sum_t n_i(t)\,a_{s,i}\,k_i(t)/\delta
            - \lambda_i(t)\,e^{a_{s,i}\,k_i(t)/\delta} + \mathrm{const}.

    The observer knows the synapses, the tuning, the shared fluctuations, the drift, the scene
    before, and every spike of every neuron, recorded or hidden. What it says of scenes is the best
    that can be said from all that, hence an upper bound on every decoder of the recorded spikes,
    too high by what nobody without that knowledge could use.

    A second observer takes the spikes of hidden neurons as given, and reads the recorded ones.
    That is closer to what can be reached, but no bound, since it does not use what hidden spikes
    say of the scene.

    Parameters
    ----------
    truth
        Of a simulated recording.
    trials
        Positions of trials of that recording, ``(trial,)``.

    Returns
    -------
    SceneLogLikelihood

    Raises
    ------
    ValueError
        There is no such trial.
    """
    trials = np.asarray(trials)
    if trials.ndim != 1 or not np.isin(trials, np.arange(len(truth.shown))).all():
        raise ValueError(
            f"trials must be positions from 0 to {len(truth.shown) - 1}, (trial,); got "
            f"{trials!r}. Take positions in the recording's table of trials."
        )
    slots = truth.shown[trials]
    counts, hazards = _given(truth, slots)  # (trial, step, neuron)
    session, softness = truth.session, truth.membrane.softness
    course = session.courses[:, :SLOT_STEPS].T  # (step, neuron)
    gain = session.drive[:, None] * course / softness  # (scene, step, neuron)

    def read(units: np.ndarray) -> np.ndarray:
        """Sum the terms of some neurons."""
        each, spikes, expected = (
            x[:, :, units].reshape(len(x), -1) for x in (gain, counts, hazards)
        )
        return spikes @ each.T - expected @ np.exp(each).T

    return SceneLogLikelihood(read(np.arange(len(truth.cells))), read(truth.recorded))


def _given(truth: ProbesTruth, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes, and those expected without the scene, of each neuron, ``(trial, step, neuron)``."""
    session, membrane = truth.session, truth.membrane
    shape = (len(slots), SLOT_STEPS, len(truth.cells))
    counts, hazards = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    wiring = Synapses.of(truth.network_weights, truth.network_delays)
    _replay(
        slots.astype(np.int64) * SLOT_MS,
        session.when,
        session.who,
        wiring.first,
        wiring.target,
        wiring.weight,
        wiring.delay,
        np.array(membrane.constants(), np.float32),
        counts,
        hazards,
    )
    hazards *= np.exp(_outside(session, slots) / membrane.softness)
    return counts, hazards


def _outside(session: Session, slots: np.ndarray) -> np.ndarray:
    return np.concatenate([session.outside(slot, slot + 1, scene=False) for slot in slots])


@numba.njit(cache=True, nogil=True)
def _replay(
    starts, when, who, first, target, weight, delay, constants, counts, hazards
):  # pragma: no cover
    """Follow potentials through each trial, spikes given, from `LEAD_MS` before it on."""
    n = counts.shape[2]
    n_slots = int(delay.max()) + 1 if len(delay) else 2
    decay, after_decay, depth, sharpness, rate, dead = constants
    for trial in range(len(starts)):
        potential, after = np.zeros(n, np.float32), np.zeros(n, np.float32)
        rest = np.zeros(n, np.float32)
        arriving = np.zeros((n_slots, n), np.float32)
        begin = starts[trial] - LEAD_MS
        spike = np.searchsorted(when, begin)
        for ms in range(begin, starts[trial] + SLOT_MS):
            slot = (ms - begin) % n_slots
            step = (ms - starts[trial]) // STEP_MS
            for i in range(n):
                potential[i] = potential[i] * decay + arriving[slot, i]
                arriving[slot, i] = 0.0
                after[i] *= after_decay
                if rest[i] > 0.0:
                    rest[i] -= 1.0
                elif ms >= starts[trial]:
                    inside = (potential[i] + after[i]) * sharpness
                    hazards[trial, step, i] += rate * math.exp(inside)
            while spike < len(when) and when[spike] == ms:
                i = who[spike]
                spike += 1
                after[i] = -depth
                rest[i] = dead
                if ms >= starts[trial]:
                    counts[trial, step, i] += 1
                for k in range(first[i], first[i + 1]):
                    arriving[(slot + delay[k]) % n_slots, target[k]] += weight[k]
