"""A doubly stochastic calcium population whose rates and correlations are known in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from statistics import NormalDist

import numpy as np
import pandas as pd
import xarray as xr

from visualcortex.recording import CalciumRecording, Provenance
from visualcortex.simulators.settings import check_choice, check_number, check_whole

SESSION_DESIGNS = ("per_stimulus", "interleaved")


@dataclass(frozen=True, eq=False)
class CalciumTruth:
    """What is known of a simulated calcium population.

    Parameters
    ----------
    events
        Events of every frame, counts ``(trial, time, neuron)``.
    rates
        Expected events/s in the recorded trials of each stimulus, averaged over the trial,
        ``(stimulus, neuron)``. Includes the drift of the sessions in which the stimulus was shown.
    stimulus_rates
        The same with the drift set to zero: what the stimulus alone would give. Without tuning
        all its rows are equal.
    active_fraction
        Expected fraction of frames with at least one event, ``(stimulus, neuron)``.
    noise_correlation
        Correlation of event counts of whole trials, given stimulus and session,
        ``(neuron, neuron)``.
    frame_noise_correlation
        Correlation of event counts of single frames at lag zero, given stimulus, session and
        time in the trial, ``(neuron, neuron)``.
    baseline, tuning, profile, drift, loadings
        Log rate in log(events/s) ``(neuron,)``; tuning of the log rate ``(stimulus, neuron)``;
        its time course ``(time,)``; drift of the log rate ``(session, neuron)``; loadings on the
        shared latents ``(neuron, latent)``.
    decay
        Fraction of the indicator's signal left after one frame.
    settings
        The settings of the simulation.
    """

    events: np.ndarray
    rates: np.ndarray
    stimulus_rates: np.ndarray
    active_fraction: np.ndarray
    noise_correlation: np.ndarray
    frame_noise_correlation: np.ndarray
    baseline: np.ndarray
    tuning: np.ndarray
    profile: np.ndarray
    drift: np.ndarray
    loadings: np.ndarray
    decay: float
    settings: CalciumPopulation


@dataclass(frozen=True, kw_only=True)
class CalciumPopulation:
    r"""Settings of a simulated population of neurons under two-photon calcium imaging.

    In trial *r* (stimulus *s*, session *k*), frame *t*, neuron *i* has the event rate

    .. math::

        \lambda_{rti} = h_{ri}\,\frac{u}{1 + u/R}\,e^{L_i \cdot z_{rt}}, \qquad
        u = e^{b_i + a_{si}\,p(t) + d_{ki}},

    a response that saturates at *R* (Naka-Rushton) under multiplicative fluctuations; events are
    :math:`e_{rti} \sim \mathrm{Poisson}(\lambda_{rti}\,\Delta t)` and the recorded fluorescence
    is :math:`x_t = A\,c_t + \mathrm{noise}` with :math:`c_t = g\,c_{t-1} + e_t`, :math:`c`
    starting at zero in every trial. The latents *z* are shared, Gaussian of unit variance,
    first-order autoregressive in time (:math:`\phi` a frame) and, as whole trials, over the trials
    of a session. The neuron is engaged in a trial (*h* = 1) with probability *q*, else silent; its
    state persists over trials of a session. The drift *d*, constant in a session, is a gain shared
    by all neurons plus a private offset.

    With :math:`m_{ti} = q\,\Delta t\,\frac{u}{1 + u/R}\,e^{|L_i|^2/2}`, the moments of a
    log-normal Poisson process give

    .. math::

        E[e_{ti}] = m_{ti}, \qquad
        \mathrm{Cov}(e_{ti}, e_{uj}) =
            m_{ti} m_{uj} \left(q^{-\delta_{ij}} e^{L_i \cdot L_j \phi^{|t-u|}} - 1\right)
            + \delta_{ij}\delta_{tu} m_{ti},

    from which `CalciumTruth` holds rates and correlations. They are moments given the drawn
    baselines, tuning, drift and loadings. A sample covariance around session means is biased low,
    the more so the longer the engagement lasts compared with a session.

    The defaults are calibrated on the events against the Guan-lab recording (its sizes:
    n_neurons=259, n_stimuli=14, trials_per_stimulus=36, n_frames=29): how the fraction of active
    frames is distributed over neurons, noise correlations of trials, how well they are reproduced
    by another random part of the trials, correlation of session means and of successive trials.
    Not matched is the heavy tail: there, 5 % of the trials of a neuron are active in every frame
    and 79 % in none; here about 1 % and 69 %. How much of the differences between its sessions
    is tuning and how much drift cannot be told from that recording; the split here is a choice.
    The log-normal tail gives more events a frame than a neuron can fire in fewer than one frame of
    a hundred.

    Parameters
    ----------
    n_neurons, n_stimuli, trials_per_stimulus, n_frames
        Sizes. The defaults keep a chapter within seconds; 32 frames are about the length of a
        Guan-lab trial (29) and halve evenly in strided convolutions.
    sessions
        ``"per_stimulus"``: each stimulus is a session of its own, so that stimulus and drift are
        confounded; ``"interleaved"``: as many sessions, of the same length, stimuli in random
        order.
    frame_rate
        Frames a second, Hz.
    baseline_rate, baseline_spread
        Median over neurons of the rate without tuning, drift and fluctuations, events/s, and the
        s.d. of its logarithm.
    saturation_rate
        Rate *R* at which the response saturates, before fluctuations, events/s.
    tuning
        S.d. of the tuning of the log rate over neurons and stimuli.
    session_gain, session_drift
        S.d. of the drift of the log rate over sessions: shared part (the normal quantiles, in
        random order) and private part.
    latent_mean, latent_spread, n_latents, latent_time, latent_trials
        Mean loading on the first latent, s.d. of every loading, number of shared latents, their
        time constant within a trial, s, and from trial to trial, trials.
    engaged, engaged_trials
        Probability *q* that a neuron is engaged in a trial, above 0 and at most 1, and the time
        constant of its engagement in trials.
    decay_time, event_amplitude, noise
        Indicator: decay time, s; dF/F of one event; s.d. of the noise, dF/F.

    Raises
    ------
    ValueError
        A setting is outside its range.
    """

    n_neurons: int = 60
    n_stimuli: int = 8
    trials_per_stimulus: int = 60
    n_frames: int = 32
    sessions: str = "per_stimulus"
    frame_rate: float = 10.0
    baseline_rate: float = 0.033
    baseline_spread: float = 2.8
    saturation_rate: float = 9.0
    tuning: float = 2.0
    session_gain: float = 4.7
    session_drift: float = 2.6
    latent_mean: float = 0.97
    latent_spread: float = 0.5
    n_latents: int = 3
    latent_time: float = 8.0
    latent_trials: float = 1.4
    engaged: float = 0.82
    engaged_trials: float = 5.0
    decay_time: float = 0.5
    event_amplitude: float = 0.2
    noise: float = 0.04

    def __post_init__(self) -> None:
        """Check every setting against its range."""
        for name in ("n_neurons", "n_stimuli", "trials_per_stimulus", "n_frames", "n_latents"):
            check_whole(name, getattr(self, name), 1)
        for name in (
            "frame_rate",
            "baseline_rate",
            "saturation_rate",
            "latent_time",
            "latent_trials",
            "engaged",
            "engaged_trials",
            "decay_time",
        ):
            check_number(name, getattr(self, name), "a number above 0", 0)
        for field in fields(self):
            if field.type == "float":
                value, wanted = getattr(self, field.name), "a number, 0 or more"
                check_number(field.name, value, wanted, 0, closed=True)
        if self.engaged > 1:
            raise ValueError(f"engaged must be a probability; got {self.engaged}. Correct it.")
        check_choice("sessions", self.sessions, SESSION_DESIGNS)

    def simulate(self, seed: int = 0) -> CalciumRecording:
        """Draw a population and its recording.

        Population, drift, order of trials and trials have random streams of their own: the same
        seed gives the same neurons whatever the number of trials or the design of the sessions.

        Parameters
        ----------
        seed
            Seed of every draw, 0 or more.

        Returns
        -------
        CalciumRecording
            dF/F ``(trial, time, neuron)``, with `CalciumTruth` as its truth.

        Raises
        ------
        ValueError
            The seed is not a whole number, 0 or more.
        """
        check_whole("seed", seed, 0)
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]
        population = _draw_population(self, streams[0], streams[1])
        stimulus, session = _design(self, streams[2])
        events, traces = _draw_trials(self, population, stimulus, session, streams[3])
        truth = CalciumTruth(
            events=events,
            **_moments(self, population, stimulus, session),
            **population,
            decay=_decay(self),
            settings=self,
        )
        return _package(self, traces, stimulus, session, truth)


def _decay(settings: CalciumPopulation) -> float:
    return float(np.exp(-1 / (settings.frame_rate * settings.decay_time)))


def _correlation_in_time(settings: CalciumPopulation) -> np.ndarray:
    lags = np.arange(settings.n_frames)
    return np.exp(-lags / (settings.frame_rate * settings.latent_time))  # (T,)


def _profile(settings: CalciumPopulation) -> np.ndarray:
    """Rise to 1 at 0.8 s after the onset of the stimulus and slow return, ``(time,)``."""
    scaled = np.arange(settings.n_frames) / settings.frame_rate / 0.8
    return scaled * np.exp(1 - scaled)


def _draw_population(
    settings: CalciumPopulation, rng: np.random.Generator, rng_drift: np.random.Generator
) -> dict[str, np.ndarray]:
    n, s = settings.n_neurons, settings.n_stimuli
    baseline = np.log(settings.baseline_rate) + settings.baseline_spread * rng.standard_normal(n)
    # Uniform, so that no neuron has a loading far out: the tail of its rate would have no bound.
    width = np.sqrt(3) * settings.latent_spread
    loadings = rng.uniform(-width, width, (n, settings.n_latents))
    loadings[:, 0] += settings.latent_mean
    # Quantiles rather than draws: no seed makes a recording of silent sessions only.
    gain = [settings.session_gain * NormalDist().inv_cdf((k + 0.5) / s) for k in range(s)]
    offset = settings.session_drift * rng_drift.standard_normal((s, n))
    return {
        "baseline": baseline,
        "tuning": settings.tuning * rng.standard_normal((s, n)),
        "profile": _profile(settings),
        "drift": rng_drift.permutation(gain)[:, None] + offset,
        "loadings": loadings,
    }


def _design(settings: CalciumPopulation, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    session = np.repeat(np.arange(settings.n_stimuli), settings.trials_per_stimulus)
    stimulus = session if settings.sessions == "per_stimulus" else rng.permutation(session)
    return stimulus.copy(), session


def _draw_trials(
    settings: CalciumPopulation,
    population: dict[str, np.ndarray],
    stimulus: np.ndarray,
    session: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    z = _draw_latents(settings, rng)  # (R, T, L)
    engaged = _draw_engaged(settings, rng)  # (R, N)
    log_rate = _drive(settings, population, stimulus, session)  # (R, T, N)
    log_rate += z @ population["loadings"].T
    events = rng.poisson(engaged[:, None] * np.exp(log_rate) / settings.frame_rate)
    lags = np.subtract.outer(np.arange(settings.n_frames), np.arange(settings.n_frames))
    kernel = np.where(lags >= 0, _decay(settings) ** np.abs(lags), 0.0)  # (T, T), causal
    traces = settings.event_amplitude * (kernel @ events)
    traces += settings.noise * rng.standard_normal(traces.shape)
    return events, traces


def _draw_latents(settings: CalciumPopulation, rng: np.random.Generator) -> np.ndarray:
    """Draw the shared latents session by session, ``(trial, time, latent)``.

    First-order autoregressive twice: from frame to frame of a trial, and, as whole trials, from
    trial to trial of a session. Every trial has the same distribution.
    """
    shape = (settings.n_stimuli, settings.trials_per_stimulus, settings.n_frames)
    over_trials = np.exp(-np.arange(settings.trials_per_stimulus) / settings.latent_trials)
    latents = rng.standard_normal((*shape, settings.n_latents))
    latents = np.einsum("tu,krul->krtl", _root(_correlation_in_time(settings)), latents)
    latents = np.einsum("rq,kqtl->krtl", _root(over_trials), latents)
    return latents.reshape(-1, settings.n_frames, settings.n_latents)


def _root(correlation: np.ndarray) -> np.ndarray:
    """Cholesky factor of the stationary correlation matrix with these values at lags 0, 1, ..."""
    lags = np.abs(np.subtract.outer(np.arange(len(correlation)), np.arange(len(correlation))))
    return np.linalg.cholesky(correlation[lags])


def _draw_engaged(settings: CalciumPopulation, rng: np.random.Generator) -> np.ndarray:
    """Draw which neurons are engaged in which trials, session by session, ``(trial, neuron)``.

    A neuron's state is drawn anew in a trial with probability 1 - exp(-1 / engaged_trials).
    """
    length = settings.trials_per_stimulus
    shape = (settings.n_stimuli, length, settings.n_neurons)
    anew = rng.random(shape) > np.exp(-1 / settings.engaged_trials)
    anew[:, 0] = True
    drawn = rng.random(shape) < settings.engaged
    latest = np.maximum.accumulate(np.where(anew, np.arange(length)[:, None], 0), axis=1)
    return np.take_along_axis(drawn, latest, axis=1).reshape(-1, settings.n_neurons)


def _drive(
    settings: CalciumPopulation,
    population: dict[str, np.ndarray],
    stimulus: np.ndarray,
    session: np.ndarray | None,
) -> np.ndarray:
    """Log rate without fluctuations for pairs of stimulus and session, ``(pair, time, neuron)``."""
    log_rate = population["tuning"][stimulus][:, None] * population["profile"][:, None]
    log_rate += population["baseline"]
    if session is not None:
        log_rate += population["drift"][session][:, None]
    return log_rate - np.log1p(np.exp(log_rate) / settings.saturation_rate)


def _variance(population: dict[str, np.ndarray]) -> np.ndarray:
    """Variance of the fluctuations of the log rate, ``(neuron,)``."""
    return np.sum(population["loadings"] ** 2, axis=1)


def _moments(
    settings: CalciumPopulation,
    population: dict[str, np.ndarray],
    stimulus: np.ndarray,
    session: np.ndarray,
) -> dict[str, np.ndarray]:
    pairs, counts = np.unique(np.stack([stimulus, session]), axis=1, return_counts=True)
    mean_gain = settings.engaged * np.exp(_variance(population) / 2) / settings.frame_rate
    expected = np.exp(_drive(settings, population, *pairs)) * mean_gain  # (P, T, N) events a frame
    alone = np.exp(_drive(settings, population, np.arange(settings.n_stimuli), None)) * mean_gain
    to_stimulus = (pairs[0] == np.arange(settings.n_stimuli)[:, None]) * counts  # (S, P)
    to_stimulus = to_stimulus / to_stimulus.sum(axis=1, keepdims=True)
    per_trial, per_frame = _covariances(settings, population, expected, counts / counts.sum())
    return {
        "rates": to_stimulus @ expected.mean(axis=1) * settings.frame_rate,
        "stimulus_rates": alone.mean(axis=1) * settings.frame_rate,
        "active_fraction": to_stimulus @ _active_fraction(settings, population, expected),
        "noise_correlation": _as_correlation(per_trial),
        "frame_noise_correlation": _as_correlation(per_frame),
    }


def _covariances(
    settings: CalciumPopulation,
    population: dict[str, np.ndarray],
    expected: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of trial counts and mean covariance of frame counts, each ``(N, N)``."""
    loadings, n_frames = population["loadings"], settings.n_frames
    shared = loadings @ loadings.T
    private = np.where(np.eye(settings.n_neurons, dtype=bool), 1 / settings.engaged, 1.0)
    weighted = weights[:, None, None] * expected
    per_trial = np.diag(weighted.sum(axis=(0, 1)))  # Poisson variance
    per_frame = per_trial / n_frames
    for lag, correlation in enumerate(_correlation_in_time(settings)):
        early = weighted[:, : n_frames - lag].reshape(-1, settings.n_neurons)
        late = expected[:, lag:].reshape(-1, settings.n_neurons)
        covariance = (early.T @ late) * (private * np.exp(shared * correlation) - 1)  # (N, N)
        per_trial = per_trial + (covariance if lag == 0 else covariance + covariance.T)
        if lag == 0:
            per_frame = per_frame + covariance / n_frames
    return per_trial, per_frame


def _active_fraction(
    settings: CalciumPopulation, population: dict[str, np.ndarray], expected: np.ndarray
) -> np.ndarray:
    """Average over the trial of 1 - E[exp(-rate dt)], by Gauss-Hermite quadrature, ``(P, N)``."""
    variance = _variance(population)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    engaged = expected / settings.engaged
    silent = np.zeros_like(expected)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        silent += weight * np.exp(-engaged * np.exp(np.sqrt(variance) * node - variance / 2))
    return settings.engaged * (1 - silent.mean(axis=1))


def _as_correlation(covariance: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diag(covariance))
    return covariance / np.outer(scale, scale)


def _steps(settings: CalciumPopulation) -> Iterator[str]:
    yield f"simulated with {settings!r}"
    if settings.sessions == "per_stimulus":
        yield "every stimulus is a session of its own, so stimulus and drift are confounded"


def _package(
    settings: CalciumPopulation,
    traces: np.ndarray,
    stimulus: np.ndarray,
    session: np.ndarray,
    truth: CalciumTruth,
) -> CalciumRecording:
    responses = xr.DataArray(
        traces,
        dims=("trial", "time", "neuron"),
        coords={"time": np.arange(settings.n_frames) / settings.frame_rate},
        attrs={"quantity": "dF/F", "units": "1"},
    )
    provenance = Provenance(
        source="simulated calcium population",
        citation="",
        licence="MIT",
        url="",
        sha256={},
        preprocessing=tuple(_steps(settings)),
    )
    return CalciumRecording(
        responses=responses,
        trials=pd.DataFrame({"stimulus": stimulus, "session": session}),
        neurons=pd.DataFrame(index=pd.RangeIndex(settings.n_neurons, name="neuron")),
        provenance=provenance,
        truth=truth,
    )
