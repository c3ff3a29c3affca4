"""Deconvolution: optima are optimal, known spikes come back, and wrong input is refused."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from scipy.signal import lfilter

from visualcortex.models import oasis_batched
from visualcortex.models.deconvolution import (
    deconvolve,
    estimate_coefficients,
    estimate_noise,
)

SLOW, FAST = 0.95, 0.5
MODELS = {1: np.array([SLOW]), 2: np.array([SLOW + FAST, -SLOW * FAST])}


def polynomial(order):
    return np.concatenate([[1], -MODELS[order]])


def simulated(order, n_neurons=6, n_frames=2000, rate=0.02, noise=0.3, seed=0):
    """Traces of baseline 2 whose spikes have size one, and the spikes."""
    rng = np.random.default_rng(seed)
    spikes = (rng.random((n_neurons, n_frames)) < rate).astype(float)
    calcium = lfilter([1], polynomial(order), spikes, axis=1)
    return 2 + calcium + noise * rng.normal(size=spikes.shape), spikes


def gains(found, traces, order):
    """What a little more of a spike in each frame would save, the penalty not counted."""
    rest = traces - found.baseline[:, None] - found.calcium
    return lfilter([1], polynomial(order), rest[:, ::-1], axis=1)[:, ::-1]


def all_spikes(found, order):
    """Spikes from the calcium, those of the first frames included."""
    return lfilter(polynomial(order), [1], found.calcium, axis=1)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("penalty", [0.0, 0.7, "noise"])
@pytest.mark.parametrize("baseline", [None, 2.0])
def test_no_change_of_any_spike_lowers_the_objective(order, penalty, baseline):
    traces, _ = simulated(order)
    found = deconvolve(
        traces, order=order, decay=MODELS[order], noise=0.3, baseline=baseline, penalty=penalty
    )
    spikes, gain = all_spikes(found, order), gains(found, traces, order)
    assert spikes.min() > -1e-12
    assert np.all(gain <= found.penalty[:, None] + 1e-6)
    active = spikes > 1e-6
    assert 10 < active.sum() < 0.6 * active.size
    paid = np.broadcast_to(found.penalty[:, None], gain.shape)
    np.testing.assert_allclose(gain[active], paid[active], rtol=1e-7, atol=1e-9)
    # beyond the first frames, spikes are what calcium does not inherit
    np.testing.assert_allclose(found.spikes[:, order:], spikes[:, order:], atol=1e-12)
    assert (found.spikes[:, :order] == 0).all()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("penalty", [0.0, 0.4])
def test_short_traces_are_what_non_negative_least_squares_gives(order, penalty):
    traces = np.random.default_rng(1).normal(size=(8, 50)).cumsum(1) / 3
    found = deconvolve(traces, order=order, decay=MODELS[order], baseline=-0.2, penalty=penalty)
    response = lfilter([1], polynomial(order), np.eye(50), axis=0)
    for trace, spikes in zip(traces, all_spikes(found, order), strict=True):
        # a penalty on spikes is a shift of the trace
        shifted = trace + 0.2 - penalty * np.linalg.solve(response.T, np.ones(50))
        np.testing.assert_allclose(spikes, nnls(response, shifted)[0], atol=1e-8)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("baseline", [None, 2.1])
def test_the_penalty_leaves_residuals_of_the_size_of_the_noise(order, baseline):
    traces, _ = simulated(order, n_neurons=20, n_frames=700, rate=0.04, seed=2)
    noise = np.linspace(0.31, 0.4, 20)
    found = deconvolve(traces, order=order, decay=MODELS[order], noise=noise, baseline=baseline)
    rest = traces - found.calcium - found.baseline[:, None]
    np.testing.assert_allclose((rest**2).mean(1), noise**2, rtol=1e-6)
    assert (found.penalty > 0).all()
    if baseline is None:
        # the best baseline leaves no mean
        np.testing.assert_allclose(rest.mean(1), 0, atol=1e-7)


@pytest.mark.parametrize("order", [1, 2])
def test_noise_that_cannot_be_met_leaves_no_penalty(order):
    traces, _ = simulated(order, n_frames=300)
    options = {"order": order, "decay": MODELS[order], "baseline": 2.0}
    found = deconvolve(traces, noise=0.05, **options)
    plain = deconvolve(traces, penalty=0, **options)
    assert found.penalty.max() < 1e-9
    np.testing.assert_allclose(found.calcium, plain.calcium, atol=1e-9)


@pytest.mark.parametrize("options", [{"order": 1}, {"order": 2}, {"batched": True}])
def test_a_baseline_is_no_lower_than_the_trace(options):
    # a decay that is far too long explains a trace only as the sinking of what was there before
    traces, _ = simulated(1, n_frames=1500, seed=10)
    decay = (0.9999, 0.0)[: options.get("order", 1)]
    found = deconvolve(traces, decay=decay, noise=0.25, **options)
    np.testing.assert_allclose(found.baseline, traces.min(1))
    assert found.penalty.max() < 1e-9


@pytest.mark.parametrize("order", [1, 2])
def test_traces_of_noise_have_no_spikes_and_the_least_such_penalty(order):
    traces = np.random.default_rng(3).normal(size=(4, 400))
    found = deconvolve(traces, order=order, decay=MODELS[order], noise=1.2)
    assert np.abs(found.calcium).max() < 1e-9
    np.testing.assert_allclose(found.baseline, traces.mean(1), atol=1e-12)
    most = np.maximum(gains(found, traces, order).max(1), 0)
    np.testing.assert_allclose(found.penalty, most, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_constant_traces_have_no_spikes(order):
    constant = np.full((3, 300), [[5.1], [0], [-7.3]])
    found = deconvolve(constant, order=order)
    assert (found.spikes == 0).all()
    np.testing.assert_array_equal(found.calcium + found.baseline[:, None], constant)
    first = estimate_coefficients(constant, order=order)
    np.testing.assert_allclose(first, [[0.9, 0][:order]] * 3)
    # with nothing left to noise, a neuron without noise is explained to the last digit
    traces, _ = simulated(order, n_frames=200, noise=0)
    traces = traces[traces.min(1) < 2 + 1e-9]  # the baseline is no lower than the trace
    assert len(traces) > 3
    found = deconvolve(traces, order=order, decay=MODELS[order], noise=0)
    fitted = found.calcium + found.baseline[:, None]
    np.testing.assert_allclose(fitted, traces, atol=1e-6)


def objectives(traces, smallest, order):
    """Least squared error of each trace over every choice of frames with spikes, by trial."""
    n_frames = traces.shape[1]
    response = lfilter([1], polynomial(order), np.eye(n_frames), axis=0)
    least = np.full(len(traces), np.inf)
    for choice in itertools.product([False, True], repeat=n_frames - order):
        free = np.array([True] * order + list(choice))
        floor = np.where(free, smallest, 0.0)
        floor[:order] = 0
        rest = traces - response @ floor
        for i, trace in enumerate(rest):
            least[i] = min(least[i], nnls(response[:, free], trace)[1] ** 2)
    return least


@pytest.mark.parametrize("order", [1, 2])
def test_thresholded_spikes_are_large_and_next_to_the_best_choice(order):
    traces, _ = simulated(order, n_neurons=10, n_frames=9 + order, rate=0.3, noise=0.2, seed=4)
    traces -= 2
    found = deconvolve(
        traces, order=order, decay=MODELS[order], baseline=0, penalty=0, smallest=0.6
    )
    kept = found.spikes[found.spikes > 0]
    assert kept.size > 10
    assert kept.min() >= 0.6 - 1e-9
    best = objectives(traces, 0.6, order)
    error = ((traces - found.calcium) ** 2).sum(1)
    assert np.all(error >= best - 1e-9)
    # a local optimum: mostly the best there is
    assert np.sum(error < best + 1e-9) >= 4


@pytest.mark.parametrize("order", [1, 2])
def test_large_spikes_come_back_where_and_as_large_as_they_were(order):
    traces, spikes = simulated(order, noise=0.05, seed=5)
    found = deconvolve(traces, order=order, decay=MODELS[order], noise=0.05, smallest=0.5)
    hit = (found.spikes > 0)[:, 2:]
    assert np.mean(hit == (spikes[:, 2:] > 0)) > 0.998
    both = hit & (spikes[:, 2:] > 0)
    assert abs(found.spikes[:, 2:][both].mean() - 1) < 0.02
    np.testing.assert_allclose(found.baseline, 2, atol=0.05)
    assert (found.penalty == 0).all()


@pytest.mark.parametrize("order", [1, 2])
def test_estimated_parameters_are_near_the_known_ones(order):
    traces, spikes = simulated(order, 30, 6000, seed=6)
    noise = estimate_noise(traces)
    # spikes of variance .02 add a third of it at most
    assert np.all(np.abs(noise**2 - 0.09 - 0.003 * (order == 1)) < 5 * 0.09 * 2.4 / 6000**0.5)
    coefficients = estimate_coefficients(traces, noise, order=order)
    roots = np.array([np.roots([1, *-row]).real for row in coefficients])
    assert abs(np.median(roots.max(1)) - SLOW) < 0.006
    if order == 2:
        assert abs(np.median(roots.min(1)) - FAST) < 0.1
    found = deconvolve(traces, order=order)
    np.testing.assert_allclose(found.noise, noise)
    np.testing.assert_allclose(found.coefficients, coefficients)
    sums = [x.reshape(30, -1, 10).sum(2).ravel() for x in (found.spikes, spikes)]
    assert np.corrcoef(*sums)[0, 1] > 0.9


def test_the_noise_of_white_noise_has_the_error_that_is_stated():
    ratio = estimate_noise(7 + 3 * np.random.default_rng(7).normal(size=(400, 3000))) / 3
    assert abs(ratio.mean() - 1) < 0.005
    assert 1.0 < ratio.std() * np.sqrt(3000) < 1.4


@pytest.mark.parametrize("options", [{}, {"smallest": 0.5}, {"order": 2}])
def test_unit_offset_and_order_of_neurons_do_not_matter(options):
    traces, _ = simulated(1, seed=8)
    found = deconvolve(traces, **options)
    if "smallest" in options:
        options = {"smallest": 50 * options["smallest"]}
    scaled = deconvolve(50 * traces[::-1] - 3000, **options)
    for name in ("calcium", "spikes", "noise", "penalty"):
        expected = 50 * getattr(found, name)
        np.testing.assert_allclose(getattr(scaled, name)[::-1], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scaled.baseline[::-1], 50 * found.baseline - 3000, rtol=1e-6)
    np.testing.assert_allclose(scaled.coefficients[::-1], found.coefficients, rtol=1e-6)


def test_neurons_are_fitted_each_by_itself():
    traces, _ = simulated(1, n_neurons=40, n_frames=9000, seed=9)  # more than a block of them
    whole = deconvolve(traces, smallest=np.linspace(0.1, 0.8, 40))
    one = deconvolve(traces[33:34], smallest=np.linspace(0.1, 0.8, 40)[33:34])
    for all_found, found in zip(whole, one, strict=True):
        np.testing.assert_allclose(all_found[33:34], found, rtol=1e-6, atol=1e-9)


def test_a_long_decay_or_a_long_trace_loses_no_digits():
    traces, _ = simulated(1, n_neurons=3, n_frames=8000, rate=0.001, noise=0.3, seed=10)
    given = {"noise": 0.3, "decay": np.array([0.5, 0.9, 0.998])}
    found = deconvolve(traces, **given)
    again = deconvolve(traces, batched=True, **given)
    assert np.isfinite(found.calcium).all()
    np.testing.assert_allclose(found.calcium, again.calcium, atol=1e-7)


@pytest.mark.parametrize(
    "options",
    [{}, {"baseline": 2.0}, {"baseline": 2.0, "penalty": 0.5}, {"penalty": 0.0, "noise": 0.3}],
)
def test_all_neurons_at_once_gives_the_same(options):
    traces, _ = simulated(1, n_frames=1000, seed=11)
    traces[1], traces[2] = 4.0, np.random.default_rng(0).normal(2, 0.2, 1000)
    one, other = deconvolve(traces, **options), deconvolve(traces, batched=True, **options)
    for name, first, second in zip(one._fields, one, other, strict=True):
        np.testing.assert_allclose(second, first, atol=1e-7, err_msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("options", [{}, {"baseline": 2.0, "penalty": 0.5}])
def test_the_gpu_gives_the_same(options):
    traces, _ = simulated(1, n_frames=1000, seed=11)
    one, other = deconvolve(traces, **options), deconvolve(traces, device="cuda", **options)
    for name, first, second in zip(one._fields, one, other, strict=True):
        np.testing.assert_allclose(second, first, atol=1e-6, err_msg=name)


def test_descending_runs_are_pooled_as_a_loop_would():
    """The rounds of all neurons at once end where pooling two neighbours at a time ends."""
    rng = np.random.default_rng(12)
    decay = np.array([0.3, 0.9, 0.99])
    traces = rng.normal(size=(3, 60)).cumsum(1)
    known = [torch.from_numpy(x) for x in (traces, decay, 0 * decay, 0 * decay, 0 * decay)]
    calcium, spikes, _, _ = oasis_batched.fit_order_one_batched(*known)
    for trace, g, fitted, jumps in zip(traces, decay, calcium.numpy(), spikes.numpy(), strict=True):
        pools = [[value, 1.0, 1] for value in trace]
        i = 0
        while i < len(pools) - 1:
            (a, wa, la), (b, wb, lb) = pools[i], pools[i + 1]
            if b / wb < g**la * max(a / wa, 0 if i == 0 else a / wa):
                pools[i : i + 2] = [[a + g**la * b, wa + g ** (2 * la) * wb, la + lb]]
                i = max(i - 1, 0)
            else:
                i += 1
        expected = np.concatenate([max(a / w, 0) * g ** np.arange(n) for a, w, n in pools])
        np.testing.assert_allclose(fitted, expected, atol=1e-12)
        np.testing.assert_allclose(jumps[1:], expected[1:] - g * expected[:-1], atol=1e-12)


def test_single_precision_comes_and_goes():
    traces, _ = simulated(1, seed=13)
    single, double = deconvolve(traces.astype(np.float32)), deconvolve(traces)
    assert {x.dtype for x in single} == {np.dtype(np.float32)}
    assert {x.dtype for x in double} == {np.dtype(float)}
    np.testing.assert_allclose(single.calcium, double.calcium, atol=1e-4)
    counts = deconvolve(np.round(100 * traces).astype(int))
    assert counts.calcium.dtype == float


def test_the_traces_are_left_as_they_are():
    traces, _ = simulated(1, seed=14)
    before = traces.copy()
    deconvolve(traces)
    estimate_noise(traces)
    estimate_coefficients(traces)
    np.testing.assert_array_equal(traces, before)


def test_noise_is_estimated_only_where_it_matters():
    traces = np.arange(30.0).reshape(3, 10) % 4
    found = deconvolve(traces, decay=0.5, baseline=0, penalty=0.1)
    assert np.isnan(found.noise).all()
    assert (deconvolve(traces, noise=0.5).noise == 0.5).all()
    with pytest.raises(ValueError, match="cannot be estimated from 10"):
        deconvolve(traces, decay=0.5)


def test_the_package_of_the_authors_of_the_method_finds_the_same():
    peer = pytest.importorskip("oasis.oasis_methods", reason="needs oasis-deconv")
    traces, _ = simulated(1, seed=15)
    found = deconvolve(traces, decay=SLOW, baseline=2.0, penalty=0.7)
    for trace, calcium in zip(traces, found.calcium, strict=True):
        np.testing.assert_allclose(peer.oasisAR1(trace - 2, SLOW, lam=0.7)[0], calcium, atol=1e-6)


GOOD = np.random.default_rng(0).normal(size=(3, 40))


@pytest.mark.parametrize(
    ("traces", "options", "message"),
    [
        (GOOD[0], {}, "n_neurons, n_frames"),
        (GOOD[:, :2], {}, "three frames"),
        (GOOD.astype(str), {}, "real numbers"),
        (np.where(np.arange(40) > 37, np.nan, GOOD), {}, "3 of 3 traces have NaN"),
        (GOOD, {"order": 3}, "order must be 1 or 2"),
        (GOOD, {"decay": 1.0}, "without oscillation"),
        (GOOD, {"decay": [0.9, 0.8]}, "decay of order 1"),
        (GOOD, {"decay": 0.9, "order": 2}, "decay of order 2"),
        (GOOD, {"decay": (1.0, -0.9), "order": 2}, "without oscillation"),
        (GOOD, {"noise": -1}, "noise must be finite"),
        (GOOD, {"baseline": [1, 2]}, "baseline must be a number or one for each"),
        (GOOD, {"penalty": "rate"}, 'must be "noise" or a number'),
        (GOOD, {"penalty": -0.1}, "penalty must be finite"),
        (GOOD, {"smallest": np.nan}, "smallest must be finite"),
        (GOOD, {"batched": True, "order": 2}, "only order 1"),
        (GOOD, {"batched": True, "smallest": 0.1}, "only order 1"),
    ],
)
def test_bad_input_is_refused(traces, options, message):
    with pytest.raises(ValueError, match=message):
        deconvolve(traces, **options)


def test_a_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        assert deconvolve(GOOD, device="cuda").calcium.shape == GOOD.shape
        return
    with pytest.raises(ValueError, match="no GPU"):
        deconvolve(GOOD, device="cuda")
