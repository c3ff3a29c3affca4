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
# # CHAPTER_NAME
#
# **The question.** What is the mean activity of a neuron? (Put your question here.)
#
# **The dataset.** A simulated calcium population whose expected rates are known; any recording of
# the catalogue by the parameter `dataset`.
#
# **You will learn** how a number is estimated, compared with the truth, and recorded as a claim.
#
# **You need** a little Python and the idea of a mean.
#
# **Time to run:** a few seconds.

# %% [markdown]
# ## Parameters
# Each with its meaning and the values that it admits.

# %% tags=["parameters"]
dataset: str = "simulated"  # which recording {simulated, guan2018}
seed: int = 0  # of every random draw [0, 1000000]
n_resamples: int = 1000  # bootstrap resamples behind each interval [100, 100000]

# %% [markdown]
# The parameters are checked before any work.

# %%
import matplotlib.pyplot as plt
import numpy as np

import bookpress
import visualcortex
from visualcortex.evaluation.intervals import bootstrap_mean
from visualcortex.figures import use_style

run = bookpress.begin("CHAPTER_NAME")
use_style()

# %% [markdown]
# ## Data
#
# ```{margin}
# Notes like this one stand beside the text: what a word means, or where else a function is used.
# ```
#
# One call for every recording, simulated or real.

# %%
recording = visualcortex.load(dataset, simulator="calcium_population", seed=seed)
run.uses(recording.provenance)
run.quote(n_trials=recording.n_trials, n_neurons=recording.n_neurons)
recording

# %% [markdown]
# ## Model
#
# ```{margin}
# A mean over time as well as over trials: one number for each neuron.
# ```
#
# There are {glue:text}`n_trials` trials of {glue:text}`n_neurons` neurons. The simplest model of a
# neuron is its mean over all of them.

# %%
axes = [dim for dim in recording.responses.dims if dim not in ("trial", "neuron")]
responses = recording.responses.mean(axes).to_numpy()  # (trial, neuron)
mean_of_neuron = responses.mean(axis=0)

# %% [markdown]
# ## Evaluation
# The means are shown neuron by neuron.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Mean response of each neuron, sorted; its unit is the recording's.", "name": "fig-CHAPTER_NAME-means"}, "image": {"alt": "A rising line of dots: the mean response of each neuron, neurons in the order of their mean."}}
figure, ax = plt.subplots()
ax.plot(np.sort(mean_of_neuron), "o")
ax.set(xlabel="neuron, in order", ylabel=f"mean response ({recording.responses.units})")
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert np.isfinite(mean_of_neuron).all(), "every neuron has a mean"

# %% [markdown]
# ```{margin}
# The same interval stands behind the accuracies of chapter 05.
# ```
#
# A number does not stand alone: it has an interval over trials, and something to compare it with.

# %%
mean = bootstrap_mean(
    responses.mean(axis=1), rng=np.random.default_rng(seed), n_resamples=n_resamples
)
run.record(
    bookpress.Claim.of(
        "mean_response", mean, unit=recording.responses.units, chance=0.0, ceiling=None,
        n=recording.n_trials, held_out="nothing is fitted",
        note="The interval resamples trials; a mean has no ceiling.",
    )
)

# %% [markdown]
# ## What went wrong before
# The mistake of the original project, rebuilt in a few lines, its number beside the right one, and
# the name of the test that catches it.
#
# ## Explore
#
# Choose a stimulus. On the page there is a picture for each of a few; with the notebook open, all
# can be chosen.

# %%
import ipywidgets
from matplotlib.figure import Figure

from visualcortex.widgets import View

shown = Figure(figsize=(6, 3), layout="constrained")
panel = shown.subplots()
order = np.argsort(mean_of_neuron)
stimuli = np.unique(recording.stimulus)
choice = ipywidgets.SelectionSlider(options=stimuli.tolist(), description="stimulus")


def redraw() -> None:
    panel.clear()
    answer = responses[recording.stimulus == choice.value].mean(axis=0)
    panel.plot(mean_of_neuron[order], color="0.6", label="all stimuli")
    panel.plot(answer[order], "o", label="this stimulus")
    panel.set(xlabel="neuron, in order of its mean", ylabel="mean response")
    panel.set_title(f"answers to stimulus {choice.value}, and to all")
    panel.legend()


# %% [markdown]
# The view moves in JupyterLab; the press draws it for the values that are listed.

# %%
bookpress.explorable(
    View(shown, {"stimulus": choice}, redraw),
    over={"stimulus": stimuli[:12].tolist()},
    name="explore-CHAPTER_NUMBER",
    caption="Mean response of each neuron to one stimulus, and to all.",
)

# %% tags=["remove-cell"]
figure = Figure(figsize=(4, 3), layout="constrained")
ax = figure.subplots()
ax.fill_between(np.arange(len(mean_of_neuron)), np.sort(mean_of_neuron))
ax.set_axis_off()
bookpress.cover(figure, alt="A rising slope: the mean responses of all neurons, in their order.")

# %% [markdown]
# ## Exercises
#
# ```{exercise} Warm-up: another seed
# :label: CHAPTER_NAME-seed
# Run the chapter with another seed. Which numbers change, and by more than their interval?
# ```
#
# ```{solution-start} CHAPTER_NAME-seed
# :class: dropdown
# Another seed draws another recording, and other bootstrap samples. On the same recording only the
# ends of the interval move, and by little:
# ```

# %%
again = bootstrap_mean(responses.mean(axis=1), rng=np.random.default_rng(seed + 1))
print("the ends move by", abs(again.low - mean.low), "and", abs(again.high - mean.high))

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: the median neuron
# :label: CHAPTER_NAME-median
# Give the median over neurons its interval. What is the unit that is resampled now?
# ```
#
# ```{solution-start} CHAPTER_NAME-median
# :class: dropdown
# The neuron: the interval says how the median would vary over neurons of the same kind.
# ```

# %%
from visualcortex.evaluation.intervals import bootstrap

print(
    bootstrap(
        lambda chosen: np.median(mean_of_neuron[chosen]), len(mean_of_neuron),
        rng=np.random.default_rng(seed),
    )
)

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Stretch: trials that are not independent
# :label: CHAPTER_NAME-drift
# The interval resamples single trials. What if neighbouring trials are alike? Find out, and resample
# what is independent.
# ```
#
# ```{solution-start} CHAPTER_NAME-drift
# :class: dropdown
# If the mean responses of neighbours are correlated, the interval is too narrow; whole sessions, or
# stretches of trials, are then the unit.
# ```

# %%
trial_means = responses.mean(axis=1)
print("correlation of neighbours", np.corrcoef(trial_means[:-1], trial_means[1:])[0, 1])

# %% [markdown]
# ```{solution-end}
# ```
#
# ## What would falsify it
#
# - The mean lies at {glue:text}`mean_response:.2g`. If the trials of the first half of the recording
#   gave a mean outside the interval of those of the second, one number would not describe it; take
#   `responses` apart in the cell that records the claim, and look.
# - Its interval begins at {glue:text}`mean_response_low:.2g`. If neighbouring trials are alike, it is
#   too narrow; the last exercise measures that, and `seed` draws another recording to see it again.
# - Say what else would show a claim of this chapter wrong, which parameter or cell a reader has to
#   change in order to find it, and which of the printed numbers would move then.
#
# ## References
# Cite with `` {cite}`key` ``; the entries stand in the [bibliography](../bibliography.md).
