"""The forecaster finds who drives whom where that is known, and does what its formula says."""

import copy

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from scipy.stats import poisson
from sklearn.exceptions import NotFittedError

from visualcortex.models.forecasting import SpikeForecaster, Stretches

N = 7  # no other axis is as long: `permuted` relies on it
EDGE = (2, 4)
QUICK = {"chunk": 100, "batch_size": 2, "n_epochs": 3}
KINDS = {
    "full": {},
    "low rank": {"rank": 3},
    "learned signs": {"dale": "learned"},
    "given signs": {"dale": np.array([1, 1, -1, 1, -1, 1, 1])},
    "attention": {"attention": True},
}


def spikes_with_edge(weight, n_bins=40_000, rate=0.15, seed=0):
    """Spikes of independent neurons but for one edge: a spike of 2 changes log odds of 4."""
    rng = np.random.default_rng(seed)
    spikes = (rng.random((n_bins, N)) < rate).astype(np.float32)
    source, target = EDGE
    odds = np.log(rate / (1 - rate)) + weight * np.r_[0, spikes[:-1, source]]
    spikes[:, target] = rng.random(n_bins) < 1 / (1 + np.exp(-odds))
    return spikes


def permuted(model, order):
    """The same model of neurons in another order."""
    model = copy.deepcopy(model)
    for values in [*model.network_.parameters(), *model.network_.buffers()]:
        for axis in np.flatnonzero(np.array(values.shape) == N):
            values.data = values.data.index_select(int(axis), torch.as_tensor(order))
    model.rates_ = model.rates_[order]
    model.adjacency_ = model.adjacency_[np.ix_(order, order)]
    return model


@pytest.fixture(scope="module")
def counts():
    return spikes_with_edge(1.5, n_bins=2_350)


@pytest.fixture(scope="module", params=KINDS)
def fitted(request, counts):
    return SpikeForecaster(**KINDS[request.param], **QUICK).fit(counts, progress=False)


@pytest.fixture(scope="module")
def plain(counts):
    return SpikeForecaster(**QUICK).fit(counts, progress=False)


@pytest.mark.parametrize("weight", [1.5, -1.5])
@pytest.mark.parametrize("dale", [None, "learned"])
def test_finds_the_one_edge_with_direction_and_sign(weight, dale):
    model = SpikeForecaster(dale=dale, chunk=256).fit(spikes_with_edge(weight), progress=False)
    found = model.adjacency_[EDGE]
    others = np.delete(np.abs(model.adjacency_).ravel(), EDGE[0] * N + EDGE[1])
    assert np.sign(found) == np.sign(weight)
    assert abs(found) > 4 * others.max()


def test_forecasts_new_spikes_where_there_is_something_to_forecast():
    seen, new = (spikes_with_edge(1.5, seed=seed) for seed in (0, 1))
    assert SpikeForecaster().fit(seen, progress=False).log_likelihood(new) > 0.005
    noise = [spikes_with_edge(0.0, seed=seed) for seed in (0, 1)]
    assert -0.005 < SpikeForecaster().fit(noise[0], progress=False).log_likelihood(noise[1]) < 0


def test_latents_take_what_changes_slowly_in_all():
    rng = np.random.default_rng(0)
    shared = lfilter([1], [1, -0.98], 0.15 * rng.standard_normal(30_000))
    counts = rng.poisson(np.exp(shared[:, None] - 2.5), size=(30_000, N))
    with_latents, without = (
        np.abs(SpikeForecaster(n_latents=n).fit(counts, progress=False).adjacency_).mean()
        for n in (2, 0)
    )
    assert with_latents < 0.6 * without


def test_sparsity_shrinks_the_graph(counts):
    free, dear = (
        SpikeForecaster(sparsity=s, **QUICK).fit(counts, progress=False) for s in (0, 100)
    )
    assert dear.network_.edges.size() < 0.7 * free.network_.edges.size()


def test_gradient_reaches_every_edge(fitted, counts):
    network = copy.deepcopy(fitted.network_)
    network(next(fitted.traces(counts))).exp().sum().backward()
    graph = network.edges.graph
    weights = [p for name, p in graph.named_parameters() if "sign" not in name]
    for values in weights:
        reached = values.grad != 0
        if values.shape[-2:] == (N, N):
            assert torch.equal(reached[0], ~torch.eye(N, dtype=torch.bool))
        else:
            assert reached.all()
    assert all(p.grad.abs().sum() > 0 for p in graph.parameters())


def test_traces_are_exponential_sums_over_the_past():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.5, size=(110, 3)).astype(np.float32)
    rates = np.array([0.4, 0.5, 0.6], dtype=np.float32)
    decays = np.array([0.3, 0.9], dtype=np.float32)
    stretches = Stretches(counts, rates, decays, 25)
    found = np.concatenate([stretches[[row]][0] for row in range(len(stretches))], axis=1)
    past = np.concatenate([np.zeros((1, 3)), counts[:-1] - rates])
    for trace, a in zip(found, decays, strict=True):
        assert np.allclose(trace, lfilter([1 - a], [1, -a], past, axis=0), atol=1e-5)
    both = stretches.part(1, 4)[np.array([2, 0])]
    assert np.array_equal(both[0], stretches[[3]][0])
    assert np.array_equal(both[1], stretches[[1]][0])


def test_forecast_is_the_formula(plain, counts):
    network = plain.network_
    traces = next(plain.traces(counts))[0].double().numpy()
    p = {name: value.detach().double().numpy() for name, value in network.named_parameters()}
    expected = p["baseline"] + np.einsum("fcn,fn->cn", traces, p["history"])
    graph = network.edges.graph()[0].detach().double().numpy()
    for c, trace in zip(p["edges.course"], traces[:2], strict=True):
        expected += c * trace @ graph
    for read, trace in zip(p["read"], traces[2:], strict=True):
        expected += trace @ read.T @ p["write"]
    assert np.allclose(plain.predict(counts)[:100], np.exp(expected), rtol=1e-4)


def test_bits_per_spike_are_those_of_scipy(plain, counts):
    gained = poisson.logpmf(counts, plain.predict(counts)).sum()
    gained -= poisson.logpmf(counts, counts.mean(axis=0)).sum()
    expected = gained / np.log(2) / counts.sum()
    assert plain.log_likelihood(counts) == pytest.approx(expected, abs=1e-5)


def test_forecast_knows_the_past_only(fitted, counts):
    other = counts[:250].copy()
    other[170] += 1
    before, after = fitted.predict(counts[:250]), fitted.predict(other)
    assert np.array_equal(before[:171], after[:171])
    assert (before[171:] != after[171:]).any(axis=1).all()


def test_forecast_does_not_depend_on_the_stretches(fitted, counts):
    other = copy.deepcopy(fitted)
    other.chunk = 64
    assert np.allclose(fitted.predict(counts[:250]), other.predict(counts[:250]), rtol=1e-4)


def test_neurons_may_be_in_any_order(fitted, counts):
    order = np.random.default_rng(0).permutation(N)
    other = permuted(fitted, order)
    expected = fitted.predict(counts[:250])[:, order]
    assert np.allclose(other.predict(counts[:250][:, order]), expected, rtol=1e-4)
    if fitted.attention:
        expected = fitted.mean_attention(counts[:250])[np.ix_(order, order)]
        assert np.allclose(other.mean_attention(counts[:250][:, order]), expected, atol=1e-5)


def test_given_signs_are_those_of_the_sources(counts):
    signs = KINDS["given signs"]["dale"]
    model = SpikeForecaster(dale=signs, **QUICK).fit(counts, progress=False)
    course = np.sign(model.network_.edges.course.sum().item())
    off = ~np.eye(N, dtype=bool)
    assert np.array_equal(
        np.sign(model.adjacency_)[off], (course * signs[:, None] + np.zeros(N))[off]
    )
    assert (np.diagonal(model.adjacency_) == 0).all()


def test_shares_of_attention_add_up_to_one(counts):
    model = SpikeForecaster(attention=True, **QUICK).fit(counts, progress=False)
    shares = model.mean_attention(counts)
    assert np.allclose(shares.sum(axis=0), 1, atol=1e-5)
    assert (np.diagonal(shares) == 0).all()
    assert (np.abs(model.adjacency_) <= 1).all()


def test_same_seed_same_network_and_torch_is_left_alone(plain, counts):
    state = torch.get_rng_state()
    again = SpikeForecaster(**QUICK).fit(counts, progress=False)
    other = SpikeForecaster(seed=1, **QUICK).fit(counts, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(again.adjacency_, plain.adjacency_)
    assert not np.array_equal(other.adjacency_, plain.adjacency_)


def test_training_does_not_see_what_is_held_out_or_left_over(plain, counts):
    other = counts.copy()
    other[2100:] = 1 - other[2100:]  # of 23 stretches two are held out, and 50 bins left over
    model = SpikeForecaster(**QUICK).fit(other, progress=False)
    assert np.array_equal(model.history_["train"], plain.history_["train"])
    assert not np.array_equal(model.history_["validation"], plain.history_["validation"])


def test_silent_neurons_and_other_types_of_counts(counts):
    silent = counts.astype(np.uint8)
    silent[:, 3] = 0
    silent.flags.writeable = False
    model = SpikeForecaster(**QUICK).fit(silent, progress=False)
    assert np.isfinite(model.adjacency_).all()
    assert np.isfinite(model.log_likelihood(silent))
    assert (model.predict(silent)[:, 3] < 0.01).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_latents": -1}, "at least"),
        ({"chunk": 0}, "at least"),
        ({"sparsity": np.nan}, "at least"),
        ({"learning_rate": 0}, "positive learning rate"),
        ({"held_out": 1}, "held-out share"),
        ({"bin_width": 0}, "above 0"),
        ({"time_constants": ()}, "at least one time constant"),
        ({"slow_constants": (-1,)}, "above 0"),
        ({"rank": 0}, "rank"),
        ({"dale": "excitatory"}, "signs"),
        ({"dale": np.ones(N - 1)}, "signs"),
    ],
)
def test_settings_out_of_range(settings, message, counts):
    with pytest.raises(ValueError, match=message):
        SpikeForecaster(**settings).fit(counts, progress=False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x[None], "contiguous_counts"),
        (lambda x: x[:0], "contiguous_counts"),
        (lambda x: x.astype(str), "contiguous_counts"),
        (lambda x: np.where(x > 0, np.nan, x), "finite"),
        (lambda x: x - 1, "not negative"),
        (lambda x: x[:150], "Record longer"),
        (lambda x: x[:, :1], "two neurons"),
    ],
)
def test_counts_that_are_not_as_described(wrong, message, counts):
    with pytest.raises(ValueError, match=message):
        SpikeForecaster(chunk=100).fit(wrong(counts), progress=False)


def test_what_a_fitted_model_refuses(plain, counts):
    with pytest.raises(ValueError, match="same neurons"):
        plain.predict(counts[:, 1:])
    with pytest.raises(ValueError, match="need spikes"):
        plain.log_likelihood(0 * counts)
    with pytest.raises(ValueError, match="attention=True"):
        plain.mean_attention(counts)
    with pytest.raises(NotFittedError):
        SpikeForecaster().predict(counts)
