"""Baselines of spike counts: scaled by training trials alone, right where the truth is known."""

import numpy as np
import optuna
import pytest
from scipy.stats import poisson
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from visualcortex.evaluation.held_out import held_out_predictions
from visualcortex.models.spike_baselines import (
    BASELINES,
    CountScaler,
    PoissonNaiveBayes,
    baseline,
    search_space,
)
from visualcortex.tuning import search

SETTINGS = {"pca_logistic": {"n_components": 10}, "logistic": {"C": 0.1}, "linear_svm": {"C": 0.1}}
DECODERS = sorted(set(BASELINES) - {"chance"})


def spikes(seed=0, n_trials=400, n_classes=6, n_neurons=15, n_bins=3, strength=0.7):
    """Independent Poisson counts with known rates, classes in turn."""
    tuning = strength * np.random.default_rng(7).normal(size=(n_classes, n_bins, n_neurons))
    rates = 1.2 * np.exp(tuning)
    y = np.arange(n_trials) % n_classes
    return np.random.default_rng(seed).poisson(rates[y]), y, rates


@pytest.fixture
def trials():
    x, y, _ = spikes()
    return (x[:250], y[:250]), (x[250:], y[250:])


def make(name, **changes):
    return baseline(name, **(SETTINGS.get(name, {}) | changes))


class TestCountScaler:
    def test_training_trials_become_z_scores_of_roots(self, trials):
        x = trials[0][0]
        z = CountScaler(flat=False).fit(x).transform(x)
        assert z.dtype == np.float32
        assert np.allclose(z.mean(0), 0, atol=1e-5)
        assert np.allclose(z.std(0), 1, atol=1e-5)
        root = np.sqrt(x)
        assert np.allclose(z, (root - root.mean(0)) / root.std(0), atol=1e-5)

    def test_other_trials_do_not_matter(self, trials):
        (train, _), (test, _) = trials
        scaler = CountScaler().fit(train)
        alone = scaler.transform(test[:1])
        assert np.array_equal(scaler.transform(test)[:1], alone)
        assert not np.allclose(CountScaler().fit(np.concatenate([train, test])).mean_, scaler.mean_)

    def test_what_was_constant_is_zero_for_ever(self):
        x = np.random.default_rng(0).poisson(1.0, size=(50, 2, 4))
        x[:, :, 1], x[:, 0, 2] = 0, 7
        scaler = CountScaler(flat=False).fit(x)
        z = scaler.transform(x + np.arange(4))  # other values now
        assert (z[:, :, 1] == 0).all()
        assert (z[:, 0, 2] == 0).all()
        assert (z[:, 1, 2] != 0).any()

    def test_raw_counts_stay_as_they_are(self, trials):
        x = trials[0][0]
        raw = CountScaler(root=False, standardise=False).fit_transform(x)
        assert np.array_equal(raw, x.reshape(len(x), -1))
        assert np.array_equal(raw.reshape(x.shape)[3, 2], x[3, 2])

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (np.ones((4, 3)), r"counts must be \(trial, bin, neuron\).*got shape \(4, 3\)"),
            (np.ones((4, 0, 3)), "none of them empty"),
            (np.full((4, 2, 3), np.nan), "24 others"),
            (np.full((4, 2, 3), -1), "not negative"),
        ],
    )
    def test_what_is_no_count_is_refused(self, x, message):
        with pytest.raises(ValueError, match=message):
            CountScaler().fit(x)

    def test_other_neurons_are_refused(self, trials):
        scaler = CountScaler().fit(trials[0][0])
        with pytest.raises(ValueError, match=r"\(3, 15\); got \(3, 14\)"):
            scaler.transform(trials[0][0][:, :, 1:])
        with pytest.raises(NotFittedError):
            CountScaler().transform(trials[0][0])


class TestNaiveBayes:
    def test_it_is_the_posterior_of_independent_poisson_counts(self):
        x, y, _ = spikes()
        x = x.reshape(len(x), -1)
        bayes = PoissonNaiveBayes(2.5).fit(x[:300], y[:300])
        mean = (x[:300].sum(0) + 0.5) / 300
        likelihoods = []
        for k in range(6):
            own = x[:300][y[:300] == k]
            rates = (2.5 * mean + own.sum(0)) / (2.5 + len(own))
            likelihoods.append(np.exp(poisson.logpmf(x[300:], rates).sum(1)))
        posterior = np.array(likelihoods).T / np.sum(likelihoods, axis=0)[:, None]
        assert np.allclose(bayes.predict_proba(x[300:]), posterior, atol=1e-9)
        assert np.array_equal(bayes.predict(x[300:]), posterior.argmax(1))

    def test_with_many_trials_it_decides_as_the_true_rates_do(self):
        x, y, rates = spikes(1, n_trials=20_000, strength=0.3)
        x, rates = x.reshape(len(x), -1), rates.reshape(6, -1)
        bayes = PoissonNaiveBayes().fit(x[:18_000], y[:18_000])
        assert np.allclose(bayes.rates_, rates, atol=6 * np.sqrt(rates.max() / 3000))
        ideal = (x[18_000:] @ np.log(rates).T - rates.sum(1)).argmax(1)
        assert 0.4 < np.mean(ideal == y[18_000:]) < 0.95
        assert np.mean(bayes.predict(x[18_000:]) == ideal) > 0.97

    def test_a_strong_prior_leaves_nothing_to_tell(self):
        x, y, _ = spikes()
        proba = PoissonNaiveBayes(1e9).fit(x.reshape(400, -1), y).predict_proba(x.reshape(400, -1))
        assert np.allclose(proba, 1 / 6, atol=1e-4)

    def test_a_neuron_that_was_silent_is_no_evidence(self):
        x, y, _ = spikes(n_trials=396)
        x = x.reshape(396, -1)
        silent = np.column_stack([x, np.zeros(396)])
        bayes = PoissonNaiveBayes().fit(silent, y)
        awake = silent + np.eye(silent.shape[1])[-1] * 3
        proba = PoissonNaiveBayes().fit(x, y).predict_proba(x)
        assert np.allclose(bayes.predict_proba(awake), proba, atol=1e-6)

    @pytest.mark.parametrize(("strength", "labels"), [(0.0, 4), (1.0, 3)])
    def test_bad_input_is_refused(self, strength, labels):
        with pytest.raises(ValueError, match="positive strength and one label a trial"):
            PoissonNaiveBayes(strength).fit(np.ones((4, 2)), np.arange(labels))


@pytest.mark.parametrize("name", DECODERS)
def test_it_reads_the_class(name, trials):
    train, test = trials
    decoder = make(name).fit(*train)
    assert decoder.score(*test) > 0.75
    assert decoder.classes_.tolist() == list(range(6))


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_probabilities_where_there_are_any(name, trials):
    train, (x, _) = trials
    decoder = make(name).fit(*train)
    if "svm" in name:
        assert not hasattr(decoder, "predict_proba")
        scores = decoder.decision_function(x)
    else:
        scores = decoder.predict_proba(x)
        assert np.allclose(scores.sum(1), 1, atol=1e-5)
    assert scores.shape == (150, 6)
    best = decoder.predict(x) == decoder.classes_[scores.argmax(1)]
    assert best.mean() > (0.95 if "svm" in name else 0.999)  # machines vote before they rank


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_without_information_it_is_at_chance(name):
    x, y, _ = spikes(strength=0.0, n_trials=1500)
    score = make(name).fit(x[:300], y[:300]).score(x[300:], y[300:])
    assert score == pytest.approx(1 / 6, abs=4 * np.sqrt(1 / 6 * 5 / 6 / 1200))


@pytest.mark.parametrize("name", DECODERS)
def test_the_order_of_neurons_does_not_matter(name, trials):
    (x, y), (other, _) = trials
    order = np.random.default_rng(3).permutation(x.shape[2])
    a = make(name).fit(x, y).predict(other)
    b = make(name).fit(x[:, :, order], y).predict(other[:, :, order])
    assert np.mean(a == b) > 0.99  # but for ties within rounding


@pytest.mark.parametrize("name", DECODERS)
def test_a_silent_neuron_changes_nothing(name, trials):
    (x, y), (other, _) = trials
    a, b = (
        make(name).fit(np.pad(x, pad), y).predict(np.pad(other, pad))
        for pad in (((0, 0), (0, 0), (0, n)) for n in (0, 1))
    )
    # but for the scale of the Gaussian kernel, which is of all features, and that of the shrinkage
    assert np.mean(a == b) > (0.97 if name in ("rbf_svm", "lda") else 0.99)


def test_they_are_what_scikit_learn_makes_of_z_scores(trials):
    (x, y), (other, _) = trials
    scaler = CountScaler().fit(x)
    z, w = scaler.transform(x), scaler.transform(other)
    raw = [v.reshape(len(v), -1).astype(float) for v in (x, other)]
    references = {
        "lda": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2, priors=np.ones(6) / 6),
        "logistic": LogisticRegression(C=0.1, max_iter=1000),
        "linear_svm": SVC(C=0.1, kernel="linear"),
    }
    for name, reference in references.items():
        agreement = make(name).fit(x, y).predict(other) == reference.fit(z, y).predict(w)
        assert agreement.mean() > 0.98, name
    expected = SVC().fit(raw[0], y).predict(raw[1])
    assert np.array_equal(make("rbf_svm").fit(x, y).predict(other), expected)


def test_components_are_as_many_as_there_are(trials):
    (x, y), (other, _) = trials
    all_of_them, more = (make("pca_logistic", n_components=n).fit(x, y) for n in (45, 1000))
    assert np.allclose(all_of_them.predict_proba(other), more.predict_proba(other), atol=1e-4)
    whole = make("logistic", C=0.01).fit(x, y)
    assert np.allclose(whole.predict_proba(other), more.predict_proba(other), atol=1e-2)


def test_chance_is_the_most_frequent_class(trials):
    x = trials[0][0]
    y = np.where(np.arange(250) % 5 == 0, "rare", "usual")
    decoder = make("chance").fit(x, y)
    assert (decoder.predict(x) == "usual").all()
    assert np.allclose(decoder.predict_proba(x), [0.2, 0.8])


def test_names_of_classes_and_shared_folds(trials):
    """They go through the library's own cross-validation, under any names of the classes."""
    x, y = trials[0]
    folds = np.arange(250) // 6 % 5
    words = np.array(["ape", "bee", "cat", "dog", "eel", "fox"])
    found = [
        held_out_predictions([make("lda"), make("naive_bayes")], x, labels, folds, progress=False)
        for labels in (y, words[y])
    ]
    assert np.mean(found[0].predicted == y) > 0.75
    assert np.array_equal(words[found[0].predicted], found[1].predicted)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_the_search_space_makes_decoders(name, trials):
    (x, y), (other, truth) = trials
    seen = []

    def objective(settings, report):
        seen.append(settings)
        return 1 - clone(baseline(name, **settings)).fit(x, y).score(other, truth)

    table = search(search_space(name), objective, n_trials=3, seed=1, progress=False).table
    assert len(seen) == 3
    assert (table["loss"] < (1 if name == "chance" else 0.6)).all()


def test_spaces_ask_within_their_ranges():
    trial = optuna.trial.FixedTrial({"n_components": 40, "C": 0.5, "root": True, "strength": 2.0})
    assert search_space("pca_logistic")(trial) == {"n_components": 40, "C": 0.5}
    assert search_space("rbf_svm")(trial) == {"C": 0.5, "root": True}
    assert search_space("naive_bayes")(trial) == {"strength": 2.0}
    assert search_space("chance")(trial) == {}


def test_unknown_names_and_settings_are_refused():
    for make_it in (baseline, search_space):
        with pytest.raises(ValueError, match="one of .*'lda'.*got 'svm'"):
            make_it("svm")
    with pytest.raises(TypeError, match="shrinkage"):
        baseline("logistic", shrinkage=0.1)
