"""What was wrong in a published prediction of monkey IT, each beside what is done here."""

import copy

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from visualcortex.evaluation.prediction import (
    alignment_test,
    explained_variance,
    join_by_id,
    pearson,
)
from visualcortex.evaluation.representations import compare_rdms, rdm, rdm_interval
from visualcortex.models.activations import extract
from visualcortex.models.ridge import MultiTargetRidge

N_SITES = 12
N_PERMUTATIONS = 199
LAYERS = {"early": "1", "middle": "3", "late": "5"}


def random_network(width=40, seed=0):
    """Three layers of the same width, as principal components of every layer are."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Flatten(), nn.Linear(48, width), nn.Tanh()]
        layers += [nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width)]
        network = nn.Sequential(*layers).eval()
        for part in network[1::2]:
            nn.init.normal_(part.weight, std=3 / np.sqrt(part.in_features))
    return network.requires_grad_(False)


def pictures(n, seed):
    return np.random.default_rng(seed).normal(size=(n, 3, 4, 4)).astype(np.float32)


def layers_of(network, images):
    return extract(network, images, LAYERS, device="cpu", progress=False)


def responses_to(features, noise=0.5, seed=0):
    """Sites that are linear in features, of variance 1, and noise of that s.d. besides."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(features.shape[1], N_SITES))
    weights /= np.linalg.norm(weights * features.std(axis=0)[:, None], axis=0)
    clean = (features - features.mean(axis=0)) @ weights
    return (clean + noise * rng.normal(size=clean.shape)).astype(np.float32)


def ridge(features, responses, **options):
    return MultiTargetRidge(device="cpu", **options).fit(features, responses)


def score(responses, predictions):
    return float(explained_variance(responses, predictions).mean())


N_TRAIN = 240
NETWORK, IMAGES = random_network(), pictures(N_TRAIN + 120, seed=1)
FEATURES = layers_of(NETWORK, IMAGES)
RESPONSES = responses_to(FEATURES["middle"])  # 0.8 of their variance can be explained


# -- activations came from a loader that shuffles, responses in the order of the file ------------


def shuffled_activations(images, seed):
    """Middle layer as a loader of shuffled batches gives it, and which image each row is."""
    data = TensorDataset(torch.from_numpy(images), torch.arange(len(images)))
    order = torch.Generator().manual_seed(seed)
    rows, ids = [], []
    for batch, index in DataLoader(data, batch_size=32, shuffle=True, generator=order):
        rows.append(NETWORK[:4](batch))
        ids.append(index)
    return torch.cat(rows).numpy(), torch.cat(ids).numpy()


@pytest.fixture(scope="module")
def loaded():
    """Eight times the activations of training and test images, each with its ids."""
    parts = IMAGES[:N_TRAIN], IMAGES[N_TRAIN:]
    return [
        [shuffled_activations(x, seed=2 * k + i) for i, x in enumerate(parts)] for k in range(8)
    ]


def test_shuffled_activations_explain_nothing(loaded):
    train, test = RESPONSES[:N_TRAIN], RESPONSES[N_TRAIN:]
    scores, p = [], []
    for (features, _), (test_features, _) in loaded:
        predicted = ridge(features, train).predict(test_features)
        scores.append(score(test, predicted))
        aligned = alignment_test(
            test, predicted, rng=np.random.default_rng(0), n_permutations=N_PERMUTATIONS
        )
        p.append(aligned.p)
    assert max(scores) < 0.02
    assert np.median(p) > 0.2  # uniform, had they been any number


def test_one_shuffled_side_is_enough(loaded):
    """The model is right and the test set is not."""
    model = ridge(FEATURES["middle"][:N_TRAIN], RESPONSES[:N_TRAIN])
    scores = [
        score(RESPONSES[N_TRAIN:], model.predict(test_features)) for _, (test_features, _) in loaded
    ]
    assert max(scores) < -0.3  # the variance of what is predicted is added


def test_joined_by_id_the_same_activations_explain_what_can_be(loaded):
    train, test = RESPONSES[:N_TRAIN], RESPONSES[N_TRAIN:]
    for (features, ids), (test_features, test_ids) in loaded:
        model = ridge(features[join_by_id(ids, np.arange(len(train)))], train)
        predicted = model.predict(test_features[join_by_id(test_ids, np.arange(len(test)))])
        assert 0.7 < score(test, predicted) < 0.85
        aligned = alignment_test(
            test, predicted, rng=np.random.default_rng(0), n_permutations=N_PERMUTATIONS
        )
        assert aligned.p == 1 / (N_PERMUTATIONS + 1)


def test_extracted_activations_are_in_the_order_of_the_images(loaded):
    (features, ids), _ = loaded[0]
    in_order = features[join_by_id(ids, np.arange(N_TRAIN))]
    assert np.allclose(FEATURES["middle"][:N_TRAIN], in_order, atol=1e-5)
    assert not np.allclose(FEATURES["middle"][:N_TRAIN], features, atol=0.1)


# -- after the loop over layers, every layer was predicted by the model of the last ---------------


def layer_scores(order, one_for_all):
    """Score of each layer, fitted in this order, by its own model or by the last one fitted."""
    models = {}
    for layer in order:
        model = ridge(FEATURES[layer][:N_TRAIN], RESPONSES[:N_TRAIN])
        models[layer] = model
    if one_for_all:
        models = dict.fromkeys(models, model)
    predicted = {layer: m.predict(FEATURES[layer][N_TRAIN:]) for layer, m in models.items()}
    return {layer: score(RESPONSES[N_TRAIN:], predicted[layer]) for layer in LAYERS}


ORDERS = [("early", "middle", "late"), ("middle", "late", "early"), ("late", "early", "middle")]


@pytest.mark.parametrize("order", ORDERS)
def test_the_model_of_one_layer_makes_the_layer_fitted_last_the_best(order):
    """Whatever the truth is; layers of the same width raise no error."""
    wrong = layer_scores(order, one_for_all=True)
    assert max(wrong, key=wrong.get) == order[-1]
    assert max(wrong[layer] for layer in order[:-1]) < 0


@pytest.mark.parametrize("order", ORDERS)
def test_a_model_for_each_layer_finds_the_layer_of_the_truth(order):
    right = layer_scores(order, one_for_all=False)
    assert right == layer_scores(ORDERS[0], one_for_all=False)
    assert right["middle"] > 0.7
    assert all(right["middle"] > right[layer] + 0.1 > 0.2 for layer in ("early", "late"))


def test_layers_of_different_width_would_have_raised():
    model = ridge(FEATURES["middle"][:N_TRAIN], RESPONSES[:N_TRAIN])
    with pytest.raises(ValueError, match="40 that were fitted; got 39"):
        model.predict(FEATURES["early"][N_TRAIN:, :39])


# -- batch normalization in training mode while activations were read ----------------------------

N_OBJECTS, PER_OBJECT = 10, 36


@pytest.fixture
def normalised():
    """A network with batch normalization, as it is made: in training mode."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU())
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def objects():
    """Images of ten objects, each of a colour, those of an object together as in the file."""
    rng = np.random.default_rng(4)
    colours = np.repeat(rng.normal(size=(N_OBJECTS, 3, 1, 1)), PER_OBJECT, axis=0)
    noise = rng.normal(size=(len(colours), 3, 4, 4))
    return (colours + 0.5 * noise).astype(np.float32)


def in_training_mode(network, images, batch_size=PER_OBJECT):
    """What was done: batches through a network that nobody had told to evaluate."""
    network = copy.deepcopy(network)
    batches = torch.from_numpy(images).split(batch_size)
    return torch.cat([network(batch).flatten(1) for batch in batches]).numpy()


def in_evaluation_mode(network, images, batch_size=PER_OBJECT):
    given = {"batch_size": batch_size, "device": "cpu", "progress": False}
    return extract(network, images, ["2"], **given)["2"]


def largest_change(read, network, images, order, batch_size):
    """By how much activations differ if the images come otherwise, in s.d."""
    one = read(network, images)
    other = read(network, images[order], batch_size)[np.argsort(order)]
    return np.abs(one - other).max() / one.std()


@pytest.mark.parametrize("batch_size", [PER_OBJECT, 9, 1])
def test_in_training_mode_an_image_depends_on_those_beside_it(normalised, objects, batch_size):
    order = np.random.default_rng(5).permutation(len(objects))
    wrong, right = (
        largest_change(read, normalised, objects, order, batch_size)
        for read in (in_training_mode, in_evaluation_mode)
    )
    assert wrong > 1
    assert right < 1e-5


def test_reading_in_training_mode_changes_the_network(normalised, objects):
    before = normalised[1].running_mean.clone()
    in_evaluation_mode(normalised, objects)
    assert normalised.training  # it was put back
    assert torch.equal(normalised[1].running_mean, before)
    normalised(torch.from_numpy(objects))
    assert not torch.equal(normalised[1].running_mean, before)


def test_batches_of_one_object_lose_what_the_object_is(normalised, objects):
    """Every batch gets the same mean: what is left is the variation within an object."""
    right = in_evaluation_mode(normalised, objects)
    wrong = in_training_mode(normalised, objects)
    responses = responses_to(right)
    train = np.random.default_rng(6).permutation(len(objects)) < 270
    explained = []
    for features in (wrong, right):
        model = ridge(features[train], responses[train])
        explained.append(score(responses[~train], model.predict(features[~train])))
    assert explained[1] > 0.65
    assert explained[0] < 0.3


# -- penalties were sought far below those that such features need --------------------------------


SMALL, WIDE = np.logspace(-4, 1, 25), np.logspace(-2, 10, 25)


@pytest.fixture(scope="module")
def components():
    """A thousand standardised features of forty causes, and responses, (n, 1000) and (n, site)."""
    rng = np.random.default_rng(7)
    causes = rng.normal(size=(600, 40))
    features = causes @ rng.normal(size=(40, 1000)) / np.sqrt(40) + rng.normal(size=(600, 1000))
    features = (features - features[:300].mean(axis=0)) / features[:300].std(axis=0)
    return features.astype(np.float32), responses_to(causes, noise=1.0)


@pytest.fixture(scope="module")
def by_grid(components):
    """Model and explained variance of 300 test images for each range of penalties."""
    features, responses = components
    found = {}
    for name, alphas in (("small", SMALL), ("wide", WIDE)):
        model = ridge(features[:300], responses[:300], alphas=alphas)
        found[name] = model, score(responses[300:], model.predict(features[300:]))
    return found


def test_penalties_at_the_end_of_their_range_say_that_it_is_too_small(by_grid):
    model, _ = by_grid["small"]
    assert (model.alphas_ == SMALL[-1]).all()
    assert (np.diff(model.scores_[-10:], axis=0) > 0).all()  # rising still


def test_a_wide_range_has_the_best_penalty_inside(by_grid):
    model, _ = by_grid["wide"]
    assert model.alphas_.min() > 10 * SMALL[-1]
    assert model.alphas_.max() < WIDE[-1] / 100
    best = model.scores_.max(axis=0)
    assert (best > model.scores_[0]).all()
    assert (best > model.scores_[-1]).all()


def test_too_small_penalties_cost_what_could_be_explained(by_grid):
    """Half of the variance is noise, so that 0.5 is the most."""
    (_, wrong), (_, right) = by_grid["small"], by_grid["wide"]
    assert 0.3 < right < 0.5
    assert wrong < right - 0.1


# -- the best of many models was chosen on the images that were reported --------------------------

N_REPEATS, N_MODELS = 40, 20
SETS = {"validation": 40, "test": 400, "new": 400}  # images


def correlations(responses, predictions):
    """Mean correlation over sites on each of the sets, which follow each other."""
    parts = np.split(np.arange(len(responses)), np.cumsum(list(SETS.values()))[:-1])
    return [pearson(responses[rows], predictions[rows]).mean() for rows in parts]


@pytest.fixture(scope="module")
def scores():
    """Correlations (repeat, model, set) of random networks, others in each repeat."""
    rng = np.random.default_rng(8)
    found = np.empty((N_REPEATS, N_MODELS, len(SETS)))
    for repeat in range(N_REPEATS):
        images = rng.normal(size=(60 + sum(SETS.values()), 10))
        responses = images @ rng.normal(size=(10, 2)) / np.sqrt(10)
        responses += 2 * rng.normal(size=responses.shape)
        for k in range(N_MODELS):
            features = np.tanh(images @ rng.normal(size=(10, 12)) / np.sqrt(10))
            model = ridge(features[:60], responses[:60], alphas=(30.0,), folds=2)
            found[repeat, k] = correlations(responses[60:], model.predict(features[60:]))
    return found


def by_best(scores, n_models=N_MODELS):
    """What the model of the best validation among so many has over the mean one, (repeat, set)."""
    best = scores[:, :n_models, 0].argmax(axis=1)
    return scores[np.arange(len(scores)), best] - scores.mean(axis=1)


def excess(first, second):
    """Mean difference over repeats, and its standard error."""
    difference = first - second
    return difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))


def test_the_validation_score_of_the_best_is_too_high(scores):
    """Of what it seems to be better than a mean model, most is luck."""
    validation, _, new = by_best(scores).T
    mean, error = excess(validation, new)
    assert mean > 5 * error
    assert new.mean() < 0.5 * validation.mean()


def test_its_score_on_images_that_chose_nothing_is_not(scores):
    _, test, new = by_best(scores).T
    mean, error = excess(test, new)
    assert abs(mean) < 3 * error
    assert error < 0.01


def test_without_a_choice_validation_is_as_good_as_a_test(scores):
    validation, _, new = scores.mean(axis=1).T
    mean, error = excess(validation, new)
    assert abs(mean) < 3 * error


def test_the_more_models_are_tried_the_more_too_high_it_is(scores):
    means = []
    for n_models in (1, 3, 20):
        validation, _, new = by_best(scores, n_models).T
        means.append(excess(validation, new)[0])
    assert (np.diff(means) > 0.02).all()


def test_the_best_of_models_that_know_nothing_seems_to_know_something():
    """The expected highest of K independent correlations, each normal of s.d. (n - 1)^(-1/2)."""
    rng = np.random.default_rng(9)
    n_images, n_repeats = 200, 500
    responses = rng.normal(size=(2, n_images, n_repeats))
    found = np.stack(
        [pearson(rng.normal(size=(n_images, n_repeats)), responses[0]) for _ in range(N_MODELS)]
    )
    z = np.linspace(-8, 8, 4001)
    density = N_MODELS * stats.norm.pdf(z) * stats.norm.cdf(z) ** (N_MODELS - 1)
    expected = integrate.trapezoid(z * density, z) / np.sqrt(n_images - 1)
    highest = found.max(axis=0)
    assert highest.mean() == pytest.approx(expected, abs=4 * highest.std() / np.sqrt(n_repeats))
    assert highest.mean() > 0.12
    assert abs(found.mean()) < 0.005


# dissimilarities


def unrelated(n_images, seed):
    """Two RDMs of noise, which have nothing in common but a diagonal of zeros."""
    rng = np.random.default_rng(seed)
    return (rdm(rng.normal(size=(n_images, 30)), device="cpu") for _ in range(2))


def test_the_diagonal_makes_unrelated_dissimilarities_alike():
    whole, pairs = [], []
    for seed in range(20):
        a, b = unrelated(30, seed)
        whole.append(np.corrcoef(a.ravel(), b.ravel())[0, 1])
        pairs.append(compare_rdms(a, b, "pearson"))
    assert min(whole) > 0.2
    assert abs(np.mean(pairs)) < 3 * np.std(pairs) / np.sqrt(len(pairs)) + 0.01


def test_zeros_between_copies_put_the_interval_off_its_own_estimate():
    a, b = unrelated(30, 1)
    rng = np.random.default_rng(2)
    upper = np.triu_indices(30, 1)
    naive = []
    for _ in range(200):
        drawn = rng.integers(30, size=30)
        naive.append(np.corrcoef(*(m[np.ix_(drawn, drawn)][upper] for m in (a, b)))[0, 1])
    proper = rdm_interval({"model": a}, b, "pearson", rng=rng, n_resamples=500).models["model"]
    assert np.quantile(naive, 0.025) > proper.value
    assert proper.low < compare_rdms(a, b, "pearson") < proper.high
