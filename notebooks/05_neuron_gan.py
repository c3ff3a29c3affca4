# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · The neuron-GAN
#
# **The question.** Can a network learn to write new trials of a recorded population, and by what
# would we know that they deserve belief?
#
# **The dataset.** By default a simulated population under calcium imaging, whose rates and
# correlations are known exactly. With `dataset="guan2018"`, the activity of mouse visual cortex
# that the original project used {cite}`gao2021neurogan`; with `dataset="guan2018_traces"`, its
# fluorescence frame by frame.
#
# **You will learn**
#
# - to look at a population before modelling it, and to find that a decoder may read the clock
#   rather than the stimulus;
# - what a conditional Wasserstein GAN with gradient penalty is, and how to train it so that it can
#   be stopped, resumed and repeated;
# - to judge synthetic activity against two marks: how far apart two recordings are (the ceiling),
#   and what a trivial surrogate reaches (the baseline);
# - how the original project came to believe its own numbers.
#
# **Time to run:** about two minutes on two processor cores. No download.

# %% [markdown]
# ## Parameters
#
# Every one can be changed from outside; values outside the brackets are refused.

# %% tags=["parameters"]
dataset: str = "simulated"  # the recording {simulated, guan2018, guan2018_traces}
seed: int = 11  # of every random draw [0, 1000000]
n_networks: int = 3  # GANs trained, each from a seed of its own [1, 50]
n_epochs: int = 250  # passes over the training trials [1, 100000]
batch_size: int = 32  # trials in a training step [2, 1024]
lr: float = 0.001  # learning rate of Adam [0.000001, 0.1]
b1: float = 0.0  # decay of Adam's mean of the gradient [0, 0.999]
b2: float = 0.9  # decay of Adam's mean of its square [0, 0.99999]
latent_dim: int = 64  # latent numbers behind one generated trial [1, 4096]
n_critic: int = 2  # steps of the critic for one of the generator [1, 100]
n_resamples: int = 1000  # bootstrap resamples behind each interval [100, 100000]

# %% [markdown]
# The second cell checks the parameters again, whoever executes the notebook, and starts the record
# of this run.

# %%
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np

import bookpress
import visualcortex
from visualcortex import figures
from visualcortex.evaluation import PopulationFeatures, intervals, scores, splits
from visualcortex.evaluation.surrogates import shuffle_trials
from visualcortex.models.deconvolution import active_frames
from visualcortex.models.neuron_gan import NeuronGAN

run = bookpress.begin("05_neuron_gan")
figures.use_style()
rng = np.random.default_rng(seed)

# %% [markdown]
# ## Data
#
# One call, whatever the recording. A simulation returns the same type as a recording from an
# animal, with one thing more: its truth.

# %%
recording = visualcortex.load(dataset, simulator="calcium_population", seed=seed)
run.uses(recording.provenance)
recording

# %% [markdown]
# What we model is *activity*: in which frames each neuron is active. Where the recording holds
# fluorescence, a frame is active when the fluorescence rises by more than its decay and its noise
# explain; where it holds activity already, it is taken as it is.

# %%
responses = active_frames(recording.responses)
activity = responses.to_numpy()  # (trial, time, neuron), or (trial, neuron)
stimulus, session = recording.stimulus, recording.session
rates = scores.trial_rates(activity)  # (trial, neuron)

# %% tags=["hide-input"]
run.quote(
    n_trials=recording.n_trials,
    n_neurons=recording.n_neurons,
    n_stimuli=len(np.unique(stimulus)),
    mean_activity=rates.mean(),
    time_axis=(
        "Each trial keeps its time axis, and the network writes whole trials, frame by frame."
        if recording.has_time else
        "This file has no time axis: each trial is one number a neuron, the fraction of its frames "
        "that were active. The chapter then models these rates; nothing it says is about timing."
    ),
)

# %% [markdown]
# There are {glue:text}`n_trials` trials of {glue:text}`n_neurons` neurons under
# {glue:text}`n_stimuli` stimuli, and a neuron is active in {glue:text}`mean_activity:.3f` of the
# frames. {glue:text}`time_axis`
#
# ### Look first
#
# All trials in the order of recording, one row a neuron.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Activity of every neuron in every trial, trials in the order of recording, neurons in the order of their mean; vertical lines separate the sessions.", "name": "fig-05-raster"}, "image": {"alt": "A raster image with one row a neuron and one column a trial; colour gives the fraction of active frames, and vertical lines separate the sessions."}}
order = rates.mean(axis=0).argsort()[::-1]
borders = np.flatnonzero(np.diff(session)) + 1
figure, ax = plt.subplots(figsize=(8, 3.4))
figures.raster(rates[:, order], ax=ax, quantity="fraction of frames active")
ax.vlines(borders, 0, rates.shape[1], color=figures.CHANCE, linewidth=0.6)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert (np.diff(session) >= 0).all(), "trials stand in the order of recording"
if recording.truth is not None:
    expected = recording.truth.active_fraction.mean(axis=0)
    assert np.corrcoef(rates.mean(axis=0), expected)[0, 1] > 0.8, "activity follows the truth"

# %% [markdown]
# Sessions differ at a glance. In the recording that this chapter is modelled on, every stimulus was
# shown in a session of its own {cite}`gao2021neurogan`; the simulation does the same. Rates differ
# between neurons by an order of magnitude, and neurons vary together from trial to trial.

# %%
correlations = scores.noise_correlations(activity, stimulus)
pairs = correlations[np.triu_indices(len(correlations), k=1)]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: mean activity of the neurons. Right: noise correlations of all pairs of neurons, the stimulus means removed.", "name": "fig-05-marginals"}, "image": {"alt": "Two histograms: the mean activity of the neurons, and the noise correlation of the pairs of neurons."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 2.8))
figures.histograms({"neurons": rates.mean(axis=0)}, quantity="fraction of frames active",
                   bins=25, ax=axes[0])
figures.histograms({"pairs": pairs}, quantity="noise correlation", bins=50, ax=axes[1])
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
independent = scores.noise_correlations(shuffle_trials(activity, stimulus, rng=rng), stimulus)
spread = np.nanstd(independent[np.triu_indices(len(independent), k=1)])
assert np.nanstd(pairs) > 1.5 * spread, "correlations exceed what sampling noise makes"

# %% [markdown]
# ### Is it the stimulus that a decoder reads?
#
# A readout that names the stimulus of a trial seems to prove that the population carries it. But
# where every stimulus is a session of its own, everything that drifts between sessions carries it
# too. Three numbers tell them apart as far as they can be told:
#
# 1. trials shuffled into folds, as the original did;
# 2. folds that are contiguous in time, so that neighbours do not stand on both sides;
# 3. *within* sessions, where the stimulus never changes: which half of its session is a trial from?
#    Whatever is decoded there is time: drift, or a state that outlasts a trial.

# %%
folds = splits.shuffled_folds(stimulus, 5, rng=rng)
shuffled = scores.decoding_correct(rates, stimulus, folds)

folds = splits.blocked_folds(session, 5)
blocked = scores.decoding_correct(rates, stimulus, folds)

halves = scores.half_of_session_correct(rates, session, n_folds=5, rng=rng)

# %% [markdown]
# Each becomes a claim: the share of trials decoded, beside what guessing gives. Successive trials are
# alike, so the interval resamples stretches of trials rather than trials.

# %%
def share(correct: np.ndarray, sessions: np.ndarray) -> intervals.Interval:
    """Share of right trials, interval over stretches of six trials within sessions."""
    return intervals.bootstrap_mean(
        correct, rng=rng, strata=sessions, block=6, n_resamples=n_resamples
    )


common = {
    "ceiling": 1.0, "n": len(rates), "unit": "of trials",
    "note": "Interval over stretches of six trials within sessions. Chance: the commonest "
    "label. Ceiling: every trial right; no tighter bound was computed.",
}

# %% [markdown]
# Guessing means naming the commonest condition, and for the half of the session a coin.

# %%
guess = np.unique(stimulus, return_counts=True)[1].max() / len(stimulus)
fifth = "a fifth of the trials, in turn"
run.record(
    bookpress.Claim.of(
        "decoding_shuffled", share(shuffled, session),
        chance=guess, held_out=f"{fifth}: random", **common,
    ),
    bookpress.Claim.of(
        "decoding_blocked", share(blocked, session),
        chance=guess, held_out=f"{fifth}: stretches", **common,
    ),
    bookpress.Claim.of(
        "half_of_session", share(halves, session),
        chance=0.5, held_out=f"{fifth}: random", **common,
    ),
)

# %% [markdown]
# The stimulus is decoded in {glue:text}`decoding_shuffled:.2f` of the trials when they are
# shuffled and in {glue:text}`decoding_blocked:.2f` when they are blocked, where guessing gives
# {glue:text}`decoding_blocked_chance:.2f`. Yet time alone is decoded too: in
# {glue:text}`half_of_session:.2f` of the trials the readout knows the half of the session, where
# chance is one half and no stimulus changes. Neither split can remove what differs *between*
# sessions.
#
# How much of the decoding could that be? A simulation can be taken apart. Here is the same
# population with its tuning switched off, with its drift switched off, and with neither. How much
# of each the simulation holds was chosen by us; the recording does not tell, and that is the point.

# %%
def decode_simulated(**settings: float) -> intervals.Interval:
    """Share of trials decoded, in blocks, from the population with other settings."""
    other = visualcortex.load("calcium_population", seed=seed, **settings)
    other_rates = scores.trial_rates(active_frames(other.responses).to_numpy())
    folds = splits.blocked_folds(other.session, 5)
    correct = scores.decoding_correct(other_rates, other.stimulus, folds)
    return share(correct, other.session)


no_tuning, no_drift = {"tuning": 0.0}, {"session_gain": 0.0, "session_drift": 0.0}
taken_apart = {
    "decoding_without_tuning": no_tuning,
    "decoding_without_drift": no_drift,
    "decoding_without_either": no_tuning | no_drift,
}

# %% tags=["hide-input"]
if recording.truth is not None:  # claims about the simulation belong to its run alone
    run.record(
        *(
            bookpress.Claim.of(
                name, decode_simulated(**settings),
                chance=guess, held_out=f"{fifth}: stretches", **common,
            )
            for name, settings in taken_apart.items()
        )
    )

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of trials decoded in each way, with intervals over stretches of trials; the grey mark of each row is its chance level. Where the truth is known, the last rows show the simulation with parts of it switched off.", "name": "fig-05-decoding"}, "image": {"alt": "A dot plot: stimulus decoded with shuffled trials, with blocked trials, half of the session, and stimulus decoded from simulations without tuning, without drift, and without either; each dot has an interval and a mark for chance."}}
rows = {
    "stimulus, trials shuffled": "decoding_shuffled",
    "stimulus, trials blocked": "decoding_blocked",
    "half of the session": "half_of_session",
    "stimulus, tuning switched off": "decoding_without_tuning",
    "stimulus, drift switched off": "decoding_without_drift",
    "stimulus, both switched off": "decoding_without_either",
}
shown = {row: run.claims[name] for row, name in rows.items() if name in run.claims}
figures.dot_plot(
    list(shown), [c.value for c in shown.values()], low=[c.low for c in shown.values()],
    high=[c.high for c in shown.values()], chance=[c.chance for c in shown.values()],
    quantity="share of trials decoded", limits=(0, 1),
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
if recording.truth is not None:
    alone, none = (run.claims[f"decoding_without_{k}"] for k in ("tuning", "either"))
    assert alone.low > none.high, "drift alone is decodable"

# %% [markdown]
# With no influence of the stimulus whatever, the readout still names it in
# {glue:text}`decoding_without_tuning:.2f` of the trials; with no drift it does so in
# {glue:text}`decoding_without_drift:.2f`, and with neither in
# {glue:text}`decoding_without_either:.2f`, where guessing gives
# {glue:text}`decoding_without_either_chance:.2f` and only states that outlast a trial can give more.
# High accuracy in such a recording is no evidence of a stimulus. So the condition that our network will be given is a *session*, and the
# chapter claims nothing about what the neurons see.
#
# ## Model
#
# Two networks play against each other. The generator turns latent noise and a condition into a
# trial; the critic $f$ scores trials, and is trained to score recorded ones higher:
#
# $$
# \max_f \; \mathbb{E}[f(x, s)] - \mathbb{E}[f(\tilde x, s)]
#   - \lambda\, \mathbb{E}\big[(\lVert \nabla_{\hat x} f(\hat x, s) \rVert - 1)^2\big].
# $$
#
# The last term holds the critic's slope near one, which makes the difference of the first two an
# estimate of a distance between distributions {cite}`arjovsky2017,gulrajani2017`. Neurons are
# *channels* of a convolution in time, as in CalciumGAN {cite}`li2020`: no neuron is next to another,
# so that their order cannot matter.
#
# Trials are split into stretches of contiguous trials: training, validation and test take turns four
# times in every session. The three parts then cover the same minutes of recording, and the test asks
# whether the network describes *these* minutes, not whether it would describe a later hour. The
# validation trials choose when to stop, and no network is fitted or chosen on test trials.
#
# *We* have seen them, though. The raster and the decoding above use every trial, and so do the
# thresholds of the active frames. The four rounds, what the classifier below is shown, and the
# defaults of the network were settled while this chapter was written, with test trials of other seeds
# and of the Guan-lab recording in sight. The seed printed here was fixed before anything had been run
# with it; a seed that you choose yourself is as clean a test.

# %%
train, validation, test = splits.blocked_parts(session, (0.6, 0.2, 0.2), n_rounds=4)
beside = np.isin(test - 1, train) | np.isin(test + 1, train)
run.quote(n_train=len(train), n_test=len(test), share_beside=beside.mean())

# %% [markdown]
# {glue:text}`n_train` trials train, {glue:text}`n_test` test; a share of
# {glue:text}`share_beside:.2f` of the test trials stand directly beside a training trial.
#
# The generator starts from the mean rates of the training trials: rates are put in, and what training
# has to find is how neurons vary together and in time. To see what it finds, a network that was never
# trained comes along. And since one network is one draw from a distribution of networks, we train
# several, alike in everything but their seeds.

# %% tags=["remove-output"]
seeds = np.random.SeedSequence(seed).generate_state(n_networks + 1).tolist()
sampling_seed = seeds.pop()
settings = {
    "batch_size": batch_size, "b1": b1, "b2": b2,
    "latent_dim": latent_dim, "n_critic": n_critic,
}
held_out = activity[validation], stimulus[validation]
networks = [
    NeuronGAN(n_epochs=n_epochs, lr=lr, seed=s, **settings).fit(
        activity[train], stimulus[train], validation=held_out
    )
    for s in seeds
]
untrained = NeuronGAN(n_epochs=1, lr=1e-12, seed=seeds[0], **settings).fit(
    activity[train], stimulus[train], progress=False
)

# %% [markdown]
# Training has no loss that simply falls. The critic's estimate of the distance rises while the
# critic learns and falls while the generator does; the energy distance to the validation trials
# {cite}`szekely2013` is the judge that neither network trains on, and its minimum chooses the
# weights that are kept.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Training of the networks, a line each. Left: the distance between recorded and generated trials as the critic estimates it. Right: energy distance between generated and validation trials, by which the kept weights are chosen.", "name": "fig-05-training"}, "image": {"alt": "Two line plots over epochs: the critic's estimate of the distance, and the energy distance to the validation trials; one line for each trained network."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 2.8))
for network in networks:
    figures.training_history(
        network.history_, {"wasserstein": "critic's distance", "validation": "energy distance"},
        axes=axes,
    )
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
for network in networks:
    judged, kept = network.history_["validation"], network.history_["kept"]
    assert judged[kept].item() == judged.min(), "the kept weights are the best on validation"

# %% [markdown]
# ## Evaluation
#
# The test set is opened. Every network writes as many trials as there are training trials, under the
# same conditions. Three other sets are measured in the same way: trials of the untrained network;
# the training trials with each neuron's trials shuffled, a model that knows no population; and the
# training trials as they are, the recording against itself.
#
# Where the truth is known there is a better mark than the recording itself: the population, of which
# the simulation gives as many trials as we want.

# %%
def write(network: NeuronGAN, conditions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trials of a network under the given conditions, and the conditions."""
    return network.sample(conditions, seed=sampling_seed), conditions


surrogate = shuffle_trials(activity[train], stimulus[train], rng=rng)
candidates = {
    "trial-shuffled": [(surrogate, stimulus[train])],
    "untrained": [write(untrained, stimulus[train])],
    "generated": [write(network, stimulus[train]) for network in networks],
    "recording itself": [(activity[train], stimulus[train])],
}
mark = "recording itself"

# %% [markdown]
# The population, where it is known:

# %%
if recording.truth is not None:
    many = visualcortex.load("calcium_population", seed=seed, trials_per_stimulus=600)
    population = active_frames(many.responses).to_numpy(), many.stimulus
    mark = "population"
    candidates[mark] = [population]

# %% [markdown]
# ### Mean rates
#
# Each neuron's mean over generated trials, beside its mean over the test trials.

# %%
real_rates = scores.mean_rates(activity[test])
written_rates = {
    name: [scores.mean_rates(trials) for trials, _ in sets]
    for name, sets in candidates.items()
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean activity of each neuron in generated trials of the first network, against its mean in the test trials. The dashed line is equality.", "name": "fig-05-rates"}, "image": {"alt": "Scatter plot with one dot a neuron: mean activity in generated trials against mean activity in test trials, and the line of equality."}}
figures.rate_scatter(
    real_rates, written_rates["generated"][0], quantity="activity (fraction of frames)"
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
wrong = np.corrcoef(real_rates, np.roll(written_rates["generated"][0], 1))[0, 1]
assert np.corrcoef(real_rates, written_rates["generated"][0])[0, 1] > wrong + 0.3

# %% [markdown]
# The claim is the correlation over neurons, averaged over the networks, with an interval over
# neurons.

# %%
def over_neurons(score: Callable, sets: list[np.ndarray]) -> intervals.Interval:
    """Score of the drawn neurons, mean over sets, interval over neurons."""
    return intervals.bootstrap(
        lambda neurons: np.mean([score(neurons, one) for one in sets]),
        recording.n_neurons, rng=rng, n_resamples=n_resamples,
    )


def same_rates(neurons: np.ndarray, rates: np.ndarray) -> float:
    """Correlation with the rates in the test trials."""
    return np.corrcoef(real_rates[neurons], rates[neurons])[0, 1]


rate_agreements = {
    name: over_neurons(same_rates, rates) for name, rates in written_rates.items()
}

# %% tags=["hide-input"]
test_facts = {
    "n": len(real_rates), "held_out": "test stretches, a fifth of every session",
    "note": "Interval over neurons, mean over networks. ",
}
run.record(
    bookpress.Claim.of(
        "rate_correlation", rate_agreements["generated"],
        chance=rate_agreements["untrained"].value, ceiling=rate_agreements[mark].value,
        **(test_facts | {"note": test_facts["note"] + "Baseline: the untrained network, which "
                         f"holds the mean rates of the training trials. Ceiling: the {mark}."}),
    )
)

# %% [markdown]
# The rates of generated and test trials correlate at {glue:text}`rate_correlation:.3f`, those of the
# untrained network and test trials at {glue:text}`rate_correlation_chance:.3f`. Agreement that the
# untrained network has already is not the work of the training, however good the figure looks.

# %% [markdown]
# ### Pairwise correlations
#
# Means are easy. What neurons share is harder, and is what a population model is for.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Noise correlations between neurons in test trials, in trials generated by the first network, and in the trial-shuffled surrogate; neurons in the same order in each.", "name": "fig-05-correlations"}, "image": {"alt": "Three square images of noise correlations between neurons, on one colour scale: test trials, generated trials, trial-shuffled trials."}}
test_correlations = scores.noise_correlations(activity[test], stimulus[test])
matrices = {"test trials": test_correlations}
for name in ("generated", "trial-shuffled"):
    matrices[name] = scores.noise_correlations(*candidates[name][0])
figures.correlation_matrices(matrices, order=figures.leading_order(test_correlations))
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
upper = np.triu_indices(recording.n_neurons, k=1)
spreads = {name: np.nanstd(matrix[upper]) for name, matrix in matrices.items()}
assert spreads["trial-shuffled"] < spreads["test trials"], "shuffling removes correlations"
assert abs(np.nanmean(matrices["trial-shuffled"][upper])) < 0.03, "none are left on average"

# %% [markdown]
# One number for it: the correlation, over pairs of neurons, between the two sets of correlations.
# Sampling noise in either set holds it below one, and the ceiling shows by how much.

# %%
def agreement(
    reference: np.ndarray, sets: list[tuple[np.ndarray, np.ndarray]]
) -> intervals.Interval:
    """Correlation of correlations, mean over sets of trials, interval over neurons."""

    def same_correlations(neurons: np.ndarray, other: np.ndarray) -> float:
        grid = np.ix_(neurons, neurons)
        # a neuron that was drawn twice makes no pair with itself
        real = np.where(np.equal.outer(neurons, neurons), np.nan, reference[grid])
        return scores.correlation_of_correlations(real, other[grid])

    others = [scores.noise_correlations(trials, labels) for trials, labels in sets]
    return over_neurons(same_correlations, others)


agreements = {name: agreement(test_correlations, sets) for name, sets in candidates.items()}

# %% tags=["hide-input"]
run.record(
    bookpress.Claim.of(
        "correlation_of_correlations", agreements["generated"],
        chance=agreements["trial-shuffled"].value, ceiling=agreements[mark].value,
        **(test_facts | {"note": test_facts["note"] + "Baseline: trial-shuffled training "
                         f"trials. Ceiling: the {mark}."}),
    )
)

# %% [markdown]
# How much of this rests on the parts covering the same minutes? With the test part at the end of
# every session instead, the recording agrees with itself to another degree:

# %%
early, _, late = splits.blocked_parts(session, (0.6, 0.2, 0.2))
late_correlations = scores.noise_correlations(activity[late], stimulus[late])
later = agreement(late_correlations, [(activity[early], stimulus[early])])
run.quote(itself=agreements["recording itself"].value, itself_later=later.value)

# %% [markdown]
# The training trials agree with the test trials to {glue:text}`itself:.2f`, and the beginnings of the
# sessions with their ends to {glue:text}`itself_later:.2f`.
#
# ### Can a classifier tell?
#
# The two-sample test {cite}`lopezpaz2017` asks for any difference: a classifier is trained to tell
# recorded from generated trials, and judged on trials that it has not seen. One half is ideal.
#
# What it is shown decides what it can find. Conditions differ so much that they would bury all else,
# so trials are described by their deviations from the mean of their condition: along the leading
# axes of the population, how large they are, how they hang together, and how activity persists from
# frame to frame. Means and axes come from the training trials.

# %%
features = PopulationFeatures().fit(activity[train], stimulus[train])
test_features = features.transform(activity[test], stimulus[test])


def told_apart(trials: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Whether each trial is classified rightly, test trials first."""
    described = features.transform(trials, conditions)
    return scores.two_sample_correct(test_features, described, rng=rng)


# %% [markdown]
# Held against the test trials are generated ones; validation trials, which are as real and as little
# known to the features; and validation trials shuffled. The training trials take part as well: the
# features know them, as they know the networks that started from their means, and what they are
# told apart by is not the networks' doing.

# %%
shuffled_validation = shuffle_trials(*held_out, rng=rng), stimulus[validation]
contestants = {
    "trial-shuffled": [shuffled_validation],
    "generated": [write(network, stimulus[test]) for network in networks],
    "training trials": [(activity[train], stimulus[train])],
    "recording itself": [held_out],
}
accuracy = {}
for name, sets in contestants.items():
    correct = np.mean([told_apart(trials, labels) for trials, labels in sets], axis=0)
    # a recorded trial and its opponent are drawn together
    pairs_correct = correct.reshape(2, -1).mean(axis=0)
    accuracy[name] = intervals.bootstrap_mean(
        pairs_correct, rng=rng, n_resamples=n_resamples
    )

# %% tags=["hide-input"]
run.record(
    bookpress.Claim.of(
        "two_sample_accuracy", accuracy["generated"], unit="of trials",
        chance=0.5, ceiling=accuracy["recording itself"].value, n=len(test),
        held_out="test stretches; of those and their opponents a fifth, in turn",
        note="Lower is better. Interval over test trials, mean over networks. Ceiling: "
        "validation against test trials, the recording against itself. Trial-shuffled: "
        f"{accuracy['trial-shuffled'].value:.2f}.",
    )
)
run.quote(
    two_sample_shuffled=accuracy["trial-shuffled"].value,
    two_sample_training=accuracy["training trials"].value,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Generated trials among the sets that they have to be compared with. Left: correlation of correlations with the test trials (higher is better). Right: share of trials that a classifier tells from test trials (lower is better; the dashed line is chance).", "name": "fig-05-verdict"}, "image": {"alt": "Two dot plots with a row for each set of trials: correlation of correlations with intervals over neurons, and two-sample accuracy with intervals over trials."}}
figure, axes = plt.subplots(1, 2, figsize=(9.5, 2.3))
panels = (
    (agreements, "correlation of correlations", None),
    (accuracy, "two-sample accuracy", 0.5),
)
for ax, (found, quantity, chance) in zip(axes, panels, strict=True):
    figures.dot_plot(
        list(found), [i.value for i in found.values()], low=[i.low for i in found.values()],
        high=[i.high for i in found.values()], chance=chance, quantity=quantity, ax=ax,
    )
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
itself, shuffled_too = (agreements[k].value for k in ("recording itself", "trial-shuffled"))
assert itself > shuffled_too, "shuffling destroys what the recording shares with itself"
assert accuracy["trial-shuffled"].value > accuracy["recording itself"].value, "and it shows"

# %% [markdown]
# The generated trials are told apart in {glue:text}`two_sample_accuracy:.2f` of the cases (95 %
# interval {glue:text}`two_sample_accuracy_low:.2f` to {glue:text}`two_sample_accuracy_high:.2f`),
# trial-shuffled ones in {glue:text}`two_sample_shuffled:.2f`, training trials in
# {glue:text}`two_sample_training:.2f`, and two parts of the recording that the features do not know
# in {glue:text}`two_sample_accuracy_ceiling:.2f`. Their noise correlations agree with those of the
# test trials to {glue:text}`correlation_of_correlations:.2f`, where the surrogate reaches
# {glue:text}`correlation_of_correlations_chance:.2f` and the best that can be had
# {glue:text}`correlation_of_correlations_ceiling:.2f`.
#
# ### Against the truth
#
# Where the truth is known, a stricter question can be asked: does the network know the population
# better than the trials that it was trained on tell it by themselves? The networks write twenty times
# as many trials, so that it is they who are judged and not the luck of a sample.

# %%
def condition_means(trials: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean activity of every neuron under every condition, (condition, neuron)."""
    means = scores.trial_rates(trials)
    return np.stack([means[labels == c].mean(axis=0) for c in np.unique(stimulus)])


def activity_agreement(
    reference: np.ndarray, sets: list[tuple[np.ndarray, np.ndarray]]
) -> intervals.Interval:
    """Correlation of condition means, mean over sets, interval over neurons."""

    def same_means(neurons: np.ndarray, other: np.ndarray) -> float:
        return np.corrcoef(reference[:, neurons].ravel(), other[:, neurons].ravel())[0, 1]

    return over_neurons(same_means, [condition_means(*one) for one in sets])


# %% [markdown]
# It is asked twice: of the activity of every neuron under every condition, and of the noise
# correlations of every pair. The baseline is what counting in the training trials gives.

# %%
if recording.truth is not None:
    plenty = [write(network, np.tile(stimulus[train], 20)) for network in networks]
    asked = {
        "activity_against_truth": (activity_agreement, condition_means(*population)),
        "correlations_against_truth": (agreement, scores.noise_correlations(*population)),
    }
    for name, (judge, true) in asked.items():
        counted = judge(true, candidates["recording itself"]).value
        run.record(
            bookpress.Claim.of(
                name, judge(true, plenty), chance=counted, ceiling=1.0,
                n=recording.n_neurons, held_out="the population of the simulation",
                note="Interval over neurons, mean over networks. Baseline: the training "
                "trials themselves. Ceiling: the truth, but for its sampling noise.",
            )
        )

# %% [markdown]
# For activity the networks reach {glue:text}`activity_against_truth:.3f`, where counting the training
# trials gives {glue:text}`activity_against_truth_chance:.3f`; for correlations
# {glue:text}`correlations_against_truth:.3f`, where counting gives
# {glue:text}`correlations_against_truth_chance:.3f`. Where a network stands above the count, it has
# smoothed the sample towards the population; where it stands below, training has cost what it was
# given.
#
# ## What went wrong before
#
# The original project {cite}`gao2021neurogan` is a student project like those this book is written
# for, and its report describes what the authors meant to do. The code did something else in places
# that are easy to miss. Each is rebuilt here in a few lines; `tests/test_defects_of_neuron_gan.py`
# holds a test for each.
#
# ### A sigmoid, and then another
#
# The report describes a Wasserstein GAN; the code trains with binary cross-entropy, and the
# discriminator ends in a sigmoid whose output the loss then squashes again. The discriminator can
# be as certain as it likes: the loss cannot fall below a floor, and the gradient that should teach
# it fades.

# %%
score = np.linspace(-8, 8, 161)  # the discriminator's opinion of a recorded trial


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Squash to the interval from nought to one."""
    return 1 / (1 + np.exp(-x))


once = np.log1p(np.exp(-score))
twice = np.log1p(np.exp(-sigmoid(score)))
run.quote(loss_floor=float(twice.min()))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Loss of a recorded trial against the discriminator's score, with the sigmoid applied once (as binary cross-entropy asks) and twice (as in the original).", "name": "fig-05-sigmoid"}, "image": {"alt": "Two curves of the loss against the score of the discriminator: with one sigmoid it falls towards zero, with two it levels off."}}
figure, ax = plt.subplots(figsize=(5, 2.8))
ax.plot(score, once, label="sigmoid once")
ax.plot(score, twice, label="sigmoid twice")
ax.set(xlabel="score of a recorded trial (a.u.)", ylabel="loss (nats)")
ax.legend()
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert np.isclose(twice.min(), np.log1p(np.exp(-1)), atol=1e-3), "the floor is log(1 + 1/e)"
assert once.min() < 1e-3, "one sigmoid has no floor"

# %% [markdown]
# However sure it is, the loss stays above {glue:text}`loss_floor:.2f` nats, where with one sigmoid it
# tends to nought. The critic of this chapter ends in no sigmoid at all.
#
# ### Two thresholds for one comparison
#
# Generated activity counted as active above zero, recorded activity above one half. Here both rules
# meet the *same* numbers, the recorded activity of the test trials.

# %%
graded = rates[test]  # fraction of active frames, (trial, neuron)
run.quote(rate_above_zero=(graded > 0).mean(), rate_above_half=(graded > 0.5).mean())

# %% [markdown]
# The two rules give shares of {glue:text}`rate_above_zero:.3f` and {glue:text}`rate_above_half:.3f`
# for identical activity. Any difference between recorded and generated rates could be produced, or
# hidden, by the choice. In this chapter one function makes activity of fluorescence, and the
# network writes activity.
#
# ### Training and test split by row
#
# The original trained on the first rows of the file and tested on the rest. Rows are in the order of
# recording, and every stimulus is a session.

# %%
n_first = int(0.8 * recording.n_trials)
unseen = np.setdiff1d(stimulus[n_first:], stimulus[:n_first])
unseen_blocked = np.setdiff1d(stimulus[test], stimulus[train])
run.quote(n_unseen=len(unseen), n_unseen_blocked=len(unseen_blocked))
try:
    folds = (np.arange(recording.n_trials) >= n_first).astype(int)
    scores.decoding_correct(rates, stimulus, folds)
except ValueError as error:
    print(error)

# %% [markdown]
# {glue:text}`n_unseen` of the {glue:text}`n_stimuli` conditions appear in the test set only; the
# split of this chapter has {glue:text}`n_unseen_blocked` such conditions, and the library refuses
# such a split by name.
#
# ## Explore
#
# With the notebook open, choose a condition and page through trials: recorded on the left, generated
# on the right.

# %% tags=["remove-output"]
from visualcortex.widgets import activity_explorer, activity_small_multiples

frame_rate = 1 / float(np.diff(responses["time"])[0]) if recording.has_time else None
shown = (activity[test], candidates["generated"][0][0], stimulus[test], stimulus[train])
activity_explorer(*shown, frame_rate=frame_rate, quantity="active")

# %% [markdown]
# For readers without a kernel, the first trial of some conditions:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The first recorded test trial (above) and the first generated trial (below) of some conditions, one column each.", "name": "fig-05-explore"}, "image": {"alt": "Small raster images in two rows: recorded trials above, generated trials of the same conditions below."}}
activity_small_multiples(*shown, frame_rate=frame_rate, quantity="active")
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
if recording.has_time:
    assert np.isin(candidates["generated"][0][0], (0, 1)).all(), "frames are active or not"

# %% [markdown]
# ## Exercises
#
# ```{exercise} One network or several?
# :label: ex-05-networks
# The claims average over networks. How far do single networks lie from each other, beside the
# interval over neurons? Compute the rate correlation of each network by itself.
# ```
#
# ```{solution-start} ex-05-networks
# :class: dropdown
# ```

# %%
[round(float(np.corrcoef(real_rates, r)[0, 1]), 3) for r in written_rates["generated"]]

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} A surrogate that fools the rates
# :label: ex-05-surrogate
# Which of the measures of this chapter cannot tell the trial-shuffled surrogate from the recording,
# and why is that no fault of the measure?
# ```
#
# ```{solution-start} ex-05-surrogate
# :class: dropdown
# Mean rates cannot: shuffling trials within a condition moves every neuron's activity, but changes
# none of it, so that all its means stay as they were. Rates ask about single neurons, and single
# neurons were left alone.
# ```

# %%
surrogate_rates = scores.mean_rates(surrogate)
assert np.allclose(surrogate_rates, scores.mean_rates(activity[train]))

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} More latent numbers
# :label: ex-05-latent
# Re-run the chapter with `-p latent_dim 2` and with a larger number. Which claims change first?
# ```
#
# ```{solution} ex-05-latent
# :class: dropdown
# `make run CH=05 ARGS="-p latent_dim 2"` leaves its claims in `results/05_neuron_gan/`. What neurons
# share has to pass through the latent numbers, so the correlations lose before the rates do.
# ```
#
# ## References
#
# The original project: {cite:t}`gao2021neurogan`. The method: {cite:t}`arjovsky2017`,
# {cite:t}`gulrajani2017`, and their first uses on populations of neurons, {cite:t}`molano2018` and
# {cite:t}`li2020`. The judges: {cite:t}`lopezpaz2017` and {cite:t}`szekely2013`; noise correlations
# are reviewed by {cite:t}`cohen2011`. Full entries stand in the [bibliography](../bibliography.md).
