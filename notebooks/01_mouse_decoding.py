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
# # 01 · What did the mouse see?
#
# **The question.** Thousands of neurons of mouse {term}`V1` were recorded while the animal was shown
# thousands of pictures. How well can be told from their responses *which* picture it was, and what
# *kind* of picture?
#
# **The dataset.** By default a simulated V1, whose tuning, noise and ideal observers are known. With
# `dataset="stringer2018b"`, ten thousand neurons under 2,800 photographs, recorded in seven
# sessions {cite}`stringer2019`.
#
# **You will learn**
#
# - what preprocessing does to signal and to noise, and what each step is worth;
# - to decode the identity of a picture, and to compare the decoder with an {term}`ideal observer`;
# - to measure how many dimensions the responses have, and how far that measure can be trusted;
# - to decode categories without fooling yourself: splits by image, unbalanced classes, baselines;
# - what is lost when neurons are put on a grid, and how one mouse can be read by others;
# - how an earlier attempt at this came to decode nothing at all.
#
# **You need** NumPy, and to have met a correlation, a covariance matrix and a
# linear classifier. No chapter comes before this one; words of the field stand in the
# [glossary](../glossary.md).
#
# **Time to run:** about a minute and a half on two processor cores. No download.

# %% [markdown]
# ## Parameters
#
# Every one can be changed from outside; values outside the brackets are refused.

# %% tags=["parameters"]
dataset: str = "simulated"  # the recording {simulated, stringer2018b}
seed: int = 21  # of every random draw [0, 1000000]
mouse: int = 0  # which recording [0, 6]
n_mice: int = 5  # mice that are compared [2, 7]
n_components: int = 32  # spontaneous dimensions taken out [0, 512]
n_matched: int = 2048  # neurons at most that whitened decoders read [256, 20000]
n_factors: int = 128  # shared dimensions in the model of the noise [1, 1024]
n_folds: int = 5  # folds of images [3, 20]
n_axes: int = 50  # principal axes that linear decoders read, and twice as many [2, 100]
voxel_um: float = 300.0  # side of a voxel for the network, µm [20, 500]
sheet_um: float = 125.0  # side of a voxel on the sheet that mice share, µm [20, 500]
n_networks: int = 2  # networks in an ensemble [1, 50]
n_epochs: int = 30  # passes over the training images at most [1, 10000]
n_resamples: int = 1000  # bootstrap resamples behind each interval [100, 100000]

# %% [markdown]
# The second cell checks the parameters again and starts the record of this run.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import bookpress
import visualcortex
from visualcortex import figures, voxels
from visualcortex.evaluation import categories, identity, intervals, observers, reliability
from visualcortex.evaluation.across import Animal, read_by_others, read_through_images
from visualcortex.evaluation.held_out import held_out_predictions
from visualcortex.models.decoders import NetworkDecoder
from visualcortex.models.gabor import GaborPyramid
from visualcortex.models.matching import NoiseWhitening, WhitenedMatcher
from visualcortex.models.readouts import ShrinkageLDA
from visualcortex.preprocessing import SpontaneousScaler, split_half
from visualcortex.simulators import scenes
from visualcortex.simulators.power_law import power_law_halves

run = bookpress.begin("01_mouse_decoding")
figures.use_style()
rng = np.random.default_rng(seed)

# %% [markdown]
# ## Data
#
# One call, whatever the recording: responses to every presentation, activity without any picture,
# the place of each neuron, the pictures and their categories.

# %%
recording = visualcortex.load(dataset, simulator="v1", seed=seed, mouse=mouse)
run.uses(recording.provenance)
recording

# %% [markdown]
# As published, neurons with the label of inhibitory cells are left out {cite}`stringer2019`, and so
# are neurons that never change.

# %%
def usable_neurons(one: visualcortex.Recording) -> np.ndarray:
    """Neurons without the label of inhibitory cells that respond at all."""
    unlabelled = np.flatnonzero(~one.neurons["red"].to_numpy())
    return np.setdiff1d(unlabelled, one.silent_neurons)


neurons = usable_neurons(recording)
responses = recording.responses.to_numpy()[:, neurons]  # (presentation, neuron)
spontaneous = recording.spontaneous.to_numpy()[:, neurons]  # (frame, neuron)
positions = recording.neurons[["x_um", "y_um", "z_um"]].to_numpy()[neurons]
stimulus, images = recording.stimulus, recording.images
truth = recording.truth

# %% tags=["hide-input"]
words, sizes = np.unique(recording.stimuli["category"], return_counts=True)
labelled = words != "unknown"
run.quote(
    n_neurons=len(neurons), n_presentations=len(responses), n_pictures=len(np.unique(stimulus)),
    n_spontaneous=len(spontaneous), n_categories=int(labelled.sum()),
    smallest=int(sizes[labelled].min()), largest=int(sizes[labelled].max()),
    n_unknown=int(sizes[~labelled].sum()),
    made=(
        "Simulated pictures are made of edges and light, without a subject. In what their "
        "categories differ, and how far they lie apart, was our choice, made with the baselines "
        "below in sight; photographs seem to be harder."
        if recording.truth is not None else
        "The categories are those that were published with the recordings."
    ),
)

# %% [markdown]
# There are {glue:text}`n_presentations` presentations of {glue:text}`n_pictures` pictures to
# {glue:text}`n_neurons` neurons, and {glue:text}`n_spontaneous` frames of activity without pictures.
# The pictures fall into {glue:text}`n_categories` categories of {glue:text}`smallest` to
# {glue:text}`largest`, and {glue:text}`n_unknown` belong to none that anybody is sure of.
#
# ### Look first
#
# One picture of every category, and where the neurons are.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One picture of each category. Simulated pictures have no subject: their categories differ in orientation, in the place of the object and in the layout of light.", "name": "fig-01-pictures"}, "image": {"alt": "A row of small grey pictures, one for each category, with the name of the category above."}}
category = recording.stimuli["category"].to_numpy()
examples = [np.flatnonzero(category == word)[0] for word in words]
figures.image_grid(images[examples], words, n_columns=6, centre=float(np.mean(images)))
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert (category[examples] == words).all(), "each picture stands under its own name"
assert len(images) == len(category), "row k of the table is picture k"

# %% [markdown]
# {glue:text}`made`

# %% [markdown]
# ```{margin}
# Neighbours look at neighbouring places: the order that this map shows is called {term}`retinotopy`.
# What a neuron does not share with its neighbours is the orientation that it prefers, in the mouse.
# ```
# Where each neuron looks can be seen without any model: correlate its response with the local
# contrast of the pictures.

# %%
first_shown = np.unique(stimulus, return_index=True)[1]  # one presentation of each picture
contrast = np.abs(images[stimulus[first_shown]] - images.mean())
blocks = contrast[:, ::4, ::4].reshape(len(contrast), -1)  # (picture, place)
blocks = (blocks - blocks.mean(axis=0)) / (blocks.std(axis=0) + 1e-9)
evoked = responses[first_shown]
evoked = (evoked - evoked.mean(axis=0)) / (evoked.std(axis=0) + 1e-9)
maps = evoked.T @ blocks / len(blocks)  # (neuron, place)
width = contrast[:, ::4, ::4].shape[2]
column = maps.argmax(axis=1) % width / width  # 0 left, 1 right

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Neurons in the plane of the cortex; colour shows in which part of the picture local contrast goes best with their response. Shown are the half of the neurons where it does so most.", "name": "fig-01-map"}, "image": {"alt": "A scatter plot of neurons over the two horizontal coordinates of cortex, coloured by the horizontal place in the picture that drives them."}}
strong = maps.max(axis=1) > np.median(maps.max(axis=1))
figure, ax = plt.subplots(figsize=(5.2, 4))
dots = ax.scatter(*positions[strong, :2].T, c=column[strong], s=7, cmap="cividis")
figure.colorbar(dots, label="place in the picture (0 left, 1 right)")
ax.set(xlabel="x (µm)", ylabel="y (µm)", aspect="equal")
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
if truth is not None:
    azimuth = truth.neurons.table["azimuth"].to_numpy()[neurons]
    assert np.corrcoef(azimuth[strong], column[strong])[0, 1] > 0.3, "places follow receptive fields"

# %% [markdown]
# ## Model
#
# ### Preprocessing, step by step
#
# Neurons vary a good deal without any picture. The published recipe measures this while nothing is
# shown: each neuron is expressed in units of its spontaneous mean and standard deviation, and the
# leading spontaneous dimensions are projected out {cite}`stringer2019`. Nothing here is fitted to
# responses, so nothing can leak from test to training.

# %%
raw = SpontaneousScaler(n_components=0).fit(spontaneous)
scaler = SpontaneousScaler(n_components=n_components).fit(spontaneous)
steps = {
    "as recorded": split_half(responses, stimulus),
    "in spontaneous s.d.": split_half(raw.transform(responses), stimulus),
    "spontaneous dimensions out": split_half(scaler.transform(responses), stimulus),
}
halves = steps["spontaneous dimensions out"]

# %% [markdown]
# ```{margin}
# Repeats are compared in [chapter 03a](03a_it_prediction.ipynb) too. There the agreement of two halves
# bounds what any model of a site can explain; here it says how much of a response is worth decoding.
# ```
# Every picture was shown twice. What the two responses share is signal; the
# {term}`fraction of signal variance <signal variance>` is their covariance over the pictures, over the
# mean of their variances. Identity is decoded by looking, for each second response, for the first
# response that correlates best with it.

# %%
signal = {name: reliability.signal_variance(h.first, h.second) for name, h in steps.items()}
found = {name: identity.identity_correct(h.first, h.second) for name, h in steps.items()}


def over_neurons(values: np.ndarray) -> intervals.Interval:
    """Mean with its interval over neurons."""
    return intervals.bootstrap_mean(values, rng=rng, n_resamples=n_resamples)


def over_pictures(values: np.ndarray) -> intervals.Interval:
    """Share of pictures with its interval over pictures."""
    return intervals.bootstrap_mean(values, rng=rng, n_resamples=n_resamples)


signal_by_step = {name: over_neurons(v) for name, v in signal.items()}
found_by_step = {name: over_pictures(v) for name, v in found.items()}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What each step of preprocessing does. Left: fraction of signal variance, mean over neurons with its interval over neurons. Right: share of pictures that are identified by correlation, with its interval over pictures; the grey line is chance.", "name": "fig-01-steps"}, "image": {"alt": "Two dot plots with a row for each step of preprocessing: fraction of signal variance, and share of pictures identified."}}
figure, axes = plt.subplots(1, 2, figsize=(9.5, 2.2))
chance = 1 / len(halves.images)
panels = (
    (signal_by_step, "fraction of signal variance", None),
    (found_by_step, "share of pictures identified", chance),
)
for ax, (found_here, quantity, level) in zip(axes, panels, strict=True):
    rows = found_here.values()
    figures.dot_plot(
        list(found_here), [i.value for i in rows], low=[i.low for i in rows],
        high=[i.high for i in rows], chance=level, quantity=quantity, ax=ax,
    )
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
values = [i.value for i in signal_by_step.values()]
assert np.isclose(values[0], values[1], atol=1e-3), "scaling a neuron moves no share of its variance"
if n_components > 0:
    assert values[2] > values[1], "taking shared noise out leaves a larger share to the signal"

# %% [markdown]
# Scaling changes no neuron's share of signal but does change which neurons weigh most in a
# correlation. Taking spontaneous dimensions out raises the share of signal, at the price of whatever
# signal lies in those dimensions. A simulation can tell whether the estimate is right: its true share
# of signal is found by sending noise-free responses and pure noise through the same steps.

# %%
def true_share() -> float:
    """Share of the signal in the variance that preprocessing leaves, mean over neurons."""

    def left_over(values: np.ndarray) -> np.ndarray:
        units = truth.offset[neurons] + truth.scale[neurons] * values[:, neurons]
        return scaler.transform(units).var(axis=0)

    evoked = left_over(truth.signal)
    noise = left_over(truth.noise(len(spontaneous), rng=rng))
    return float((evoked / (evoked + noise)).mean())


# %% tags=["hide-input"]
run.record(
    bookpress.Claim.of(
        "signal_variance", signal_by_step["spontaneous dimensions out"], unit="of the variance",
        chance=signal_by_step["as recorded"].value,
        ceiling=true_share() if truth is not None else None, n=len(neurons),
        held_out="nothing is fitted to responses",
        note="Interval over neurons. Baseline: the same responses as recorded. Ceiling: the share "
        "of the signal in this simulation, none is known of a real recording.",
    )
)

# %% [markdown]
# Of the variance of a response, {glue:text}`signal_variance:.3f` is signal after preprocessing (95 %
# interval {glue:text}`signal_variance_low:.3f` to {glue:text}`signal_variance_high:.3f`); before, it
# was {glue:text}`signal_variance_chance:.3f`. The true share, known here, is
# {glue:text}`signal_variance_ceiling:.3f`. Of the recording that the authors analyse in their own
# notebook, .165 was published {cite}`stringer2019`; the simulation was made to agree with it.
#
# ### Whitening: what a better decoder would know

# %% [markdown]
# ```{margin}
# Why $1 + 2\lambda$? The decoder does not know the mean response to a picture. It compares one noisy look
# with another, and each brings noise of its own.
# ```
# Correlation treats all neurons alike. Someone who knew how the noise hangs together would weigh
# directions by their reliability. In the space where the noise is white ({term}`whitening`), an axis on
# which the signal has power $\lambda$ counts with the weight
#
# $$
# w = \frac{\lambda}{1 + 2\lambda}
# $$
#
# in the likelihood ratio of "the same picture" against "another". The noise is learnt from
# spontaneous activity, the signal from the two presentations of *other* pictures: the pictures are
# cut in two, and each part is decoded with what the other has taught.

# %%
scaled = steps["in spontaneous s.d."]
quiet = raw.transform(spontaneous)
part = rng.permutation(len(scaled.images)) % 2  # which half of the pictures


def matched(chosen: np.ndarray) -> np.ndarray:
    """Whether each picture is identified, by the whitened decoder of some neurons."""
    found = np.empty(len(part), dtype=bool)
    for decoded in (0, 1):
        teach = part != decoded
        x, y = scaled.first[:, chosen], scaled.second[:, chosen]
        matcher = WhitenedMatcher(min(n_factors, len(chosen) // 2))
        matcher.fit(quiet[:, chosen], x[teach], y[teach])
        nearest = identity.nearest_image(matcher.transform(x), matcher.transform(y[~teach]))
        found[~teach] = nearest == np.flatnonzero(~teach)
    return found


# %% [markdown]
# Where the truth is known, there is an ideal observer: it knows the covariance of the signal and of
# the noise, and has, like the decoders, one noisy look at each picture to compare with.

# %%
def ideal(chosen: np.ndarray) -> np.ndarray:
    """Whether each picture is identified by the ideal observer of some neurons."""
    own = neurons[chosen]
    units = (recording.responses.to_numpy()[:, own] - truth.offset[own]) / truth.scale[own]
    first, second = split_half(units, stimulus)[1:]
    signal_covariance = np.cov(truth.signal[:, own].T).reshape(len(own), len(own))
    mean = truth.signal[:, own].mean(axis=0)
    noise = truth.noise_covariance[np.ix_(own, own)]
    return observers.ideal_identity(first - mean, second - mean, signal_covariance, noise)


# %% [markdown]
# ## Evaluation
#
# ### Which picture was it?
#
# Four decoders, from one neuron to all. The first correlates, after expressing each neuron in its
# s.d. over the pictures, as the published decoder does; the second ranks raw dot products, as the
# notebook published with the data does; the third whitens; the fourth is the ideal observer.

# %%
def standardised(half: np.ndarray) -> np.ndarray:
    """Each neuron over its s.d. over the pictures of this half, about its mean."""
    return (half - half.mean(axis=0)) / np.maximum(half.std(axis=0), 1e-6)


counts = [*2 ** np.arange(int(np.log2(len(neurons) - 1)) + 1), len(neurons)]
subsets = {"counts": counts, "n_draws": 3, "rng": rng}
centred = [half - half.mean(axis=0) for half in halves[1:]]
published = identity.identity_by_neurons(
    *map(standardised, halves[1:]), **(subsets | {"counts": counts[2:]})
)  # (count, draw, picture); a correlation of fewer than three neurons says nothing
products = identity.identity_by_neurons(*centred, metric="dot", **subsets)

# %% [markdown]
# The whitened decoder and the ideal observer are fitted for each number of neurons, so one random
# order of the neurons has to do.

# %%
order = rng.permutation(len(neurons))
some = [n for n in {*counts[4::2], min(n_matched, len(neurons))} if n <= n_matched]
some = sorted(some)
whitened = {n: matched(order[:n]) for n in some}
known_for = sorted({some[-1], *(n for n in counts[:-2:2] if n < some[-1])})
best_possible = {n: ideal(order[:n]) for n in known_for} if truth is not None else {}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of pictures identified, against the number of neurons. Bands are 95 % intervals over pictures; the dashed line is chance.", "name": "fig-01-identity"}, "image": {"alt": "Curves of the share of pictures identified against the number of neurons, both axes logarithmic: dot products, correlation, whitened, and where it is known the ideal observer, above a line for chance."}}
decoded = {
    "dot products": (counts, products.mean(axis=1)),
    "correlation": (counts[2:], published.mean(axis=1)),
    "whitened": (some, np.array(list(whitened.values()))),
}
if best_possible:
    decoded["ideal observer"] = (known_for, np.array(list(best_possible.values())))
figure, ax = plt.subplots(figsize=(6.4, 3.8))
for name, (n_read, hits) in decoded.items():
    band = [over_pictures(row) for row in hits]
    value, low, high = np.maximum(np.transpose(band), chance / 3)
    figures.curves(
        n_read, {name: (value, low, high)}, ax=ax, log="xy", xlabel="neurons",
        ylabel="share of pictures identified",
        colours=[figures.CEILING] if name == "ideal observer" else None,
        chance=chance if name == "dot products" else None,
    )
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert products[-1].mean() > 5 * chance, "pictures are identified above chance"
assert (products[-1].std(axis=0) == 0).all(), "all neurons are the same neurons in each draw"

# %% tags=["hide-input"]
identified = {
    "identity_published": (published[-1, 0], "the s.d. over pictures is that of the half read"),
    "identity_correlation": (found["spontaneous dimensions out"], "nothing is fitted to them"),
    "identity_dot_products": (products[-1, 0], "the mean is that of the half read"),
    "identity_whitened": (whitened[some[-1]], "fitted to the other half of the pictures"),
}
bound = best_possible[some[-1]].mean() if best_possible else None
run.record(
    *(
        bookpress.Claim.of(
            name, over_pictures(hits), unit="of pictures", chance=chance, ceiling=bound,
            n=len(hits), held_out=f"second presentations; {held}",
            note="Interval over pictures. Ceiling: the ideal observer of a simulation, which has "
            "one look at each picture to compare with; none is known of a real recording.",
        )
        for name, (hits, held) in identified.items()
    )
)

# %% [markdown]
# Of the pictures, {glue:text}`identity_published:.2f` are identified as published (95 % interval
# {glue:text}`identity_published_low:.2f` to {glue:text}`identity_published_high:.2f`), where guessing
# gives {glue:text}`identity_published_chance:.4f`. The published figures are .755 for correlation, on
# average over seven recordings, and .41 for raw products, of one of them {cite}`stringer2019`.
#
# Two steps differ between these decoders. Dividing by the norm helps: on the same responses, raw dot
# products, which let a presentation with large responses attract everything, find
# {glue:text}`identity_dot_products:.2f`, and correlation {glue:text}`identity_correlation:.2f`. Giving
# all neurons the same variance is another matter: where many neurons hardly respond, it gives their
# noise the weight of a signal. How the two steps add up depends on the recording.
#
# Whitened, the same responses give {glue:text}`identity_whitened:.2f`, where the ideal observer finds
# {glue:text}`identity_whitened_ceiling:.2f`. What looked like a limit of the cortex was in large part
# one of the decoder.
#
# ### How many dimensions?
#
# Cross-validated PCA ({term}`cvPCA`) finds axes in the first presentations and measures along them the
# covariance of first and second: noise, which is not repeated, adds nothing on average
# {cite}`stringer2019`. The variance along the n-th axis falls as $n^{-\alpha}$.

# %%
spectrum = reliability.cvpca(halves.first, halves.second, rng=rng)
law = reliability.power_law(spectrum)

# %% [markdown]
# Its interval comes from a jackknife: the exponent without each fifth of the pictures in turn.

# %%
fifths = rng.permutation(len(halves.images)) % 5
without = np.array([
    reliability.power_law(
        reliability.cvpca(
            halves.first[fifths != k], halves.second[fifths != k], n_shuffles=1, rng=rng
        )
    ).exponent
    for k in range(5)
])
error = np.sqrt(4 / 5 * np.square(without - without.mean()).sum())
exponent = intervals.Interval(
    law.exponent, law.exponent - 1.96 * error, law.exponent + 1.96 * error
)

# %% [markdown]
# How far can it be trusted? Populations whose exponent is exactly known tell: with private noise and
# much signal, with private noise and the share of signal measured here, and with the same share but
# noise that many neurons share.

# %%
known = [0.7, 1.0, 1.3, 1.6]
n_made = 1000  # neurons
share = float(np.nanmean(signal["spontaneous dimensions out"]))
loadings = rng.standard_normal((n_made, 60)) / np.sqrt(60)
kinds_of_noise = {
    "private, half of it signal": {"signal_variance": 0.5},
    "private, signal as here": {"signal_variance": share},
    "shared, signal as here": {"signal_variance": share, "loadings": loadings},
}


def exponent_found(exponent: float, **noise) -> float:
    """Exponent that cvPCA finds in a population with a known one."""
    made = power_law_halves(exponent, 800, n_made, rng=rng, **noise)
    found = reliability.cvpca(*made, n_shuffles=1, rng=rng)
    return reliability.power_law(found, ranks=(11, 250)).exponent


measured = {
    name: np.array([exponent_found(exponent, **noise) for exponent in known])
    for name, noise in kinds_of_noise.items()
}

# %% tags=["hide-input"]
true_law = None
lines = {"cross-validated": spectrum}
if truth is not None:
    of_signal = truth.signal[halves.images][:, neurons]
    of_signal = of_signal - of_signal.mean(axis=0)
    known_spectrum = np.linalg.svd(of_signal, compute_uv=False) ** 2 / len(of_signal)
    lines["signal, known"] = known_spectrum[: len(spectrum)]
    true_law = reliability.power_law(lines["signal, known"])

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: variance of the signal along the principal axes, against their rank, with power laws fitted over the published range of ranks; where it is known, the spectrum of the noise-free responses. Right: measured against true exponent in populations made to be power laws; the dashed line is equality.", "name": "fig-01-spectrum"}, "image": {"alt": "Left, a log-log plot of variance against rank with fitted lines. Right, measured exponent against true exponent for private and for shared noise, with the line of equality."}}
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
fits = {"cross-validated": law} | ({"signal, known": true_law} if true_law else {})
figures.spectrum(lines, fits=fits, ax=axes[0])
axes[1].plot(known, known, color=figures.CHANCE, linestyle="--", label="equal")
figures.curves(
    known, measured, ax=axes[1], xlabel="true exponent", ylabel="exponent measured by cvPCA"
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
trusted = measured["private, half of it signal"]
assert np.abs(trusted - known).max() < 0.3, "with enough signal the exponent is found"
assert (np.diff(trusted) > 0).all(), "and steeper spectra are measured as steeper"

# %% tags=["hide-input"]
run.record(
    bookpress.Claim.of(
        "eigenspectrum_exponent", exponent, chance=0.0,
        ceiling=None if true_law is None else true_law.exponent, n=len(halves.images),
        held_out="second presentations, and the first in turn",
        note="Interval by a jackknife over fifths of the pictures. Baseline: a flat spectrum. "
        "Ceiling: the exponent of the noise-free responses, which only a simulation knows.",
    )
)
run.quote(
    **{
        f"bias_{key}": float((values - known).mean())
        for key, values in zip(("clear", "private", "shared"), measured.values(), strict=True)
    }
)

# %% [markdown]
# The exponent is {glue:text}`eigenspectrum_exponent:.2f` (95 % interval
# {glue:text}`eigenspectrum_exponent_low:.2f` to {glue:text}`eigenspectrum_exponent_high:.2f`);
# photographs gave 1.04 in the published recordings, on average {cite}`stringer2019`. And yet the
# noise-free responses of this simulation have an exponent of
# {glue:text}`eigenspectrum_exponent_ceiling:.2f`. The covariance along a given axis is estimated
# without bias, but the axes themselves are found in noise, and the interval knows nothing of that. In
# populations of known exponent the measured one is off by {glue:text}`bias_clear:+.2f` on average when
# half of the variance is signal, by {glue:text}`bias_private:+.2f` with as little signal as here, and by
# {glue:text}`bias_shared:+.2f` when noise is shared as well. A number near one is what this simulation
# was made to give, and what photographs gave; it is no proof that the responses themselves fall off
# like that. A broken power law has been found to describe the recordings better
# {cite}`pospisil2025`.

# %% [markdown]
# ### Neurons on a grid
#
# The original project put each neuron into a pixel of its own and let a network convolve over the
# emptiness. A dense grid averages the neurons of each {term}`voxel` instead. How much of it is filled,
# and how much information is left, depends on the size of the voxel; the control puts every neuron in
# the place of another.

# %%
sides = [50, 75, 100, 150, 200, 300, 400]  # µm along the surface
depth = 110.0  # µm


def grid(side: float) -> voxels.VoxelGrid:
    """Voxels of this side along the surface, over all neurons."""
    return voxels.VoxelGrid.covering(positions, (side, side, depth))


def kept(places: np.ndarray, side: float, kernel: str) -> np.ndarray:
    """Whether each picture is identified from the voxels."""
    width = {"width_um": (side / 2, side / 2, depth / 2)} if kernel == "gaussian" else {}
    weights = voxels.splat_weights(places, grid(side), kernel=kernel, **width)
    x, y = (voxels.voxelise(half, weights).reshape(len(half), -1) for half in centred)
    return identity.identity_correct(x, y)


# %% [markdown]
# Seven sizes, neurons averaged in boxes and with a Gaussian around each voxel, and the control.

# %%
filled = [voxels.occupancy(positions, grid(side)).share for side in sides]
elsewhere = voxels.shuffled_positions(positions, rng)
ways = {
    "mean of a voxel": (positions, "bin"),
    "Gaussian": (positions, "gaussian"),
    "positions shuffled": (elsewhere, "bin"),
}
kept_by_side = {
    name: np.array([kept(places, side, kernel).mean() for side in sides])
    for name, (places, kernel) in ways.items()
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: share of voxels with at least one neuron, against the side of a voxel. Right: share of pictures identified from voxel means, from a Gaussian splat, and from voxels with the neurons' positions shuffled; the green line is what all single neurons give.", "name": "fig-01-voxels"}, "image": {"alt": "Two line plots against the side of a voxel: the share of voxels that is filled, and the share of pictures identified in three ways beside a line for single neurons."}}
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3))
figures.curves(
    sides, {"voxels": np.array(filled)}, ax=axes[0], xlabel="side of a voxel (µm)",
    ylabel="share of voxels filled",
)
figures.curves(
    sides, kept_by_side, ax=axes[1], chance=chance,
    ceiling=found["spontaneous dimensions out"].mean(), xlabel="side of a voxel (µm)",
    ylabel="share of pictures identified",
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
means = kept_by_side["mean of a voxel"]
assert filled[0] < filled[-1] <= 1, "larger voxels are filled better"
assert means[0] > means[-1], "and keep less of what neurons tell"

# %% tags=["hide-input"]
run.quote(
    filled_sparse=100 * voxels.pixel_occupancy(positions - positions.min(axis=0)),
    filled_dense=100 * voxels.occupancy(positions, grid(voxel_um)).share,
    kept_fine=means[0], kept_coarse=means[-1], kept_shuffled=kept_by_side["positions shuffled"][-1],
)

# %% [markdown]
# With one pixel a micrometre wide for each neuron, as in the original, {glue:text}`filled_sparse:.3f`
# per cent of the pixels hold a neuron; of the voxels of this chapter, {glue:text}`filled_dense:.0f` per
# cent do. Averaging costs identity: {glue:text}`kept_fine:.2f` of the pictures are found from the
# smallest voxels and {glue:text}`kept_coarse:.3f` from the largest, or
# {glue:text}`kept_shuffled:.3f` if those average random neurons instead of neighbours. Neighbours in
# mouse cortex share a place in the picture, not an orientation, and it is the place that survives.
#
# ### What kind of picture was it?
#
# Every decoder learns from some pictures, is chosen on others, and reads a third set, each fold of
# pictures in turn; both presentations of a picture stay together. Pictures of unknown category are
# left out. Rare categories count as much as common ones ({term}`balanced accuracy`), in training too.
#
# *We* have seen test pictures, though: the settings of the decoders, the sizes of voxels and the choice to
# whiten at all were settled while this chapter was written, on simulations of other seeds. The seed
# printed here was fixed before anything had been run with it.

# %%
usable = np.isin(stimulus, halves.images) & (category[stimulus] != "unknown")
kinds, label = np.unique(category[stimulus[usable]], return_inverse=True)
picture = stimulus[usable]
folds = categories.image_folds(picture, label, n_folds, rng=rng)

# %% [markdown]
# The decoders read the same responses in three forms: preprocessed as published, whitened by the noise
# of spontaneous activity, and averaged in voxels.

# %%
activity = scaler.transform(responses[usable])  # (presentation, neuron)
some_neurons = order[:n_matched]
noise = NoiseWhitening(min(n_factors, len(some_neurons) // 2)).fit(quiet[:, some_neurons])
white = noise.transform(raw.transform(responses[usable])[:, some_neurons])


def in_voxels(places: np.ndarray, side: float) -> np.ndarray:
    """Responses as voxel means, (presentation, depth, row, column)."""
    return voxels.voxelise(activity, voxels.splat_weights(places, grid(side)))



# %% [markdown]
# ```{margin}
# The same discriminant, another use: [chapter 04](04_neuropixels_stgat.ipynb) reads scenes from the spikes
# of six areas with it. Few trials and many neurons ask for shrinkage in both.
# ```
# Linear readouts first. Where there are several candidates, pictures that neither train nor test
# choose between them.

# %%
def logistic(strength: float, n: int) -> Pipeline:
    """Multinomial logistic regression of the leading principal axes, all weighed alike."""
    axes = PCA(n, svd_solver="randomized", random_state=seed)
    readout = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
    return make_pipeline(axes, StandardScaler(), readout)


linear = [logistic(0.01, n_axes), logistic(0.1, n_axes), logistic(0.01, 2 * n_axes)]
discriminants = [ShrinkageLDA(shrinkage) for shrinkage in (0.3, 0.6, 0.9)]

# %% [markdown]
# Then networks. The one on voxels knows which neurons are near each other; the set network
# {cite}`zaheer2017` is given the neurons in any order, with their places; the perceptron knows nothing.

# %%
settings = {
    "n_networks": n_networks, "n_epochs": n_epochs, "patience": 5,
    "batch_size": 128, "seed": seed,
}
quick = settings | {"learning_rate": 3e-3}
perceptron = [NetworkDecoder("mlp", **settings)]
convolution = [NetworkDecoder("voxel_cnn", dropout=0.3, **quick)]
set_network = [NetworkDecoder("set", **quick)]
decoders = {
    "whitened": (linear, white, {}),
    "logistic": (linear, activity, {}),
    "discriminant": (discriminants, activity, {}),
    "perceptron": (perceptron, activity, {}),
    "voxel_network": (convolution, in_voxels(positions, voxel_um), {}),
    "voxels_shuffled": (convolution, in_voxels(elsewhere, voxel_um), {}),
    "set_network": (set_network, activity, {"positions": positions}),
}

# %% [markdown]
# ```{margin}
# The same filters, another use: [chapter 03a](03a_it_prediction.ipynb) predicts neurons of IT from them, and
# [chapter 03b](03b_it_geometry.ipynb) asks which pictures they take to be alike.
# ```
# Baselines read the picture instead of the brain: its pixels, and the energy of Gabor filters. The
# square root of that energy is no baseline but a mark: what complex cells without noise would tell.

# %%
frequencies = tuple(np.array([2, 4, 8]) / images.shape[1])  # cycles a pixel
pyramid = GaborPyramid(*images.shape[1:], frequencies=frequencies, n_orientations=4)
seen = {
    "pixels": images.reshape(len(images), -1),
    "gabor_energy": pyramid.transform(images, kind="energy"),
    "gabor_amplitude": pyramid.transform(images, kind="amplitude"),
}
decoders |= {name: (linear, features[picture], {}) for name, features in seen.items()}

# %% [markdown]
# All of them read all pictures, in turn.

# %% tags=["remove-output"]
read = {
    name: held_out_predictions(candidates, features, label, folds, **extra)
    for name, (candidates, features, extra) in decoders.items()
}

# %% [markdown]
# And the ideal observer of categories, where there is a truth: it knows noise and tuning, and has seen
# five hundred other pictures of each category without noise.

# %%
def ideal_category() -> np.ndarray:
    """Category that the ideal observer reads in each presentation."""
    own = (recording.responses.to_numpy()[usable][:, neurons] - truth.offset[neurons])
    fresh, fresh_label = truth.fresh_images(500, rng=rng)
    covariance = truth.noise_covariance[np.ix_(neurons, neurons)]
    own = own / truth.scale[neurons]
    number = observers.ideal_category(own, fresh[:, neurons], fresh_label, covariance)
    return np.searchsorted(kinds, np.array(scenes.CATEGORIES)[number])


predicted = {name: result.predicted for name, result in read.items()}
if truth is not None:
    predicted["ideal"] = ideal_category()

# %% [markdown]
# Guessing has to be beaten too: always the commonest category, or each as often as it occurs.

# %%
predicted["majority"], predicted["stratified"] = np.empty((2, len(label)), dtype=int)
for fold in np.unique(folds):
    train, asked = label[folds != fold], folds == fold
    predicted["majority"][asked] = categories.majority(train, asked.sum())
    predicted["stratified"][asked] = categories.stratified(train, asked.sum(), rng=rng)

by_pictures = {"rng": rng, "n_resamples": n_resamples}


def accuracy_of(right: np.ndarray) -> intervals.Interval:
    """Balanced accuracy with its interval over pictures."""
    return categories.balanced_accuracy_interval(right, label, picture, **by_pictures)


accuracy = {name: accuracy_of(said == label) for name, said in predicted.items()}

# %% [markdown]
# The decoder of the brain that did best on the pictures that chose, not on those that test, is the one
# that is looked at more closely. Its null distribution is that of its own predictions with the
# categories of pictures permuted.

# %%
of_pictures = ("pixels", "gabor_energy", "gabor_amplitude")
of_brain = [name for name in read if name not in (*of_pictures, "voxels_shuffled")]
best = max(of_brain, key=lambda name: read[name].validation)
null = categories.permutation_null(
    predicted[best], label, picture, rng=rng, n_permutations=n_resamples
)
p_value = (1 + (null >= accuracy[best].value).sum()) / (1 + len(null))
f1 = {
    name: categories.macro_f1_interval(predicted[name], label, picture, **by_pictures)
    for name in (best, "majority", "stratified", *of_pictures)
}

# %% tags=["hide-input"]
ceiling = accuracy["ideal"].value if "ideal" in accuracy else None
tested = f"a fold of the pictures, one of {n_folds}, in turn"
note = (
    "Interval over pictures. Chance: one over the number of categories. Ceiling: the ideal observer "
    "of a simulation; none is known of a real recording."
)
run.record(
    *(
        bookpress.Claim.of(
            f"category_{name}", accuracy[name], unit="balanced accuracy", chance=1 / len(kinds),
            ceiling=ceiling, n=len(np.unique(picture)), held_out=tested, note=note,
        )
        for name in read
    ),
    bookpress.Claim.of(
        "category_f1", f1[best], unit="macro F1", chance=f1["stratified"].value, ceiling=None,
        n=len(np.unique(picture)), held_out=tested,
        note=f"Interval over pictures. The decoder is {best}, chosen on validation pictures. "
        "Baseline: categories guessed as often as they occur. No ceiling was computed.",
    ),
)

# %% tags=["hide-input"]
names = {
    "whitened": "whitened, logistic", "logistic": "as published, logistic",
    "discriminant": "as published, discriminant", "perceptron": "as published, perceptron",
    "voxel_network": "dense voxels, network", "voxels_shuffled": "voxels, positions shuffled",
    "set_network": "set of neurons, network", "pixels": "pixels", "gabor_energy": "Gabor energy",
    "gabor_amplitude": "Gabor amplitude (mark)", "majority": "commonest category",
    "stratified": "guess by frequency",
}
run.quote(
    best=names[best], best_share=accuracy[best].value / (ceiling or np.nan),
    best_accuracy=accuracy[best].value, null_highest=null.max(), p_value=p_value,
    f1_majority=f1["majority"].value, f1_gabor=f1["gabor_energy"].value,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Balanced accuracy of each decoder with its interval over pictures. Blue: read from neurons; orange: read from the pictures themselves; grey: guesses. The dashed line is chance, the green line the ideal observer where it is known.", "name": "fig-01-categories"}, "image": {"alt": "A dot plot with a row for each decoder of picture categories: seven that read neurons, three that read the pictures, and two guesses, each with an interval, beside lines for chance and for the ideal observer."}}
colour = {name: figures.GENERATED for name in of_pictures} | dict.fromkeys(
    ("majority", "stratified"), figures.CHANCE
)
rows = [accuracy[name] for name in names]
figures.dot_plot(
    list(names.values()), [i.value for i in rows], low=[i.low for i in rows],
    high=[i.high for i in rows], chance=1 / len(kinds), ceiling=ceiling,
    colours=[colour.get(name, figures.REAL) for name in names], quantity="balanced accuracy",
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert np.isclose(accuracy["majority"].value, 1 / len(kinds)), "naming one category is chance"
assert abs(null.mean() - 1 / len(kinds)) < 0.02, "permuted categories are read at chance"
if truth is not None:
    rivals = ("pixels", "gabor_energy", "majority", "stratified")
    assert accuracy[best].low > max(accuracy[name].high for name in rivals), "beyond baselines"
    assert accuracy["voxel_network"].low > accuracy["majority"].high, "voxels tell something"

# %% [markdown]
# The decoder chosen is *{glue:text}`best`*. It reads {glue:text}`best_accuracy:.2f` of the categories
# (balanced), {glue:text}`best_share:.2f` of what the ideal observer reads; no permutation of the
# categories gave more than {glue:text}`null_highest:.2f` ($p$ = {glue:text}`p_value:.4f`). Its macro F1 is
# {glue:text}`category_f1:.2f` (95 % interval {glue:text}`category_f1_low:.2f` to
# {glue:text}`category_f1_high:.2f`), where guessing by frequency gives
# {glue:text}`category_f1_chance:.2f`, the commonest category {glue:text}`f1_majority:.2f`, and Gabor
# energy {glue:text}`f1_gabor:.2f`.
#
# The pixels give {glue:text}`category_pixels:.2f` and Gabor energy
# {glue:text}`category_gabor_energy:.2f`: a good part of what is decoded can be read off the light
# itself. The amplitude of Gabor filters without any noise gives
# {glue:text}`category_gabor_amplitude:.2f`. The network on dense voxels reaches
# {glue:text}`category_voxel_network:.2f`, far above a guess, and far below single neurons: that is what
# averaging costs.
#
# ### What is the place of a neuron worth?
#
# With positions shuffled, the same network reads {glue:text}`category_voxels_shuffled:.2f`. Is there
# anything that it owes to the map? Chance decides which neurons share a voxel, so the control is
# repeated; and both are asked about the same pictures, so their difference is what is resampled. The
# discriminant, which takes no time, is asked at several sizes of voxel.

# %%
def read_voxels(places: np.ndarray, side: float) -> np.ndarray:
    """Whether the discriminant is right about each presentation, from voxels."""
    flat = in_voxels(places, side).reshape(len(label), -1)
    right = np.empty(len(label), dtype=bool)
    for fold in np.unique(folds):
        train, asked = folds != fold, folds == fold
        answers = ShrinkageLDA(0.3).fit(flat[train], label[train]).predict(flat[asked])
        right[asked] = answers == label[asked]
    return right


mixed = [elsewhere, *(voxels.shuffled_positions(positions, rng) for _ in range(3))]
worth = {}  # of a side: true positions, positions shuffled, their difference
for side in sides[2:]:
    true = read_voxels(positions, side)
    shuffled = np.mean([read_voxels(places, side) for places in mixed], axis=0)
    worth[side] = [accuracy_of(x) for x in (true, shuffled, true - shuffled)]

# %% tags=["hide-input"]
run.record(
    bookpress.Claim.of(
        "place_in_voxels", worth[sides[-1]][2], unit="balanced accuracy", chance=0.0, ceiling=None,
        n=len(np.unique(picture)), held_out=tested,
        note="Accuracy of a discriminant from the largest voxels, true minus shuffled positions, mean "
        f"of {len(mixed)} shuffles. Interval over pictures. Baseline: no difference. A larger value "
        "has no meaning of its own, so that no ceiling is given.",
    )
)
run.quote(place_fine=worth[sides[2]][2].value)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Balanced accuracy of a discriminant that reads voxels, against their side, with the neurons in their own places and with positions shuffled (mean of several shuffles); bands are intervals over pictures, the dashed line is chance.", "name": "fig-01-place"}, "image": {"alt": "Two falling curves of balanced accuracy against the side of a voxel, one for the true positions of the neurons and one for shuffled positions."}}
figures.curves(
    list(worth), {
        name: tuple(np.transpose([row[k] for row in worth.values()]))
        for k, name in enumerate(("true positions", "positions shuffled"))
    },
    xlabel="side of a voxel (µm)", ylabel="balanced accuracy", chance=1 / len(kinds),
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert worth[sides[2]][0].value > worth[sides[-1]][0].value, "large voxels tell less of categories"

# %% [markdown]
# From the largest voxels, true positions give {glue:text}`place_in_voxels:+.3f` more than shuffled ones
# (95 % interval {glue:text}`place_in_voxels_low:+.3f` to {glue:text}`place_in_voxels_high:+.3f`); from
# the smallest asked, {glue:text}`place_fine:+.3f`. This is little, whatever its sign in one recording: a
# decoder that is trained in the same mouse hardly needs the map. Voxels are sums of neurons like any
# other, and random sums of tuned neurons tell about as much of a category. That a network on voxels
# beats a guess is therefore no evidence that it uses *where* neurons are; the shuffled control is what
# says so. The map counts when a decoder has to leave the mouse that it was trained on.
#
# ### Which are confused?
#
# Each row is a category that was shown, each column one that was read.

# %%
shares = categories.confusion(predicted[best], label, len(kinds))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of the presentations of each category (row) that were read as each other (column) by the decoder chosen.", "name": "fig-01-confusion"}, "image": {"alt": "A square matrix with one row for each category shown and one column for each category read; darker means more often, and the diagonal is what was read rightly."}}
figure, ax = plt.subplots(figsize=(6, 5))
figures.confusion(shares, list(kinds), ax=ax)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert np.isclose(np.diag(shares).mean(), accuracy[best].value), "the diagonal is the accuracy"

# %% [markdown]
# The commonest errors, as pictures: one of each of the three largest entries off the diagonal, beside
# one that rightly belongs where it was put.

# %%
errors = shares - np.diag(np.diag(shares))
worst = np.argsort(errors.ravel())[::-1][:3]
pairs = []  # picture, and what is to be said of it
for shown, answered in zip(*np.unravel_index(worst, errors.shape), strict=True):
    for true in (shown, answered):
        trial = np.flatnonzero((label == true) & (predicted[best] == answered))[0]
        pairs.append((picture[trial], f"{kinds[true]}, read as\n{kinds[answered]}"))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The three commonest confusions: a picture of one category that was read as another, and, to its right, one of that other category that was read rightly.", "name": "fig-01-errors"}, "image": {"alt": "Six small pictures in three pairs, each with its own category and the category that was read."}}
figures.image_grid(
    images[[k for k, _ in pairs]], [words for _, words in pairs], n_columns=6,
    centre=float(np.mean(images)),
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert len(pairs) == 6, "three errors, each beside a picture that was read rightly"

# %% [markdown]
# ### Several mice
#
# Another mouse has other neurons, and no neuron has a partner. Two things can be shared. One is the
# *map*: recordings are laid over each other in the plane of cortex, and neurons become voxels of one
# grid. The other is the *pictures*: a mouse's responses are translated into coordinates that other
# mice's responses to the same pictures span {cite}`haxby2011`, without a label of its own. Each mouse is
# read by decoders of the others, on pictures that none of them has learnt from.
#
# What a picture does to all voxels alike needs no map, so each presentation's mean over voxels is taken
# away.

# %%
sheet = voxels.VoxelGrid.covering(positions, (sheet_um, sheet_um, 1e4))  # one voxel deep
fold_of = np.full(len(images), -1)
fold_of[picture] = folds


def in_common_voxels(pattern: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Responses on the common grid, without what all voxels share, (trial, voxel)."""
    aligned = voxels.align(places, positions)
    weights = voxels.splat_weights(aligned, sheet, kernel="gaussian")
    averaged = voxels.voxelise(pattern, weights).reshape(len(pattern), -1)
    return averaged - averaged.mean(axis=1, keepdims=True)


# %% [markdown]
# Each mouse enters in three forms: on the common grid, on the grid with its neurons shuffled over their
# positions, and as its neurons.

# %%
def as_animals(other: visualcortex.Recording) -> dict[str, Animal]:
    """One mouse, in the forms in which it is compared with others."""
    own = usable_neurons(other)
    use = fold_of[other.stimulus] >= 0
    rest = SpontaneousScaler(n_components).fit(other.spontaneous.to_numpy()[:, own])
    pattern = rest.transform(other.responses.to_numpy()[use][:, own])
    places = other.neurons[["x_um", "y_um", "z_um"]].to_numpy()[own]
    shown = other.stimulus[use]
    trials = {"labels": other.category[use], "images": shown, "folds": fold_of[shown]}
    forms = {
        "map": in_common_voxels(pattern, places),
        "shuffled": in_common_voxels(pattern, voxels.shuffled_positions(places, rng)),
        "pictures": pattern,
    }
    return {name: Animal(features, **trials) for name, features in forms.items()}


# %% [markdown]
# Two controls have no map to share: the shuffled neurons and, in a simulation, mice each of whose maps is
# cut into patches and scrambled.

# %%
def load_mouse(number: int) -> visualcortex.Recording:
    """The recording of this chapter, or one like it from another mouse."""
    if number == mouse:
        return recording
    return visualcortex.load(dataset, simulator="v1", seed=seed, mouse=number)


mice = [as_animals(load_mouse(k)) for k in range(n_mice)]
by_map = ShrinkageLDA(0.3)
across = {
    "map": read_by_others(by_map, [m["map"] for m in mice]),
    "shuffled": read_by_others(by_map, [m["shuffled"] for m in mice]),
    "pictures": read_through_images(by_map, [m["pictures"] for m in mice], seed=seed),
}
if truth is not None:
    cut_up = {"seed": seed, "map": "scrambled"}
    apart = [as_animals(visualcortex.load("v1", **cut_up, mouse=k)) for k in range(n_mice)]
    across["scrambled"] = read_by_others(by_map, [m["map"] for m in apart])

# %% [markdown]
# ```{margin}
# Resampling presentations would pretend that the mouse and its pictures were drawn anew for each. What is
# drawn is a mouse, and a picture: both are resampled, crosswise.
# ```
# The interval asks how far the number would move with other mice *and* other pictures
# {cite}`owen2007`; it needs pictures that all mice have seen.

# %%
def in_both_ways(answers: list[np.ndarray]) -> intervals.Interval:
    """Balanced accuracy, interval over mice and pictures."""
    animals = [mouse["map"] for mouse in mice]
    shared = set.intersection(*(set(animal.images) for animal in animals))
    shared = np.array(sorted(shared))
    right = [
        [np.mean(said[a.images == k] == a.labels[a.images == k]) for k in shared]
        for said, a in zip(answers, animals, strict=True)
    ]
    groups = category[shared]
    return intervals.bootstrap_crossed(np.array(right), strata=groups, **by_pictures)


each_mouse = {
    name: [
        categories.balanced_accuracy(said == mouse["map"].labels, mouse["map"].labels)
        for said, mouse in zip(answers, mice, strict=True)
    ]
    for name, answers in across.items()
}

# %% tags=["hide-input"]
run.record(
    *(
        bookpress.Claim.of(
            f"mice_{name}", in_both_ways(answers), unit="balanced accuracy",
            chance=1 / len(kinds), ceiling=ceiling, n=n_mice,
            held_out="the mouse, and a fold of the pictures, in turn",
            note="Interval over mice and pictures. Chance: one over the number of categories. "
            "Ceiling: the ideal observer of one simulated mouse, which knows its own neurons.",
        )
        for name, answers in across.items()
    )
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Categories read from one mouse by decoders of the others. Small dots: single mice; large dots: mean, with its interval over mice and pictures; the dashed line is chance.", "name": "fig-01-mice"}, "image": {"alt": "A dot plot of balanced accuracy with a row for each way of comparing mice: through shared pictures, through the map of cortex, with positions shuffled, and where there is a truth with scrambled maps; small dots show single mice."}}
ways_across = {
    "pictures": "through shared pictures", "map": "through the map of cortex",
    "shuffled": "positions shuffled", "scrambled": "maps scrambled",
}
ways_across = {name: words for name, words in ways_across.items() if name in across}
rows = [run.claims[f"mice_{name}"] for name in ways_across]
ax = figures.dot_plot(
    list(ways_across.values()), [c.value for c in rows], low=[c.low for c in rows],
    high=[c.high for c in rows], chance=1 / len(kinds), quantity="balanced accuracy",
)
for row, name in enumerate(ways_across):
    ax.scatter(each_mouse[name], np.full(n_mice, row + 0.22), s=9, color=figures.INK, alpha=0.6)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert all(len(values) == n_mice for values in each_mouse.values()), "a dot for each mouse"
if truth is not None:
    assert run.claims["mice_pictures"].low > 1 / len(kinds), "shared pictures are enough"
    assert run.claims["mice_map"].value > run.claims["mice_scrambled"].value, "a map is of use"

# %% [markdown]
# Through a shared map, a mouse is read by strangers at {glue:text}`mice_map:.3f` (95 % interval
# {glue:text}`mice_map_low:.3f` to {glue:text}`mice_map_high:.3f`), where chance is
# {glue:text}`mice_map_chance:.3f`; with maps scrambled at {glue:text}`mice_scrambled:.3f`
# ({glue:text}`mice_scrambled_low:.3f` to {glue:text}`mice_scrambled_high:.3f`), with positions shuffled
# at {glue:text}`mice_shuffled:.3f`. The map is of use, and of little use: neighbours differ in
# orientation, and what their mean keeps is where in the picture something happened.
#
# Through shared pictures the same mice are read at {glue:text}`mice_pictures:.2f`. What a picture does to
# a population is alike between mice, though neuron by neuron it is not; pictures that both have seen say
# more about how to translate than the map does.
#
# ## What went wrong before
#
# The original project {cite}`xbankov2019` reports that its networks did no better than naming the most
# frequent class, and blames the unequal classes. The code says otherwise. Each defect is rebuilt here;
# `tests/test_defects_of_mouse_decoding.py` holds a test for each.
#
# ### The responses were zeros
#
# After preprocessing, a loop copied an array of zeros onto itself instead of copying the responses into
# it. Every sample was the same, and the commonest category the only possible answer.

# %%
processed = activity.copy()
processed = np.zeros_like(processed)
for trial in range(len(processed)):
    processed[trial] = processed[trial]
_, first, second = split_half(processed, picture)
of_zeros = identity.identity_correct(first, second)
run.quote(n_silent=int((processed.std(axis=0) == 0).sum()), found_in_zeros=of_zeros.mean())

# %% [markdown]
# One look would have shown it: {glue:text}`n_silent` neurons never change, and
# {glue:text}`found_in_zeros:.3f` of the pictures are identified. The first check of any recording is
# whether a repeated picture is recognised; a recording of this book counts its silent neurons when it is
# printed.
#
# ### Labels of the previous picture
#
# An earlier version subtracted one from the picture numbers twice, so that each presentation got the
# category of the picture before. Here the discriminant learns with labels that are shifted so, and with
# the right ones.

# %%
def discriminated(labels: np.ndarray, trial_folds: np.ndarray) -> np.ndarray:
    """Category of each presentation by a discriminant that learns from other folds."""
    answers = np.empty_like(labels)
    for fold in np.unique(trial_folds):
        train, asked = trial_folds != fold, trial_folds == fold
        fitted = ShrinkageLDA(0.6).fit(activity[train], labels[train])
        answers[asked] = fitted.predict(activity[asked])
    return answers


in_order = np.unique(picture)
previous = category[np.roll(in_order, 1)][np.searchsorted(in_order, picture)]
shifted_folds = categories.image_folds(picture, previous, n_folds, rng=rng)
shifted = categories.balanced_accuracy_interval(
    discriminated(previous, shifted_folds) == previous, previous, picture, **by_pictures
)

# %% [markdown]
# ### A split by presentation
#
# Every picture was shown twice, and presentations were split at random: nearly every test presentation
# had its twin in the training set. A decoder that recognises pictures then seems to know categories.
# Two decoders, each with folds of presentations and with folds of pictures:

# %%
def nearest(labels: np.ndarray, trial_folds: np.ndarray) -> np.ndarray:
    """Category of the most similar presentation in other folds."""
    answers = np.empty_like(labels)
    for fold in np.unique(trial_folds):
        train, asked = trial_folds != fold, trial_folds == fold
        twin = identity.nearest_image(activity[train], activity[asked])
        answers[asked] = labels[train][twin]
    return answers


by_presentation = rng.permutation(len(label)) % n_folds
leaks = {
    f"{how}_{split}": accuracy_of(decode(label, trial_folds) == label)
    for how, decode in (("nearest", nearest), ("discriminant", discriminated))
    for split, trial_folds in (("leaky", by_presentation), ("honest", folds))
}

# %% tags=["hide-input"]
leaks["shifted"] = shifted
of_defects = {
    "nearest_leaky": f"a fold of presentations, one of {n_folds}: no picture is held out",
    "nearest_honest": tested,
    "discriminant_leaky": f"a fold of presentations, one of {n_folds}: no picture is held out",
    "discriminant_honest": tested,
    "shifted": tested,
}
run.record(
    *(
        bookpress.Claim.of(
            f"defect_{name}", leaks[name], unit="balanced accuracy", chance=1 / len(kinds),
            ceiling=ceiling, n=len(np.unique(picture)), held_out=held, note=note,
        )
        for name, held in of_defects.items()
    )
)
twins = np.mean([
    np.isin(picture[by_presentation == k], picture[by_presentation != k]).mean()
    for k in range(n_folds)
])
run.quote(share_twins=twins, share_alike=np.mean(previous == kinds[label]))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Balanced accuracy of two decoders under a split by presentation and under a split by picture, and of one with the labels of the previous picture; intervals over pictures, the dashed line is chance and the green line the ideal observer where it is known.", "name": "fig-01-leak"}, "image": {"alt": "A dot plot with five rows: nearest neighbour and discriminant, each split by presentation and by picture, and the discriminant with shifted labels."}}
said = {
    "nearest_leaky": "nearest neighbour, by presentation",
    "nearest_honest": "nearest neighbour, by picture",
    "discriminant_leaky": "discriminant, by presentation",
    "discriminant_honest": "discriminant, by picture",
    "shifted": "discriminant, labels shifted",
}
rows = [leaks[name] for name in said]
figures.dot_plot(
    list(said.values()), [i.value for i in rows], low=[i.low for i in rows],
    high=[i.high for i in rows], chance=1 / len(kinds), ceiling=ceiling,
    quantity="balanced accuracy",
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert leaks["nearest_leaky"].low > leaks["nearest_honest"].high, "twins inflate"
if truth is not None:
    assert shifted.value < leaks["discriminant_honest"].low, "other pictures' labels teach little"

# %% [markdown]
# With {glue:text}`share_twins:.2f` of the test presentations having a twin in the training set, the
# nearest neighbour rises from {glue:text}`defect_nearest_honest:.2f` to
# {glue:text}`defect_nearest_leaky:.2f`, where one who knows all there is to know of categories reads
# {glue:text}`defect_nearest_leaky_ceiling:.2f`, and the discriminant from
# {glue:text}`defect_discriminant_honest:.2f` to {glue:text}`defect_discriminant_leaky:.2f`. The more a
# decoder remembers, the more it gains. With the labels of the previous picture, the discriminant reads
# {glue:text}`defect_shifted:.2f`, where guessing gives {glue:text}`defect_shifted_chance:.2f`: in the list
# of simulated pictures, {glue:text}`share_alike:.2f` of the neighbours belong to one category. The
# published list is largely sorted by category, so that there the mistake costs less than it sounds.
#
# ### A softmax, and then another
#
# The networks ended in a softmax, and the loss applied one more. The loss of a network that is right and
# sure cannot fall below $\log(1 + (C - 1)/e)$ for $C$ classes, and where it is wrong and sure, it hardly
# learns.

# %%
margin = np.linspace(0, 15, 151)  # logit of the right class over all others
n_classes = 12  # the original counted "unknown"
right = 1 / (1 + (n_classes - 1) * np.exp(-margin))  # probability of the right class
others = (1 - right) / (n_classes - 1)
once = -np.log(right)
twice = np.log(1 + (n_classes - 1) * np.exp(others - right))
run.quote(softmax_floor=float(np.log1p((n_classes - 1) / np.e)), softmax_start=once[0])

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Cross-entropy of a presentation against the margin of the right class, with the softmax applied once and twice; the line is the least loss that the second can reach.", "name": "fig-01-softmax"}, "image": {"alt": "Two falling curves of the loss against the margin of the right class: with one softmax it tends to zero, with two it levels off far above."}}
figure, ax = plt.subplots(figsize=(5, 2.8))
ax.plot(margin, once, label="softmax once")
ax.plot(margin, twice, label="softmax twice")
ax.axhline(np.log1p((n_classes - 1) / np.e), color=figures.CHANCE, linestyle="--")
ax.set(xlabel="margin of the right class (logits)", ylabel="loss (nats)")
ax.legend()
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert np.isclose(twice[-1], np.log1p((n_classes - 1) / np.e), atol=1e-3), "the floor"
assert once[-1] < 1e-3, "one softmax has none"

# %% [markdown]
# A network that knows nothing starts at {glue:text}`softmax_start:.2f` nats, and one that knows everything
# stays at {glue:text}`softmax_floor:.2f`.
#
# ### "Unknown" as a class
#
# Pictures whose category nobody was sure of were kept as a twelfth class, which has no meaning to be
# learnt. It also changes what has to be beaten:

# %%
sizes_known, sizes_all = sizes[labelled], sizes
run.quote(
    majority_with=sizes_all.max() / sizes_all.sum(),
    majority_without=sizes_known.max() / sizes_known.sum(),
)

# %% [markdown]
# Naming the commonest class is right for {glue:text}`majority_with:.3f` of the pictures with the unknown
# ones, and for {glue:text}`majority_without:.3f` without. An accuracy just above the former is below the
# latter.
#
# ### The test set was never opened
#
# Networks were compared on the pictures that also chose them, and a test set stood by unread. How good
# does the best of many look that know nothing? A hundred decoders guess; the best on validation is then
# tested.

# %%
guesses = rng.integers(len(kinds), size=(100, len(label)))
correct = guesses == label
chosen_on, opened = folds == 0, folds == 1
luckiest = correct[:, chosen_on].mean(axis=1).argmax()
run.quote(
    lucky_validation=correct[luckiest, chosen_on].mean(),
    lucky_test=correct[luckiest, opened].mean(), lucky_chance=1 / len(kinds),
)

# %% [markdown]
# On the pictures that chose it, the luckiest has {glue:text}`lucky_validation:.3f`; on the others
# {glue:text}`lucky_test:.3f`, where chance is {glue:text}`lucky_chance:.3f`.
#
# ## Explore
#
# How large may a voxel be? Let it grow, and watch two things at once: the map becomes whole, and the pictures
# are lost. Then choose Gaussian means, which fill gaps by borrowing from neighbours. On the page there is a
# drawing for each of the choices offered; with the notebook open, every picture and every plane can be chosen.

# %%
from visualcortex.widgets import VoxelScores, voxel_explorer, voxel_small_multiples

some_pictures = np.searchsorted(halves.images, np.intersect1d(examples, halves.images))
both = (halves.first + halves.second)[some_pictures] / 2
both = (both - halves.first.mean(axis=0)) / halves.first.std(axis=0)
shown = (both, positions, images[halves.images[some_pictures]])
by_kernel = {
    kernel: [over_pictures(kept(positions, side, kernel)) for side in sides]
    for kernel in ("bin", "gaussian")
}
single = found["spontaneous dimensions out"].mean()
scored = VoxelScores(by_kernel, "share of pictures identified", chance, single)

# %% [markdown]
# The strongest contrasts among these pictures, in voxels of six sizes:

# %%
view = voxel_explorer(
    *shown, sizes_um=sides, depth_um=depth, scores=scored,
    names=[f"category {word}" for word in category[halves.images[some_pictures]]],
)
strongest = np.argsort(-shown[2].std(axis=(1, 2)))[:3].tolist()
view.controls["image"].value = strongest[0]
bookpress.explorable(
    view, over={"image": strongest, "size": [s for s in sides if s != 75], "kernel": None},
    name="explore-01",
    caption="A picture, the mean response to it in voxels of one size, and the share of "
    "all pictures that are identified from voxels of every size, with 95 % intervals; the "
    "ring is at the size of the map. Voxels without a neuron in reach are left blank.",
)

# %% [markdown]
# In print: the first picture in voxels of four sizes.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean response to one picture in the most superficial voxels, a row for each size of voxel; left means of boxes, right Gaussian means. Voxels without a neuron in reach are left blank.", "name": "fig-01-explore"}, "image": {"alt": "A small picture, and beside it rows of maps of cortex, coloured by response, for voxels of growing size and for two ways of averaging."}}
voxel_small_multiples(*shown, depth_um=depth, image=strongest[0])
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert np.isfinite(both).all(), "every neuron has a response to every picture"
of_boxes = [one.value for one in by_kernel["bin"]]
assert np.allclose(of_boxes, kept_by_side["mean of a voxel"]), "the same pictures are identified"

# %% tags=["remove-cell"]
from matplotlib.figure import Figure

figure = Figure(figsize=(4, 3), layout="none")
ax = figure.add_axes((0, 0, 1, 1))
tiles = voxels.VoxelGrid.covering(positions, (60, 60, 1e4))
wide = voxels.splat_weights(positions, tiles, kernel="gaussian", width_um=(30, 30, 1e4))
mosaic = voxels.voxelise(both[strongest[:1]], wide)[0, 0]
top = np.quantile(np.abs(mosaic), 0.99)
ax.imshow(mosaic, cmap=figures.SIGNED, vmin=-top, vmax=top, aspect="auto")
ax.set_axis_off()
small = figure.add_axes((0.25, 0.27, 0.5, 0.46))
small.imshow(shown[2][strongest[0]], cmap="gray", aspect="auto")
small.set(xticks=[], yticks=[])
small.spines[:].set(visible=True, color=figures.PAPER, linewidth=5)
bookpress.cover(
    figure, alt="A picture on a mosaic of blue and orange tiles: what mouse cortex answers to it."
)

# %% [markdown]
# ## Exercises
#
# ```{exercise} Warm-up: what class weights are for
# :label: ex-01-weights
# Train the logistic readout without weights for rare categories. What happens to accuracy, and what to
# balanced accuracy?
# ```
#
# ```{solution-start} ex-01-weights
# :class: dropdown
# Without weights, rare categories are named less often: balanced accuracy loses, while plain accuracy
# hardly moves.
# ```

# %%
test = folds == 0
for weights in ("balanced", None):
    readout = logistic(0.01, n_axes).set_params(logisticregression__class_weight=weights)
    right = readout.fit(white[~test], label[~test]).predict(white[test]) == label[test]
    balanced = categories.balanced_accuracy(right, label[test])
    print(f"{weights!s:9} accuracy {right.mean():.3f}, balanced {balanced:.3f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: half of the pictures
# :label: ex-01-half
# How many neurons does correlation need to identify half of the pictures, and how many does the whitened
# decoder need?
# ```
#
# ```{solution-start} ex-01-half
# :class: dropdown
# Interpolate the curves of the figure on the logarithm of the number of neurons; a curve that never
# gets there gives nothing.
# ```

# %%
def neurons_for_half(n_read: list[int], shares_found: np.ndarray) -> float:
    """Number of neurons at which half of the pictures are identified."""
    if shares_found.max() < 0.5:
        return np.nan
    return float(np.exp(np.interp(0.5, shares_found, np.log(n_read))))


for name in ("correlation", "whitened"):
    n_read, hits = decoded[name]
    print(f"{name:12} {neurons_for_half(n_read, hits.mean(axis=-1)):.0f} neurons")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: how much of the noise to take out
# :label: ex-01-components
# Take out no spontaneous dimensions, then more than the chapter does. Is there a number that is best for
# correlation? Why would the whitened decoder hardly care? (The whole chapter is run again by
# `make run CH=01 ARGS="-p n_components 128"`, which leaves its claims in `results/01_mouse_decoding/`.)
# ```
#
# ```{solution-start} ex-01-components
# :class: dropdown
# Every dimension taken out carries noise and some signal. While the noise is larger, correlation gains; a
# dimension with little noise costs more than it brings. The whitened decoder starts from responses in
# spontaneous s.d. and makes a model of the noise itself, with as many shared dimensions as `n_factors` says:
# it weighs a noisy dimension less instead of throwing it away.
# ```

# %%
for n_out in (0, 8, 32, 128, 512):
    if n_out < min(spontaneous.shape):
        cleaned = SpontaneousScaler(n_out).fit(spontaneous).transform(responses)
        _, one, other = split_half(cleaned, stimulus)
        print(f"{n_out:3} taken out: {identity.identity_correct(one, other).mean():.3f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Stretch: choosing neurons without fooling yourself
# :label: ex-01-choosing
# Ten neurons are to tell fifty pictures apart: those with the most signal. Choose them by the fraction of signal
# variance, once on the very pictures that are then identified, once on as many others. What does the first
# choice report too much, and why? How does that depend on the number of pictures, and on that of neurons?
# ```
#
# ```{solution-start} ex-01-choosing
# :class: dropdown
# The two responses to a picture agree by luck as well as by signal. Neurons chosen on the pictures to be
# identified are those in which they agree by luck, there and nowhere else. The fewer pictures choose, and the
# fewer neurons are taken, the more luck is in it. The same mistake hides wherever the most responsive neurons
# were found in the test set.
# ```

# %%
draws = np.random.default_rng(seed)
told = []
for _ in range(50):
    asked, others = draws.permutation(len(halves.images))[:100].reshape(2, 50)
    x, y = (half[asked] for half in halves[1:])
    here = reliability.signal_variance(x, y)
    elsewhere = reliability.signal_variance(*(half[others] for half in halves[1:]))
    orders = np.argsort(-here), np.argsort(-elsewhere), draws.permutation(len(here))
    tens = [ranked[:10] for ranked in orders]
    told.append([identity.identity_correct(x[:, t], y[:, t]).mean() for t in tens])
ways_to_choose = ("on the same pictures", "on other pictures", "blindly")
for how, value in zip(ways_to_choose, np.mean(told, axis=0), strict=True):
    print(f"chosen {how:20} {value:.3f} of the pictures identified")

# %% [markdown]
# ```{solution-end}
# ```
#
# ## What would falsify it
#
# - **A limit that is the cortex's own.** The chapter says that correlation falls short because it does not
#   know the noise: {glue:text}`identity_correlation:.2f` of the pictures against
#   {glue:text}`identity_whitened:.2f` once the noise is white. It is wrong if whitening gains nothing where
#   noise is shared. Run `dataset="stringer2018b"` for each `mouse`, and set `n_factors=1`, which leaves the
#   whitener a single shared dimension: if the second number stays, it was not the sharing that was used.
# - **A decoder above its ideal observer.** No decoder may pass {glue:text}`identity_whitened_ceiling:.2f`, or
#   {glue:text}`category_whitened_ceiling:.2f` for categories, by more than its interval. One that does has seen
#   its test pictures, or the observer is computed wrongly. Look at the figures of both sections under other
#   values of `seed`; a leak moves the honest rows of the figure of splits,
#   {glue:text}`defect_nearest_honest:.2f` and {glue:text}`defect_discriminant_honest:.2f`, first.
# - **A map that matters, or one that does not.** Within a mouse the place of a neuron is said to be worth
#   little, {glue:text}`place_in_voxels:+.3f`; between mice something, {glue:text}`mice_map:.3f` against
#   {glue:text}`mice_scrambled:.3f`. The first falls if that difference lies clearly above zero in most seeds
#   or in several real mice; the second if scrambled maps are read as well as true ones, which
#   `n_mice=7` tests more sharply than the default.
# - **An exponent that can be trusted.** We doubt {glue:text}`eigenspectrum_exponent:.2f` because populations
#   of known exponent are measured wrongly, by {glue:text}`bias_private:+.2f` and
#   {glue:text}`bias_shared:+.2f`. In the cell that makes them, set `n_made` to the number of neurons recorded
#   and add `known` exponents: if the bias went to zero, the doubt would be unfounded, and the gap to the
#   noise-free {glue:text}`eigenspectrum_exponent_ceiling:.2f` would need another reason.
# - **What the simulation cannot tell.** Its categories lie as far apart as we put them, and its pictures have
#   no subject. That neurons read {glue:text}`best_accuracy:.2f` of them, and Gabor energy
#   {glue:text}`category_gabor_energy:.2f`, says nothing of mice. On real recordings the claim to test is the
#   order of the two: if the light itself is read as well as the neurons, "the mouse knows what kind of picture
#   it was" is not shown.
#
# ## References
#
# The recordings, the preprocessing and cvPCA: {cite:t}`stringer2019`; the exponent reconsidered:
# {cite:t}`pospisil2025`. The original project: {cite:t}`xbankov2019`. Networks of sets:
# {cite:t}`zaheer2017`; common coordinates through shared stimuli: {cite:t}`haxby2011`; intervals over
# two crossed units: {cite:t}`owen2007`. Full entries stand in the [bibliography](../bibliography.md).
