"""What was wrong in the published decoding of mouse V1, each beside what is done here."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from visualcortex import voxels as vx
from visualcortex.evaluation import categories as cats
from visualcortex.evaluation.identity import identity_correct, nearest_image
from visualcortex.evaluation.reliability import signal_variance
from visualcortex.models.decoders import NetworkDecoder
from visualcortex.models.readouts import ShrinkageLDA
from visualcortex.preprocessing import split_half
from visualcortex.simulators.scenes import CATEGORIES, PUBLISHED_COUNTS, UNKNOWN
from visualcortex.simulators.v1 import V1

N_CLASSES = len(CATEGORIES)
# reliable neurons and few, so that what is wrong shows at once
SMALL = {"n_neurons": 200, "n_images": 400, "n_spontaneous": 2, "n_shared": 8}


@pytest.fixture(scope="module")
def recording():
    """Categories that are easy to read."""
    return V1(signal_variance=0.5, separation=2.0, **SMALL).simulate(0)


@pytest.fixture(scope="module")
def meaningless():
    """Reliable responses to images whose categories differ in nothing."""
    return V1(signal_variance=0.5, separation=0.0, **SMALL).simulate(0)


def standardised(recording):
    x = recording.responses.to_numpy()
    return (x - x.mean(axis=0)) / x.std(axis=0)


def known(recording):
    """Standardised responses, category and image of the trials whose category is known."""
    chosen = recording.category != UNKNOWN
    parts = standardised(recording), recording.category, recording.stimulus
    return tuple(part[chosen] for part in parts)


def held_out(x, labels, folds, predict):
    """Prediction for each trial from the trials of other folds."""
    predicted = np.empty_like(labels)
    for fold in np.unique(folds):
        train = folds != fold
        predicted[~train] = predict(x[train], labels[train], x[~train])
    return predicted


def discriminant(x, labels, new):
    return ShrinkageLDA(0.3, device="cpu").fit(x, labels).predict(new)


def nearest_neighbour(x, labels, new):
    return labels[nearest_image(x, new, device="cpu")]


# -- the responses were overwritten with zeros ------------------------------------------------


@pytest.fixture
def zeroed(recording):
    """The recording after the published loop, which copies an array of zeros onto itself."""
    processed = standardised(recording)
    processed = np.zeros(processed.shape)
    for trial in range(len(processed)):
        processed[trial] = processed[trial]
    return dataclasses.replace(recording, responses=recording.responses.copy(data=processed))


def test_of_constant_samples_a_network_learns_the_majority_only(zeroed):
    positions = zeroed.neurons[["x_um", "y_um", "z_um"]].to_numpy()[:10]
    clouds = [np.column_stack([positions, trial[:10]]).ravel() for trial in zeroed.responses.values]
    labels = zeroed.category
    settings = {"n_epochs": 15, "learning_rate": 0.02, "class_weights": None, "device": "cpu"}
    network = NetworkDecoder(n_networks=1, **settings)
    network.fit(np.array(clouds), labels, progress=False)
    predicted = network.predict(np.array(clouds))
    assert np.array_equal(predicted, cats.majority(labels, len(labels)))
    assert cats.balanced_accuracy(predicted == labels, labels) == pytest.approx(1 / 12)


def test_zeroed_responses_are_seen_before_anything_is_trained(recording, zeroed):
    assert len(recording.silent_neurons) == 0
    assert len(zeroed.silent_neurons) == zeroed.n_neurons
    assert zeroed.summary()["silent neurons"] == "200"
    _, first, second = split_half(zeroed.responses, zeroed.stimulus)
    assert np.isnan(signal_variance(first, second, device="cpu")).all()
    # the check of the data that was never made: which of the 400 images was it?
    assert identity_correct(first, second, device="cpu").mean() <= 1 / 400
    _, first, second = split_half(standardised(recording), recording.stimulus)
    assert identity_correct(first, second, device="cpu").mean() > 0.5
    with pytest.raises(ValueError, match="never respond"):
        ShrinkageLDA(device="cpu").fit(zeroed.responses, zeroed.category)


# -- one was subtracted twice from the numbers of the images ----------------------------------


def shifted_category(recording, shift):
    """Category of the image so many numbers further on."""
    words = recording.stimuli["category"].to_numpy()
    return words[(recording.stimulus + shift) % len(words)]


def test_counting_from_zero_twice_gives_the_label_of_the_previous_image():
    words = np.array(["cats", "mice", "nests", "birds"])
    number = np.array([2, 1, 4, 3, 1])  # as MATLAB counts
    published = number - 1
    published = words[published - 1]
    assert published.tolist() == ["cats", "birds", "nests", "mice", "birds"]
    assert words[number - 1].tolist() == ["mice", "cats", "birds", "nests", "cats"]


def test_the_category_of_a_trial_is_that_of_its_image(recording):
    names = np.array([*CATEGORIES, UNKNOWN])
    truth = names[recording.truth.labels]
    looked_up = [truth[k] for k in recording.stimulus]
    assert recording.category.tolist() == looked_up
    assert np.array_equal(shifted_category(recording, 0), recording.category)


@pytest.mark.parametrize(("shift", "decodes"), [(-1, False), (0, True), (1, False)])
def test_labels_of_the_neighbouring_image_are_decoded_at_chance(recording, shift, decodes):
    labels = shifted_category(recording, shift)
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    agreement = np.mean(labels == recording.category)
    rng = np.random.default_rng(0)
    folds = cats.image_folds(recording.stimulus, labels, 5, rng=rng)
    predicted = held_out(standardised(recording), labels, folds, discriminant)
    accuracy = cats.balanced_accuracy(predicted == labels, labels)
    if decodes:
        assert agreement == 1
        assert accuracy > 0.5
    else:
        # as often right as two images drawn at random
        assert agreement == pytest.approx(np.sum(shares**2), abs=0.05)
        assert accuracy == pytest.approx(1 / 12, abs=0.06)


# -- the split was by presentation, and every image was shown twice ---------------------------


@pytest.mark.parametrize(("share_tested", "expected"), [(0.1, 0.9), (0.2, 0.8)])
def test_a_split_by_presentation_trains_on_the_twin_of_nearly_every_test_trial(
    share_tested, expected
):
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(2800), 2)
    test = rng.permutation(len(image)) < share_tested * len(image)
    assert np.isin(image[test], image[~test]).mean() == pytest.approx(expected, abs=0.03)
    # the twin of a test trial is any other trial: N - n of N - 1 are for training
    n, total = test.sum(), len(image)
    assert (total - n) / (total - 1) == pytest.approx(expected, abs=2e-4)


def test_image_folds_keep_the_presentations_of_an_image_together(recording):
    _, labels, images = known(recording)
    folds = cats.image_folds(images, labels, 5, rng=np.random.default_rng(0))
    for fold in range(5):
        assert not np.isin(images[folds == fold], images[folds != fold]).any()


def test_leakage_alone_decodes_categories_that_mean_nothing(meaningless):
    x, labels, images = known(meaningless)
    rng = np.random.default_rng(1)
    by_trial = rng.permutation(len(x)) % 5
    by_image = cats.image_folds(images, labels, 5, rng=rng)
    leaky, honest = (
        cats.balanced_accuracy(held_out(x, labels, folds, nearest_neighbour) == labels, labels)
        for folds in (by_trial, by_image)
    )
    assert leaky > 0.5
    assert honest == pytest.approx(1 / N_CLASSES, abs=0.05)


# -- a softmax at the end of the network and another in the loss ------------------------------


def twice_normalised_loss(logits, classes):
    """The published loss: a softmax, and then a loss that applies another."""
    return functional.cross_entropy(logits.softmax(dim=1), classes)


@pytest.mark.parametrize("n_classes", [3, 11, 12])
def test_a_second_softmax_gives_the_loss_a_floor(n_classes):
    classes = torch.arange(n_classes)
    certain = 60 * torch.eye(n_classes, dtype=torch.float64)
    assert functional.cross_entropy(certain, classes).item() < 1e-20
    floor = np.log1p((n_classes - 1) / np.e)
    assert twice_normalised_loss(certain, classes).item() == pytest.approx(floor)
    if n_classes == 12:
        assert floor == pytest.approx(1.619, abs=1e-3)
        assert floor / np.log(12) > 0.65  # of the loss of a network that knows nothing


def test_a_second_softmax_takes_the_gradient_away_where_the_network_errs_most():
    classes = torch.tensor([0])
    norms = {}
    for loss in (functional.cross_entropy, twice_normalised_loss):
        logits = torch.zeros(1, 12, dtype=torch.float64)
        logits[0, 1] = 15.0  # sure, and wrong
        logits.requires_grad_()
        loss(logits, classes).backward()
        norms[loss] = logits.grad.norm().item()
    assert norms[functional.cross_entropy] == pytest.approx(np.sqrt(2), abs=1e-4)
    assert norms[twice_normalised_loss] < 1e-5


def test_our_networks_go_below_that_floor():
    rng = np.random.default_rng(0)
    y = np.arange(220) % N_CLASSES
    x = 5 * rng.normal(size=(N_CLASSES, 30))[y] + rng.normal(size=(220, 30))
    decoder = NetworkDecoder(n_networks=1, n_epochs=30, learning_rate=0.01, dropout=0, device="cpu")
    decoder.fit(x, y, progress=False)
    floor = np.log1p((N_CLASSES - 1) / np.e)
    assert decoder.history_["train"].iloc[-1] < floor / 10
    proba = torch.as_tensor(decoder.predict_proba(x))
    assert proba.sum(dim=1).numpy() == pytest.approx(1, abs=1e-5)
    # the very same answers, all of them right, are not good enough for the published loss
    assert (proba.argmax(dim=1).numpy() == y).all()
    assert functional.cross_entropy(proba, torch.as_tensor(y)).item() >= floor


# -- "unknown" was a class --------------------------------------------------------------------


def test_the_majority_is_another_without_the_class_of_unknown_images():
    counts = dict(zip((UNKNOWN, *CATEGORIES), PUBLISHED_COUNTS, strict=True))
    words = np.repeat(list(counts), list(counts.values()))
    for labels, expected in ((words, 0.136), (words[words != UNKNOWN], 0.155)):
        baseline = cats.majority(labels, len(labels))
        assert np.mean(baseline == labels) == pytest.approx(expected, abs=5e-4)


def test_unknown_images_are_of_every_category_and_are_not_a_class_to_learn():
    settings = {"n_neurons": 100, "n_images": 1400, "n_repeats": 1, "separation": 2.0}
    recording = V1(n_spontaneous=2, n_shared=2, **settings).simulate(0)
    signal, words = recording.truth.signal, recording.stimuli["category"].to_numpy()
    folds = cats.image_folds(np.arange(1400), words, 5, rng=np.random.default_rng(0))
    # no noise at all, so that only the classes themselves can be the reason
    predicted = held_out(signal, words, folds, discriminant)
    unknown = words == UNKNOWN
    right = predicted == words
    assert cats.balanced_accuracy(right[~unknown], words[~unknown]) > 0.6
    # said of unknown images no more often than of others
    called = predicted == UNKNOWN
    assert called[unknown].mean() < called[~unknown].mean() + 0.05
    assert called[unknown].mean() < 0.1
    resembling = discriminant(signal[~unknown], words[~unknown], signal[unknown])
    assert set(resembling) == set(CATEGORIES)


def test_categories_are_words_so_that_unknown_can_be_left_out(recording):
    _, labels, _ = known(recording)
    assert set(labels) == set(CATEGORIES)
    share = 1 - PUBLISHED_COUNTS[0] / sum(PUBLISHED_COUNTS)
    assert len(labels) / recording.n_trials == pytest.approx(share, abs=0.005)


# -- the test set was never opened, and the best validation score was reported ----------------


def test_the_best_of_many_candidates_is_good_on_the_trials_that_chose_it_only():
    rng = np.random.default_rng(0)
    n_candidates, n_trials, n_repeats = 100, 250, 60
    size = (n_repeats, n_candidates, 2 * n_trials)
    correct = rng.integers(N_CLASSES, size=size) == rng.integers(N_CLASSES, size=(1, 1, size[2]))
    validation, test = correct[..., :n_trials].mean(axis=2), correct[..., n_trials:].mean(axis=2)
    best = validation.argmax(axis=1)
    chosen, opened = validation.max(axis=1).mean(), test[np.arange(n_repeats), best].mean()
    chance = 1 / N_CLASSES
    spread = np.sqrt(chance * (1 - chance) / n_trials)
    # the mean of the largest of 100 normal numbers (Blom's approximation)
    largest = stats.norm.ppf((n_candidates - 0.375) / (n_candidates + 0.25))
    assert chosen - chance == pytest.approx(largest * spread, rel=0.12)
    assert abs(opened - chance) < 4 * spread / np.sqrt(n_repeats)


def test_our_test_set_shares_no_image_with_what_was_trained_or_chosen_on(recording):
    _, labels, images = known(recording)
    parts = cats.image_parts(images, labels, (0.6, 0.2, 0.2), rng=np.random.default_rng(0))
    shown = [set(images[part]) for part in parts]
    assert set.union(*shown) == set(images)
    assert sum(len(part) for part in shown) == len(set(images))


# -- raw products instead of correlations -----------------------------------------------------


@pytest.fixture(scope="module")
def halves(recording):
    """Standardised responses to the two presentations, whose strength varies as attention does."""
    gain = np.exp(0.5 * np.random.default_rng(0).standard_normal((2, 400, 1)))
    _, *responses = split_half(recording.responses, recording.stimulus)
    scaled = ((x - x.mean(axis=0)) / x.std(axis=0) for x in responses)
    return [(g * x).astype("f4") for g, x in zip(gain, scaled, strict=True)]


def test_dividing_all_products_by_one_number_ranks_raw_products(halves):
    first, second = halves
    published = second @ first.T / np.sqrt(np.sum(first**2) * np.sum(second**2))
    raw = nearest_image(first, second, metric="dot", device="cpu")
    assert np.array_equal(published.argmax(axis=1), raw)
    each = np.corrcoef(second, first)[:400, 400:]
    assert np.array_equal(each.argmax(axis=1), nearest_image(first, second, device="cpu"))


def test_raw_products_prefer_strong_responses_to_similar_ones(halves):
    first, second = halves
    raw = nearest_image(first, second, metric="dot", device="cpu")
    correlated = nearest_image(first, second, device="cpu")
    right = np.arange(400)
    assert np.mean(raw == right) < 0.3 < 0.6 < np.mean(correlated == right)
    norm = np.linalg.norm(first, axis=1)
    assert norm[raw].mean() > 2 * norm.mean()
    assert norm[correlated].mean() == pytest.approx(norm.mean(), rel=0.2)


# -- neurons between voxels, and pixels without neurons ---------------------------------------


def test_strict_borders_on_both_sides_drop_the_neurons_on_a_face():
    rng = np.random.default_rng(0)
    # whole micrometres, as published
    places = rng.integers(0, 1001, (3000, 2))
    positions = np.column_stack([places, 100 + 33 * rng.integers(3, size=3000)])
    grid = vx.VoxelGrid((0.0, 0.0, 83.5), (200.0, 200.0, 33.0), (3, 5, 5))
    low = 200 * np.arange(5)
    inside = (positions[:, :2, None] > low) & (positions[:, :2, None] < low + 200)  # (N, 2, 5)
    kept = inside.any(axis=2).all(axis=1)
    on_a_face = (positions[:, :2] % 200 == 0).any(axis=1)
    assert np.array_equal(kept, ~on_a_face)
    # 6 of 1,001 values on each of two axes
    assert np.mean(~kept) == pytest.approx(1 - (1 - 6 / 1001) ** 2, abs=0.006)
    weights = vx.splat_weights(positions, grid)
    assert (np.asarray(weights.matrix.sum(axis=0)).ravel() > 0).all()
    assert vx.occupancy(positions, grid).neurons.sum() == 3000


def test_a_pixel_a_micrometre_is_empty_but_for_a_thousandth():
    rng = np.random.default_rng(0)
    places = rng.integers(0, 1001, (10_000, 2))
    positions = np.column_stack([places, 100 + 33 * rng.integers(11, size=10_000)])
    assert 5e-4 < vx.pixel_occupancy(positions) < 1e-3
    dense = vx.VoxelGrid.covering(positions, (100, 100, 33))
    assert vx.occupancy(positions, dense).share > 0.99


# -- a convolution along neurons that have no order -------------------------------------------


def published_convolutions():
    """Four convolutions along the neurons of a point cloud (x, y, z, response)."""
    torch.manual_seed(0)
    steps = []
    for n_in, n_out in ((4, 32), (32, 64), (64, 128), (128, 256)):
        steps += [nn.Conv1d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2)]
    return nn.Sequential(*steps, nn.Flatten(), nn.LazyLinear(N_CLASSES)).eval()


@pytest.fixture
def cloud():
    """Trials, classes, places of neurons, and another order of them."""
    rng = np.random.default_rng(3)
    positions = rng.random((96, 3)) * [1000, 1000, 330]
    y = np.arange(120) % 3
    preferred = np.cos(positions @ rng.normal(size=(3, 3)) * 0.006)  # (N, C)
    return rng.normal(size=(120, 96)) + preferred[:, y].T, y, positions, rng.permutation(96)


def test_a_convolution_along_neurons_answers_to_their_order(cloud):
    x, _, positions, order = cloud
    place = np.broadcast_to(positions.T / 1000, (len(x), 3, 96))
    points = torch.as_tensor(np.concatenate([place, x[:, None]], axis=1), dtype=torch.float32)
    network = published_convolutions()
    with torch.no_grad():
        before, after = network(points), network(points[:, :, order])
    change = (after - before).std() / before.std(dim=0).mean()
    assert change > 0.5  # as large as what differs between trials


def test_our_network_of_a_set_of_neurons_does_not(cloud):
    x, y, positions, order = cloud
    decoder = NetworkDecoder("set", n_networks=1, n_epochs=12, learning_rate=0.01, device="cpu")
    decoder.fit(x, y, positions=positions, progress=False)
    before = decoder.predict_proba(x, positions=positions)
    after = decoder.predict_proba(x[:, order], positions=positions[order])
    assert np.allclose(before, after, atol=1e-5)
    assert np.ptp(before, axis=0).min() > 0.2  # and it does answer to the trials
    # a neuron at the place of another is another neuron
    assert not np.allclose(
        before, decoder.predict_proba(x[:, order], positions=positions), atol=0.1
    )
