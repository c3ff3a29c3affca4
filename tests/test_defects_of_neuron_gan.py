"""What was wrong in the published network and its analysis, each beside what is done here."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.special import expit
from sklearn.preprocessing import MinMaxScaler
from torch.nn import functional

from visualcortex import evaluation as ev
from visualcortex.models.adversaries import Critic
from visualcortex.models.deconvolution import active_frames
from visualcortex.models.neuron_gan import NeuronGAN


def twice_squashed_loss(score, target):
    """The published discriminator's loss: a sigmoid, and then a loss that applies another."""
    return functional.binary_cross_entropy_with_logits(score.sigmoid(), target)


def slope(loss, score, target):
    score = torch.tensor([score], dtype=torch.float64, requires_grad=True)
    value = loss(score, torch.tensor([target], dtype=torch.float64))
    return torch.autograd.grad(value, score)[0].item()


def test_a_sigmoid_before_the_logistic_loss_gives_it_a_floor():
    certain = torch.tensor([40.0, -40.0], dtype=torch.float64)
    target = torch.tensor([1.0, 0.0], dtype=torch.float64)
    right = functional.binary_cross_entropy_with_logits(certain, target)
    assert right.item() < 1e-15
    # a perfect discriminator still pays log(1 + 1/e) for real trials and log 2 for generated ones
    floor = (np.log1p(np.exp(-1)) + np.log(2)) / 2
    assert twice_squashed_loss(certain, target).item() == pytest.approx(floor)
    assert floor == pytest.approx(0.503, abs=5e-4)


@pytest.mark.parametrize("score", [-6.0, -2.0, 0.0, 3.0])
def test_a_sigmoid_before_the_logistic_loss_shrinks_its_gradient(score):
    right = slope(functional.binary_cross_entropy_with_logits, score, 1.0)
    wrong = slope(twice_squashed_loss, score, 1.0)
    s = expit(score)
    assert right == pytest.approx(s - 1)
    assert wrong == pytest.approx((expit(s) - 1) * s * (1 - s))
    # where the discriminator is most wrong it learns least: 809 times less at -6
    if score == -6.0:
        assert right / wrong == pytest.approx(809, abs=1)


def test_the_critic_scores_without_a_squash():
    torch.manual_seed(0)
    critic = Critic(5, 8, 2, width=16, levels=torch.ones(1))
    trials, stimulus = torch.rand(1, 40, 8, 5), torch.eye(2).repeat(20, 1)[None]
    score = critic(100 * trials, stimulus)
    assert score.min() < 0 or score.max() > 1
    # far from the data the score still rises, by products of frames: no plateau, no fading gradient
    far = critic(1e4 * trials, stimulus)
    farther = critic(2e4 * trials, stimulus)
    assert torch.allclose(farther / far, torch.full((1, 40), 4.0), atol=0.1)


def test_two_thresholds_give_one_recording_two_rates():
    rng = np.random.default_rng(0)
    # amplitudes of deconvolved events, exponential with mean 1, in a fifth of the frames
    inferred = rng.exponential(size=(200, 30, 10)) * (rng.random((200, 30, 10)) < 0.2)
    as_generated, as_recorded = (inferred > 0).mean(), (inferred > 0.5).mean()
    assert as_recorded / as_generated == pytest.approx(np.exp(-0.5), rel=0.02)


def test_one_rule_makes_the_frames_of_both():
    rng = np.random.default_rng(1)
    traces = xr.DataArray(
        rng.normal(size=(40, 8, 4)),
        dims=("trial", "time", "neuron"),
        coords={"time": np.arange(8) * 0.1},
        attrs={"quantity": "dF/F", "units": "1"},
    )
    active = active_frames(traces)
    labels = np.arange(40) % 2
    model = NeuronGAN(n_epochs=1, width=8).fit(active.to_numpy(), labels, progress=False)
    generated = active.copy(data=model.sample(labels, seed=0))
    # the generator speaks in frames already: the rule leaves them alone, whatever its threshold
    for threshold in (0.5, 5.0):
        assert active_frames(generated, threshold=threshold) is generated


def test_tanh_through_the_inverse_of_a_unit_scaler_leaves_the_data_range():
    fluorescence = np.linspace(50, 1000, 200)[:, None]
    scaler = MinMaxScaler().fit(fluorescence)
    generated = scaler.inverse_transform(np.tanh([[-30.0], [0.0], [30.0]]))[:, 0]
    # half of what tanh can give lies below the lowest value ever recorded, down to 2 min - max
    assert generated == pytest.approx([-900, 50, 1000])


@pytest.mark.parametrize("n_frames", [None, 5])
def test_generated_activity_has_the_range_of_the_data(n_frames):
    rng = np.random.default_rng(2)
    activity = np.clip(rng.normal(size=(60, n_frames or 1, 6)), 0, 1)
    activity = activity if n_frames else activity[:, 0]
    labels = np.arange(60) % 3
    model = NeuronGAN(n_epochs=3, width=8, lr=0.05).fit(activity, labels, progress=False)
    sampled = model.sample(np.tile(labels, 20), seed=0)
    assert sampled.min() >= 0
    assert sampled.max() <= 1


SESSIONS = np.repeat(np.arange(14), np.random.default_rng(3).integers(33, 40, size=14))


def test_a_split_by_row_order_tests_stimuli_that_were_never_trained():
    n_train = int(0.9 * len(SESSIONS))
    train, test = SESSIONS[:n_train], SESSIONS[n_train:]
    never = np.isin(test, np.setdiff1d(test, train)).mean()
    assert never > 0.6
    folds = (np.arange(len(SESSIONS)) >= n_train).astype(int)
    with pytest.raises(ValueError, match="training set lacks"):
        ev.decoding_correct(np.zeros((len(SESSIONS), 2)), SESSIONS, folds)


@pytest.mark.parametrize("n_rounds", [1, 4])
def test_our_splits_train_every_stimulus_that_they_test(n_rounds):
    for part in ev.blocked_parts(SESSIONS, n_rounds=n_rounds):
        assert len(np.unique(SESSIONS[part])) == 14


def test_labels_of_another_day_agree_with_half_of_the_trials_and_still_decode():
    rng = np.random.default_rng(4)
    trials = rng.normal(size=(len(SESSIONS), 30)) + 2 * rng.normal(size=(14, 30))[SESSIONS]
    # another day has other numbers of trials: two more stimuli in as many rows
    other = np.sort(np.arange(len(SESSIONS)) * 16 // len(SESSIONS))
    assert (other == SESSIONS).mean() < 0.6
    accuracy = [
        ev.decoding_correct(trials, labels, ev.shuffled_folds(labels, 5, rng=rng)).mean()
        for labels in (SESSIONS, other)
    ]
    # far above chance in spite of it, which is why nobody noticed
    assert accuracy[0] > 0.99
    assert 3 / 16 < accuracy[1] < 0.9


def test_rates_of_one_trial_a_condition_scatter_as_single_trials_do():
    rng = np.random.default_rng(5)
    n_stimuli, n_trials = 14, 36
    # rates of trials: a mean of its own for each neuron, and trials that vary as much as neurons
    means = rng.normal(size=200)
    trials = means + 4 * rng.normal(size=(n_stimuli * n_trials, 200))
    stimulus = np.repeat(np.arange(n_stimuli), n_trials)
    first = np.array([np.flatnonzero(stimulus == s)[0] for s in range(n_stimuli)])
    agreement = [np.corrcoef(ev.mean_rates(some), means)[0, 1] for some in (trials[first], trials)]
    # of unit variance over neurons, plus 16 / n of sampling
    assert agreement[0] == pytest.approx((1 + 16 / n_stimuli) ** -0.5, abs=0.1)
    assert agreement[1] == pytest.approx((1 + 16 / len(trials)) ** -0.5, abs=0.02)


def test_an_examiner_who_knows_the_candidate_flatters_it():
    rng = np.random.default_rng(6)
    centres = rng.normal(size=(6, 20))
    recorded_labels = np.repeat(np.arange(6), 20)
    recorded = centres[recorded_labels] + rng.normal(size=(120, 20))
    # the candidate knows little of the conditions, and writes trials that are alike within each
    labels = np.repeat(np.arange(6), 20)
    written = 0.2 * centres[labels] + rng.normal(size=(6, 20))[labels] + rng.normal(size=(120, 20))
    both = np.concatenate([recorded, written]), np.concatenate([recorded_labels, labels])
    right, flattering = (
        ev.inception_score(ev.class_probabilities(*lessons, written))
        for lessons in ((recorded, recorded_labels), both)
    )
    assert flattering > right + 0.5
