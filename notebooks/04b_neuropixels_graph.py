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
# # 04b · Who drives whom? Learned graphs and known synapses
#
# **The question.** [The first part](04_neuropixels_stgat.ipynb) learned a directed graph of neurons in order to
# read scenes. The project that this redoes learned one too, and never looked at it. Does such a graph hold the
# synapses? Does another loss, or another method, find them?
#
# **The dataset.** By default a simulated session of two hours whose synapses are known, half of the neurons
# recorded. With `dataset="tang2024_spikes"`, real spikes during dark flashes, beside the graph that was
# published for them {cite}`tang2024`; with `dataset="allen_neuropixels"`, any session {cite}`siegle2021`.
#
# **You will learn**
#
# - to draw correlograms of all pairs, and to take from them what slow common changes explain;
# - to score any candidate graph against synapses: which pairs, which direction, which sign;
# - why a network that reads scenes well has no reason to know a synapse, and what forecasting changes;
# - to ask whether another seed finds the same graph before reading it;
# - how the answer depends on the length of the recording and on who is not recorded.
#
# **You need** to know what a correlation and a linear regression are, NumPy arrays with several axes, and
# [the first part](04_neuropixels_stgat.ipynb) for the networks that learn a graph; {term}`precision` and
# {term}`AUROC` are explained where they come up.
#
# **Time to run:** about three minutes on two processor cores. No download.

# %% [markdown]
# ## Parameters
#
# Every one can be changed from outside; values outside the brackets are refused.

# %% tags=["parameters"]
dataset: str = "simulated"  # the recording {simulated, tang2024_spikes, allen_neuropixels}
seed: int = 91  # of every random draw [0, 1000000]
session: int = 791319847  # which session of allen_neuropixels [700000000, 900000000]
area: str = "all"  # areas of allen_neuropixels, with commas between: VISp,VISl
n_units: int = 200  # most active units that are kept [10, 1000]
minutes: float = 120.0  # of the simulated session in all [30, 300]
fit_minutes: float = 12.0  # of it that models of all neurons at once are fitted to [2, 300]
jitter_ms: int = 25  # window of the jitter, ms [5, 100]
n_networks: int = 2  # networks of each kind, each with a seed of its own [2, 20]
n_epochs: int = 10  # passes over the training trials of a decoder [1, 10000]
n_resamples: int = 100  # bootstrap resamples behind each interval [100, 100000]

# %% [markdown]
# The second cell checks the parameters again and starts the record of this run.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

import bookpress
import visualcortex
from visualcortex import connectivity, figures
from visualcortex.connectivity import attribution
from visualcortex.evaluation import blocked_parts, intervals
from visualcortex.models.forecasting import SpikeForecaster
from visualcortex.models.spike_decoders import SpikeDecoder
from visualcortex.spikes import SpikeTimes, contiguous_counts

run = bookpress.begin("04b_neuropixels_graph")
figures.use_style()
rng = np.random.default_rng(seed)

# %% [markdown]
# ## Data
#
# Spike times of a whole session, or trains of trials; the most active units are kept.

# %%
scenes_minutes = 118 * 50 * 0.25 / 60  # of the simulated session
options = {
    "simulated": {"grey_minutes": minutes - scenes_minutes, "window": (0.05, 0.3)},
    "allen_neuropixels": {
        "session": session, "bins": 5, "window": (0.05, 0.3),
        "area": None if area == "all" else area,
    },
}
recording = visualcortex.load(
    dataset, simulator="probes", seed=seed, **options.get(dataset, {})
)
run.uses(recording.provenance)
recording

# %% [markdown]
# What the candidates are held against: synapses of the simulation, or the published graph, in which an edge
# is a peak or trough of a correlogram and its strength.

# %%
truth, spikes = recording.truth, recording.spikes
activity = recording.responses.to_numpy().mean(axis=(0, 1))
kept = np.sort(np.argsort(activity)[::-1][:n_units])
reference, published = None, None
if truth is not None:
    reference = truth.weights[np.ix_(kept, kept)]  # (source, target), mV
if dataset == "tang2024_spikes":
    published = visualcortex.load("tang2024_networks")
    place = pd.Series(range(len(recording.neurons)), index=recording.neurons["unit_index"])
    kept = place[published.neurons["unit_index"]].to_numpy()
    reference = np.nan_to_num(published.of("flash_dark"))
neurons = recording.neurons.iloc[kept].reset_index(drop=True)
areas = neurons["area" if "area" in neurons else "region"].to_numpy()

# %% [markdown]
# All spikes at a millisecond:

# %%
if spikes is not None:
    spikes = spikes.select(kept)
    length = np.floor(spikes.times.max() * 1000 / jitter_ms) * jitter_ms / 1000  # s
    binned = connectivity.BinnedSpikes.from_times(spikes, 0.0, length)
else:
    trains = recording.responses.to_numpy()[:, :, kept]
    binned = connectivity.BinnedSpikes.from_trials(trains)
    length = trains.shape[0] * trains.shape[1] / 1000

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert binned.n_neurons == len(kept), "one row a kept unit"
run.quote(
    n_kept=len(kept), length_minutes=length / 60, rate=float(binned.n_spikes.mean() / length),
    known={"simulated": "synapses", "tang2024_spikes": "published edges"}.get(dataset, "nothing"),
    n_known=0 if reference is None else int(np.count_nonzero(reference)),
    density=float("nan") if reference is None else float(np.mean(reference != 0)),
)

# %% [markdown]
# There are {glue:text}`n_kept` units over {glue:text}`length_minutes:.1f` minutes, at {glue:text}`rate:.1f`
# spikes a second on average. What is known of them: {glue:text}`known`, {glue:text}`n_known` of them, a share
# of {glue:text}`density:.4f` of all ordered pairs.
#
# ## Model
#
# ### Correlograms
#
# ```{margin}
# The same function, another use: [the first part](04_neuropixels_stgat.ipynb) hands such correlograms to a
# decoder as its graph; [chapter 06](06_spiking_connectivity.ipynb) asks how few minutes they need.
# ```
# How often does one neuron fire so many milliseconds after another? Such a {term}`cross-correlogram` is
# counted for all pairs at once; and how often would it, if every spike had fallen anywhere within its window
# of the {term}`jitter` {cite}`harrison2009`? The
# second number is known in closed form, without a random surrogate.

# %%
raw = connectivity.cross_correlograms(binned, 60)  # (source, target, lag)
jittered = connectivity.jitter_expectation(binned, jitter_ms, 60)
corrected = connectivity.jitter_corrected(binned, window=jitter_ms, max_lag=100)

# %% [markdown]
# A synapse shows as a bump or dent at the lags of its postsynaptic potential, on one side only.
# `coupling_scores` fits such a shape for either direction to every correlogram {cite}`kobayashi2019`. The
# shape was settled on other simulated sessions, whose synapses were looked at: the decay of the potential, and
# that no slow bump is fitted besides.

# %%
scores = {
    "correlogram": connectivity.excess(raw, lags=(1, 12), flank=40)
    / np.sqrt(raw[:, :, 40:].mean(axis=2) + 1e-9),
    "less jitter": connectivity.excess(corrected, lags=(1, 12), flank=40),
    "sharpest peak": connectivity.find_peaks(corrected, lags=(0, 12)).z,
    "fitted synapse": connectivity.coupling_scores(raw),
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Correlograms of three pairs: the highest and the lowest fitted score, and one in the middle. Grey: expected under jitter.", "name": "fig-04b-correlograms"}, "image": {"alt": "Three panels of counts against lag; a bump after zero, a dent after zero, and neither."}}
figure, axes = plt.subplots(1, 3, figsize=(10, 2.7))
fitted = scores["fitted synapse"]
order = np.argsort(np.where(np.isfinite(fitted), fitted, 0).ravel())
pairs = [np.unravel_index(order[k], fitted.shape) for k in (-1, 0, len(order) // 2)]
for ax, (i, j) in zip(axes, pairs, strict=True):
    both, slow = (connectivity.two_sided(x[np.ix_([i, j], [i, j])]) for x in (raw, jittered))
    ax.step(np.arange(-60, 61), both[0, 1], where="mid", color=figures.REAL, label="counted")
    ax.plot(np.arange(-60, 61), slow[0, 1], color=figures.CHANCE, label="expected under jitter")
    ax.set(xlabel="lag of the target (ms)", ylabel="coincidences", title=f"{i} to {j}")
axes[0].legend(fontsize="small")
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
off = ~np.eye(len(kept), dtype=bool)
assert np.allclose(jittered[off][:, :50].sum(), raw[off][:, :50].sum(), rtol=0.02), "spikes only moved"

# %% [markdown]
# ### All neurons at once
#
# ```{margin}
# `partial_correlation` also reads wiring from generated activity in [chapter 05](05_neuron_gan.ipynb), and from
# calcium in [chapter 06b](06b_calcium_connectivity.ipynb).
# ```
# A pair may fire together because a third neuron drives both. {term}`Partial correlation <partial
# correlation>` and a generalised linear model {cite}`pillow2008` ask what one neuron's past adds once the
# pasts of all others are known: of those that were recorded.

# %%
fine = min(fit_minutes * 60, length)  # s
if spikes is not None:
    slices = contiguous_counts(spikes, 0.0, fine, 0.005)  # (bin, neuron), 5 ms
else:
    slices = trains.reshape(len(trains), -1, 5, len(kept)).sum(axis=2)  # by trial
fires = slices.reshape(-1, len(kept)).any(axis=0)  # silent units have no partner
scores["lagged correlation"] = connectivity.lagged_correlation(slices)
scores["partial correlation"] = connectivity.partial_correlation(slices, lag=1)
glm_part = slices[: 60 * 200 * 3] if spikes is not None else slices  # three minutes at most
glm = connectivity.CouplingGLM(2, alpha=1e-3).fit(glm_part)
scores["linear model"] = glm.scores_

# %% [markdown]
# ### Graphs that networks learn
#
# The same learned graph, with two losses. A decoder learns it to tell scenes apart. A forecaster learns it to
# say, from the past few milliseconds of all neurons, how many spikes each fires next; its slow part takes up
# what changes in many neurons at once.

# %% tags=["remove-output"]
learned = {"decoder": [], "forecaster": []}
if spikes is not None:
    counts = recording.responses.to_numpy()[:, :, kept]
    parts = blocked_parts(recording.session, (0.6, 0.2, 0.2))
    some = [(counts[p], recording.stimulus[p]) for p in parts]
    for k in tqdm(range(n_networks), desc="networks"):
        decoder = SpikeDecoder("stgat", rank=None, n_epochs=n_epochs, seed=seed + k)
        learned["decoder"].append(decoder.fit(*some[0], some[1], progress=False))
        forecaster = SpikeForecaster(n_epochs=3, seed=seed + k)
        learned["forecaster"].append(forecaster.fit(slices, progress=False))

# %% [markdown]
# ```{margin}
# An attention weight says where a network looks, not what would happen without it. Cutting an edge asks the
# second question, a {term}`ablation`.
# ```
# From a trained network, edges can be read in several ways: its adjacency; its attention; how far the input of
# one neuron moves what becomes of another, by integrated gradients {cite}`sundararajan2017`; and what the loss
# loses when an edge is cut.

# %%
by_seed = {}
if spikes is not None:
    by_seed = {
        f"{kind}, adjacency": [attribution.adjacency_edges(m) for m in some_networks]
        for kind, some_networks in learned.items()
    }
    scores |= {name: one[0] for name, one in by_seed.items()}
    decoder, forecaster = (some_networks[0] for some_networks in learned.values())
    test, late = some[2], slices[-20_000:]
    scores |= {
        "decoder, attention": attribution.attention_edges(decoder, test[0]),
        "decoder, gradients": attribution.integrated_gradients_edges(decoder, test[0]),
        "decoder, cut": attribution.ablation_edges(decoder, *test),
        "forecaster, gradients": attribution.integrated_gradients_edges(forecaster, late),
        "forecaster, cut": attribution.ablation_edges(forecaster, slices).clip(0)
        * np.sign(scores["forecaster, adjacency"]),
    }

# %% [markdown]
# ## Evaluation
#
# ### Which pairs, which direction, which sign
#
# ```{margin}
# A pair belongs to two neurons, and a neuron to many pairs. Drawing pairs would take them for independent and
# make intervals too narrow; `bootstrap_neurons` draws neurons, as in
# [chapter 06](06_spiking_connectivity.ipynb).
# ```
# Every candidate is a number for each ordered pair. The area under the curve ({term}`AUROC`) says how often a
# pair with a synapse has a larger one than a pair without; *direction*, how often the right way round of a
# pair has the larger one; *sign*, how often excitation and inhibition are told apart. Neurons are drawn again
# and again, with all their pairs.

# %% tags=["remove-output"]
found = {}
if reference is not None:
    for name in tqdm(scores, desc="candidates"):
        same = np.random.default_rng(seed)  # the same resamples for all
        found[name] = connectivity.score_wiring(
            scores[name], reference, rng=same, n_resamples=n_resamples
        )
values = {name: table["value"] for name, table in found.items()}

# %% [markdown]
# One row a candidate:

# %%
shown = pd.DataFrame(values).T
shown.round(3)

# %% tags=["hide-input", "hide-output"]
known_as = "synapse" if published is None else "published edge"
for name, table in found.items():
    for statistic in ("AUROC", "AUPRC", "direction accuracy", "sign accuracy"):
        row = table.loc[statistic]
        if not np.isfinite(row["low"]):
            continue
        run.record(bookpress.Claim.of(
            f"{statistic.split()[0].lower()}_" + name.replace(", ", "_").replace(" ", "_"),
            intervals.Interval(row["value"], row["low"], row["high"]), unit=statistic,
            chance=float(row["chance"]), ceiling=1.0, n=int(row["n"]),
            held_out=f"no {known_as} is seen by any method",
            note=f"{name} against every {known_as}. Interval over neurons.",
        ))
best = max(values, key=lambda n: values[n]["AUROC"]) if values else "not known"
best_learned = max(
    (n for n in values if n.split(",")[0] in learned), key=lambda n: values[n]["AUROC"], default="none"
)
run.quote(best=best, best_learned=best_learned)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: area under the curve of every candidate against what is known, with intervals over neurons. Right: how often the right direction has the larger number. Dashed: chance.", "name": "fig-04b-scores"}, "image": {"alt": "Two columns of dots, those of correlograms far to the right, those of decoders on the dashed line of chance."}}
if found:
    rows = [n for n in found if np.isfinite(found[n].loc["AUROC", "low"])]
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.27 * len(rows) + 1.1), layout="constrained")
    for ax, statistic in zip(axes, ("AUROC", "direction accuracy"), strict=True):
        lines = pd.DataFrame({n: found[n].loc[statistic] for n in rows}).T
        figures.dot_plot(
            rows, lines["value"], low=lines["low"], high=lines["high"], chance=0.5,
            quantity={"AUROC": "area under the curve"}.get(statistic, "right direction"),
            limits=(0, 1), ax=ax,
        )
    plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
if truth is not None:
    assert values["fitted synapse"]["AUROC"] > values["lagged correlation"]["AUROC"]
    assert abs(values["decoder, adjacency"]["AUROC"] - 0.5) < 0.1, "reading needs no synapses"
    assert values["forecaster, adjacency"]["AUROC"] > values["decoder, adjacency"]["AUROC"]
if published is not None:
    assert values["sharpest peak"]["AUROC"] > 0.8, "our correlograms find the published edges"

# %% [markdown]
# The best candidate is *{glue:text}`best`*, the best that a network learned *{glue:text}`best_learned`*. Of all
# ordered pairs, the fitted synapse ranks one that is {glue:text}`known_one` above one that is not in
# {glue:text}`auroc_fitted_synapse:.3f` of the cases (95 % interval over neurons
# {glue:text}`auroc_fitted_synapse_low:.3f` to {glue:text}`auroc_fitted_synapse_high:.3f`; chance
# {glue:text}`auroc_fitted_synapse_chance:.1f`), the adjacency of the forecaster in
# {glue:text}`auroc_forecaster_adjacency:.3f` ({glue:text}`auroc_forecaster_adjacency_low:.3f` to
# {glue:text}`auroc_forecaster_adjacency_high:.3f`), and the adjacency that the decoder learned in
# {glue:text}`auroc_decoder_adjacency:.3f` ({glue:text}`auroc_decoder_adjacency_low:.3f` to
# {glue:text}`auroc_decoder_adjacency_high:.3f`).
#
# That the decoder's graph says next to nothing of synapses is no failure of its training. Its loss asks which
# scene was shown; any graph whose messages separate scenes is as good as another, and the first part shows
# that a random one does as well. Synapses move spikes by a few in a hundred, within milliseconds; scenes are
# read from counts of a quarter of a second. A forecast of the next milliseconds does depend on synapses, and
# so its graph resembles them. Weak synapses stay hidden from all methods: the amplitude of a synapse varies
# more than tenfold.
#
# ### Does another seed find the same graph?
#
# The same training from another start, on the same data: rank correlation of the two matrices.

# %%
agreement = {
    name: float(np.mean(attribution.seed_agreement(one)[np.triu_indices(len(one), 1)]))
    for name, one in by_seed.items()
}
halves = None
if spikes is not None:
    middle = np.floor(length / 2 * 1000 / jitter_ms) * jitter_ms / 1000
    cuts = [(0.0, middle), (middle, length)]
    halves = [
        connectivity.coupling_scores(connectivity.cross_correlograms(
            connectivity.BinnedSpikes.from_times(spikes, *cut), 60
        )) for cut in cuts
    ]
    agreement["fitted synapse, halves"] = float(attribution.seed_agreement(halves)[0, 1])

# %% tags=["hide-input"]
run.quote(
    seeds_decoder=agreement.get("decoder, adjacency", "not measured"),
    seeds_forecaster=agreement.get("forecaster, adjacency", "not measured"),
    seeds_halves=agreement.get("fitted synapse, halves", "not measured"),
    known_one=known_as if reference is not None else "an edge",
    **{
        f"auroc_{n}{end}": "not measured"
        for n in ("fitted_synapse", "forecaster_adjacency", "decoder_adjacency")
        for end in ("", "_low", "_high", "_chance")
        if n.replace("_", ", " if n != "fitted_synapse" else " ") not in found
    },
)

# %% [markdown]
# Two seeds of the decoder agree on its graph by {glue:text}`seeds_decoder:.2f`, of the forecaster by
# {glue:text}`seeds_forecaster:.2f`. The fitted synapses of the two halves of the session agree by
# {glue:text}`seeds_halves:.2f` over all pairs, most of which have none. Where another seed finds another graph,
# neither should be read.
#
# ### How long, and who is not there

# %%
by_length, by_observed = {}, {}
if truth is not None:
    for share in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0):
        stop = np.floor(share * length * 1000 / jitter_ms) * jitter_ms / 1000
        part = connectivity.BinnedSpikes.from_times(spikes, 0.0, stop)
        shorter = connectivity.cross_correlograms(part, 60)
        some_scores = connectivity.coupling_scores(shorter)
        by_length[stop / 60] = connectivity.bootstrap_neurons(
            connectivity.synapse_auroc, some_scores, reference,
            rng=np.random.default_rng(seed), n_resamples=n_resamples,
        )

# %% [markdown]
# What a method that conditions on all others gains from more of them: synapses among the same few units,
# with none, some or all other neurons of the network known. In the simulation, the hidden ones can be shown.

# %%
if truth is not None:
    happened, core = truth.session, truth.recorded[kept[:60]]
    others = rng.permutation(np.setdiff1d(np.arange(len(truth.cells)), core))
    by_cell = np.argsort(happened.who, kind="stable")
    ends = np.cumsum(np.bincount(happened.who, minlength=len(truth.cells)))
    everyone = SpikeTimes(happened.when[by_cell] / 1000 + 0.0005, ends)
    ten_ms = contiguous_counts(everyone, 0.0, min(900.0, length), 0.01)
    among = truth.network_weights[np.ix_(core, core)]
    for n in (0, 60, 180, len(others)):
        x = ten_ms[:, np.r_[core, others[:n]]]
        coupled = connectivity.partial_correlation(x, lag=1)[: len(core), : len(core)]
        by_observed[len(core) + n] = connectivity.bootstrap_neurons(
            connectivity.synapse_auroc, coupled, among,
            rng=np.random.default_rng(seed), n_resamples=n_resamples,
        )

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Left: area under the curve of the fitted synapse against the length of the recording. Right: of partial correlation among the same units, against the number of neurons of the network that are known. Bands: intervals over neurons. Dashed: chance.", "name": "fig-04b-limits"}, "image": {"alt": "Two curves with bands above a dashed line; the left one rises with the length of the recording."}}
if truth is not None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
    for ax, curve, name in zip(
        axes, (by_length, by_observed), ("minutes recorded", "neurons known"), strict=True
    ):
        value, low, high = np.array(list(curve.values())).T
        ax.plot(list(curve), value, "o-", color=figures.REAL)
        ax.fill_between(list(curve), low, high, color=figures.REAL, alpha=0.2, linewidth=0)
        ax.axhline(0.5, color=figures.CHANCE, linestyle="--")
        ax.set(xlabel=name, ylabel="area under the curve", xscale="log")
    plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
if truth is not None:
    lengths = list(by_length)
    assert by_length[lengths[-1]].value > by_length[lengths[0]].value, "longer tells more"
    assert len(by_observed) >= 3, "few, some and all others"

# %% tags=["hide-input"]
if truth is not None:
    shortest, least, most = min(by_length), min(by_observed), max(by_observed)
    for name, value, note in (
        ("auroc_shortest", by_length[shortest], f"Fitted synapse, {shortest:.1f} minutes."),
        ("auroc_few_known", by_observed[least], f"Partial correlation, {least} neurons known."),
        ("auroc_all_known", by_observed[most], f"Partial correlation, {most} neurons known."),
    ):
        run.record(bookpress.Claim.of(
            name, value, unit="AUROC", chance=0.5, ceiling=1.0,
            n=len(core) if "known" in name else len(kept), held_out="no synapse is seen by any method",
            note=f"{note} Interval over neurons.",
        ))
    run.quote(shortest=shortest, least_known=least, most_known=most)
else:
    unknown = [f"auroc_{n}{e}" for n in ("shortest", "few_known", "all_known") for e in ("", "_low", "_high")]
    run.quote(shortest="?", least_known="?", most_known="?", **dict.fromkeys(unknown, "not measured"))

# %% [markdown]
# Of {glue:text}`shortest:.1f` minutes, the fitted synapse makes {glue:text}`auroc_shortest:.3f`
# ({glue:text}`auroc_shortest_low:.3f` to {glue:text}`auroc_shortest_high:.3f`). Partial correlation among
# these units makes {glue:text}`auroc_few_known:.3f` ({glue:text}`auroc_few_known_low:.3f` to
# {glue:text}`auroc_few_known_high:.3f`) with {glue:text}`least_known` neurons known, and
# {glue:text}`auroc_all_known:.3f` ({glue:text}`auroc_all_known_low:.3f` to
# {glue:text}`auroc_all_known_high:.3f`) with {glue:text}`most_known`. The difference is what hidden neurons
# cost this method at this length; where the two intervals overlap, no such cost is seen. How hidden neurons can
# mislead such methods in general is known {cite}`das2020`. Methods that look at
# one pair at a time do not depend on who else is recorded, for better and for worse.
#
# ### A real anchor
#
# For real neurons nobody knows the synapses. What is published are graphs of sharp correlogram peaks, one for
# each stimulus {cite}`tang2024`. How alike are two of them, of the same neurons? That is a ceiling for any
# comparison with one of them.

# %%
overlap = agrees = None
if published is not None:
    names = list(published.networks["stimulus"])
    graphs = {name: np.nan_to_num(published.of(name)) for name in names}
    overlap = pd.DataFrame(
        [[connectivity.edge_jaccard(graphs[a], graphs[b]) for b in names] for a in names],
        index=names, columns=names,
    )
    linked = np.argwhere(reference != 0)
    row = names.index("flash_dark")
    start, more = (published.measures[m][row].to_numpy() for m in ("offset", "duration"))
    stop = start + more + 1
    ours = [corrected[i, j, int(start[i, j]) : int(stop[i, j])].sum() for i, j in linked]
    agrees = np.corrcoef(ours, reference[tuple(linked.T)])[0, 1]

# %% tags=["hide-input"]
if published is not None:
    table = found["sharpest peak"].loc["AUROC"]
    ours = np.array(ours)
    weights_there = reference[tuple(linked.T)]
    drawn = [rng.integers(len(linked), size=len(linked)) for _ in range(n_resamples)]
    ends = np.quantile([np.corrcoef(ours[d], weights_there[d])[0, 1] for d in drawn], [0.025, 0.975])
    run.record(
        bookpress.Claim.of(
            "edge_correlation", intervals.Interval(float(agrees), *ends.tolist()), chance=0.0,
            unit="correlation", ceiling=1.0, n=len(linked), held_out="nothing is fitted",
            note="Our correlogram summed over the published lags of each edge, with its published "
            "weight. Interval over edges.",
        )
    )
    others = overlap.loc["flash_dark"].drop("flash_dark")
    run.quote(jaccard_most=float(others.max()), jaccard_least=float(others.min()))
else:
    run.quote(
        edge_correlation="not run", edge_correlation_low="not run", edge_correlation_high="not run",
        jaccard_most="not run", jaccard_least="not run",
    )

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of edges that two published graphs of the same neurons have in common, of those that either has, for every pair of stimuli.", "name": "fig-04b-stimuli"}, "image": {"alt": "A square table of shades with a strong diagonal and weak other entries."}}
if overlap is not None:
    figure, ax = plt.subplots(figsize=(5, 4.2))
    shade = ax.imshow(overlap.where(overlap < 1), cmap=figures.ACTIVITY, vmin=0)
    ax.set_xticks(range(len(names)), names, rotation=60, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="stimulus", ylabel="stimulus")
    figure.colorbar(shade, ax=ax, label="edges in common")
    plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert agrees is None or agrees > 0.9, "our correlograms have the published weights"

# %% [markdown]
# With `dataset="tang2024_spikes"` this page shows it: our correlograms and the published weights correlate by
# {glue:text}`edge_correlation` over the published edges, and the graph of dark flashes shares between
# {glue:text}`jaccard_least` and {glue:text}`jaccard_most` of its edges with that of another stimulus.
#
# ## What went wrong before
#
# The project printed the first five entries of its learned matrix above a threshold, and nothing else was done
# with it. Three things stood in the way of more.
#
# ### The diagonal
#
# Among the five entries was the first of the diagonal. The library replaces self-loops, so that no such entry
# ever had a gradient: it stayed where it began. Here, the same layer with weights for all pairs, and the
# gradient of those of the diagonal.

# %%
import torch

from visualcortex.models.graph_layers import GraphAttentionV2

with torch.random.fork_rng():
    torch.manual_seed(seed)
    layer = GraphAttentionV2(1, 4, edge_dim=1)
    free = torch.nn.Parameter(torch.zeros(30, 30))
    passed = layer(torch.randn(8, 30, 1), edge_weights=torch.sigmoid(free))
    passed.square().mean().backward()
on_diagonal = float(free.grad.diagonal().abs().max())
elsewhere = float(free.grad[~torch.eye(30, dtype=torch.bool)].abs().mean())

# %% [markdown]
# ### Five entries of one run
#
# In two runs on one session, three of the four entries that could train moved in opposite directions. Here the
# same is asked of the decoder's graph, for all pairs: how often do two seeds give an entry the same sign?

# %%
same_sign = None
if by_seed:
    first, second = (m[off] for m in by_seed["decoder, adjacency"][:2])
    same_sign = float(np.mean(np.sign(first) == np.sign(second)))
    forecast = [m[off] for m in by_seed["forecaster, adjacency"][:2]]
    same_forecast = float(np.mean(np.sign(forecast[0]) == np.sign(forecast[1])))

# %% [markdown]
# ### Correlation taken for connection
#
# The original's other graph was the correlation of counts. With shared fluctuations and a common stimulus, it
# is large between neurons that have no synapse, and has no direction.

# %%
if truth is not None:
    summed = recording.responses.to_numpy()[:, :, kept].sum(axis=1)
    together = np.abs(np.corrcoef(summed.T))
    np.fill_diagonal(together, np.nan)
    wrong = connectivity.bootstrap_neurons(
        connectivity.synapse_auroc, together, reference,
        rng=np.random.default_rng(seed), n_resamples=n_resamples,
    )

# %% tags=["hide-input"]
if truth is not None:
    run.record(bookpress.Claim.of(
        "defect_correlation", wrong, unit="AUROC", chance=0.5,
        ceiling=float(values["fitted synapse"]["AUROC"]), n=len(kept),
        held_out="no synapse is seen by any method",
        note="Correlation of counts of whole trials. Ceiling: the fitted synapse. Interval over "
        "neurons.",
    ))
else:
    run.quote(**{f"defect_correlation{e}": "not measured" for e in ("", "_low", "_high", "_ceiling")})
run.quote(
    on_diagonal=on_diagonal, elsewhere=elsewhere,
    same_sign="not measured" if same_sign is None else same_sign,
    same_forecast="not measured" if same_sign is None else same_forecast,
)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "One entry of the learned graph under one seed against the same under another, for the decoder (left) and the forecaster (right); two thousand pairs.", "name": "fig-04b-seeds"}, "image": {"alt": "Left a round cloud, right a cloud along a diagonal."}}
if by_seed:
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.3))
    drawn = rng.permutation(off.sum())[:2000]
    for ax, (name, pair) in zip(
        axes, (("decoder", (first, second)), ("forecaster", forecast)), strict=True
    ):
        ax.plot(pair[0][drawn], pair[1][drawn], ".", markersize=2, color=figures.REAL)
        ax.set(xlabel="weight, first seed", ylabel="weight, second seed", title=name)
    plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert on_diagonal == 0, "self-loops are replaced, and never train"
assert elsewhere > 0, "all others do"
if truth is not None:
    assert same_forecast > same_sign, "forecasting finds the same graph again, decoding less so"
    assert wrong.high < values["fitted synapse"]["AUROC"], "correlation is not connection"

# %% [markdown]
# On the diagonal the gradient is {glue:text}`on_diagonal:.0f`, elsewhere {glue:text}`elsewhere:.1e` on average.
# Two seeds of the decoder give a pair the same sign in {glue:text}`same_sign:.2f` of the cases, where a coin
# would in half; two seeds of the forecaster in {glue:text}`same_forecast:.2f`. Correlation of counts ranks
# synapses with {glue:text}`defect_correlation:.3f` ({glue:text}`defect_correlation_low:.3f` to
# {glue:text}`defect_correlation_high:.3f`), where the fitted synapse has
# {glue:text}`defect_correlation_ceiling:.3f`.
#
# ## Explore
#
# ```{margin}
# In the simulation, the dense rows and columns at the end of each area are inhibitory neurons: they have more
# partners than the others, and stronger synapses.
# ```
# A score becomes a graph by a threshold. Choose a method and how many pairs, from the largest score on, are
# called synapses: which are hits, which are missed, which are false? {term}`Precision <precision>` is the share
# of the called that are right, recall the share of the right that are called. Where do they cross, and where
# would you stop if a false synapse cost more than a missed one? On the page the controls show pictures that were
# drawn when it was made; with the notebook open every method and number can be chosen. Where no synapse and no
# published edge is known, the view shows what is called, and nobody can say what of it is right.

# %%
from visualcortex.spike_widgets import threshold_explorer, threshold_small_multiples

meant = {"known_as": known_as}
if published is not None:
    meant["strength"] = "size of the published weight"
view = threshold_explorer(scores, reference, areas, **meant)
usual = round(view.controls["called"].value)  # as many as are known
n_pairs = min(int(np.isfinite(matrix).sum()) for matrix in scores.values())
numbers = {max(round(usual * share), 1) for share in (1 / 32, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4)}
numbers = sorted(n for n in numbers if n <= 0.9 * n_pairs)
compared = ("fitted synapse", "less jitter", "partial correlation")
compared += ("forecaster, adjacency", "decoder, adjacency")
compared = [name for name in compared if name in scores]
view.controls["method"].value = compared[0]
bookpress.explorable(
    view, over={"method": compared, "called": numbers}, name="explore-04b",
    caption="All ordered pairs in order of area, called synapses or not; precision and "
    "recall against the number called, with chance; strengths of found and missed ones.",
)

# %% [markdown]
# In print: three methods, with as many pairs called as are known, or one in twenty where none is.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Pairs called by three methods, from the largest score on, as many as are known. Above, hits, misses and false calls where synapses or published edges are known; below, precision and recall against the number of pairs called. Dashed: chance.", "name": "fig-04b-explore"}, "image": {"alt": "Three square matrices of coloured dots above three panels of a falling and a rising curve, which cross high for correlograms and low for a decoder."}}
three = ["fitted synapse", "partial correlation", "decoder, adjacency"]
three = {name: scores[name] for name in three if name in scores}
threshold_small_multiples(three, reference, areas, known_as=known_as)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert all(np.isnan(np.diag(m)).all() for m in scores.values()), "no neuron drives itself here"

# %% tags=["remove-cell"]
from matplotlib.figure import Figure

figure = Figure(figsize=(4, 3), layout="none")
turn = 2 * np.pi * np.argsort(np.argsort(areas, kind="stable")) / len(areas)
around = np.stack([np.cos(turn), np.sin(turn)], axis=1)
bend = np.linspace(0, 1, 24)[:, None]
ends_of = list(three)[0], list(three)[-1]
for column, name in enumerate(ends_of):
    ax = figure.add_axes((0.5 * column + 0.01, 0.08, 0.48, 0.84))
    largest = np.argsort(-np.nan_to_num(np.abs(scores[name])), axis=None)[:150]
    for i, j in zip(*np.unravel_index(largest[::-1], scores[name].shape), strict=True):
        x, y = ((1 - bend) ** 2 * around[i] + bend**2 * around[j]).T
        known = reference is None or reference[i, j] != 0
        colour = figures.REAL if known else figures.GENERATED
        ax.plot(x, y, color=colour, linewidth=0.7, alpha=0.55)
    ax.plot(*around.T, ".", color=figures.INK, markersize=2)
    ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    ax.set_axis_off()
told = f"Two rings of neurons, lines for the largest scores, blue for a known {known_as}, "
bookpress.cover(figure, alt=told + f"else orange; {ends_of[0]} left, {ends_of[1]} right.")

# %% [markdown]
# ## Exercises
#
# ```{exercise} Warm-up: The wrong way round
# :label: ex-04b-transpose
# Transpose the fitted synapses and score them again. Why is the area not one half?
# ```
#
# ```{solution-start} ex-04b-transpose
# :class: dropdown
# Some pairs are linked both ways, and neurons of one area are linked more often than those of two: who is
# linked at all is known from either direction.
# ```

# %%
if reference is not None:
    for name, matrix in (("as it is", fitted), ("transposed", fitted.T)):
        print(f"{name:11} {connectivity.synapse_auroc(matrix, reference):.3f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: A wider jitter
# :label: ex-04b-jitter
# Score the correlograms less what jitter explains for windows of ten, twenty-five and fifty milliseconds. What
# does a narrow window take away besides slow changes?
# ```
#
# ```{solution-start} ex-04b-jitter
# :class: dropdown
# The postsynaptic potential lasts ten milliseconds and more. A window as narrow takes a part of it for a slow
# change.
# ```

# %%
if reference is not None and spikes is not None:
    for window in (10, 25, 50):
        whole = connectivity.BinnedSpikes.from_times(spikes, 0.0, 600.0)
        there = connectivity.jitter_corrected(whole, window=window, max_lag=60)
        score = connectivity.excess(there, lags=(1, 12), flank=40)
        print(f"{window} ms: {connectivity.synapse_auroc(score, reference):.3f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: Strong synapses
# :label: ex-04b-strong
# Score the fitted synapses against the stronger half of the synapses only, leaving out pairs with a weaker one.
# ```
#
# ```{solution-start} ex-04b-strong
# :class: dropdown
# What is missed are weak synapses: they move too few spikes.
# ```

# %%
if truth is not None:
    strength = np.abs(reference)
    middle = np.median(strength[strength > 0])
    masked = np.where((strength > 0) & (strength < middle), np.nan, fitted)
    print(f"stronger half {connectivity.synapse_auroc(masked, reference):.3f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: Synapses, or areas?
# :label: ex-04b-areas
# Neurons of one area are linked more often than those of two. A method that knew areas only would score above
# chance. Which of the methods keep their area under the curve among pairs of one area?
# ```
#
# ```{solution-start} ex-04b-areas
# :class: dropdown
# Leave out pairs of two areas by giving them no score. What falls to a half knew areas; what stays knows more.
# ```

# %%
of_one_area = areas[:, None] == areas[None, :]
for name in compared if reference is not None else ():
    within = np.where(of_one_area, scores[name], np.nan)
    rights = [connectivity.synapse_auroc(m, reference) for m in (scores[name], within)]
    print(f"{name:22} {rights[0]:.3f} of all pairs, {rights[1]:.3f} within areas")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Stretch: A threshold without the truth
# :label: ex-04b-threshold
# For real neurons no precision can be drawn. Say how many of the called pairs are false without looking at a
# synapse: fit the synapses to both halves of the session, call pairs by the first, and ask the second for their
# sign. When is this estimate too low?
# ```
#
# ```{solution-start} ex-04b-threshold
# :class: dropdown
# A pair without a synapse gets either sign with even odds in the second half, so that twice the share of
# changed signs among those called is about the share of false ones. It is too low where something that is no
# synapse looks the same in both halves, such as a common input within milliseconds or the mirror image of a
# synapse in the other direction, and too high where synapses are too weak to keep their sign. Where synapses
# are known, compare the two columns: how far may such an estimate be trusted?
# ```

# %%
if halves is not None:
    signs = [np.sign(np.nan_to_num(half[off])) for half in halves]
    by_size = np.argsort(-np.abs(np.nan_to_num(halves[0][off])))
    for n in (100, 300, 1000, 3000):
        some_pairs = by_size[:n]
        expected = 2 * np.mean(signs[0][some_pairs] != signs[1][some_pairs])
        line = f"{len(some_pairs)} called: {min(expected, 1):.2f} expected to be false"
        if reference is not None:
            line += f", {np.mean(reference[off][some_pairs] == 0):.2f} are"
        print(line)

# %% [markdown]
# ```{solution-end}
# ```
#
# ## What would falsify it
#
# - **A decoder that knows synapses.** The chapter claims that a graph learned for reading holds next to none:
#   {glue:text}`auroc_decoder_adjacency:.3f` ({glue:text}`auroc_decoder_adjacency_low:.3f` to
#   {glue:text}`auroc_decoder_adjacency_high:.3f`). The page of claims over seeds decides it better than one
#   run: a value on the same side of a half under every seed is something, however small, and the exercise on
#   areas asks whether it is more than knowing areas. Train longer too, with `n_epochs=40`: if the value rises
#   with training, the explanation given above, that the loss does not ask for synapses, is wrong.
# - **A forecaster that knows areas only.** Its {glue:text}`auroc_forecaster_adjacency:.3f` would be no
#   knowledge of synapses if it fell to a half among pairs of one area, or if its direction were right as often
#   as a coin. Look at the exercise on areas and at the right panel of the figure of candidates.
# - **A limit that is not one of length.** Missed synapses are said to be weak ones that need more spikes. Then
#   {glue:text}`auroc_shortest:.3f` of {glue:text}`shortest:.1f` minutes must go on rising beyond the
#   {glue:text}`auroc_fitted_synapse:.3f` of the whole session. Set `minutes=240`; if it does not rise, or if the
#   lowest panel of the explorable shows strong synapses among those missed, something else hides them.
# - **Hidden neurons that matter.** Partial correlation makes {glue:text}`auroc_few_known:.3f` with
#   {glue:text}`least_known` neurons known and {glue:text}`auroc_all_known:.3f` with {glue:text}`most_known`. A
#   gain whose intervals part would show a cost of not recording them that this chapter does not see. Count in
#   bins of two milliseconds instead of ten in the cell that makes `ten_ms`, where common input is told from a
#   synapse more sharply.
# - **What the simulation cannot tell.** The shape that `coupling_scores` fits was settled on sessions of the
#   same simulator, so that synapses of other time courses, common input within milliseconds and spikes that
#   sorting assigns to the wrong unit are not tested. The published graph is no truth either: it is made of
#   correlograms, and our agreement with it, {glue:text}`edge_correlation`, would be as high if its edges were
#   no synapses. Only recordings in which a neuron is stimulated, or both are recorded inside the cell, could
#   show the fit wrong.
#
# ## References
#
# The published graphs: {cite:t}`tang2024`; jitter: {cite:t}`harrison2009`; synapses fitted to correlograms:
# {cite:t}`kobayashi2019`; coupled linear models: {cite:t}`pillow2008`; what is not observed:
# {cite:t}`das2020`; integrated gradients: {cite:t}`sundararajan2017`; attention as explanation:
# {cite:t}`wiegreffe2019`; the original project: {cite:t}`neuropixels2024`. Full entries stand in the
# [bibliography](../bibliography.md).
