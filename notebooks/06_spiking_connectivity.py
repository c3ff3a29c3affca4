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
# # 06 · Who is connected to whom? A spiking network fitted to spikes
#
# **The question.** A network of excitatory and inhibitory neurons is observed, every spike of it. Which neuron has
# a synapse onto which, of what sign and how late, and how sure may one be?
#
# **The dataset.** By default simulated networks of integrate-and-fire neurons whose synapses are known. With
# `dataset="naixinren_lif20"` or `dataset="spycon_tiny"`, networks that others simulated and published with their
# synapses {cite}`ren2020,donner2024`; with `dataset="lif80"`, a network that was simulated once and kept. No recording of
# cortex comes with its wiring: [the next part](06b_calcium_connectivity.ipynb) goes on to one.
#
# **You will learn**
#
# - to fit a spiking network to spikes, each neuron given the spikes of all others, under Dale's law;
# - to set it beside correlograms, partial correlations, coupling filters and transfer entropy, on the same spikes;
# - to score a graph: which pairs, direction, sign, delay, cell type, and how many of its synapses are false;
# - why the network of the original project, in which nothing is fitted, knows nothing of the wiring.
#
# **You need** correlations, conditional probabilities and the idea of a likelihood; to read numpy and pandas. Correlograms
# are built up slowly in [chapter 04b](04b_neuropixels_graph.ipynb); the words are in the [glossary](../glossary.md).
#
# **Time to run:** about two minutes on two processor cores. No download.

# %% [markdown]
# ## Parameters
#
# Every one can be changed from outside; values outside the brackets are refused.

# %% tags=["parameters"]
dataset: str = "simulated"  # {simulated, naixinren_lif20, spycon_tiny, lif80}
seed: int = 101  # of random draws; networks take it and the next ones [0, 1000000]
n_neurons: int = 40  # of a simulated network [10, 200]
minutes: float = 10.0  # of a simulated network [1, 240]
neurons: str = "lif"  # kind of simulated neurons {lif, izhikevich}
regime: str = "asynchronous"  # of simulated networks {asynchronous, bursting}
shared: float = 1.0  # s.d. of slow input that all simulated neurons share, mV [0, 10]
n_networks: int = 5  # simulated networks behind each interval [2, 50]
false_rate: float = 0.1  # share of false synapses that is allowed [0.001, 0.5]
n_resamples: int = 200  # bootstrap resamples behind intervals over neurons [100, 100000]

# %% [markdown]
# The second cell checks the parameters again and starts the record of this run.

# %%
from contextlib import suppress

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter1d
from sklearn.base import clone
from tqdm.auto import tqdm

import bookpress
import visualcortex
from visualcortex import connectivity, figures, wiring_figures
from visualcortex.connectivity import calibration, null
from visualcortex.connectivity import networks as compare
from visualcortex.evaluation import Interval, intervals
from visualcortex.spikes import SpikeTimes
from visualcortex.spontaneous import observed

run = bookpress.begin("06_spiking_connectivity")
figures.use_style()
rng = np.random.default_rng(seed)

# %% [markdown]
# ## Data
#
# One network to look at, and others of the same kind that differ by the seed. Of a network that somebody else
# simulated there is one. Of neurons that fire hardly ever nothing can be said, and they are left out.

# %%
settings = {
    "n_neurons": n_neurons, "duration": 60 * minutes, "neurons": neurons, "regime": regime,
    "shared": shared,
}
if dataset == "simulated":
    seeds = range(seed, seed + n_networks)
    networks = [visualcortex.load("wired_network", seed=k, **settings) for k in seeds]
else:
    networks = [visualcortex.load(dataset)]
fires = [network.spikes.n_spikes >= 20 for network in networks]
networks = [
    x if heard.all() else observed(x, heard)
    for x, heard in zip(networks, fires, strict=True)
]
recording = networks[0]
run.uses(recording.provenance)
recording

# %% [markdown]
# What is known of it: weights, `(source, target)`, delays where the simulation says them, and the type of each neuron.

# %%
spikes, truth = recording.spikes, recording.truth
weights, cell_type = truth.weights, truth.cell_type
inhibitory = weights.sum(axis=1) < 0  # by the sum of what a neuron sends

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
known = ~np.eye(len(weights), dtype=bool)
rate = np.diff(spikes.ends, prepend=0) / truth.duration
assert weights.shape == (spikes.n_units,) * 2, "a weight of every ordered pair"
assert all(len(set(np.sign(row[row != 0]))) <= 1 for row in weights), "one sign of all a neuron sends"
run.quote(
    n_cells=spikes.n_units, n_inhibitory=int(inhibitory.sum()), n_synapses=int(np.count_nonzero(weights)),
    density=float((weights != 0)[known].mean()), seen_minutes=truth.duration / 60,
    rate_low=float(rate.min()), rate_high=float(rate.max()), n_seen=len(networks),
)

# %% [markdown]
# {glue:text}`n_cells` neurons, {glue:text}`n_inhibitory` of them inhibitory, fire {glue:text}`rate_low:.1f` to
# {glue:text}`rate_high:.1f` spikes a second for {glue:text}`seen_minutes:.0f` minutes. Of all ordered pairs a share of
# {glue:text}`density:.2f` has a synapse, {glue:text}`n_synapses` in all: a method that guesses would be right that often.
#
# ### Look first

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Three seconds of the spikes, excitatory and inhibitory neurons apart, and the rate of all.", "name": "fig-06-raster"}, "image": {"alt": "Rows of ticks, one a neuron, in two colours, above a jagged line."}}
wiring_figures.network_raster(spikes, cell_type, start=5.0, duration=3.0)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert (np.diff(spikes.ends, prepend=0) > 0).all(), "every neuron fires"

# %% [markdown]
# ```{margin}
# The same function, another use: `cross_correlograms` makes graphs of neurons recorded in six areas, in
# [chapter 04b](04b_neuropixels_graph.ipynb).
# ```
# What does a synapse look like? A {term}`correlogram <cross-correlogram>` counts how often the second neuron fires so long after the first, and
# is set against what slow common changes explain: its own smooth version.

# %%
def excess_of(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlogram of a pair at both signs of the lag, and its smooth version, counts."""
    pair = spikes.select(np.array([source, target]))
    binned = connectivity.BinnedSpikes.from_times(pair, 0.0, truth.duration, 0.0005)
    counts = connectivity.cross_correlograms(binned, 40)
    both = connectivity.two_sided(counts)[0, 1].astype(float)
    return both, gaussian_filter1d(both, 8)  # s.d. 4 ms


strongest, weakest = weights.argmax(), weights.argmin()
silent = np.flatnonzero(known & (weights == 0) & (weights.T == 0))[0]
pairs = [np.unravel_index(k, weights.shape) for k in (strongest, weakest, silent)]
found = [excess_of(*pair) for pair in pairs]
counts, expected = (np.array(x) for x in zip(*found, strict=True))

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Correlograms of three pairs, and their smooth versions with the band in which chance would leave them: the strongest excitatory synapse, the strongest inhibitory one, and a pair without any. A mark above: the true delay.", "name": "fig-06-correlograms"}, "image": {"alt": "Three histograms against the lag with a smooth line: the first has a narrow peak just right of zero, the second a dip there, the third neither."}}
lags = 0.5 * (np.arange(counts.shape[1]) - counts.shape[1] // 2)  # ms
width = 1.96 * np.sqrt(expected)
delays = [np.nan if truth.delays is None or weights[p] == 0 else truth.delays[p] for p in pairs]
wiring_figures.correlogram_examples(
    lags, counts, expected, ["excitatory", "inhibitory", "no synapse"],
    band=(expected - width, expected + width), delays=delays,
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
after = (lags > 0.4) & (lags < 9.1)
peaks = ((counts - expected) / np.sqrt(expected + 1))[:, after]
assert peaks[0].max() > 3, "the strongest synapse makes a peak after the spike of its source"

# %% [markdown]
# The strongest synapse is plain to see. Most are not strong: sizes are log-normal, as measured between pyramidal cells
# of visual cortex {cite}`song2005`, so that a few large ones stand before many small ones.
#
# ## Model
#
# ```{margin}
# Why a soft threshold: with a hard one, a spike that the model did not expect would have probability nought, and one
# such spike would rule out any weights.
# ```
# A neuron's potential adds up what arrives and forgets it; the higher it is, the likelier a spike ({term}`escape noise`).
# With the spikes $n_i(t)$ of all neurons in bins of a millisecond, neuron $j$ fires with probability
#
# $$
# \begin{aligned}
# &\lambda_j(t)\, e^{u_j(t)}, \qquad h_i(t) = \textstyle\sum_{t_i \le t} e^{-(t - t_i) / \tau}, \\
# &u_j(t) = \textstyle\sum_i w_{ij}\, \big(\kappa\, n_i(t - d_{ij}) + h_i(t - d_{ij})\big).
# \end{aligned}
# $$
#
# The spikes that arrive are the *observed* ones ({term}`teacher forcing`): no neuron waits for another, no simulation has to be right for
# minutes, and the smooth probability of a spike gives the likelihood a slope in all weights $w$. $\lambda_j$ is what the neuron
# does anyway, its own spikes smoothed over some milliseconds, so that input which is shared and slow is no
# synapse: what the fit explains is where, within those milliseconds, each spike falls. Delays $d$ are the likeliest ones. All that
# a neuron sends has one sign ({term}`Dale's law`), learned too; probabilities come from a mixture of pairs with and
# without a synapse.

# %%
from visualcortex.models.spiking_fit import SpikingNetwork

model = SpikingNetwork(seed=seed).fit(spikes, stop=truth.duration)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: fitted weights of all pairs against the true ones, with a standard error up and down; pairs without a synapse in the grey strip. Right: fitted against true delays of the synapses whose probability is above one half, where true ones are known.", "name": "fig-06-weights"}, "image": {"alt": "A cloud of dots that rises from lower left to upper right with a vertical strip at zero, and dots about a diagonal."}}
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), width_ratios=(1.5, 1), layout="constrained")
wiring_figures.weights_against_truth(
    model.estimates_, weights, model.standard_errors_, ax=axes[0],
    estimated_label="fitted weight (log rate)", true_label=f"true weight ({truth.unit})",
)
found = np.where(model.probabilities_ > 0.5, 1000 * model.delays_, np.nan)
axes[1].set_visible(truth.delays is not None)
if truth.delays is not None:
    wiring_figures.delay_scatter(found, truth.delays, ax=axes[1])
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
linked = weights != 0
assert connectivity.synapse_auroc(model.scores_, weights) > 0.5, "larger where there is a synapse"
run.quote(
    weights_correlation=float(np.corrcoef(model.estimates_[linked], weights[linked])[0, 1]),
    sure=int((model.probabilities_ > 0.9).sum()), likely=float(np.nansum(model.probabilities_)),
)

# %% [markdown]
# Fitted weights of synapses correlate with the true ones at {glue:text}`weights_correlation:.2f`. Probabilities of all pairs
# add up to {glue:text}`likely:.0f` synapses; {glue:text}`sure` of them are called more than nine times as likely as not.

# %% [markdown]
# ### Let it run by itself
#
# A fit should be asked for what it was not fitted to: let its neurons hear each other in place of the recording. What is
# explained by the recording itself, slow common input, has to be left out for that, and the model is fitted without it.
# A fit to bursts may run away: its neurons then excite each other without end, and there is nothing to compare.

# %%
from visualcortex.models.spiking_training import rerun, spike_statistics

generative = clone(model).set_params(background=None).fit(spikes, stop=truth.duration)
recorded_statistics, by_itself = spike_statistics(spikes, truth.duration), None
with suppress(FloatingPointError):
    again = rerun(generative, truth.duration, seed=seed)
    by_itself = spike_statistics(again, truth.duration)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The fitted network running by itself against the recording: spikes a second, variation of intervals, and correlations of all pairs in bins of a twentieth of a second. On the line the two agree.", "name": "fig-06-rerun"}, "image": {"alt": "Three clouds of dots about diagonals, the first two close to them, the third wide."}}
figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
names = ("spikes a second", "variation of intervals", "correlation of a pair")
for ax, name, x, y in zip(axes, names, recorded_statistics, by_itself or recorded_statistics, strict=True):
    if by_itself:
        ax.plot(x.ravel(), y.ravel(), ".", color=figures.GENERATED, markersize=3, alpha=0.6)
    ends = np.nanmin([x, y]), np.nanmax([x, y])
    ax.plot(ends, ends, "--", color=figures.CHANCE)
    ax.set(xlabel=f"{name}, recorded", ylabel="by itself" if by_itself else "by itself: runs away")
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
calm = dataset == "simulated" and regime == "asynchronous" and shared <= 1
assert by_itself or not calm, "a fit to an asynchronous network does not run away"
for name in ("rates", "variation", "correlations")[: 3 if by_itself else 0]:
    x, y = getattr(recorded_statistics, name), getattr(by_itself, name)
    both = np.isfinite(x) & np.isfinite(y)
    run.quote(**{f"rerun_{name}": float(np.corrcoef(x[both], y[both])[0, 1])})

# %% [markdown]
# Rates of neurons correlate with the recorded ones at {glue:text}`rerun_rates:.2f`, the variation of their intervals at
# {glue:text}`rerun_variation:.2f`, correlations of pairs at {glue:text}`rerun_correlations:.2f`. What the neurons share slowly is not
# in the synapses, and the network by itself does not have it.
#
# ## Evaluation
#
# ### Six methods, several networks
#
# All methods get the same spikes and give a matrix of scores, `(source, target)`.
#
# ```{margin}
# `PartialCorrelation` and `TransferEntropy` come back in [chapter 06b](06b_calcium_connectivity.ipynb), on calcium.
# ```
#
# - *correlogram peaks*: the largest deviation from the smooth correlogram within nine milliseconds, in standard
#   deviations {cite}`stark2009`;
# - *whitened correlograms*: the same of all sources at once, so that what a third neuron drives in both, or hands on, is
#   explained by that neuron;
# - *partial correlation* of bins of five milliseconds with the bin before;
# - *coupling filters*: a Poisson model of each neuron given all others with a filter for each pair {cite}`pillow2008`,
#   under a {term}`group lasso`;
# - *transfer entropy*: what the source's past tells of the target beyond the target's own {cite}`schreiber2000`; it has no sign;
# - *spiking network*: the fit above.

# %%
methods = {
    "correlogram peaks": connectivity.CorrelogramPeaks(),
    "whitened correlograms": connectivity.WhitenedCorrelograms(),
    "partial correlation": connectivity.PartialCorrelation(),
    "coupling filters": connectivity.CouplingFilters(),
    "transfer entropy": connectivity.TransferEntropy(),
    "spiking network": SpikingNetwork(),
}

# %% [markdown]
# Every method is fitted to every network, and scored in every way that applies to it.

# %% tags=["remove-output"]
table = compare.score_methods(methods, networks, seed=seed, progress=True)

# %% [markdown]
# ```{margin}
# Neurons, not pairs, are resampled where there is one network: the pairs of one neuron share its rate, and are no
# independent units.
# ```
# Settings of all methods were chosen on other simulated networks. Intervals are over networks, which differ in wiring,
# delays and spikes. Where there is only one network, they are over
# its neurons, and wider than those of another recording of the same neurons would be.

# %%
fitted = {
    name: clone(x).fit(spikes, stop=truth.duration)
    for name, x in methods.items() if name != "spiking network"
}
fitted["spiking network"] = model
scores = {name: x.scores_ for name, x in fitted.items()}
summary = compare.over_networks(table)
if len(networks) == 1:
    for name in methods:
        rows = connectivity.score_wiring(
            scores[name], weights, rng=rng, n_resamples=n_resamples
        )
        for at in rows.index.intersection(summary.loc[name].index):
            summary.loc[(name, at), ["low", "high"]] = rows.loc[at, ["low", "high"]]
differences = compare.paired_differences(table, "correlogram peaks")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Six methods on the same spikes: probability that a synapse is ranked above a pair without one, mean precision, and share of synapses whose direction is told. Faint dots: networks; dots with intervals: means over networks. Dashed: chance.", "name": "fig-06-methods"}, "image": {"alt": "Three panels with a row for each method; dots right of a dashed line at chance, those of some methods much further than others."}}
styles = wiring_figures.method_styles(list(methods))
order = list(summary["value"].xs("AUROC", level="statistic").sort_values(ascending=False).index)
figure, axes = plt.subplots(1, 3, figsize=(10.5, 2.6), sharey=True, layout="constrained")
for k, statistic in enumerate(["AUROC", "AUPRC", "direction accuracy"]):
    wiring_figures.methods_over_networks(
        table, statistic, methods=order, styles=styles, limits=(0, 1.02), legend=k == 2, ax=axes[k]
    )
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
for name in methods:
    assert 0.4 < summary.loc[(name, "AUROC"), "value"] <= 1, "no method is worse than guessing"
    assert table["value"].notna().any(), "there are scores"

# %% tags=["hide-input", "hide-output"]
CLAIMED = {
    "AUROC": "auroc", "AUPRC": "auprc", "direction accuracy": "direction",
    "cell type accuracy, balanced": "types", "delay error, ms": "delays",
}
units = len(networks) if len(networks) > 1 else len(weights)
claimed = summary[np.isfinite(summary["low"])]
for (name, statistic), row in claimed.iterrows():
    if statistic not in CLAIMED:
        continue
    run.record(bookpress.Claim.of(
        f"{CLAIMED[statistic]}_{name.replace(' ', '_')}",
        Interval(row["value"], row["low"], row["high"]),
        unit="ms" if statistic == "delay error, ms" else "", chance=float(row["chance"]),
        ceiling=0.0 if statistic == "delay error, ms" else 1.0, n=units,
        held_out="the wiring, which no method is shown",
        note="Interval over networks (Student's), or over neurons where there is one network. Ceiling: the "
        "wiring itself; synapses that are too weak leave no trace in a recording of this length. Chance of "
        "AUPRC is the share of pairs with a synapse, that of delays the best constant.",
    ))

# %% tags=["hide-input"]
gap = differences.loc[("AUROC", "spiking network")]
run.quote(
    best_method=order[0], gap=float(gap["value"]),
    gap_low=float(gap["low"]), gap_high=float(gap["high"]), gap_n=int(gap["n_higher"]),
    cost_network=float(table.query("method == 'spiking network'")["seconds"].median()),
    cost_peaks=1000 * float(table.query("method == 'correlogram peaks'")["seconds"].median()),
)

# %% [markdown]
# A synapse is ranked above a pair without one with probability {glue:text}`auroc_spiking_network:.3f`
# ({glue:text}`auroc_spiking_network_low:.3f` to {glue:text}`auroc_spiking_network_high:.3f`) by the spiking network,
# {glue:text}`auroc_correlogram_peaks:.3f` by correlogram peaks, {glue:text}`auroc_whitened_correlograms:.3f` by whitened ones,
# {glue:text}`auroc_coupling_filters:.3f` by coupling filters,
# {glue:text}`auroc_partial_correlation:.3f` by partial correlation and {glue:text}`auroc_transfer_entropy:.3f` by transfer
# entropy; chance is {glue:text}`auroc_spiking_network_chance:.1f`. Network by network, the spiking network differs from the
# correlograms by {glue:text}`gap:+.3f` ({glue:text}`gap_low:+.3f` to {glue:text}`gap_high:+.3f`), and is ahead in
# {glue:text}`gap_n` of the {glue:text}`n_seen` networks. Of pairs that are linked one way it tells the direction in a share of
# {glue:text}`direction_spiking_network:.2f`. The median fit took {glue:text}`cost_network:.1f` seconds, the
# correlograms {glue:text}`cost_peaks:.0f` milliseconds.
#
# No order of methods holds for all networks. Simulated neurons here share slow input, all of them equally. Where input is
# shared fast and unequally, as in one of the networks that others simulated, what looks at narrow peaks beside each
# neuron's own rate still finds the synapses (both kinds of correlograms, and the spiking network), and coupling filters,
# partial correlation and transfer entropy do not: those runs stand on the page [Results](../results.md). The shape of the
# correlograms' smoothing and the rule that chooses the network's were settled with those networks in sight.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Precision against recall on the network shown above. Dashed: the share of pairs with a synapse.", "name": "fig-06-precision"}, "image": {"alt": "Curves that stay high to the left and fall to the right at different places."}}
wiring_figures.precision_recall(scores, weights, styles=styles)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert connectivity.synapse_auprc(model.scores_, weights) > connectivity.density(model.scores_, weights)

# %% [markdown]
# ### Excitatory or inhibitory?
#
# Under Dale's law every neuron has one sign, which the fit has to choose.

# %%
said = np.where(model.signs_ > 0, "E", "I")
pd.crosstab(pd.Series(cell_type, name="true"), pd.Series(said, name="fitted"))

# %% [markdown]
# Over all networks, the mean of the shares of both types that are told rightly is {glue:text}`types_spiking_network:.3f`
# ({glue:text}`types_spiking_network_low:.3f` to {glue:text}`types_spiking_network_high:.3f`; chance
# {glue:text}`types_spiking_network_chance:.1f`). A neuron has many synapses and one sign, so that it is told where single
# synapses are not. Delays are off by {glue:text}`delays_spiking_network:.1f` milliseconds in the median synapse, weak ones
# included, where the best constant is off by {glue:text}`delays_spiking_network_chance:.1f`; simulated delays are whole
# milliseconds, as the bins are, so that a delay is right or off by one at least.
#
# ### How many are false?
#
# ```{margin}
# *Moved within windows*: the jitter of [chapter 04b](04b_neuropixels_graph.ipynb), drawn here several times, so that every
# pair gets a probability of its own.
# ```
# Without the truth, one has to say which pairs to believe. Two ways: call those whose score is too large for spikes
# that were moved within windows of a tenth of a second ({term}`jitter`), at a {term}`false discovery rate`; or call those that the
# model thinks probable.

# %%
chance_scores = null.jitter_null(
    methods["correlogram peaks"], spikes, n_draws=10, rng=rng, stop=truth.duration
)
stand_out = null.discoveries(chance_scores.p_values("raw"), false_rate)
called = {
    "correlogram peaks, jitter null": stand_out,
    "the same, one way only": null.without_turned(stand_out, chance_scores.scores),
    "spiking network, probability": model.probabilities_ > 1 - false_rate,
}
realised = {name: null.realised_fdr(pairs, weights) for name, pairs in called.items()}
pd.DataFrame([r._asdict() for r in realised.values()], index=list(realised)).round(3)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of pairs with a synapse among those to which the spiking network gives about the same probability, with intervals over neurons; below, how many there are. On the diagonal probabilities mean what they say.", "name": "fig-06-calibration"}, "image": {"alt": "Dots with bars along a diagonal, above a histogram that is highest near zero."}}
curve = calibration.reliability(model.probabilities_, weights, rng=rng, n_resamples=n_resamples)
wiring_figures.reliability_curve(curve)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert curve["n"].sum() == np.isfinite(model.probabilities_).sum(), "every pair is in one bin"
share = calibration.false_share(model.probabilities_, weights, 1 - false_rate, rng=rng)
by_null = realised["correlogram peaks, jitter null"]

# %% tags=["hide-input"]
brier_of = summary.loc[("spiking network", "Brier score")]
run.quote(
    false_null=by_null.false_share, found_null=by_null.found, called_null=by_null.n_called,
    turned_null=by_null.turned_share, allowed=false_rate,
    false_model=share.observed, expected_model=share.expected, called_model=share.n,
    found_model=realised["spiking network, probability"].found,
    brier=float(brier_of["value"]), brier_chance=float(brier_of["chance"]),
    expected_over_true=float(summary.loc[("spiking network", "expected over true synapses"), "value"]),
)

# %% [markdown]
# Against jitter, at a rate of {glue:text}`allowed:.2f`, {glue:text}`called_null` pairs are called, of which a share of
# {glue:text}`false_null:.2f` has no synapse; {glue:text}`found_null:.2f` of all synapses are found. The null only says that
# timing matters, and timing matters between the targets of one source, and, less, in the direction in which there is no synapse
# (a share of {glue:text}`turned_null:.2f` of the calls). The model, which has all other neurons in view, is confident of
# {glue:text}`called_model` pairs: a share of {glue:text}`false_model:.2f` is false, where it expected {glue:text}`expected_model:.2f`, and
# {glue:text}`found_model:.2f` of all synapses are among them. Over all networks it expects {glue:text}`expected_over_true:.2f`
# times as many synapses as there are, and its Brier score is {glue:text}`brier:.3f`, where one who says the density of every
# pair gets {glue:text}`brier_chance:.3f`.
#
# ### How long must one record, and how long does it take?
#
# Parts of each recording from its beginning on, as long as every neuron fires in them, for two of the methods.

# %%
full = min(network.truth.duration for network in networks) / 60  # minutes
pair = {name: methods[name] for name in ("correlogram peaks", "spiking network")}
shorter = {
    t: [compare.ObservedNetwork(x.spikes.between(0.0, 60 * t), x.truth) for x in networks]
    for t in full * np.array([0.125, 0.25, 0.5])
}
shorter = {
    t: seen for t, seen in shorter.items()
    if min(x.activity.n_spikes.min() for x in seen) > 2
}

# %% [markdown]
# What whole recordings gave is known already.

# %% tags=["remove-output"]
grown = {t: compare.score_methods(pair, x, seed=seed) for t, x in tqdm(shorter.items())}
grown[full] = table[table["method"].isin(pair)]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: AUROC by the length of the recording, means over networks with their intervals. Right: time that a fit takes, median over networks.", "name": "fig-06-minutes"}, "image": {"alt": "Two rising curves against a logarithmic axis of minutes, above a dashed line; and two curves of seconds."}}
lengths = sorted(grown)
means = {t: compare.over_networks(grown[t]) for t in lengths}
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.2), layout="constrained")
lines, cost = {}, {}
for name in pair:
    rows = [means[t].loc[(name, "AUROC")] for t in lengths]
    lines[name] = tuple(np.array([row[k] for row in rows]) for k in ("value", "low", "high"))
    cost[name] = np.array([row["seconds"] for row in rows])
figures.curves(
    lengths, lines, xlabel="length (minutes)", ylabel="AUROC", log="x", chance=0.5, ax=axes[0]
)
figures.curves(lengths, cost, xlabel="length (minutes)", ylabel="time of a fit (s)", log="xy", ax=axes[1])
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
gained = lines["spiking network"][0]
assert len(gained) == 1 or gained[-1] > gained[0] - 0.02, "a longer recording tells more"
run.quote(
    shortest=lengths[0], longest=full, auroc_shortest=float(gained[0]), auroc_longest=float(gained[-1]),
)

# %% [markdown]
# With {glue:text}`shortest:.2f` minutes the spiking network reaches {glue:text}`auroc_shortest:.2f`, with
# {glue:text}`longest:.0f` minutes {glue:text}`auroc_longest:.2f`. Weak synapses take time, whatever the method.
#
# ### Without a teacher
#
# A network can also be trained *through time*: it runs by itself, and {term}`surrogate gradients <surrogate gradient>`
# carry its errors back over all steps {cite}`neftci2019,zenke2018`. It can be asked for the very trains, smoothed, or for what
# trains have in common whatever the noise: all correlograms.

# %% tags=["remove-output"]
from visualcortex.models.spiking_training import FreeRunningNetwork

untaught = {
    match: FreeRunningNetwork(match=match, seed=seed).fit(spikes, stop=truth.duration)
    for match in ("trains", "correlograms")
}

# %% tags=["hide-input", "hide-output"]
taught = float(connectivity.synapse_auroc(model.scores_, weights))
for match, free in untaught.items():
    run.record(bookpress.Claim.of(
        f"auroc_free_{match}", connectivity.bootstrap_neurons(
            connectivity.synapse_auroc, free.scores_, weights, rng=rng, n_resamples=n_resamples
        ), chance=0.5, ceiling=taught, n=len(weights), held_out="the wiring, which no method is shown",
        note="The network shown, trained through time. Interval over its neurons. Ceiling: the same spikes with "
        "teacher forcing, a mark that can be passed.",
    ))

# %% [markdown]
# Asked for the trains, its weights rank synapses at {glue:text}`auroc_free_trains:.2f`
# ({glue:text}`auroc_free_trains_low:.2f` to {glue:text}`auroc_free_trains_high:.2f`); asked for correlograms, at
# {glue:text}`auroc_free_correlograms:.2f` ({glue:text}`auroc_free_correlograms_low:.2f` to
# {glue:text}`auroc_free_correlograms_high:.2f`); the same spikes with the teacher gave {glue:text}`auroc_free_trains_ceiling:.2f`.
# What makes a neuron fire just when it does is mostly noise that nobody recorded. A network that runs by itself has other
# noise, and soon other spikes, and is blamed for it: asking for the trains teaches it rates. Correlograms are the same under any noise,
# and to find synapses through them is no more than to read them, by a long way round.

# %% [markdown]
# ## What went wrong before
#
# ### A network that was fitted to nothing
#
# The original project put calcium, filtered and interpolated, as current into Izhikevich neurons {cite}`izhikevich2003`,
# one for each recorded cell, wired all to all at random, let the synapses change by {term}`STDP`, and read their
# relative change as connectivity {cite}`gao2021report`. No part of it is fitted to the recording, and there was no truth to
# score it on. Here is the same network, from its published script, on calcium at ten frames a second of networks whose wiring is
# known. It is told which neurons inhibit, which the original was not.

# %%
from visualcortex.models import stdp_network
from visualcortex.simulators.indicator import CalciumIndicator
from visualcortex.simulators.wired_network import image_spikes

slow = CalciumIndicator(frame_rate=10.0)
drifts = []
for k, network in enumerate(tqdm(networks, desc="networks that drift")):
    # (time, neuron), fluorescence over its resting level
    light = 1 + image_spikes(network, slow, seed=seed + k).traces.to_numpy().T
    types = np.flatnonzero(network.truth.weights.sum(axis=1) < 0)
    drifts.append(stdp_network.StdpNetwork(inhibitory=types, seed=seed + k).fit(light))

# %% [markdown]
# The rule alone can be given a better chance: the true spikes, at their true times. What it makes of rates alone, if
# the neurons were independent, is known in closed form, and can be taken off.

# %%
nearest = stdp_network.PairRule(partners="pair")
changes = {"original network": [drift.scores_ for drift in drifts]}
changes |= {"rule": [], "rule less rates": []}
for network in networks:
    types = np.flatnonzero(network.truth.weights.sum(axis=1) < 0)
    own, length = network.spikes, network.truth.duration
    changes["rule"].append(stdp_network.stdp_drift(own, types, rule=nearest))
    beyond = stdp_network.excess_drift(own, length, types, rule=nearest)
    changes["rule less rates"].append(beyond)
wirings = [network.truth.weights for network in networks]
aurocs = {
    name: list(map(connectivity.synapse_auroc, of, wirings)) for name, of in changes.items()
}

# %% [markdown]
# And what of runs that were chosen? The original shows ten runs with random beginnings and accepts three. Here, ensembles of three
# excitatory neurons are drawn at random, so that none is special, and the change within one is compared with that of
# synapses from another: over all runs, and over the three that show most.

# %%
first = drifts[0]
excite = np.flatnonzero(weights.sum(axis=1) >= 0)
picked = stdp_network.picked_effects(first.repeat_scores_, excite, n_accepted=3, seed=seed)
line = float(np.quantile(picked.honest, 0.95))
above_honest, above_picked = picked.beyond(line)
agreement = stdp_network.run_agreement(first.repeat_scores_)
by_rates = stdp_network.explained_by_rates(
    first.scores_, first.rates_.mean(axis=0), np.flatnonzero(weights.sum(axis=1) < 0)
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: drift of the weights of the original's network, of pairs with a synapse and without. Middle: probability that a synapse is ranked above another pair, for the network, for its rule on the true spikes, and for the rule less what rates make; dots are networks. Right: effect of random ensembles over all runs, and over the three runs that show most.", "name": "fig-06-drift"}, "image": {"alt": "Two clouds of equal shape; three rows of dots, of which only the last lies right of the dashed line; and two histograms, the second shifted to the right."}}
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
wiring_figures.drift_against_truth(first.scores_, weights, axes=axes[:1])
long = pd.DataFrame(aurocs).rename_axis("network").reset_index().melt("network", var_name="method")
wiring_figures.methods_over_networks(
    long.assign(statistic="AUROC", chance=0.5), "AUROC", methods=list(aurocs), limits=(0.4, 1),
    legend=False, ax=axes[1],
)
bins = np.linspace(*np.quantile(np.concatenate(picked), [0.005, 0.995]), 30)
for values, name, colour in zip(picked, ("all runs", "three chosen"), (figures.INK, figures.REAL), strict=True):
    axes[2].hist(values, bins, histtype="step", edgecolor=colour, linewidth=1.5, label=name)
axes[2].set(xlabel="effect of a random ensemble", ylabel="ensembles")
axes[2].legend(fontsize="small")
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
fitted_auroc = summary.loc[("spiking network", "AUROC"), "value"]
assert np.mean(aurocs["original network"]) < fitted_auroc, "what is fitted to nothing knows less"
assert picked.accepted.mean() > picked.honest.mean(), "what is chosen for an effect shows it"

# %% tags=["hide-input", "hide-output"]
for name, matrices in changes.items():
    interval = intervals.student(aurocs[name])
    if len(networks) == 1:
        interval = connectivity.bootstrap_neurons(
            connectivity.synapse_auroc, matrices[0], weights, rng=rng, n_resamples=n_resamples
        )
    run.record(bookpress.Claim.of(
        f"defect_{name.replace(' ', '_')}", interval, chance=0.5,
        ceiling=float(summary.loc[("spiking network", "AUROC"), "value"]), n=units,
        held_out="the wiring, of which the types of neurons are told",
        note="Size of the change of each weight as a score. Interval over networks, or over neurons where "
        "there is one. Ceiling: the fitted network on the same spikes, a mark.",
    ))
conflict = stdp_network.conflicting_rules(
    stdp_network.ORIGINAL_INHIBITORY, stdp_network.ORIGINAL_STDP_INHIBITORY, 259
)
run.quote(
    picked_before=above_honest, picked_after=above_picked, agreement=agreement, by_rates=by_rates,
    both_lists=len(set(stdp_network.ORIGINAL_INHIBITORY) & set(stdp_network.ORIGINAL_STDP_INHIBITORY)),
    n_list=len(stdp_network.ORIGINAL_INHIBITORY), n_rule_list=len(stdp_network.ORIGINAL_STDP_INHIBITORY),
    n_conflict=int(conflict.sum()), share_conflict=float(conflict.mean()),
    own_rate=float(np.median(first.rates_) * first.compression), true_rate=float(np.median(rate)),
    repeats=first.n_repeats,
)

# %% [markdown]
# The change of weights ranks synapses at {glue:text}`defect_original_network:.3f`
# ({glue:text}`defect_original_network_low:.3f` to {glue:text}`defect_original_network_high:.3f`; chance
# {glue:text}`defect_original_network_chance:.1f`) on the networks on which the fitted model has
# {glue:text}`defect_original_network_ceiling:.2f`. What little there may be is that neurons with many inputs fire more. The rule on the true spikes has
# {glue:text}`defect_rule:.2f`; what is left of it when the part that rates alone would make is taken off has
# {glue:text}`defect_rule_less_rates:.2f`. So there is something of the wiring in the order of spikes, and rates bury it. The
# network that was driven by calcium has not even that order: its changes correlate at {glue:text}`by_rates:.2f` (of ranks) with the
# product of its own rates. Cells that were chosen because they are active together must seem connected.
#
# ### Chosen runs
#
# Two runs of the network agree at {glue:text}`agreement:.2f` (correlation of ranks). Of ensembles among which nothing is, a share of
# {glue:text}`picked_before:.2f` lies above the line when all {glue:text}`repeats` runs count, and {glue:text}`picked_after:.2f` when the
# three that show most do.
#
# ### Two lists of inhibitory cells, and ten steps a frame
#
# The script has two lists of cells that inhibit: {glue:text}`n_list` in the network and {glue:text}`n_rule_list` in the rule
# of learning, of which {glue:text}`both_lists` are in both. So {glue:text}`n_conflict` synapses, a share of
# {glue:text}`share_conflict:.3f`, change by the rule of the other type. And a frame of a tenth of a second was made ten steps, which the
# neurons take for ten milliseconds: here they fire {glue:text}`own_rate:.0f` times in a second of their own, where the true
# neurons fire {glue:text}`true_rate:.1f` times a second, and windows of learning of some tens of milliseconds are
# hundreds in the recording. Mending these one by one does not help, since nothing is fitted. Each defect is caught by name in
# `tests/test_defects_of_wiring.py`.
#
# ## Explore
#
# A score is no answer yet: somebody has to say how many pairs to believe. Choose a method, and how many pairs, from the
# highest score on, are called synapses. Few calls are nearly all right and miss most; many find nearly all and are mostly
# wrong. Where on its curve would you stop, if every false synapse cost an experiment? And what do the false calls of
# different methods have in common? The pictures in the page were made when it was built; with the notebook open, any
# number of pairs can be called.

# %%
from visualcortex.wiring_widgets import wiring_explorer, wiring_small_multiples

view = wiring_explorer(scores, weights, cell_type)
n_synapses = np.count_nonzero(weights)
numbers = {int(n_synapses * share) for share in (0.125, 0.25, 0.5, 1, 2, 4)}
most = view.controls["called"].max
bookpress.explorable(
    view,
    over={"method": None, "called": sorted({min(max(n, 1), most) for n in numbers})},
    name="explore-06",
    caption="Left: all pairs, a row a source and a column a target. Right: precision "
    "against recall of all methods. Large dot: the chosen method, with so many pairs "
    "called; small dots: the others, with as many. Dashed: the share of pairs with a "
    "synapse, which guessing would have.",
)

# %% [markdown]
# In print, all methods, each with as many pairs called as there are synapses:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Pairs, a row a source, that are synapses and called so, missed, and falsely called, with as many calls as there are synapses.", "name": "fig-06-explore"}, "image": {"alt": "Six square matrices of dots in three colours, one a method, with bars at the margins for excitatory and inhibitory neurons."}}
wiring_small_multiples(scores, weights, cell_type)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert all(x.shape == weights.shape for x in scores.values()), "one score a pair"

# %% tags=["remove-cell"]
from matplotlib.figure import Figure

figure = Figure(figsize=(4, 3), layout="constrained")
ax = figure.subplots()
angle = 2 * np.pi * np.argsort(np.argsort(inhibitory, kind="stable")) / len(weights)
place = np.column_stack([np.cos(angle), np.sin(angle)])
size = np.nan_to_num(np.abs(model.scores_))
believed = size >= np.sort(size.ravel())[-n_synapses]
bend = np.linspace(0, 1, 40)[:, None]
for source, target in np.argwhere((weights != 0) | believed):
    line = (1 - bend) ** 2 * place[source] + bend**2 * place[target]
    colour = figures.REAL if inhibitory[source] else figures.GENERATED
    seen = believed[source, target] and weights[source, target] != 0
    look = {"color": colour, "alpha": 0.55} if seen else {"color": figures.CHANCE, "alpha": 0.3}
    ax.plot(*line.T, linewidth=1.1 if seen else 0.7, **look)
ax.scatter(*place.T, s=26, zorder=3, color=np.where(inhibitory, figures.REAL, figures.GENERATED))
ax.set(aspect="equal")
ax.set_axis_off()
bookpress.cover(figure, alt="Neurons on a circle, joined by curved lines in two colours: the synapses that were found.")

# %% [markdown]
# ## Exercises
#
# ```{exercise} Warm-up: a network without synapses
# :label: ex-06-empty
# Draw a wiring as always, but make every synapse a million times weaker (`strength=1e-6`): it does nothing. What should
# every score be then? Change the one setting, and look at AUROC, and at how many synapses the spiking network expects.
# ```
#
# ```{solution-start} ex-06-empty
# :class: dropdown
# AUROC scatters about one half, and does so over many seeds: a method that ranked synapses which do nothing would be reading
# something else, such as rates. The number expected is far below the number drawn, but not nought.
# ```

# %%
empty = visualcortex.load(
    "wired_network", seed=seed, n_neurons=20, duration=180.0, strength=1e-6
)
unwired = clone(model).fit(empty.spikes, stop=180.0)
drawn = empty.truth.weights
for name, found in {
    "spiking network": unwired,
    "correlogram peaks": clone(methods["correlogram peaks"]).fit(empty.spikes),
}.items():
    print(f"{name:18} AUROC {connectivity.synapse_auroc(found.scores_, drawn):.2f}")
print(f"expected {np.nansum(unwired.probabilities_):.1f}, drawn {np.count_nonzero(drawn)}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: neurons nobody recorded
# :label: ex-06-hidden
# Show the spiking network half of the neurons. What becomes of AUROC, and which pairs are now falsely called?
# ```
#
# ```{solution-start} ex-06-hidden
# :class: dropdown
# Input from hidden neurons is noise, and worse where two that are seen share it: their spikes coincide, without a
# synapse. Here connections are sparse and inputs weak, so that it costs little; in cortex a thousandth is seen.
# ```

# %%
half = observed(recording, np.arange(0, len(weights), 2))
seen = clone(model).fit(half.spikes)
all_seen = model.scores_[::2, ::2]
print(f"half is seen {connectivity.synapse_auroc(seen.scores_, half.truth.weights):.3f}")
print(f"all are seen {connectivity.synapse_auroc(all_seen, half.truth.weights):.3f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: spike times that are a little wrong
# :label: ex-06-jitter
# Move every spike by a normal error with a standard deviation of half, one, two and five milliseconds. When is the direction lost?
# ```
#
# ```{solution-start} ex-06-jitter
# :class: dropdown
# As soon as the error is as large as the delay and the rise of a synapse, long before spikes look different to the eye.
# [The next part](06b_calcium_connectivity.ipynb) asks what that means for calcium.
# ```

# %%
for error in (0.0005, 0.001, 0.002, 0.005):
    moved = spikes.jittered(error, truth.duration, rng)
    late = clone(methods["correlogram peaks"]).fit(moved)
    print(f"{1000 * error:.1f} ms: {connectivity.synapse_auroc(late.scores_, weights):.2f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: a null that is too easy
# :label: ex-06-null
# Call pairs against trains shifted by seconds, in place of jitter: what becomes of the share of false calls if all neurons
# share slow input?
# ```
#
# ```{solution-start} ex-06-null
# :class: dropdown
# A shift destroys slow common changes too, so that every pair which shares them stands out. The null of a test has
# to keep everything but what the test is about.
# ```

# %%
shifted = [
    np.sort((spikes.of(j) + rng.uniform(5, truth.duration - 5)) % truth.duration)
    for j in range(len(weights))
]
raw = connectivity.LaggedCorrelation(step=0.005)
chance = clone(raw).fit(SpikeTimes.from_lists(shifted)).scores_
line = np.nanquantile(np.abs(chance), 0.99)
called_easily = np.abs(clone(raw).fit(spikes).scores_) > line
easily = null.realised_fdr(called_easily, weights)
print(f"false: {easily.false_share:.2f} of {easily.n_called} calls")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Stretch: whose synapse is it?
# :label: ex-06-why-false
# Call as many pairs as there are synapses. Which of the *false* calls have a reason in the wiring: a synapse the other way
# round, a third neuron that drives both, or a way over a third neuron? Compare with all pairs that have no synapse,
# for correlogram peaks and for the spiking network. Then invent a rule that strikes out false calls of the commonest kind,
# settle it on one network and score it on another.
# ```
#
# ```{solution-start} ex-06-why-false
# :class: dropdown
# Count, for each kind, the share among false calls and among all pairs without a synapse. What is commoner among false
# calls than among the others is a reason for them. By far the commonest is a synapse the other way round, for either
# method. A third neuron misleads the correlograms, which look at one pair at a time, and hardly the network, which has
# all of them in view. The rule is left to you.
# ```

# %%
linked = weights != 0
others = known & ~linked
reasons = {
    "turned round": linked.T,
    "driven by a third": linked.T.astype(int) @ linked > 0,
    "over a third": linked.astype(int) @ linked > 0,
}
for name in ("correlogram peaks", "spiking network"):
    strength = np.nan_to_num(np.abs(scores[name]))
    false = others & (strength >= np.sort(strength.ravel())[-n_synapses])
    print(f"{name}: {false.sum()} false calls")
    for reason, holds in reasons.items():
        shares = [holds[part].mean() if part.any() else np.nan for part in (false, others)]
        print(f"  {reason:18} {shares[0]:.2f} of them, {shares[1]:.2f} of all such pairs")

# %% [markdown]
# ```{solution-end}
# ```
#
# ## What would falsify it
#
# - *Scores read synapses, not rates.* The spiking network has {glue:text}`auroc_spiking_network:.2f`, correlogram peaks
#   {glue:text}`auroc_correlogram_peaks:.2f`. On a network whose synapses do nothing (the first exercise, over twenty seeds)
#   the mean of either has to be {glue:text}`auroc_spiking_network_chance:.1f`. An interval that leaves it out would show that
#   part of the printed values has nothing to do with synapses.
# - *Probabilities mean what they say.* Of its surest pairs a share of {glue:text}`false_model:.2f` was false, where
#   {glue:text}`expected_model:.2f` was expected. Raise `shared` to five, set `regime="bursting"`, or run `spycon_tiny`. If the
#   first number outgrows the second, or {glue:text}`expected_over_true:.2f` moves far from one, calibration is a property of
#   the default network and not of the method. On so few calls a single error weighs much: read the count,
#   {glue:text}`called_model`, beside the share.
# - *The original network accumulates nothing.* It has {glue:text}`defect_original_network:.3f`
#   ({glue:text}`defect_original_network_low:.3f` to {glue:text}`defect_original_network_high:.3f`). Set `minutes` to sixty.
#   The fitted network went from {glue:text}`auroc_shortest:.2f` to {glue:text}`auroc_longest:.2f` as the recording grew; if
#   the original's drift rose with it, there would be evidence in it after all.
# - *Trains cannot teach a network that runs by itself.* Asked for them it has {glue:text}`auroc_free_trains:.2f`, from one
#   network and one start. An optimiser, a start or a longer schedule in `FreeRunningNetwork` that brought it near
#   {glue:text}`auroc_free_trains_ceiling:.2f` would show that the fault was in the training, not in the question.
# - *What no run of this chapter can show.* Every neuron is seen, no spike is given to the wrong neuron, and synapses neither
#   tire nor learn. A recording with paired electrodes, in which the probabilities were checked synapse by synapse, could
#   prove the method wrong for cortex whatever stands here.
#
# ## References
#
# Correlograms and their nulls: {cite:t}`stark2009`, {cite:t}`kobayashi2019`, {cite:t}`ren2020`; coupled point-process models:
# {cite:t}`pillow2008`; transfer entropy: {cite:t}`schreiber2000`, {cite:t}`stetter2012`; a comparison of methods:
# {cite:t}`donner2024`; surrogate gradients: {cite:t}`zenke2018`, {cite:t}`neftci2019`; what such inference gets wrong in
# strongly coupled networks: {cite:t}`das2020`; the original project: {cite:t}`gao2021report`. Full entries stand in the
# [bibliography](../bibliography.md).
