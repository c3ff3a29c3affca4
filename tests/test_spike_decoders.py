"""Network decoders of spike counts: trials are read alone, a learned graph can be learned."""

import numpy as np
import optuna
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch.nn import functional

from visualcortex.evaluation.held_out import held_out_predictions
from visualcortex.models.graph_layers import AdaptiveGraph
from visualcortex.models.spike_baselines import baseline
from visualcortex.models.spike_decoders import ARCHITECTURES, SpikeDecoder, search_space
from visualcortex.models.spike_networks import (
    FixedGraph,
    Messages,
    SignedGraph,
    correlation_graph,
    random_graph,
)
from visualcortex.tuning import search

N_NEURONS, N_BINS, N_CLASSES = 12, 3, 5
QUICK = {
    "sparsity": 0.0,
    "device": "cpu",
    "hidden": 16,
    "n_code": 12,
    "n_sources": 3,
    "channels": 2,
}
QUICK |= {"learning_rate": 0.01, "batch_size": 64}  # few trials make few steps
# every architecture, and every source of a graph
CASES = {name: {"architecture": name} for name in ARCHITECTURES} | {
    "stgat none": {"graph": "none"},
    "stgat identity": {"graph": "identity"},
    "stgat random": {"graph": "random"},
    "stgat correlation": {"graph": "correlation"},
    "stgat given": {"graph": "given", "adjacency": np.tri(N_NEURONS) - 0.4},
    "stgat per bin": {"per_bin": True},
    "stgat full": {"rank": None},
    "stgat dale": {"dale": "learned"},
    "stgat without attention": {"n_features": 0},
    "gatv2 given": {"architecture": "gatv2", "graph": "given", "adjacency": np.tri(N_NEURONS)},
    "gcn none": {"architecture": "gcn", "graph": "none"},
}


def spikes(seed=0, n_trials=300, strength=0.8):
    """Poisson counts with a tuning of their own in each bin, classes in turn."""
    shape = (N_CLASSES, N_BINS, N_NEURONS)
    tuning = strength * np.random.default_rng(7).normal(size=shape)
    y = np.arange(n_trials) % N_CLASSES
    return np.random.default_rng(seed).poisson(1.2 * np.exp(tuning[y])), y


TRAIN, OTHER = spikes(), spikes(1, 200)


def decoder(name, **changes):
    return SpikeDecoder(**(QUICK | CASES[name] | changes))


@pytest.fixture(scope="module")
def fitted():
    """Decoders by name, each fitted once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = decoder(name, n_epochs=10).fit(*TRAIN, OTHER, progress=False)
        return made[name]

    return get


every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_it_reads_the_class(name, fitted):
    found = fitted(name)
    assert found.score(*OTHER) > 0.75
    assert found.classes_.tolist() == list(range(N_CLASSES))
    proba = found.predict_proba(OTHER[0])
    assert proba.shape == (200, N_CLASSES)
    assert np.allclose(proba.sum(1), 1, atol=1e-5)
    assert np.array_equal(found.predict(OTHER[0]), proba.argmax(1))


@every_case
def test_a_trial_is_read_alone(name, fitted):
    """Neither its place in a batch nor what else is in it matters."""
    found, x = fitted(name), OTHER[0]
    proba = found.predict_proba(x)
    order = np.random.default_rng(0).permutation(len(x))
    assert np.allclose(found.predict_proba(x[order]), proba[order], atol=1e-5)
    assert np.allclose(found.predict_proba(x[17:18]), proba[17:18], atol=1e-5)
    changed = x.copy()
    changed[40] += 3
    moved = np.abs(found.predict_proba(changed) - proba).max(1)
    assert moved[40] > 1e-3
    assert np.delete(moved, 40).max() < 1e-5


@every_case
def test_each_neuron_reaches_the_decision_in_each_bin(name, fitted):
    found, x = fitted(name), OTHER[0][:20]
    proba = found.predict_proba(x)
    for bin_, neuron in [(0, 0), (1, 5), (2, 11)]:
        changed = x.copy()
        changed[:, bin_, neuron] += 2
        assert np.abs(found.predict_proba(changed) - proba).max() > 1e-4


@pytest.mark.parametrize("name", ["mlp", "lstm", "transformer", "gcn", "gatv2", "stgat"])
def test_the_seed_decides_and_no_random_state_is_touched(name):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    a, b, c = (
        decoder(name, n_epochs=2, seed=s).fit(*TRAIN, OTHER, progress=False) for s in (0, 0, 1)
    )
    a, b, c = (d.predict_proba(OTHER[0]) for d in (a, b, c))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert np.array_equal(a, b)
    assert not np.allclose(a, c, atol=1e-3)
    torch.manual_seed(5)
    again = decoder(name, n_epochs=2).fit(*TRAIN, OTHER, progress=False)
    assert np.array_equal(again.predict_proba(OTHER[0]), a)


@pytest.mark.parametrize("name", ["stgat", "gatv2"])
def test_validation_trials_choose_the_epoch_and_nothing_else(name):
    """Their labels, in another order, change losses but no weight of the last epoch."""
    x, y = OTHER
    shuffled = np.random.default_rng(0).permutation(y)
    seen = []
    for labels in (y, shuffled):
        told = []
        found = decoder(name, n_epochs=3, seed=2).fit(
            *TRAIN, (x, labels), report=lambda k, loss, told=told: told.append(loss), progress=False
        )
        seen.append((found.history_["train"].tolist(), told))
        assert np.allclose(told, found.history_["validation"])
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] != seen[1][1]
    without = decoder(name, n_epochs=3, seed=2).fit(*TRAIN, progress=False)
    assert without.history_["train"].tolist() == seen[0][0]
    assert without.history_["kept"].tolist() == [False, False, True]
    assert "validation" not in without.history_


def test_the_kept_epoch_has_the_lowest_validation_loss(fitted):
    found = fitted("stgat")
    history = found.history_
    assert list(history.columns) == ["network", "epoch", "train", "validation", "kept"]
    kept = history[history["kept"]]["validation"]
    assert kept.item() == history["validation"].min()
    proba = found.predict_proba(OTHER[0])
    loss = -np.log(proba[np.arange(200), OTHER[1]]).mean()
    assert kept.item() == pytest.approx(loss, abs=1e-4)


def test_an_ensemble_is_the_mean_of_its_networks():
    x = OTHER[0]
    two, one = (
        decoder("gru", n_networks=n, n_epochs=2, seed=4).fit(*TRAIN, progress=False) for n in (2, 1)
    )
    with torch.no_grad():
        z = torch.from_numpy(two.scaler_.transform(x))
        each = [network(z).softmax(1).numpy() for network in two.networks_]
    assert np.allclose(each[0], one.predict_proba(x), atol=1e-5)
    assert not np.allclose(each[0], each[1], atol=1e-2)
    assert np.allclose(two.predict_proba(x), (each[0] + each[1]) / 2, atol=1e-5)
    assert two.history_["network"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["linear", "transformer", "gatv2", "stgat"])
def test_without_information_it_is_at_chance(name):
    (x, y), (other, truth) = spikes(2, 300, 0.0), spikes(3, 1000, 0.0)
    score = decoder(name, n_epochs=4).fit(x, y, progress=False).score(other, truth)
    assert score == pytest.approx(0.2, abs=4 * np.sqrt(0.2 * 0.8 / 1000))


def test_patience_ends_training():
    x, y = spikes(2, 300, 0.0)
    found = decoder("mlp", n_epochs=60, patience=2, learning_rate=0.02)
    history = found.fit(x, y, spikes(3, 200, 0.0), progress=False).history_
    best = history["epoch"][history["kept"]].item()
    assert len(history) == best + 2 < 60


class TestScaling:
    @pytest.mark.parametrize("name", ["linear", "gatv2", "stgat"])
    def test_a_neuron_that_was_silent_is_no_evidence(self, name):
        x, y = TRAIN[0].copy(), TRAIN[1]
        x[:, :, 4] = 0
        found = decoder(name, n_epochs=3).fit(x, y, progress=False)
        test = OTHER[0].copy()
        proba = found.predict_proba(test)
        test[:, :, 4] = 50
        assert np.array_equal(found.predict_proba(test), proba)
        assert np.isfinite(proba).all()

    def test_a_trial_of_silence_is_read_too(self, fitted):
        proba = fitted("stgat").predict_proba(np.zeros((1, N_BINS, N_NEURONS)))
        assert np.isfinite(proba).all()

    def test_training_trials_alone_set_the_scale(self):
        one, other = (
            decoder("linear", n_epochs=2).fit(*TRAIN, (x, OTHER[1]), progress=False)
            for x in (OTHER[0], OTHER[0] * 9)
        )
        assert np.array_equal(one.scaler_.mean_, other.scaler_.mean_)


class TestGraph:
    def test_the_gradient_reaches_every_edge_and_no_loop(self):
        """In each bin's graph, of any rank and sign, from the loss of a batch."""
        for n_graphs, make in [(1, SignedGraph), (N_BINS, SignedGraph), (1, AdaptiveGraph)]:
            torch.manual_seed(0)
            weights = []
            graph = make(N_NEURONS, None, n_graphs=n_graphs)
            # the gradient with respect to the weights themselves
            graph.register_forward_hook(
                lambda m, i, out, w=weights: out.retain_grad() or w.append(out)
            )
            messages = Messages(graph)
            x = torch.randn(30, N_BINS, N_NEURONS)
            target = torch.randint(N_NEURONS * N_BINS, (30,))
            functional.cross_entropy((x + messages(x)).flatten(1), target).backward()
            off = ~torch.eye(N_NEURONS, dtype=torch.bool)
            assert (weights[0].grad[:, off] != 0).all()
            for parameter in graph.parameters():
                assert (parameter.grad[:, off] != 0).all()
                assert (parameter.grad[:, ~off] == 0).all()

    def test_a_learned_graph_moves_away_from_its_start(self, fitted):
        name = "stgat full"
        found = fitted(name)
        start = found._network(None, "learned", found_seed(found)).messages.graph()[0].detach()
        moved = np.abs(found.adjacency_ - start.numpy())
        off = ~np.eye(N_NEURONS, dtype=bool)
        assert (moved[off] > 0).all()
        assert moved[off].max() > 0.02
        assert np.abs(found.adjacency_[~off]).max() == 0

    def test_the_attribute_is_what_the_messages_are_weighted_with(self, fitted):
        found = fitted("stgat given")
        given = np.tri(N_NEURONS) - 0.4
        ratio = found.adjacency_ / given
        assert np.ptp(ratio) < 1e-5
        assert abs(ratio.mean()) * np.abs(given).sum(0).max() > 0.01
        assert fitted("stgat per bin").adjacency_.shape == (N_BINS, N_NEURONS, N_NEURONS)
        assert np.array_equal(fitted("gatv2 given").adjacency_ != 0, np.tri(N_NEURONS) != 0)
        for name in ("gru", "stgat none", "gcn none"):
            assert fitted(name).adjacency_ is None

    def test_dales_signs_are_those_of_the_source(self):
        signs = np.where(np.arange(N_NEURONS) % 3, 1, -1)
        found = decoder("stgat", dale=signs, n_epochs=2).fit(*TRAIN, progress=False)
        off = ~np.eye(N_NEURONS, dtype=bool)
        assert (np.sign(found.adjacency_)[off] == np.repeat(signs, N_NEURONS - 1)).all()

    def test_sparsity_makes_weights_smaller(self):
        sizes = [
            np.abs(
                decoder("stgat full", dale="learned", sparsity=s, n_epochs=6)
                .fit(*TRAIN, progress=False)
                .adjacency_
            ).mean()
            for s in (0.0, 100.0)
        ]
        assert sizes[1] < 0.7 * sizes[0]

    @pytest.mark.parametrize("per_bin", [False, True])
    def test_messages_are_the_sums_that_the_equation_says(self, per_bin):
        rng = np.random.default_rng(0)
        torch.manual_seed(1)
        n_graphs = N_BINS if per_bin else 1
        graph = torch.from_numpy(rng.normal(size=(n_graphs, 4, 4))).float()
        messages = Messages(FixedGraph(graph), n_features=2)
        torch.nn.init.constant_(messages.before, 0.7)
        x = torch.from_numpy(rng.normal(size=(5, N_BINS, 4))).float()
        with torch.no_grad():
            found, weights = messages(x).numpy(), messages.graph().numpy()
        key, query = (p.detach().numpy()[..., 0] for p in (messages.key, messages.query))
        x = x.numpy()
        for b, t, j in np.ndindex(5, N_BINS, 4):
            expected = 0.0
            for i in range(4):
                f, g = ([x[b, t, n], x[b, t - 1, n] if t else 0.0, 1.0] for n in (i, j))
                a = 1 + np.mean(np.tanh(f @ key) * np.tanh(g @ query))
                value = f[0] + 0.7 * f[1]
                expected += weights[t if per_bin else 0, i, j] * a * value
            assert found[b, t, j] == pytest.approx(expected, abs=1e-5)

    def test_attention_is_the_mean_of_the_factors(self):
        torch.manual_seed(1)
        messages = Messages(FixedGraph(torch.eye(4)), n_features=3)
        x = torch.randn(5, N_BINS, 4)
        total = messages.attention(x).detach().numpy()
        parts = sum(messages.attention(x[k : k + 1]) for k in range(5)).detach().numpy()
        assert np.allclose(total, parts, atol=1e-5)
        assert (total > 0).all()
        assert (total < 10).all()
        plain = Messages(FixedGraph(torch.eye(4)), n_features=0)
        assert np.allclose(plain.attention(x).detach(), 5)

    def test_neurons_in_another_order_with_their_graph_give_the_same_messages(self):
        torch.manual_seed(2)
        graph, order = torch.randn(N_NEURONS, N_NEURONS), torch.randperm(N_NEURONS)
        messages, moved = Messages(FixedGraph(graph)), Messages(FixedGraph(graph[order][:, order]))
        for name in ("key", "query"):
            setattr(moved, name, getattr(messages, name))
        x = torch.randn(6, N_BINS, N_NEURONS)
        assert torch.allclose(moved(x[:, :, order]), messages(x)[:, :, order], atol=1e-5)

    @pytest.mark.parametrize("name", ["stgat", "stgat per bin", "gatv2"])
    def test_attention_of_a_decoder(self, name, fitted):
        found, x = fitted(name), OTHER[0]
        attention = found.attention(x)
        halves = (found.attention(x[:100]) + found.attention(x[100:])) / 2
        assert attention.shape == (N_NEURONS, N_NEURONS)
        assert np.allclose(attention, halves, atol=1e-5)
        if name == "gatv2":
            assert np.allclose(attention.sum(0), 1, atol=1e-4)
            edges = (found.adjacency_ != 0) | np.eye(N_NEURONS, dtype=bool)
            assert np.array_equal(attention > 0, edges)
        else:
            assert ((attention > 0) & (attention < 2)).all()

    @pytest.mark.parametrize("name", ["gru", "gcn", "stgat none"])
    def test_no_attention_where_there_is_none(self, name, fitted):
        with pytest.raises(ValueError, match="attention among neurons needs"):
            fitted(name).attention(OTHER[0])

    def test_correlations_make_edges(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(400, 2, 6))
        x[:, :, 1] -= 3 * x[:, :, 0]
        x[:, :, 3] += 3 * x[:, :, 2]
        x[:, :, 5] = 0
        graph = correlation_graph(x, 1)
        assert graph[0, 1]
        assert graph[1, 0]
        assert graph[2, 3]
        assert graph[3, 2]
        assert graph.sum(0).tolist() == [1, 1, 1, 1, 1, 0]
        assert correlation_graph(x, 99)[:5, :5].sum() == 20

    def test_random_graphs_have_as_many_sources_for_each(self):
        graph = random_graph(9, 3, np.random.default_rng(0))
        assert (graph.sum(0) == 3).all()
        assert not graph.diagonal().any()
        assert random_graph(4, 99, np.random.default_rng(0)).sum() == 12
        assert not np.array_equal(graph, random_graph(9, 3, np.random.default_rng(1)))

    def test_a_true_graph_helps_to_cancel_shared_noise(self):
        """Each neuron's noise is seen in its partner's count: the graph says which is whose."""
        rng = np.random.default_rng(0)
        y = rng.integers(4, size=500)
        noise = 9 * np.tile(rng.random((500, 1, 4)), (1, 2, 1))
        signal = 2.5 * np.eye(4)[y][:, None] * np.ones((1, 2, 1))
        x = rng.poisson(np.concatenate([signal + noise, 3 * noise], axis=2))
        true = np.zeros((8, 8))
        true[np.arange(4, 8), np.arange(4)] = 1
        found = SpikeDecoder(
            "stgat", graph="given", adjacency=true, n_features=0, n_epochs=12, device="cpu",
            learning_rate=0.01,
        ).fit(x, y, progress=False)  # fmt: skip
        assert (found.adjacency_[4:, :4].diagonal() < 0).all()


def found_seed(found):
    return np.random.SeedSequence(found.seed).generate_state(1).tolist()[0]


def test_networks_are_about_as_good_as_linear_discriminants():
    x, y = spikes(4, 700, 0.35)
    parts = slice(0, 300), slice(300, 700)
    reference = baseline("lda").fit(x[parts[0]], y[parts[0]]).score(x[parts[1]], y[parts[1]])
    assert 0.5 < reference < 0.9
    for name in ("linear", "mlp", "gru", "stgat"):
        found = SpikeDecoder(name, n_epochs=20, device="cpu").fit(
            x[parts[0]], y[parts[0]], progress=False
        )
        assert found.score(x[parts[1]], y[parts[1]]) > reference - 0.07, name


def test_names_of_classes_do_not_matter():
    words = np.array(["ape", "bee", "cat", "dog", "eel"])
    plain, named = (
        decoder("stgat", n_epochs=2).fit(TRAIN[0], labels, progress=False).predict(OTHER[0])
        for labels in (TRAIN[1], words[TRAIN[1]])
    )
    assert np.array_equal(words[plain], named)


def test_it_goes_through_the_cross_validation_of_the_library():
    folds = np.arange(300) // N_CLASSES % 3
    candidates = [decoder(name, n_epochs=8) for name in ("gru", "stgat")]
    found = held_out_predictions(candidates, *TRAIN, folds, progress=False)
    assert np.mean(found.predicted == TRAIN[1]) > 0.5


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_search_space_makes_decoders(name):
    def objective(settings, report):
        assert settings["architecture"] == name
        found = SpikeDecoder(**settings, n_epochs=1, device="cpu")
        found.fit(*TRAIN, OTHER, report=report, progress=False)
        return found.history_["validation"].min()

    table = search(search_space(name), objective, n_trials=2, progress=False).table
    assert (table["steps"] == 1).all()
    assert np.isfinite(table["loss"]).all()


def test_spaces_ask_for_the_settings_of_their_architecture():
    asked = {}
    for name in ("linear", "stgat", "gcn"):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)).ask()
        settings = search_space(name)(trial)
        asked[name] = set(settings)
        assert settings == {"architecture": name} | trial.params
        clone(SpikeDecoder(**settings))
    assert asked["stgat"] - asked["linear"] == {"hidden", "rank", "n_features", "sparsity"}
    assert asked["gcn"] - asked["linear"] == {"channels", "n_sources"}


X, Y = TRAIN[0][:20], TRAIN[1][:20]
SQUARE = np.ones((N_NEURONS, N_NEURONS))


@pytest.mark.parametrize(
    ("settings", "fit", "message"),
    [
        ({"architecture": "cnn"}, (X, Y), "architecture must be one of"),
        ({"graph": "small"}, (X, Y), "graph must be one of.*'small'"),
        ({"architecture": "gcn", "graph": "learned"}, (X, Y), 'graph must be one of.*"stgat"'),
        ({"architecture": "gru", "graph": "random"}, (X, Y), "a graph is for"),
        ({"architecture": "mlp", "adjacency": SQUARE}, (X, Y), "adjacency matrix for 'mlp'"),
        ({"graph": "given"}, (X, Y), 'goes with graph "given"'),
        ({"adjacency": SQUARE}, (X, Y), 'goes with graph "given"'),
        ({"graph": "given", "adjacency": SQUARE[1:]}, (X, Y), r"\(12, 12\), source by target"),
        ({"graph": "given", "adjacency": SQUARE * np.nan}, (X, Y), "finite"),
        ({"n_epochs": 0}, (X, Y), "'n_epochs': 0"),
        ({"dropout": 1.0}, (X, Y), r"\(1.0, 0.1\)"),
        ({"learning_rate": 0.0}, (X, Y), "positive learning rate"),
        ({"architecture": "transformer", "hidden": 10}, (X, Y), "multiple of 4; got 10"),
        ({"patience": 2}, (X, Y), "need validation trials"),
        ({}, (X[:, 0], Y), r"counts must be \(trial, bin, neuron\)"),
        ({}, (X * np.nan, Y), "finite and not negative"),
        ({}, (-X - 1, Y), "finite and not negative"),
        ({}, (X, Y[:4]), "need one class a trial"),
        ({}, (X, Y * 0), "at least two"),
        ({}, (X, Y, (X, Y + 1)), r"not in training \[5\]"),
        ({}, (X, Y, (X[:, :, 1:], Y)), r"bins and neurons that were fitted, \(3, 12\)"),
        ({"dale": "mixed"}, (X, Y), "signs must be"),
        ({"dale": np.ones(3)}, (X, Y), "shape"),
    ],
)
def test_bad_input_is_refused(settings, fit, message):
    with pytest.raises(ValueError, match=message):
        SpikeDecoder(**settings, device="cpu").fit(*fit, progress=False)


def test_a_decoder_that_is_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        SpikeDecoder().predict(X)
