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
# One call for every recording, simulated or real.

# %%
recording = visualcortex.load(dataset, simulator="calcium_population", seed=seed)
run.uses(recording.provenance)
run.quote(n_trials=recording.n_trials, n_neurons=recording.n_neurons)
recording

# %% [markdown]
# ## Model
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
# A slider for those who have the notebook open, and the same view as a figure for those who read.
#
# ## Exercises
#
# ```{exercise}
# :label: CHAPTER_NAME-median
# Record the median over neurons as a second claim.
# ```
#
# ```{solution} CHAPTER_NAME-median
# :class: dropdown
# `bootstrap(np.median, mean_of_neuron, ...)` from `visualcortex.evaluation.intervals` gives value
# and interval; the unit that is resampled is now the neuron.
# ```
#
# ## References
# Cite with `` {cite}`key` ``; the entries stand in the [bibliography](../bibliography.md).
