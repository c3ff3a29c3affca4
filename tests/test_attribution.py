"""Candidate edges are what their formulas say, and point to the edge where there is one."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from visualcortex.connectivity.attribution import (
    ablation_edges,
    adjacency_edges,
    attention_edges,
    cut_edges,
    integrated_gradients,
    integrated_gradients_edges,
    seed_agreement,
)
from visualcortex.models.forecasting import SpikeForecaster
from visualcortex.models.spike_decoders import SpikeDecoder

N = 7  # no other axis is as long: `permuted` relies on it
EDGE = (2, 4)
OFF = ~np.eye(N, dtype=bool)
PAIRS = [(i, j) for i in range(N) for j in range(N) if i != j]


@pytest.fixture(scope="module")
def spikes():
    """Spikes of independent neurons but for one edge, which excites."""
    rng = np.random.default_rng(0)
    spikes = (rng.random((20_050, N)) < 0.15).astype(np.float32)
    odds = -1.7 + 2 * np.r_[0, spikes[:-1, EDGE[0]]]
    spikes[:, EDGE[1]] = rng.random(len(spikes)) < 1 / (1 + np.exp(-odds))
    return spikes


@pytest.fixture(scope="module")
def forecaster(spikes):
    return SpikeForecaster(chunk=256, n_latents=0).fit(spikes, progress=False)


@pytest.fixture(scope="module")
def attentive(spikes):
    settings = {"chunk": 100, "batch_size": 2, "n_epochs": 2}
    return SpikeForecaster(attention=True, **settings).fit(spikes[:2_000], progress=False)


@pytest.fixture(scope="module")
def trials():
    """Counts of six classes, whose means differ, and the classes."""
    rng = np.random.default_rng(1)
    labels = np.tile(np.arange(6), 40)
    means = np.exp(0.6 * rng.standard_normal((6, 3, N)))
    return rng.poisson(means[labels]).astype(np.float32), labels


@pytest.fixture(scope="module", params=["one graph", "graph per bin", "given graph"])
def decoder(request, trials):
    settings = {
        "one graph": {},
        "graph per bin": {"per_bin": True, "n_networks": 2},
        "given graph": {"graph": "given", "adjacency": np.triu(np.ones((N, N)), 1)},
    }[request.param]
    # long enough for messages to matter
    return SpikeDecoder(n_epochs=30, learning_rate=0.02, **settings).fit(*trials, progress=False)


def permuted(model, order):
    """The same model of neurons in another order; of a decoder, its messages only."""
    model = copy.deepcopy(model)
    if isinstance(model, SpikeForecaster):
        modules = [model.network_]
        model.rates_ = model.rates_[order]
        model.adjacency_ = model.adjacency_[np.ix_(order, order)]
    else:
        modules = [network.messages for network in model.networks_]
        model.scaler_.mean_ = model.scaler_.mean_[:, order]
        model.scaler_.sd_ = model.scaler_.sd_[:, order]
    for module in modules:
        for values in [*module.parameters(), *module.buffers()]:
            for axis in np.flatnonzero(np.array(values.shape) == N):
                values.data = values.data.index_select(int(axis), torch.as_tensor(order))
    return model


def test_shares_add_up_to_the_difference_of_outputs():
    rng = torch.Generator().manual_seed(0)
    x, mixing = torch.randn(4, 3, 5, generator=rng), torch.randn(3, 5, 2, generator=rng)

    def curved(inputs):
        return torch.tanh(torch.einsum("btn,tnj->bj", inputs, mixing)).exp()

    baseline = torch.full((3, 5), 0.2)
    shares = integrated_gradients(curved, x, baseline, n_steps=24)
    assert shares.shape == (2, 4, 3, 5)
    gained = curved(x) - curved(baseline[None])
    assert torch.allclose(shares.sum(dim=(2, 3)).T, gained, atol=1e-4)


def test_shares_of_a_cubic_are_exact_with_two_steps():
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64)
    shares = integrated_gradients(lambda v: (v**3).sum(1, keepdim=True), x, 0 * x, n_steps=2)
    assert torch.allclose(shares[0], x**3)


def test_integrated_gradients_of_a_forecaster_without_latents_are_its_weights(forecaster, spikes):
    network = forecaster.network_
    bins = (np.arange(50) + 0.5) * len(spikes) / 50
    traces = torch.cat(list(forecaster.traces(spikes)), dim=2)[0][:2, bins.astype(int)]
    course = network.edges.course.detach()
    moved = torch.einsum("f,fcn->n", course, traces.abs()) / 50
    expected = moved[:, None] * network.edges.graph()[0].detach()
    found = integrated_gradients_edges(forecaster, spikes, n_examples=50)
    assert np.allclose(found[OFF], expected.numpy()[OFF], rtol=1e-3, atol=1e-7)


def test_integrated_gradients_of_a_decoder_are_complete(decoder, trials):
    """Without the sign of the departure, edges and own shares add up to what was gained."""
    messages = decoder.networks_[0].eval().messages
    x = torch.from_numpy(decoder.scaler_.transform(trials[0][:5]))

    def held(inputs):
        return (inputs + messages(inputs)).sum(dim=1)

    shares = integrated_gradients(held, x, torch.zeros_like(x[0]))
    gained = held(x) - held(torch.zeros_like(x))
    assert torch.allclose(shares.sum(dim=(2, 3)).T, gained, atol=1e-3)
    if decoder.n_networks == 1:
        edges = (shares * x.sign()).sum(dim=2).mean(dim=1).T.detach().numpy()
        found = integrated_gradients_edges(decoder, trials[0][:5])
        assert np.allclose(found[OFF], edges[OFF], atol=1e-4)


def test_ablation_of_a_forecaster_is_brute_force(forecaster, spikes):
    some = spikes[:3_000]
    exact = np.full((N, N), np.nan)
    network = forecaster.network_
    with torch.no_grad():
        traces = torch.cat(list(forecaster.traces(some)), dim=2)
        logs, sent = network(traces)[0].double(), network.edges.sent(traces[:, :2])[0].double()
        y, weights = torch.from_numpy(some).double(), network.edges.graph()[0].double()
        for i, j in PAIRS:
            without = logs[:, j] - weights[i, j] * sent[:, i]
            change = without.exp() - y[:, j] * without - logs[:, j].exp() + y[:, j] * logs[:, j]
            exact[i, j] = change.mean()
    found = ablation_edges(forecaster, some)
    assert np.isnan(np.diagonal(found)).all()
    assert np.allclose(found, exact, rtol=1e-4, atol=1e-9, equal_nan=True)
    cuts = cut_edges(forecaster, some, None, PAIRS[:5])
    assert np.allclose(cuts, [exact[pair] for pair in PAIRS[:5]], rtol=1e-2, atol=1e-6)


def test_ablation_is_exact_for_messages_that_are_not_small(forecaster, spikes):
    strong = copy.deepcopy(forecaster)
    strong.network_.edges.course.data *= 4
    cuts = cut_edges(strong, spikes[:500], None, [EDGE, (0, 1)])
    found = ablation_edges(strong, spikes[:500])
    assert found[EDGE] == pytest.approx(cuts[0], rel=1e-4)
    assert found[0, 1] == pytest.approx(cuts[1], rel=1e-2)  # rounding of the cut


def test_ablation_of_a_decoder_is_the_slope_of_a_cut(decoder, trials):
    """Cutting a hundredth of every edge changes the loss by a hundredth of what is predicted."""
    first_order = ablation_edges(decoder, *trials)
    exact = np.full((N, N), np.nan)
    exact[OFF] = cut_edges(decoder, *trials, PAIRS)
    some = np.abs(np.nan_to_num(first_order)) > 0
    assert np.corrcoef(first_order[some], exact[some])[0, 1] > 0.9
    changed = 0.0
    for network in decoder.networks_:
        part = copy.deepcopy(network).eval()
        weights = part.messages.graph().detach()
        losses = []
        for factor in (0.99, 1.01):
            part.messages.graph.forward = lambda w=factor * weights: w
            x = torch.from_numpy(decoder.scaler_.transform(trials[0]))
            with torch.no_grad():
                logits = part(x).double()
            losses.append(torch.nn.functional.cross_entropy(logits, torch.as_tensor(trials[1])))
        changed += float(losses[0] - losses[1]) / 0.02 / len(decoder.networks_)
    assert np.nansum(first_order) == pytest.approx(changed, rel=1e-2, abs=1e-4)


def test_a_cut_leaves_the_model_as_it_was(decoder, forecaster, trials, spikes):
    before = decoder.predict_proba(trials[0]), forecaster.predict(spikes[:300])
    cut_edges(decoder, *trials, [EDGE])
    cut_edges(forecaster, spikes[:300], None, [EDGE])
    ablation_edges(decoder, *trials)
    assert np.array_equal(before[0], decoder.predict_proba(trials[0]))
    assert np.array_equal(before[1], forecaster.predict(spikes[:300]))
    assert all(p.requires_grad for p in decoder.networks_[0].parameters())


def test_every_candidate_of_the_forecaster_finds_the_edge(forecaster, spikes):
    for scores in (
        adjacency_edges(forecaster),
        integrated_gradients_edges(forecaster, spikes),
        ablation_edges(forecaster, spikes),
    ):
        assert np.unravel_index(np.nanargmax(scores), scores.shape) == EDGE
        assert scores[EDGE] > 3 * np.sort(np.abs(scores[OFF]))[-2]


def test_matrices_are_those_of_the_models(decoder, attentive, trials, spikes):
    weights = decoder.adjacency_
    weights = weights.mean(axis=0) if decoder.per_bin else weights
    assert np.array_equal(adjacency_edges(decoder)[OFF], weights.astype(float)[OFF])
    attention = attention_edges(decoder, trials[0])
    assert np.array_equal(attention[OFF], decoder.attention(trials[0]).astype(float)[OFF])
    shares = attention_edges(attentive, spikes[:300])
    assert np.allclose(np.nansum(shares, axis=0), 1, atol=1e-5)
    for scores in (attention, shares, adjacency_edges(attentive)):
        assert np.isnan(np.diagonal(scores)).all()
        assert np.isfinite(scores[OFF]).all()


def test_neurons_may_be_in_any_order(decoder, forecaster, trials, spikes):
    order = np.random.default_rng(0).permutation(N)
    pairs = np.ix_(order, order)
    other, some = permuted(forecaster, order), spikes[:1_000]
    for way in (
        ablation_edges,
        integrated_gradients_edges,
        lambda model, _: adjacency_edges(model),
    ):
        found = way(other, some[:, order])
        assert np.allclose(found, way(forecaster, some)[pairs], 1e-3, 1e-7, equal_nan=True)
    other, counts = permuted(decoder, order), trials[0]
    for way in (attention_edges, integrated_gradients_edges):
        found = way(other, counts[:, :, order])
        assert np.allclose(found, way(decoder, counts)[pairs], 1e-3, 1e-5, equal_nan=True)


def test_agreement_is_spearmans():
    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((3, N, N))
    matrices[1] = np.exp(matrices[0])  # the same order
    matrices[0][~OFF] = np.nan
    matrices[2, 0, 1] = np.nan
    agreement = seed_agreement(matrices)
    used = OFF.copy()
    used[0, 1] = False
    expected = spearmanr(matrices[0][used], matrices[2][used]).statistic
    assert agreement[0, 1] == pytest.approx(1)
    assert agreement[0, 2] == agreement[2, 0] == pytest.approx(expected)
    assert np.array_equal(np.diagonal(agreement), np.ones(3))
    assert np.isnan(seed_agreement([matrices[1], np.zeros((N, N))])[0, 1])


def test_agreement_needs_matrices_of_one_size():
    for wrong in ([np.eye(3)], [np.eye(3), np.eye(4)], [np.ones((2, 3))] * 2, []):
        with pytest.raises(ValueError, match="two square matrices"):
            seed_agreement(wrong)


def test_models_that_are_not_as_described(forecaster, attentive, trials, spikes):
    plain = SpikeDecoder("linear", n_epochs=1).fit(*trials, progress=False)
    for wrong in (SpikeDecoder(), SpikeForecaster(), object()):
        with pytest.raises(ValueError, match="fitted"):
            adjacency_edges(wrong)
    with pytest.raises(ValueError, match="no graph"):
        adjacency_edges(plain)
    with pytest.raises(ValueError, match="send messages"):
        ablation_edges(plain, *trials)
    with pytest.raises(ValueError, match="send messages"):
        integrated_gradients_edges(plain, trials[0])
    with pytest.raises(ValueError, match="attention among neurons"):
        attention_edges(plain, trials[0])
    with pytest.raises(ValueError, match="attention=True"):
        attention_edges(forecaster, spikes)
    for way in (ablation_edges, lambda *given: cut_edges(*given, None, [EDGE])):
        with pytest.raises(ValueError, match="not cut one by one"):
            way(attentive, spikes)


def test_arguments_that_are_not_as_described(decoder, forecaster, trials, spikes):
    counts, labels = trials
    for wrong in (None, labels[1:], labels + 1):
        with pytest.raises(ValueError, match="the class of each trial"):
            ablation_edges(decoder, counts, wrong)
    with pytest.raises(ValueError, match="no labels"):
        cut_edges(forecaster, spikes, labels, [EDGE])
    with pytest.raises(ValueError, match="same neurons"):
        ablation_edges(forecaster, spikes[:, 1:])
    with pytest.raises(ValueError, match="n_examples"):
        integrated_gradients_edges(forecaster, spikes, n_examples=0)
    with pytest.raises(ValueError, match="n_steps"):
        integrated_gradients_edges(forecaster, spikes, n_steps=0)
    with pytest.raises(ValueError, match="example, output"):
        integrated_gradients(lambda x: x.sum(1), torch.ones(2, 3), torch.zeros(3))
