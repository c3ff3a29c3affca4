"""The simulated calcium population does what its closed forms say."""

from __future__ import annotations

import numpy as np
import pytest

from visualcortex.evaluation.scores import correlation_of_correlations, noise_correlations
from visualcortex.simulators.calcium_population import CalciumPopulation

GUAN_SIZES = {"n_neurons": 259, "n_stimuli": 14, "trials_per_stimulus": 36, "n_frames": 29}
# Gentle fluctuations, so that sample moments settle; engagement that changes at every trial, so
# that trials are independent.
GENTLE = CalciumPopulation(
    n_neurons=6,
    n_stimuli=3,
    trials_per_stimulus=4000,
    n_frames=8,
    baseline_rate=4.0,
    baseline_spread=0.3,
    tuning=0.8,
    session_gain=0.3,
    session_drift=0.3,
    latent_mean=0.5,
    latent_spread=0.3,
    engaged=0.7,
    engaged_trials=0.02,
)


def gentle(**changes):
    return CalciumPopulation(**{**vars(GENTLE), **changes})


@pytest.fixture(scope="module", params=["per_stimulus", "interleaved"])
def recording(request):
    """Simulate a long recording of few neurons, once for each design of the sessions."""
    return gentle(sessions=request.param).simulate(seed=1)


def within(recording, values):
    """Return the values without the mean of their stimulus and session, and the trials' cells."""
    _, cell = np.unique(
        np.stack([recording.stimulus, recording.session]), axis=1, return_inverse=True
    )
    cell = cell.ravel()
    sums = np.zeros((cell.max() + 1, *values.shape[1:]))
    np.add.at(sums, cell, values)
    means = sums / np.bincount(cell).reshape(-1, *[1] * (values.ndim - 1))
    return values - means[cell]


def bootstrap_error(values, statistic, n_draws=40):
    rng = np.random.default_rng(0)
    draws = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(n_draws)]
    return np.std(draws, axis=0)


def correlation(values):
    return np.corrcoef(values.reshape(-1, values.shape[-1]), rowvar=False)


def assert_within_errors(observed, expected, error, n_errors=4.0):
    off = np.abs(observed - expected) / error
    assert np.max(off) < n_errors, f"off by {np.max(off):.1f} standard errors"


def test_mean_rates_converge_to_the_closed_form(recording):
    truth, rate = recording.truth, recording.truth.settings.frame_rate
    for stimulus in range(3):
        rates = truth.events[recording.stimulus == stimulus].mean(axis=1) * rate
        error = rates.std(axis=0) / np.sqrt(len(rates))
        assert_within_errors(rates.mean(axis=0), truth.rates[stimulus], error)


def test_active_frames_converge_to_the_quadrature(recording):
    for stimulus in range(3):
        active = (recording.truth.events[recording.stimulus == stimulus] > 0).mean(axis=1)
        error = active.std(axis=0) / np.sqrt(len(active))
        assert_within_errors(active.mean(axis=0), recording.truth.active_fraction[stimulus], error)


def test_noise_correlations_of_trials_converge_to_the_closed_form(recording):
    counts = within(recording, recording.truth.events.sum(axis=1).astype(float))
    pairs = np.triu_indices(counts.shape[1], 1)
    error = bootstrap_error(counts, correlation)[pairs]
    expected = recording.truth.noise_correlation
    assert_within_errors(correlation(counts)[pairs], expected[pairs], error)
    assert np.ptp(expected[pairs]) > 0.2, "the pairs are too much alike to tell anything"


def test_noise_correlations_of_frames_converge_to_the_closed_form(recording):
    counts = within(recording, recording.truth.events.astype(float))  # (R, T, N)
    pairs = np.triu_indices(counts.shape[2], 1)
    error = bootstrap_error(counts, correlation)[pairs]
    expected = recording.truth.frame_noise_correlation[pairs]
    assert_within_errors(correlation(counts)[pairs], expected, error)


def test_the_closed_form_is_that_of_a_loop_over_pairs_of_frames():
    """Oracle: the covariance formula written out frame by frame for one stimulus."""
    truth = gentle(n_stimuli=1, trials_per_stimulus=2).simulate(seed=2).truth
    s = truth.settings
    u = np.exp(truth.baseline + truth.tuning[0] * truth.profile[:, None] + truth.drift[0])
    gram = truth.loadings @ truth.loadings.T
    m = s.engaged / s.frame_rate * u / (1 + u / s.saturation_rate) * np.exp(np.diag(gram) / 2)
    phi = np.exp(-1 / (s.frame_rate * s.latent_time))
    covariance = np.zeros_like(gram)
    for t in range(s.n_frames):
        for v in range(s.n_frames):
            for i in range(s.n_neurons):
                for j in range(s.n_neurons):
                    second = np.exp(gram[i, j] * phi ** abs(t - v))
                    second /= s.engaged if i == j else 1
                    covariance[i, j] += m[t, i] * m[v, j] * (second - 1)
                    covariance[i, j] += m[t, i] if i == j and t == v else 0
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(truth.noise_correlation, covariance / np.outer(scale, scale))
    np.testing.assert_allclose(truth.rates[0], m.mean(axis=0) * s.frame_rate)


def test_without_fluctuations_nothing_is_correlated_and_counts_are_poisson():
    settings = gentle(latent_mean=0, latent_spread=0, engaged=1)
    recording = settings.simulate(seed=3)
    np.testing.assert_allclose(recording.truth.noise_correlation, np.eye(6), atol=1e-12)
    one = recording.truth.events[recording.stimulus == 0].sum(axis=1)
    fano = one.var(axis=0, ddof=1) / one.mean(axis=0)
    np.testing.assert_allclose(fano, 1, atol=4 * np.sqrt(2 / len(one)))


def test_fluorescence_is_the_decaying_sum_of_the_events_and_noise():
    settings = gentle(trials_per_stimulus=200, noise=0.05)
    recording = settings.simulate(seed=4)
    truth, clean = recording.truth, np.zeros(recording.responses.shape)
    level = np.zeros_like(clean[:, 0])
    for frame in range(settings.n_frames):
        level = truth.decay * level + truth.events[:, frame]
        clean[:, frame] = settings.event_amplitude * level
    noise = recording.responses.to_numpy() - clean
    assert noise.std() == pytest.approx(0.05, rel=0.03)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.03
    assert recording.responses.attrs == {"quantity": "dF/F", "units": "1"}
    np.testing.assert_allclose(np.diff(recording.responses["time"]), 0.1)


def test_a_seed_repeats_itself_and_another_does_not():
    settings = gentle(trials_per_stimulus=5)
    first, again, other = (settings.simulate(seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.responses, again.responses)
    assert not np.array_equal(first.truth.tuning, other.truth.tuning)
    assert not np.array_equal(first.truth.events, other.truth.events)


def test_a_seed_keeps_its_neurons_whatever_the_design():
    truths = [
        gentle(trials_per_stimulus=trials, sessions=sessions).simulate(seed=7).truth
        for trials, sessions in [(5, "per_stimulus"), (9, "per_stimulus"), (5, "interleaved")]
    ]
    for name in ("baseline", "tuning", "drift", "loadings"):
        for truth in truths[1:]:
            np.testing.assert_array_equal(getattr(truth, name), getattr(truths[0], name))


def test_without_tuning_the_stimulus_tells_nothing_but_the_session_may():
    for sessions in ("per_stimulus", "interleaved"):
        settings = gentle(tuning=0, sessions=sessions, trials_per_stimulus=300)
        truth = settings.simulate(seed=8).truth
        assert np.ptp(truth.stimulus_rates, axis=0).max() == 0
        spread = np.ptp(truth.rates, axis=0).max() / truth.rates.mean()
        assert (spread > 0.5) if sessions == "per_stimulus" else (spread < 0.3)


def test_without_drift_the_rates_are_those_of_the_stimulus_alone():
    truth = gentle(session_gain=0, session_drift=0, trials_per_stimulus=5).simulate(seed=9).truth
    np.testing.assert_allclose(truth.rates, truth.stimulus_rates)
    assert np.ptp(truth.rates, axis=0).min() > 0


def test_the_design_of_the_sessions():
    alone = gentle(trials_per_stimulus=50).simulate(seed=10)
    np.testing.assert_array_equal(alone.stimulus, alone.session)
    mixed = gentle(trials_per_stimulus=50, sessions="interleaved").simulate(seed=10)
    np.testing.assert_array_equal(mixed.session, alone.session)
    np.testing.assert_array_equal(np.bincount(mixed.stimulus), [50, 50, 50])
    assert len(np.unique(mixed.stimulus[mixed.session == 0])) == 3


@pytest.mark.parametrize("engaged_trials", [1.0, 4.0])
def test_engagement_persists_as_long_as_asked(engaged_trials):
    """Oracle: lag-k correlation exp(-k / engaged_trials) of a chain that is redrawn at random."""
    settings = gentle(
        n_stimuli=1, n_neurons=50, engaged_trials=engaged_trials, n_frames=20, baseline_rate=50,
        saturation_rate=100, latent_mean=0, latent_spread=0,
    )  # fmt: skip
    on = settings.simulate(seed=11).truth.events.sum(axis=1) > 0  # silent only when not engaged
    assert on.mean() == pytest.approx(0.7, abs=0.01)
    for lag in (1, 3):
        observed = np.mean((on[lag:] - on.mean()) * (on[:-lag] - on.mean())) / on.var()
        assert observed == pytest.approx(np.exp(-lag / engaged_trials), abs=0.02)


@pytest.mark.parametrize("changes", [{"n_neurons": 1}, {"n_stimuli": 1}, {"n_frames": 1}])
def test_the_smallest_sizes_work(changes):
    recording = gentle(**({"trials_per_stimulus": 1} | changes)).simulate()
    assert np.isfinite(recording.truth.noise_correlation).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_neurons": 0}, "n_neurons must be a whole number, 1 or more; got 0"),
        ({"n_frames": 2.5}, "n_frames must be a whole number"),
        ({"n_stimuli": True}, "n_stimuli must be a whole number"),
        ({"frame_rate": 0}, "frame_rate must be a number above 0; got 0"),
        ({"noise": -1}, "noise must be a number, 0 or more; got -1"),
        ({"decay_time": float("nan")}, "decay_time must be a number above 0"),
        ({"tuning": "strong"}, "tuning must be a number"),
        ({"engaged": 0}, "engaged must be a number above 0"),
        ({"engaged": 1.5}, "engaged must be a probability; got 1.5"),
        ({"sessions": "mixed"}, "sessions must be one of .*per_stimulus.*got 'mixed'"),
    ],
)
def test_a_setting_outside_its_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CalciumPopulation(**changes)


def test_a_seed_must_be_a_whole_number():
    with pytest.raises(ValueError, match="seed must be a whole number, 0 or more; got -1"):
        CalciumPopulation().simulate(seed=-1)


def session_residuals(active, session):
    means = np.array([active[session == k].mean(axis=0) for k in np.unique(session)])
    return active - means[session], means


def autocorrelation(residuals, session, lag):
    """Average over neurons and sessions of the correlation of trials `lag` apart."""
    values = []
    for k in np.unique(session):
        r = residuals[session == k]
        scale = (r**2).sum(axis=0)
        values.append((r[lag:] * r[:-lag]).sum(axis=0) / np.where(scale > 0, scale, np.nan))
    return np.nanmean(values)


def reproducibility(active, stimulus):
    """Correlation, over pairs, of the noise correlations of two random, disjoint parts."""
    values = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(active))
        parts = order[: int(0.6 * len(order))], order[int(0.8 * len(order)) :]
        first, second = (noise_correlations(active[k], stimulus[k]) for k in parts)
        values.append(correlation_of_correlations(first, second))
    return np.mean(values)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_defaults_resemble_the_guan_lab_recording(seed):
    """Bands around what is measured on that recording, given beside each line."""
    recording = CalciumPopulation(**GUAN_SIZES).simulate(seed=seed)
    active = (recording.truth.events > 0).mean(axis=1)  # (R, N)
    residuals, means = session_residuals(active, recording.session)
    moving = residuals.std(axis=0) > 0
    noise = np.corrcoef(residuals[:, moving], rowvar=False)[np.triu_indices(moving.sum(), 1)]
    variances = np.linalg.eigvalsh(np.cov(residuals, rowvar=False))
    low, middle, high = np.quantile(active.mean(axis=0), [0.05, 0.5, 0.95])
    assert 0.08 < active.mean() < 0.14  # .108
    assert 0.008 < low < 0.035  # .018
    assert 0.06 < middle < 0.125  # .082
    assert 0.20 < high < 0.36  # .302
    assert 0.65 < np.mean(active == 0) < 0.85  # .794
    assert 0.15 < noise.mean() < 0.25  # .20
    assert 0.15 < noise.std() < 0.21  # .18
    assert 0.5 < reproducibility(active, recording.stimulus) < 0.75  # .64
    assert 0.17 < variances[-1] / variances.sum() < 0.32  # .24
    assert 0.10 < np.corrcoef(means)[np.triu_indices(14, 1)].mean() < 0.28  # .17
    assert 0.13 < autocorrelation(residuals, recording.session, 1) < 0.32  # .24
    assert 0.07 < autocorrelation(residuals, recording.session, 2) < 0.20  # .13
    # the log-normal tail passes what a neuron can fire (ten events in 100 ms), but seldom
    assert np.mean(recording.truth.events > 10) < 0.01
