"""Network decoders: each network is the one it would be alone, and keeps its own best epoch."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_sample_weight

from visualcortex.models.decoders import NetworkDecoder, _dropped, _generators

N_CLASSES = 3


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def trials(rng, shape, n=240, strength=0.5):
    """Normal noise about a mean for each of three unequal classes."""
    y = rng.choice(N_CLASSES, size=n, p=[0.6, 0.3, 0.1])
    means = np.random.default_rng(99).normal(size=(N_CLASSES, *shape))
    return rng.normal(size=(n, *shape)) + strength * means[y], y


def tuned(rng, n_neurons, n=240):
    """Neurons whose mean response is a smooth function of place and class; and their places."""
    positions = rng.random((n_neurons, 3)) * [1000, 800, 300]
    y = rng.choice(N_CLASSES, size=n)
    waves = np.random.default_rng(5).normal(size=(N_CLASSES, 3)) * 0.006
    means = np.cos(positions @ waves.T + np.arange(N_CLASSES)).T  # (C, N)
    return rng.normal(size=(n, n_neurons)) + 0.5 * means[y], y, positions


CASES = {"mlp": (12,), "voxel_cnn": (3, 7, 5), "set": (30,)}


@pytest.fixture(params=CASES)
def case(request, rng):
    """Decoder, training and validation trials, and the option that holds the positions."""
    x, y = trials(rng, CASES[request.param])
    option = {"positions": rng.random((30, 3)) * 500} if request.param == "set" else {}
    settings = {"hidden": (16,), "width": 4, "n_epochs": 6, "device": "cpu"}
    decoder = NetworkDecoder(request.param, n_networks=3, **settings)
    return decoder, (x[:160], y[:160]), (x[160:], y[160:]), option


def fitted(case, validate=True, **changes):
    decoder, train, held_out, option = case
    decoder = clone(decoder).set_params(**changes)
    return decoder.fit(*train, held_out if validate else None, progress=False, **option)


def test_a_network_is_the_one_it_would_be_alone(case):
    x, option = case[2][0], case[3]
    together, alone = fitted(case), fitted(case, n_networks=1)
    assert np.allclose(
        together.networks_proba(x, **option)[:1], alone.networks_proba(x, **option), atol=1e-4
    )
    first = together.history_.query("network == 0")
    assert np.allclose(first["train"], alone.history_["train"], atol=1e-4)
    losses = together.history_.query("epoch == 1")["train"]
    assert len(np.unique(losses)) == 3


def test_the_ensemble_is_the_mean_of_its_networks(case):
    decoder, x, option = fitted(case), case[2][0], case[3]
    each = decoder.networks_proba(x, **option)
    assert each.shape == (3, 80, N_CLASSES)
    assert np.allclose(each.sum(axis=2), 1, atol=1e-5)
    proba = decoder.predict_proba(x, **option)
    assert np.allclose(proba, each.mean(axis=0))
    assert np.array_equal(decoder.predict(x, **option), proba.argmax(axis=1))
    # no dropout, no memory of other trials
    assert np.allclose(decoder.predict_proba(x[5:6], **option), proba[5:6], atol=1e-5)


@pytest.mark.parametrize("class_weights", ["balanced", None])
def test_the_loss_is_one_weighted_cross_entropy(case, class_weights):
    decoder = fitted(case, class_weights=class_weights)
    (x, y), option = case[2], case[3]
    weight = compute_sample_weight(class_weights, case[1][1])
    weight = np.array([weight[case[1][1] == label][0] for label in y])
    kept = decoder.history_.query("kept").sort_values("network")
    for loss, proba in zip(kept["validation"], decoder.networks_proba(x, **option), strict=True):
        expected = log_loss(y, proba, sample_weight=weight, normalize=False) / len(y)
        assert loss == pytest.approx(expected, rel=1e-4)


def test_every_network_keeps_its_own_best_epoch(case):
    settings = {"n_epochs": 40, "patience": 3, "learning_rate": 0.02}
    decoder = fitted(case, **settings)
    x, option = case[2][0], case[3]
    kept = decoder.history_.query("kept").set_index("network")["epoch"]
    for network, curve in decoder.history_.groupby("network"):
        assert curve["epoch"].tolist() == list(range(1, len(curve) + 1))
        best = curve["validation"].to_numpy().argmin() + 1
        assert kept[network] == best
        assert len(curve) == min(best + 3, 40)
    assert kept.nunique() > 1
    stopped = fitted(case, **{**settings, "n_epochs": int(kept[1])})
    assert np.allclose(
        stopped.networks_proba(x, **option)[1], decoder.networks_proba(x, **option)[1], atol=1e-6
    )


def test_validation_trials_are_not_trained_on(case):
    with_validation, without = fitted(case), fitted(case, validate=False)
    assert np.allclose(with_validation.history_["train"], without.history_["train"], atol=1e-6)
    assert without.history_["validation"].isna().all()
    assert set(without.history_.query("kept")["epoch"]) == {6}


def test_the_seed_decides(case):
    x, option = case[2][0], case[3]
    a, b, c = (fitted(case, seed=s).predict_proba(x, **option) for s in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.allclose(a, c, atol=1e-3)


def test_the_names_of_the_classes_do_not_matter(case):
    decoder, (x, y), held_out, option = case
    words = np.array(["ants", "birds", "cats"])
    named = clone(decoder).fit(
        x, words[y], (held_out[0], words[held_out[1]]), progress=False, **option
    )
    guess = fitted(case).predict(held_out[0], **option)
    assert np.array_equal(named.predict(held_out[0], **option), words[guess])


def test_features_in_any_unit_and_constant_ones_are_welcome(rng):
    x, y = trials(rng, (8,))
    other = np.column_stack(
        [x * 10.0 ** np.arange(-4, 4) + 3 * 10.0 ** np.arange(-4, 4), y * 0 + 0.1]
    )
    same = np.column_stack([x, y * 0])
    a, b = (
        NetworkDecoder(n_epochs=3, device="cpu").fit(v, y, progress=False).predict_proba(v)
        for v in (same, other)
    )
    assert np.allclose(a, b, atol=1e-3)


def test_perceptrons_are_about_as_good_as_logistic_regression_where_that_is_right(rng):
    x, y = trials(rng, (20,), n=1200, strength=0.3)
    train, held_out, test = slice(0, 400), slice(400, 600), slice(600, None)
    decoder = NetworkDecoder(n_epochs=40, class_weights=None, device="cpu")
    decoder.fit(x[train], y[train], (x[held_out], y[held_out]), progress=False)
    reference = LogisticRegression().fit(x[train], y[train]).score(x[test], y[test])
    assert reference > 0.7
    assert decoder.score(x[test], y[test]) > reference - 0.03


def test_one_softmax_lets_the_loss_fall_to_zero(rng):
    """With a second one it cannot fall below log(1 + (C - 1) / e)."""
    x, y = trials(rng, (12,), strength=4.0)
    decoder = NetworkDecoder(
        n_epochs=30, learning_rate=0.01, dropout=0.0, class_weights=None, device="cpu"
    ).fit(x, y, progress=False)
    floor = np.log(1 + (N_CLASSES - 1) / np.e)
    assert decoder.history_.query("kept")["train"].max() < floor / 20


@pytest.mark.parametrize("name", ["mlp", "voxel_cnn"])
def test_without_information_decoding_is_at_chance(rng, name):
    x = rng.normal(size=(900, *CASES[name]))
    y = np.repeat([0, 1, 2], 300)[rng.permutation(900)]
    decoder = NetworkDecoder(name, n_epochs=4, n_networks=2, width=4, device="cpu")
    decoder.fit(x[:300], y[:300], progress=False)
    assert decoder.score(x[300:], y[300:]) == pytest.approx(1 / 3, abs=4 * 0.47 / np.sqrt(600))


def test_balanced_weights_find_the_rare_class(rng):
    x, y = trials(rng, (12,), n=600, strength=0.35)
    found = {}
    for weights in ("balanced", None):
        decoder = NetworkDecoder(n_epochs=15, class_weights=weights, device="cpu")
        guess = decoder.fit(x[:300], y[:300], progress=False).predict(x[300:])
        found[weights] = np.mean(guess[y[300:] == 2] == 2)
    assert found["balanced"] > found[None] + 0.1


def test_convolutions_find_a_pattern_wherever_it_is(rng):
    """A rising or a falling pair of voxels, at a random place: the mean of the map says nothing."""
    n = 1000
    x, y = 0.3 * rng.normal(size=(n, 2, 8, 8)), rng.integers(2, size=n)
    row, column = rng.integers(8, size=n), rng.integers(7, size=n)
    x[np.arange(n), 0, row, column] += 3 * (1 - 2 * y)
    x[np.arange(n), 0, row, column + 1] -= 3 * (1 - 2 * y)
    decoder = NetworkDecoder(
        "voxel_cnn", n_networks=2, n_epochs=15, learning_rate=0.01, dropout=0.2, device="cpu"
    ).fit(x[:600], y[:600], progress=False)
    linear = LogisticRegression(max_iter=500).fit(x[:600].reshape(600, -1), y[:600])
    assert decoder.score(x[600:], y[600:]) > 0.9
    assert linear.score(x[600:].reshape(400, -1), y[600:]) < 0.8


class TestSet:
    @pytest.fixture
    def decoder(self, rng):
        x, y, positions = tuned(rng, 200)
        self.trials = tuned(rng, 200)
        decoder = NetworkDecoder(
            "set", n_networks=2, n_epochs=25, learning_rate=5e-3, width=4, device="cpu"
        )
        return decoder.fit(x, y, positions=positions, progress=False)

    def test_the_order_of_neurons_does_not_matter(self, decoder, rng):
        x, _, positions = self.trials
        order = rng.permutation(200)
        a = decoder.predict_proba(x, positions=positions)
        assert np.allclose(
            decoder.predict_proba(x[:, order], positions=positions[order]), a, atol=1e-4
        )
        assert not np.allclose(decoder.predict_proba(x[:, order], positions=positions), a, atol=0.1)

    def test_every_neuron_twice_is_every_neuron_once(self, decoder):
        x, _, positions = self.trials
        twice = decoder.predict_proba(np.tile(x, 2), positions=np.tile(positions, (2, 1)))
        assert np.allclose(twice, decoder.predict_proba(x, positions=positions), atol=1e-4)

    @pytest.mark.parametrize("n_neurons", [150, 400])
    def test_neurons_that_it_never_saw_are_decoded_by_their_places(self, decoder, rng, n_neurons):
        x, y, positions = tuned(rng, n_neurons)
        assert np.mean(decoder.predict(x, positions=positions) == y) > 0.8
        lost = decoder.predict(x, positions=rng.permutation(positions))
        assert np.mean(lost == y) < 0.6


def test_dropout_leaves_the_mean_as_it_is():
    rngs = _generators(0, 2, torch.device("cpu"))
    kept = _dropped(torch.ones(2, 50, 200), 0.3, rngs).numpy()
    assert set(np.unique(kept).round(4)) == {0.0, np.float32(1 / 0.7).round(4)}
    assert np.allclose(kept.mean(axis=(1, 2)), 1, atol=4 * np.sqrt(0.3 / 0.7 / 10_000))
    assert (kept[0] != kept[1]).any()


def test_an_unknown_decoder_is_not_fitted():
    with pytest.raises(NotFittedError):
        NetworkDecoder().predict(np.ones((2, 3)))


X, Y, PLACES = np.eye(6), np.tile([0, 1], 3), np.arange(18.0).reshape(6, 3)


@pytest.mark.parametrize(
    ("settings", "fit", "message"),
    [
        ({"architecture": "cnn"}, (X, Y), "architecture must be one of"),
        ({"class_weights": "equal"}, (X, Y), "class_weights must be"),
        ({"n_networks": 0}, (X, Y), "'n_networks': 0"),
        ({"hidden": (8, 0)}, (X, Y), r"hidden=\(8, 0\)"),
        ({"dropout": 1.0}, (X, Y), "dropout=1.0"),
        ({}, (X[None], Y), r"takes trials \(trial, feature\)"),
        ({"architecture": "voxel_cnn"}, (X, Y), r"\(trial, D, H, W\)"),
        ({}, (X * np.nan, Y), "36 NaN"),
        ({}, (X, Y[:4]), "need one class a trial"),
        ({}, (X, Y * 0), "at least two"),
        ({}, (X, Y, (X, Y + 1)), r"not in training \[2\]"),
        ({}, (X, Y, (X[:, :4], Y)), "the shape of training trials"),
    ],
)
def test_bad_input_is_refused(settings, fit, message):
    with pytest.raises(ValueError, match=message):
        NetworkDecoder(**settings).fit(*fit, progress=False)


@pytest.mark.parametrize(
    ("architecture", "positions", "message"),
    [
        ("set", None, "positions are needed"),
        ("mlp", PLACES, "and only there"),
        ("set", PLACES[:4], "each of 6 neurons"),
        ("set", PLACES * np.nan, "finite"),
    ],
)
def test_positions_go_with_neurons(architecture, positions, message):
    with pytest.raises(ValueError, match=message):
        NetworkDecoder(architecture).fit(X, Y, positions=positions, progress=False)
