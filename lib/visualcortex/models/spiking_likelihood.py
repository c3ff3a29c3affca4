r"""Likelihood of observed spikes when every neuron integrates the observed spikes of the others.

Neurons are leaky integrators with an escape rate. The spikes that reach neuron *j* in bin *t* add
up to :math:`a_{jt} = \sum_i w_{ij}\, n_i(t - d_{ij})`, and

.. math::

    h_{jt} = \beta_j\, h_{j,t-1}\,[\text{no spike of } j \text{ in } t-1] + a_{jt}, \qquad
    u_{jt} = b_j(\mathrm{age}_{jt}) + h_{jt} + \kappa_j\, a_{jt},

where *age* is the time since the neuron's own last spike, whose bins have a free constant each
(refractoriness, after-potential, mean rate), and :math:`\kappa` lets the arrival itself count
more than the potential that it leaves, as it does in a neuron close to a hard threshold (Herrmann
and Gerstner 2001). Counts are Poisson of mean :math:`e^{u}`:

.. math:: -\log p = \sum_{jt} e^{u_{jt}} - n_{jt}\, u_{jt}.

All inputs are observed (teacher forcing), so that neurons do not wait for each other, and a spike
costs two additions a target. A delay between two bins divides the spike between them, which makes
the likelihood piecewise smooth in it.

References
----------
Gerstner, W., Kistler, W., Naud, R., and Paninski, L. (2014). Neuronal dynamics. Cambridge.
Herrmann, A., and Gerstner, W. (2001). Noise and the PSTH response to current transients. Journal
of Computational Neuroscience 11, 135-151.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numba
import numpy as np
import torch

from visualcortex.connectivity.correlograms import BinnedSpikes

NEVER = -(2**40)  # bin of a spike that never was
LOUDEST = 8.0  # log rate beyond which nothing gets worse; keeps sums finite


@dataclass(frozen=True, eq=False)
class Trains:
    """Spikes bin by bin, and how long before some bins each neuron spiked last.

    Parameters
    ----------
    first
        Where the spikes of each bin begin, ``(bin + 1,)``.
    who
        Neuron of each spike, ``(spike,)``.
    n_neurons
        How many there are.
    """

    first: np.ndarray
    who: np.ndarray
    n_neurons: int

    @classmethod
    def of(cls, spikes: BinnedSpikes) -> Trains:
        """Return the spikes of one uninterrupted recording.

        Raises
        ------
        ValueError
            There is more than one trial.
        """
        if spikes.n_trials != 1:
            raise ValueError(
                f"spikes must be of one uninterrupted recording; got {spikes.n_trials} trials."
            )
        first = np.searchsorted(spikes.bin, np.arange(spikes.n_bins + 1))
        return cls(first, spikes.neuron.astype(np.int32), spikes.n_neurons)

    @property
    def n_bins(self) -> int:
        """Bins of the recording."""
        return len(self.first) - 1

    def inside(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Bin since `start`, and neuron, of the spikes from `start` to before `stop`."""
        bins = np.repeat(np.arange(stop - start), np.diff(self.first[start : stop + 1]))
        return bins, self.who[self.first[start] : self.first[stop]]

    def last_before(self, bins: np.ndarray) -> np.ndarray:
        """Bin of each neuron's last spike before some bins in order, ``(asked, neuron)``."""
        last = np.empty((len(bins), self.n_neurons), np.int64)
        _fill_last(self.first, self.who, bins, last)
        return last


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of a recording whose likelihood is asked for.

    Parameters
    ----------
    trains
        The recording.
    begin, start, stop
        Bins from which spikes are taken, from which and before which they are explained.
    last
        Bin of each neuron's last spike before `begin`, ``(neuron,)``.
    classes
        Class of each age in bins, from 0 on, int64; later ages are of the last class.
    """

    trains: Trains
    begin: int
    start: int
    stop: int
    last: np.ndarray
    classes: np.ndarray

    def spikes(self) -> tuple[np.ndarray, np.ndarray]:
        """Bin since `start`, and neuron, of the spikes that are explained."""
        return self.trains.inside(self.start, self.stop)

    def counts(self) -> np.ndarray:
        """Spikes of each bin from `begin` on, ``(bin, neuron)``."""
        bins, who = self.trains.inside(self.begin, self.stop)
        counts = np.zeros((self.stop - self.begin, self.trains.n_neurons), np.float32)
        np.add.at(counts, (bins, who), 1)
        return counts

    def age_classes(self) -> np.ndarray:
        """Class of the time since a neuron's own spike, of the bins from `start` on."""
        counts = self.counts()
        now = np.arange(self.begin, self.stop)[:, None]
        spiked = np.where(counts > 0, now, NEVER)
        last = np.maximum.accumulate(np.vstack([self.last, spiked[:-1]]), axis=0)
        ages = np.minimum(now - last, len(self.classes) - 1)
        return self.classes[ages[self.start - self.begin :]]


def losses(window: Window, rates: torch.Tensor) -> torch.Tensor:
    r"""Negative log-likelihood of each neuron, in nats, up to a constant of the spikes.

    Parameters
    ----------
    window
        Which bins.
    rates
        Their log rates ``(bin, neuron)``, on any device.

    Returns
    -------
    torch.Tensor
        ``(neuron,)``.
    """
    bins, who = (torch.as_tensor(x).long().to(rates.device) for x in window.spikes())
    observed = torch.zeros_like(rates[0]).index_add(0, who, rates[bins, who])
    return torch.exp(rates.clamp(max=LOUDEST)).sum(0) - observed


def dense_log_rates(
    window: Window,
    weights: torch.Tensor,
    delays: torch.Tensor,
    constants: torch.Tensor,
    decay: torch.Tensor,
    kick: torch.Tensor,
) -> torch.Tensor:
    """Return u, the log of the expected count of each bin, by operations on whole windows.

    Differentiable in all tensors, on their device. Arrivals are sums over lags of products of
    matrices, and potentials a parallel scan by doubling (Blelloch 1990), which is made for a GPU;
    on a CPU `window_slopes` is many times faster.

    Parameters
    ----------
    window
        Which bins. State before `Window.begin` is rest.
    weights
        ``(source, target)``; the diagonal is not used.
    delays
        In bins, at least 1, ``(source, target)``.
    constants
        Of each class of age, ``(class, neuron)``.
    decay, kick
        As above, ``(neuron,)``.

    Returns
    -------
    torch.Tensor
        ``(bin, neuron)``.
    """
    counts = torch.from_numpy(window.counts()).to(weights)  # (B, N)
    arriving = _arrivals(counts, weights, delays)
    keep = decay * torch.nn.functional.pad(counts[:-1] == 0, (0, 0, 1, 0)).to(weights)
    level, reach = arriving, 1
    while reach < len(counts):
        level = level + keep * torch.nn.functional.pad(level[:-reach], (0, 0, reach, 0))
        keep = keep * torch.nn.functional.pad(keep[:-reach], (0, 0, reach, 0))
        reach *= 2
    ages = torch.from_numpy(window.age_classes()).to(weights.device)
    rates = torch.gather(constants, 0, ages) + (level + kick * arriving)[-len(ages) :]
    return rates


def _arrivals(counts: torch.Tensor, weights: torch.Tensor, delays: torch.Tensor) -> torch.Tensor:
    """Sum what reaches each target in each bin, ``(bin, neuron)``."""
    whole = delays.detach().floor()
    part = delays - whole
    linked = weights * (1 - torch.eye(len(weights)).to(weights))
    arriving = torch.zeros_like(counts)
    for lag in range(1, min(int(whole.max()) + 1, len(counts) - 1) + 1):
        strength = linked * ((whole == lag) * (1 - part) + (whole == lag - 1) * part)
        sent = counts[:-lag] @ strength
        arriving = arriving + torch.nn.functional.pad(sent, (0, 0, lag, 0))
    return arriving


def split_delays(delays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole bins of delays, and what is left of them."""
    whole = np.floor(delays)
    return whole.astype(np.int64), (delays - whole).astype(delays.dtype)


@dataclass(frozen=True, eq=False)
class Parameters:
    """A network, as the likelihood takes it.

    Parameters
    ----------
    weights, delays, constants, decay, kick
        As for `dense_log_rates`, arrays of one type.
    """

    weights: np.ndarray
    delays: np.ndarray
    constants: np.ndarray
    decay: np.ndarray
    kick: np.ndarray


@dataclass(frozen=True, eq=False)
class Slopes:
    """Negative log-likelihood of each neuron, and its derivatives by what is fitted."""

    losses: np.ndarray
    weights: np.ndarray
    delays: np.ndarray
    constants: np.ndarray


def window_losses(window: Window, parameters: Parameters, device: torch.device) -> np.ndarray:
    """Negative log-likelihood of each neuron, ``(neuron,)``, nats; see `window_slopes`."""
    if device.type != "cpu":
        with torch.no_grad():
            rates = dense_log_rates(window, *_tensors(parameters, device))
            return losses(window, rates).double().cpu().numpy()
    return _losses_to_slopes(*window.spikes(), _driven_rates(window, parameters)[0])


def window_slopes(window: Window, parameters: Parameters, device: torch.device) -> Slopes:
    """Negative log-likelihood of a window, and its derivatives.

    Parameters
    ----------
    window
        Which bins.
    parameters
        The network.
    device
        Compiled loops over the events on a CPU, whole windows (`dense_log_rates`) elsewhere.

    Returns
    -------
    Slopes
        float64.
    """
    if device.type != "cpu":
        return _dense_slopes(window, parameters, device)
    rates, kept = _driven_rates(window, parameters)
    each = _losses_to_slopes(*window.spikes(), rates)
    found = _back(window, parameters, kept, rates)
    return Slopes(each, *(x.astype(np.float64) for x in found[:3]))


def likeliest_constants(windows: list[Window], parameters: Parameters) -> np.ndarray:
    r"""Return the constants under which as many spikes are expected as were observed.

    .. math:: b_{cj} = \log \frac{\sum_{t \in c} n_{jt}}
                                   {\sum_{t \in c} e^{h_{jt} + \kappa_j a_{jt}}},

    the maximum of the likelihood, the weights given. A class without a spike is taken to have a
    tenth of one.

    Parameters
    ----------
    windows
        All bins that count.
    parameters
        The network; its constants are not used, but for their shape.

    Returns
    -------
    numpy.ndarray
        ``(class, neuron)``.
    """
    silent = replace(parameters, constants=np.zeros_like(parameters.constants))
    observed, expected = np.zeros((2, *silent.constants.shape))
    for window in windows:
        rates, (_, _, ages) = _driven_rates(window, silent)
        _class_sums(*window.spikes(), rates, ages, observed, expected)
    constants = np.log(np.maximum(observed, 0.1) / np.maximum(expected, 1.0))
    return constants.astype(parameters.constants.dtype)


def _back(window: Window, p: Parameters, kept: tuple, rates: np.ndarray) -> list[np.ndarray]:
    """Derivatives by weights, delays, constants, decay and kick."""
    found = [np.zeros_like(x) for x in (p.weights, p.weights, p.constants, p.decay, p.kick)]
    split, level, ages = kept
    t, bounds = window.trains, (window.begin, window.start, window.stop)
    later = np.zeros((bounds[2] - bounds[0] + split[0].max() + 2, t.n_neurons), rates.dtype)
    values = (p.weights, p.constants, p.decay, p.kick, level, ages)
    _integrate_back(t.first, t.who, *bounds, *split, *values, rates, later, *found)
    return found


def _driven_rates(window: Window, p: Parameters) -> tuple[np.ndarray, tuple]:
    """Log rates, and what the way back needs."""
    t, n = window.trains, window.trains.n_neurons
    split = split_delays(p.delays)
    level = np.empty((window.stop - window.begin, n), p.weights.dtype)
    rates = np.empty((window.stop - window.start, n), p.weights.dtype)
    ages = np.empty(rates.shape, np.uint8)
    when = (window.begin, window.start, window.stop, window.last.copy(), window.classes)
    values = (p.weights, p.constants, p.decay, p.kick)
    _integrate(t.first, t.who, *when, *split, *values, level, rates, ages)
    return rates, (split, level, ages)


def _tensors(parameters: Parameters, device: torch.device) -> list[torch.Tensor]:
    """Parameters on a device, in the order of `dense_log_rates`."""
    names = ("weights", "delays", "constants", "decay", "kick")
    return [torch.tensor(getattr(parameters, name), device=device) for name in names]


def _dense_slopes(window: Window, parameters: Parameters, device: torch.device) -> Slopes:
    """Do as `window_slopes` by automatic differentiation on any device."""
    tensors = _tensors(parameters, device)
    each = losses(window, dense_log_rates(window, *(x.requires_grad_() for x in tensors)))
    by = torch.autograd.grad(each.sum(), tensors[:3])
    return Slopes(*(x.detach().double().cpu().numpy() for x in (each, *by)))


@numba.njit(cache=True, nogil=True)
def _class_sums(bins, who, rates, ages, observed, expected):  # pragma: no cover
    """Add the spikes of each class ``(class, neuron)``, and those expected."""
    for t in range(len(rates)):
        for j in range(rates.shape[1]):
            expected[ages[t, j], j] += math.exp(min(rates[t, j], LOUDEST))
    for e in range(len(bins)):
        observed[ages[bins[e], who[e]], who[e]] += 1


@numba.njit(cache=True, nogil=True)
def _losses_to_slopes(bins, who, rates):  # pragma: no cover
    """Return the loss of each neuron; log rates become the derivatives by them."""
    n_bins, n = rates.shape
    total = np.zeros(n)
    for e in range(len(bins)):
        total[who[e]] -= rates[bins[e], who[e]]
    for t in range(n_bins):
        for j in range(n):
            rates[t, j] = math.exp(min(rates[t, j], LOUDEST))
            total[j] += rates[t, j]
    for e in range(len(bins)):
        rates[bins[e], who[e]] -= 1
    return total


@numba.njit(cache=True, nogil=True)
def _fill_last(first, who, bins, last):  # pragma: no cover
    """Go through all spikes once."""
    now = np.full(last.shape[1], NEVER, np.int64)
    t = 0
    for k in range(len(bins)):
        while t < bins[k]:
            for e in range(first[t], first[t + 1]):
                now[who[e]] = t
            t += 1
        last[k] = now


@numba.njit(cache=True, nogil=True)
def _integrate(
    first,
    who,
    begin,
    start,
    stop,
    last,
    classes,
    whole,
    part,
    weights,
    constants,
    decay,
    kick,
    level,
    rates,
    ages,
):  # pragma: no cover
    """Arrivals wait in a ring of bins; potentials decay, and start anew at a neuron's own spike."""
    n, oldest = len(whole), len(classes) - 1
    n_slots = whole.max() + 2
    arriving = np.zeros((n_slots, n), weights.dtype)
    now = np.zeros(n, weights.dtype)
    for t in range(begin, stop):
        slot = (t - begin) % n_slots
        for j in range(n):
            now[j] = decay[j] * now[j] + arriving[slot, j]
            level[t - begin, j] = now[j]
        if t >= start:
            for j in range(n):
                age = classes[min(t - last[j], oldest)]
                ages[t - start, j] = age
                rates[t - start, j] = constants[age, j] + now[j] + kick[j] * arriving[slot, j]
        arriving[slot] = 0
        for e in range(first[t], first[t + 1]):
            i = who[e]
            now[i] = 0
            last[i] = t
            for j in range(n):
                if j != i:
                    to, more = slot + whole[i, j], part[i, j] * weights[i, j]
                    to -= n_slots if to >= n_slots else 0
                    arriving[to, j] += weights[i, j] - more
                    to = to + 1 if to + 1 < n_slots else 0
                    arriving[to, j] += more


@numba.njit(cache=True, nogil=True)
def _integrate_back(
    first,
    who,
    begin,
    start,
    stop,
    whole,
    part,
    weights,
    constants,
    decay,
    kick,
    level,
    ages,
    outside,
    later,
    by_weight,
    by_delay,
    by_constant,
    by_decay,
    by_kick,
):  # pragma: no cover
    """Backwards: `later` is what an arrival in each bin would have done to the objective."""
    n = len(whole)
    now, before = np.zeros(n, weights.dtype), np.zeros(n, weights.dtype)
    for t in range(stop - 1, begin - 1, -1):
        row = later[t - begin]
        for e in range(first[t], first[t + 1]):
            now[who[e]] = 0
        if t > begin:
            before[:] = level[t - begin - 1]
            for e in range(first[t - 1], first[t]):
                before[who[e]] = 0
        else:
            before[:] = 0
        for j in range(n):
            now[j] *= decay[j]
        if t >= start:
            for j in range(n):
                r = outside[t - start, j]
                now[j] += r
                row[j] = kick[j] * r
                by_constant[ages[t - start, j], j] += r
                by_kick[j] += r * (level[t - begin, j] - decay[j] * before[j])
        for j in range(n):
            row[j] += now[j]
            by_decay[j] += now[j] * before[j]
        for e in range(first[t], first[t + 1]):
            i = who[e]
            for j in range(n):
                if j != i:
                    at = t - begin + whole[i, j]
                    here = later[at, j]
                    rise = later[at + 1, j] - here
                    by_weight[i, j] += here + part[i, j] * rise
                    by_delay[i, j] += weights[i, j] * rise
