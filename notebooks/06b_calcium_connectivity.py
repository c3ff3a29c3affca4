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
# # 06b · What can calcium say of the wiring?
#
# **The question.** Spikes of a whole network [tell most of its synapses](06_spiking_connectivity.ipynb). A microscope
# shows calcium, some frames a second, of some of the neurons. What is left, and was it enough in the recording from which
# the original project read connections?
#
# **The dataset.** By default simulated networks of known wiring, seen through an indicator with the published rise, decay
# and saturation of GCaMP6 {cite}`chen2013`. With `dataset="lif80_calcium"`, a network that was simulated once and kept. With
# `dataset="guan2018"` or, frame by frame, `dataset="guan2018_traces"`, neurons of mouse visual cortex, whose wiring
# nobody knows {cite}`gao2021neurogan`.
#
# **You will learn**
#
# - to fit a network in continuous time to frames that are longer than its delays;
# - to set it beside partial correlations, the winner of a challenge, and transfer entropy;
# - where recovery breaks: by frame rate, indicator, noise, errors of spike times, length, and neurons not seen;
# - to say of a real recording what it can and cannot hold, before reading it;
# - how trials of one cell in training and test made a classifier of cell types look better than it was.
#
# **You need** [chapter 06](06_spiking_connectivity.ipynb), which reads the same wiring from spikes, and what
# [chapter 05b](05b_deconvolution.ipynb) says of calcium. The model uses Fourier transforms and complex matrices; who
# skips its formulae can follow all the rest.
#
# **Time to run:** about two minutes on two processor cores. No download.

# %% [markdown]
# ## Parameters
#
# Every one can be changed from outside; values outside the brackets are refused.

# %% tags=["parameters"]
dataset: str = "simulated"  # {simulated, lif80_calcium, guan2018, guan2018_traces}
seed: int = 211  # of random draws; networks take it and the next ones [0, 1000000]
n_neurons: int = 40  # of a simulated network [10, 100]
minutes: float = 10.0  # of a simulated network [2, 240]
frame_rate: float = 30.0  # of the simulated microscope, Hz [2, 200]
indicator: str = "gcamp6f"  # simulated {gcamp6f, gcamp6s}
noise: float = 0.009  # s.d. of the noise of a second of light, dF/F, simulated [0, 10]
n_networks: int = 5  # simulated networks behind each interval [2, 50]
n_cliff: int = 5  # of them along the axes of the quality of a recording [2, 50]
n_resamples: int = 200  # bootstrap resamples behind intervals over neurons [100, 100000]

# %% [markdown]
# The second cell checks the parameters again and starts the record of this run.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from tqdm.auto import tqdm

import bookpress
import visualcortex
from visualcortex import connectivity, figures, wiring_figures
from visualcortex.connectivity import calibration, cliff
from visualcortex.connectivity.networks import ObservedNetwork, over_networks, score_methods
from visualcortex.evaluation import Interval, cell_types, student
from visualcortex.models.spike_counts import estimate_kinetics
from visualcortex.simulators.indicator import CalciumIndicator, time_constants
from visualcortex.simulators.wired_network import WiredNetwork, image_spikes
from visualcortex.spontaneous import known_wiring, observed

run = bookpress.begin("06b_calcium_connectivity")
figures.use_style()
rng = np.random.default_rng(seed)

# %% [markdown]
# ## Data
#
# Networks and their spikes come first, wherever the recording comes from: the limits of *any* recording are measured on
# networks whose wiring is known.

# %%
simulated = [
    visualcortex.load("wired_network", seed=k, n_neurons=n_neurons, duration=60 * minutes)
    for k in range(seed, seed + n_networks)
]
microscope = CalciumIndicator(frame_rate=frame_rate, indicator=indicator, noise=noise)

# %% [markdown]
# Then the recording to look at. The real one comes in trials of twenty-nine frames, of which either all are known or the
# share in which a neuron was active; each stimulus had a session of its own, and the mean of a session is taken off.

# %%
real = dataset in ("guan2018", "guan2018_traces")
if real:
    recording = visualcortex.load(dataset)
    values = recording.responses.to_numpy().astype(float)
    session = recording.trials["session"].to_numpy()
    for k in np.unique(session):
        values[session == k] -= values[session == k].mean(axis=0)
    frames = values.reshape(-1, recording.n_neurons)
    step = 0.1 if dataset == "guan2018_traces" else 2.9  # s
elif dataset == "lif80_calcium":
    recording = visualcortex.load(dataset)
else:
    recording = image_spikes(simulated[0], microscope, seed)
run.uses(recording.provenance)
recording

# %% [markdown]
# ```{margin}
# The indicator is that of [chapter 05b](05b_deconvolution.ipynb), which asks of the same light when single spikes were.
# ```
# All methods are scored where the wiring is known: on the kept network, or on the simulated ones through the microscope.

# %%
if dataset == "lif80_calcium":
    shown = [recording]
else:
    shown = [image_spikes(x, microscope, seed + k) for k, x in enumerate(simulated)]
seen = [ObservedNetwork(x.traces.to_numpy().T, known_wiring(x)) for x in shown]
traces, wiring = seen[0]
frame = 1 / shown[0].frame_rate  # s
if not real:
    frames, step = traces, frame

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert np.isfinite(frames).all(), "every frame has a number"
run.quote(
    n_seen=frames.shape[1], n_frames=frames.shape[0], seconds=step, n_known=len(seen),
    n_synapses=int(np.count_nonzero(wiring.weights)), rate_of_frames=1 / frame,
)

# %% [markdown]
# The recording has {glue:text}`n_frames` frames of {glue:text}`seconds:.3f` seconds and {glue:text}`n_seen` neurons. Networks of known
# wiring are seen at {glue:text}`rate_of_frames:.0f` frames a second. A synapse takes a few milliseconds: source and
# target mostly fire within one frame.
#
# ### Look first

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Ten seconds of a network of known wiring: traces of an excitatory source and the target of its strongest synapse, with their spikes as ticks.", "name": "fig-06b-traces"}, "image": {"alt": "Two wavy lines with ticks below; many ticks of the second stand at the same place as one of the first."}}
source, target = np.unravel_index(wiring.weights.argmax(), wiring.weights.shape)
time, part = np.arange(len(traces)) * frame, slice(0, int(10 / frame))
figure, axes = plt.subplots(2, 1, figsize=(9, 3), sharex=True, layout="constrained")
counts = shown[0].spikes.to_numpy()
for ax, k, name in zip(axes, (source, target), ("source", "target"), strict=True):
    ax.plot(time[part], traces[part, k], color=figures.INK, linewidth=0.8)
    fired = time[part][counts[k, part] > 0]
    ax.plot(fired, np.full(len(fired), traces[part, k].min()), "|", color=figures.REAL, markersize=8)
    ax.set_ylabel(f"{name}\n{shown[0].traces.attrs['quantity']}")
axes[1].set_xlabel("time (s)")
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert wiring.weights[source, target] > 0, "the strongest weight excites"

# %% [markdown]
# ## Model
#
# ```{margin}
# *Folding*: a microscope at $f$ frames a second cannot tell a frequency from one that is $f$ higher. The fit
# does not try to undo this; it folds its prediction in the same way.
# ```
# Lags between frames hold little: what a synapse does is over within one. But a network in *continuous* time predicts the
# whole covariance of what falls into frames, and that can be fitted. Let spikes of *i* change the rate of *j* by $b_{ij}$ spikes,
# after a delay $d$ and spread over a decay $\tau$; its spectrum is {cite}`hawkes1971`
#
# $$
# S(\omega) = (I - G)^{-1} D\, (I - G)^{-\mathsf H}, \qquad
# G_{ji}(\omega) = b_{ij}\, \frac{e^{-i \omega d}}{1 + i \omega \tau},
# $$
#
# and frames fold it into the frequencies they can hold. A symmetric covariance cannot say who drives whom; with one sign for all that
# a neuron sends, and few synapses, it can: an excitatory and an inhibitory neuron that are linked either way differ in the sign of what
# they share, and a source leaves its mark on all pairs of its targets. The fit maximises the likelihood of the spectra,
# under {term}`Dale's law` and a penalty, and then asks for each synapse how probable it is. The decay of the indicator is
# estimated first, from the spectra of single traces.

# %%
kinetics = estimate_kinetics(traces, 1 / frame)
decayed = {"step": frame, "decay": kinetics.decay}
model = connectivity.SpectralNetwork(**decayed, seed=seed).fit(traces)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "True weights, a row a source, and the scores of the fit: the probability of a synapse with the sign of its source. Bars at the margins: excitatory and inhibitory neurons. The colours of each matrix are those of ranks.", "name": "fig-06b-matrices"}, "image": {"alt": "Two square matrices with rows of one colour, alike in many places."}}
wiring_figures.wiring_matrices({"true": wiring.weights, "fitted": model.scores_}, wiring.cell_type)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert connectivity.synapse_auroc(model.scores_, wiring.weights) > 0.55, "better than guessing"
run.quote(decay_found=kinetics.decay)

# %% [markdown]
# ## Evaluation
#
# ### Methods side by side
#
# ```{margin}
# `WhitenedPrecision` is a partial correlation too, after filters that were tuned to cultures that burst; an exercise
# below gives it such a network.
# ```
#
# - *partial correlation* within a frame, after the decay of calcium is removed; symmetric, so it knows no direction;
# - *lagged partial correlations*: within and over the next frames together, with one sign for each source;
# - *whitened precision*: the winner of a challenge on simulated cultures {cite}`sutera2014`;
# - *transfer entropy*, generalised to what happens within a frame {cite}`stetter2012`;
# - *spectral network*: the fit above.

# %%
methods = {
    "partial correlation": connectivity.PartialCorrelation(lag=0, **decayed),
    "lagged partials": cliff.LaggedPartials(**decayed),
    "whitened precision": connectivity.WhitenedPrecision(step=frame),
    "transfer entropy": connectivity.TransferEntropy(
        step=frame, delays=(0, 0), others=2, differences=True
    ),
    "spectral network": connectivity.SpectralNetwork(**decayed),
}

# %% [markdown]
# Every method is fitted to every network, and scored in every way that applies to it.

# %% tags=["remove-output"]
table = score_methods(methods, seen, seed=seed, progress=True)

# %% [markdown]
# Intervals are over networks; where there is only one, over its neurons. Settings were chosen on other simulated networks;
# weights of the lagged partial correlations by the wiring of three of these.

# %%
summary = over_networks(table)
if len(seen) == 1:
    for name, method in methods.items():
        scores = clone(method).fit(traces).scores_
        rows = connectivity.score_wiring(
            scores, wiring.weights, rng=rng, n_resamples=n_resamples
        )
        for at in rows.index.intersection(summary.loc[name].index):
            summary.loc[(name, at), ["low", "high"]] = rows.loc[at, ["low", "high"]]

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Methods on the same calcium: probability that a synapse is ranked above another pair, mean precision, and share of one-way synapses whose direction is told. Faint dots: networks; dots with intervals: means. Dashed: chance.", "name": "fig-06b-methods"}, "image": {"alt": "Three panels with a row for each method; the dots of two of the methods lie furthest to the right."}}
styles = wiring_figures.method_styles(list(methods))
order = list(summary["value"].xs("AUROC", level="statistic").sort_values(ascending=False).index)
figure, axes = plt.subplots(1, 3, figsize=(10.5, 2.6), sharey=True, layout="constrained")
for k, statistic in enumerate(["AUROC", "AUPRC", "direction accuracy"]):
    wiring_figures.methods_over_networks(
        table, statistic, methods=order, styles=styles, limits=(0, 1.02), legend=k == 2, ax=axes[k]
    )
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
even = summary.loc[("partial correlation", "direction accuracy"), "value"]
assert abs(even - 0.5) < 0.1, "what is symmetric tells no direction"

# %% tags=["hide-input", "hide-output"]
CLAIMED = {
    "AUROC": "auroc", "AUPRC": "auprc", "direction accuracy": "direction", "type accuracy": "types",
}
units = len(seen) if len(seen) > 1 else len(wiring.weights)
for (name, statistic), row in summary[np.isfinite(summary["low"])].iterrows():
    if statistic in CLAIMED and not real:  # a recording of unknown wiring claims none of this
        run.record(bookpress.Claim.of(
            f"{CLAIMED[statistic]}_{name.replace(' ', '_')}",
            Interval(row["value"], row["low"], row["high"]), chance=float(row["chance"]), ceiling=1.0,
            n=units, held_out="the wiring, which no method is shown",
            note="From calcium. Interval over networks (Student's), or over neurons where there is one network. "
            "Ceiling: the wiring itself. Chance of AUPRC is the share of pairs with a synapse, of types the "
            "share of the commoner.",
        ))
run.quote(
    expected_over_true=float(summary.loc[("spectral network", "expected over true synapses"), "value"]),
    cost=float(table.query("method == 'spectral network'")["seconds"].median()),
)

# %% [markdown]
# From calcium, the spectral network ranks a synapse above another pair with probability {glue:text}`auroc_spectral_network:.2f`
# ({glue:text}`auroc_spectral_network_low:.2f` to {glue:text}`auroc_spectral_network_high:.2f`), partial correlation
# within a frame {glue:text}`auroc_partial_correlation:.2f`, lagged partial correlations
# {glue:text}`auroc_lagged_partials:.2f`, transfer entropy {glue:text}`auroc_transfer_entropy:.2f`, and the winner of the
# challenge, which was made for networks that burst, {glue:text}`auroc_whitened_precision:.2f`. It tells the direction of
# {glue:text}`direction_spectral_network:.2f` of the one-way synapses and the type of
# {glue:text}`types_spectral_network:.2f` of the neurons, where calling all of them excitatory is right for
# {glue:text}`types_spectral_network_chance:.2f`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Share of pairs with a synapse among those of about the same probability, with intervals over neurons; below, how many there are.", "name": "fig-06b-calibration"}, "image": {"alt": "Dots with bars near a diagonal, above a histogram that is highest near zero."}}
curve = calibration.reliability(model.probabilities_, wiring.weights, rng=rng, n_resamples=n_resamples)
wiring_figures.reliability_curve(curve)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert curve["n"].sum() == np.isfinite(model.probabilities_).sum(), "every pair is in one bin"
sure = calibration.false_share(model.probabilities_, wiring.weights, 0.9)
run.quote(false_sure=sure.observed, expected_sure=sure.expected, n_sure=sure.n)

# %% [markdown]
# Its probabilities add up to {glue:text}`expected_over_true:.2f` times as many synapses as there are. Of the {glue:text}`n_sure` pairs
# in the network shown of which it is surest, {glue:text}`false_sure:.2f` have no synapse, where it expected
# {glue:text}`expected_sure:.2f`: neurons are not linear, and the fit does not know it.
#
# ### The cliff
#
# ```{margin}
# *Spikes in a second of light*: noise is averaged over a frame, so that slower frames have less of it. Frame rates
# are then compared at the same light, not at the same noise in a frame.
# ```
# Which part of the recording's quality matters? One thing at a time is varied, the rest kept: calcium
# with a linear indicator and known decay, thirty frames a second, {glue:text}`cliff_duration:.3g` minutes; and spikes in bins.
# A fast method goes through all conditions, since it is their order that is asked for, and the spectral network through
# some frame rates.

# %% tags=["remove-output"]
some = simulated[:n_cliff]
worse, fewer = (cliff.within(a, minutes) for a in (cliff.AXES, cliff.RATE_AXES))
fast = cliff.recovery(some, worse, seed=seed)
dear = {"spectral network": connectivity.SpectralNetwork(step=frame)}
quality = pd.concat([fast, cliff.recovery(some, fewer, dear, seed=seed)])

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Recovery of directed synapses along the axes of a recording's quality, means over networks with intervals. Vertical lines: ten frames a second, as in the original recording, and the error of spike times measured on real traces in the chapter on deconvolution. Dashed: chance.", "name": "fig-06b-cliff"}, "image": {"alt": "Eight panels with one line each; those against frame rate and minutes rise, those against decay, noise and jitter fall."}}
marks = {"frame rate, Hz": 10.0, "bin rate, Hz": 10.0, "jitter, s": 0.066}
wiring_figures.cliff(
    quality, marks=marks, mark_name="original recording, or error of times on real traces",
)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
at = fast.groupby(["axis", "value"])["AUROC"].mean()
assert at["jitter, s"].iloc[0] > at["jitter, s"].iloc[-1], "errors of times cost synapses"
assert at["bin rate, Hz"].iloc[-1] > at["bin rate, Hz"].iloc[0], "coarse bins cost synapses"
run.quote(
    cliff_best=float(at["bin rate, Hz"].iloc[-1]), cliff_bins=float(at["bin rate, Hz"][10.0]),
    cliff_frames=float(at["frame rate, Hz"][10.0]), cliff_noise=float(at["noise, spikes in a second of light"].iloc[-1]),
    cliff_jitter_small=float(at["jitter, s"][0.002]), cliff_jitter_simulated=float(at["jitter, s"][0.017]),
    cliff_jitter_real=float(at["jitter, s"][0.066]), cliff_minute=float(at["minutes"].iloc[0]),
    cliff_duration=worse["share seen"].base.minutes,
    cliff_quarter=float(at["share seen"].iloc[0]), cliff_all=float(at["share seen"].iloc[-1]),
)

# %% [markdown]
# Exact spikes in bins of five milliseconds give {glue:text}`cliff_best:.2f`, in bins of a tenth of a second
# {glue:text}`cliff_bins:.2f`, calcium at ten frames a second {glue:text}`cliff_frames:.2f`. Errors of spike times of two
# milliseconds leave {glue:text}`cliff_jitter_small:.2f`; of the size that [deconvolution](05b_deconvolution.ipynb) has on simulated
# traces, {glue:text}`cliff_jitter_simulated:.2f`, and on real ones {glue:text}`cliff_jitter_real:.2f`. One minute has
# {glue:text}`cliff_minute:.2f`, and the most noise {glue:text}`cliff_noise:.2f`. Pairs among a quarter of the neurons are told at
# {glue:text}`cliff_quarter:.2f`, among all at {glue:text}`cliff_all:.2f`: hidden neurons of so sparse a network are little
# more than noise.
#
# So there is no edge at ten frames a second in such a network. Its neurons are independent but for their synapses, and
# *all* are seen: then it shows in whole tenths of a second who is linked to whom. Both have to be true of a recording
# before it can be read so, and mostly are not.
#
# ### What the original's recording could hold
#
# The recording of the original has ten frames a second and fourteen sessions of two minutes. Simulated networks are seen
# like that, under ever less kind assumptions: every neuron seen; one in five; slow input that all neurons share; and one number a trial
# of three seconds, one of the forms in which the recording was published.

# %%
slow_decay = time_constants("gcamp6s")[1]  # s
as_recorded = cliff.Condition(frame_rate=10.0, decay=slow_decay, minutes=28.0)
one_session = replace(as_recorded, minutes=2.0)
one_in_five = replace(as_recorded, seen=0.2)
one_a_trial = replace(one_in_five, frame_rate=1 / 2.9)
large, driven = WiredNetwork(n_neurons=200), WiredNetwork(n_neurons=200, shared=2.0)
assumed = {
    "every neuron seen": (as_recorded, None),
    "one session of it": (one_session, None),
    "one neuron in five seen": (one_in_five, large),
    "and shared slow input": (one_in_five, driven),
    "and one number a trial": (one_a_trial, driven),
}

# %% [markdown]
# Networks are simulated and seen so, a few for each assumption.

# %% tags=["remove-output"]
expected = pd.concat({
    name: cliff.expected_recovery(condition, network, seeds=range(seed, seed + n_cliff))
    for name, (condition, network) in tqdm(assumed.items(), desc="like the original")
}, names=["assumed"]).reset_index("assumed")

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Recovery expected of a recording like the original's, under five assumptions, by lagged partial correlations with the decay known. Faint dots: simulated networks. Dashed: chance.", "name": "fig-06b-original"}, "image": {"alt": "Five rows of dots; those further down lie nearer to the dashed line."}}
long = expected.assign(method=expected["assumed"], statistic="AUROC", value=expected["AUROC"], chance=0.5)
wiring_figures.methods_over_networks(long, "AUROC", methods=list(assumed), limits=(0.4, 1))
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert set(expected["assumed"]) == set(assumed), "one row of networks for each assumption"

# %% tags=["hide-input", "hide-output"]
SHORT = dict(zip(assumed, ("all", "session", "fifth", "shared", "trial"), strict=True))
for name, rows in expected.groupby("assumed"):
    run.record(bookpress.Claim.of(
        f"original_{SHORT[name]}", student(rows["AUROC"].to_numpy()), chance=0.5, ceiling=1.0, n=len(rows),
        held_out="the wiring, which no method is shown",
        note=f"Simulated, seen as the original recording was: {name}. Linear indicator of known decay, so that "
        "real recordings do worse. Interval over networks (Student's). Ceiling: the wiring itself.",
    ))

# %% [markdown]
# With every neuron seen, {glue:text}`original_all:.2f`; in one session, {glue:text}`original_session:.2f`; with one in five seen,
# of a larger network, whose synapses are weaker, {glue:text}`original_fifth:.2f` ({glue:text}`original_fifth_low:.2f` to
# {glue:text}`original_fifth_high:.2f`); with shared
# input as well, {glue:text}`original_shared:.2f` ({glue:text}`original_shared_low:.2f` to
# {glue:text}`original_shared_high:.2f`); and with one number a trial {glue:text}`original_trial:.2f`. The indicator is linear
# here and its decay known, and in cortex not one neuron in five is seen but one in hundreds: these are upper bounds.
# From pairs that are ranked so, no single synapse can be named.
#
# ### Repeatable is not right
#
# ```{margin}
# In [chapter 03a](03a_it_prediction.ipynb) the agreement of halves is a ceiling: what does not repeat cannot be predicted.
# Here, what repeats may still be wrong.
# ```
# Without a truth one can ask whether an answer comes again. Partial correlations of all pairs, in two halves of the recording whose
# parts alternate, and the same with the parts of each neuron shuffled.

# %%
def in_halves(frames: np.ndarray) -> list[np.ndarray]:
    """Partial correlations in odd and in even parts, of neurons that change in both."""
    parts = np.array_split(np.arange(len(frames)), 28)
    rows = [np.concatenate(parts[k::2]) for k in range(2)]
    change = np.all([frames[each].std(axis=0) > 0 for each in rows], axis=0)
    return [connectivity.partial_correlation(frames[each][:, change]) for each in rows]


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation over pairs of neurons; what is not finite is left out."""
    known = np.isfinite(first) & np.isfinite(second)
    return float(np.corrcoef(first[known], second[known])[0, 1])


def shifted(frames: np.ndarray) -> np.ndarray:
    """Frames with the time of each neuron moved, no two by nearly the same amount."""
    moves = rng.permutation(frames.shape[1]) * (len(frames) // frames.shape[1])
    return np.stack([np.roll(x, k) for x, k in zip(frames.T, moves, strict=True)], axis=1)

# %% [markdown]
# A larger network is asked as well, one neuron in five of which is seen and all of which share slow input; of it, only pairs are
# kept that have *no* synapse either way.

# %%
larger = visualcortex.load(
    "wired_network", seed=seed, n_neurons=5 * n_neurons, duration=60 * minutes, shared=2.0
)
part_of_it = observed(larger, np.arange(0, 5 * n_neurons, 5))
unlinked = (part_of_it.truth.weights == 0) & (part_of_it.truth.weights.T == 0)
partly_seen = image_spikes(part_of_it, microscope, seed).traces.to_numpy().T
only = [np.where(unlinked, x, np.nan) for x in in_halves(partly_seen)]
found = {"this recording": in_halves(frames), "pairs without a synapse": only}
by_chance = {
    name: agreement(*in_halves(shifted(x)))
    for name, x in zip(found, (frames, partly_seen), strict=True)
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Partial correlations of all pairs in one half of the recording against those in the other half. Left: this recording; right: pairs of simulated neurons that have no synapse, in a larger network most of which is hidden.", "name": "fig-06b-halves"}, "image": {"alt": "Two clouds of dots that rise along the diagonal."}}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for ax, (name, values) in zip(axes, found.items(), strict=True):
    one, other = (x[np.triu_indices(len(x), 1)] for x in values)
    ax.plot(one, other, ".", color=figures.INK, markersize=2, alpha=0.4)
    ax.set(xlabel="partial correlation, one half", ylabel="the other half", title=name)
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
less = [by_chance[name] < agreement(*pair) for name, pair in found.items()]
assert all(less), "shifted, less comes again"

# %% tags=["hide-input", "hide-output"]
for name, (asked_name, pair) in zip(("recording", "unlinked"), found.items(), strict=True):
    run.record(bookpress.Claim.of(
        f"repeats_{name}", connectivity.bootstrap_neurons(
            agreement, pair[0], np.nan_to_num(pair[1]), rng=rng, n_resamples=n_resamples
        ),
        unit="correlation", chance=by_chance[asked_name], ceiling=1.0, n=len(pair[0]),
        held_out="one half of the recording, in alternating parts",
        note="Correlation over pairs of the partial correlations in two halves. Interval over neurons. Chance: the "
        "time of each neuron shifted. Ceiling: the same in both.",
    ))

# %% [markdown]
# In this recording the answers of both halves correlate at {glue:text}`repeats_recording:.2f`
# ({glue:text}`repeats_recording_low:.2f` to {glue:text}`repeats_recording_high:.2f`; shifted
# {glue:text}`repeats_recording_chance:.2f`). Those of pairs without a synapse, in the larger network, still correlate at
# {glue:text}`repeats_unlinked:.2f` ({glue:text}`repeats_unlinked_low:.2f` to {glue:text}`repeats_unlinked_high:.2f`; shifted
# {glue:text}`repeats_unlinked_chance:.2f`): hidden neurons drive both, today as tomorrow. What comes again is a property of
# the recording; that it is a synapse, it does not say.
#
# ## What went wrong before
#
# ### Who fired first
#
# The original's rule of learning ({term}`STDP`) asks which of two neurons fired first, on frames of a tenth of a second. Frames have an
# order too: is the source of a synapse active in the frame before its target? The decay of calcium carries a neuron's
# past into its frame, and a symmetric part of every link with it.

# %%
slow = CalciumIndicator(frame_rate=10.0, indicator="gcamp6s")
before = {"the frame before": connectivity.PartialCorrelation(lag=1, step=0.1)}
earlier = score_methods(before, [
    ObservedNetwork(image_spikes(x, slow, seed + k).traces.to_numpy().T, x.truth)
    for k, x in enumerate(simulated)
])
first = over_networks(earlier).loc["the frame before"]

# %% tags=["hide-input", "hide-output"]
for statistic, name in (("AUROC", "defect_first_auroc"), ("direction accuracy", "defect_first_direction")):
    row = first.loc[statistic]
    run.record(bookpress.Claim.of(
        name, Interval(row["value"], row["low"], row["high"]), chance=0.5, ceiling=1.0, n=len(simulated),
        held_out="the wiring, which no method is shown",
        note="Partial correlation with the frame before, ten frames a second, GCaMP6s, decay not removed. Interval over "
        "networks (Student's). Ceiling: the wiring itself.",
    ))

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert first.loc["direction accuracy", "value"] < 0.75, "the frame before does not tell the source"

# %% [markdown]
# Pairs with a synapse are found at {glue:text}`defect_first_auroc:.2f`, and of the one-way ones the larger value points along the
# synapse in a share of {glue:text}`defect_first_direction:.2f` ({glue:text}`defect_first_direction_low:.2f` to
# {glue:text}`defect_first_direction_high:.2f`), where a coin has {glue:text}`defect_first_direction_chance:.1f`.
#
# ### Trials of one cell on both sides
#
# To find inhibitory cells the original cut short pieces out of traces and had them told by a support vector machine, with
# pieces of *one* cell in training and in test {cite}`gao2021report`. A machine may then know the cell again, by how it
# fires or by the size of its transients, and with the cell its type. Here half of the neurons inhibit, and their indicators
# differ in amplitude, to give the leak a chance to show. The proof is in types that are dealt out at random: nothing of a
# cell tells them.

# %%
mixed = visualcortex.load(
    "wired_network", seed=seed, n_neurons=40, duration=360.0, excitatory=0.5
)
types = mixed.truth.cell_type
uneven = CalciumIndicator(frame_rate=10.0, amplitude_spread=0.6)
uneven_traces = image_spikes(mixed, uneven, seed).traces.to_numpy()
pieces = cell_types.transient_snippets(uneven_traces, 10.0, most=60)
leak = cell_types.leak_table(
    pieces.values, pieces.cell, types, seed=seed, n_permutations=8
)
leak.round(3)

# %% [markdown]
# Two simpler questions to the same cells: how they fire, if spikes were known, and the mean, spread and memory of their traces.

# %%
how_they_fire = cell_types.firing_features(mixed.spikes, mixed.truth.duration)
firing = cell_types.classify_features(how_they_fire, types, seed=seed)
how_they_look = cell_types.trace_features(uneven_traces, 10.0)
looks = cell_types.classify_features(how_they_look, types, seed=seed)

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Balanced accuracy of telling excitatory from inhibitory cells by pieces of their traces, with all pieces of a cell on one side of the split or dealt out at random, for the true types and for types permuted over cells. Intervals over cells. Dashed: chance.", "name": "fig-06b-leak"}, "image": {"alt": "Four bars; those of pieces dealt at random are higher, also where types are permuted."}}
bars = leak.reset_index().assign(value=lambda x: x["snippets"], chance=0.5)
bars = bars.assign(grouped=bars["split"] == "by cell", permuted=bars["types"] == "permuted")
wiring_figures.leak_bars(bars, quantity="balanced accuracy")
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
at_random = leak.loc[("permuted", "at random"), "snippets"]
assert at_random > leak.loc[("permuted", "by cell"), "snippets"], "cells are known again"

# %% tags=["hide-input", "hide-output"]
for (of, split), row in leak.iterrows():
    name = f"{'types' if of == 'true' else 'defect_types'}_{of}_{split.replace(' ', '_')}"
    run.record(bookpress.Claim.of(
        name, Interval(row["snippets"], row["low"], row["high"]), chance=0.5, ceiling=1.0, n=40,
        held_out="pieces of other cells" if split == "by cell" else "other pieces, of the same cells too",
        note="Balanced accuracy over pieces of traces. Interval over cells. Ceiling: the types themselves.",
    ))
run.quote(firing_types=firing.cells.value, look_types=looks.cells.value)

# %% [markdown]
# Split at random, pieces tell the type with a balanced accuracy of {glue:text}`types_true_at_random:.2f`, and types that mean
# *nothing* at {glue:text}`defect_types_permuted_at_random:.2f`. With all pieces of a cell on one side it is
# {glue:text}`types_true_by_cell:.2f` ({glue:text}`types_true_by_cell_low:.2f` to {glue:text}`types_true_by_cell_high:.2f`) and
# {glue:text}`defect_types_permuted_by_cell:.2f`. How the cells fire gives {glue:text}`firing_types:.2f`, how their traces look
# {glue:text}`look_types:.2f`, on so few cells. What a neuron does to others tells its type far better, where that can be
# seen: the fit above was right for a share of {glue:text}`types_spectral_network:.2f`.
#
# ## Explore
#
# What would you pay for: a faster microscope, a faster indicator, less noise, or more minutes? Choose what is varied, and a
# value from the lowest to the highest. Above stands what is then seen of a few neurons, the source of the strongest synapse
# and what it drives; below, what can be made of all of them. Ask first of the traces: do you see who fired before whom? Then
# look how much is recovered all the same. The pictures in the page were made when it was built, at four values of each;
# with the notebook open, all values can be chosen.

# %%
from visualcortex.wiring_widgets import cliff_explorer, cliff_small_multiples

labels = {
    "bin rate, Hz": "bins of exact spikes (Hz)",
    "frame rate, Hz": "frames of calcium (Hz)",
    "indicator decay, s": "decay of the indicator (s)",
    "noise, spikes in a second of light": "noise (spikes in a second of light)",
    "jitter, s": "error of spike times (s)",
    "minutes": "minutes of calcium",
    "minutes, spikes": "minutes of spikes",
    "share seen": "share of neurons seen",
}
best = float(at["bin rate, Hz"].iloc[-1])  # whole recordings, spikes in the finest bins
view = cliff_explorer(quality, simulated[0], labels=labels, ceiling=best, conditions=worse)

# %% [markdown]
# It begins with calcium at ten frames a second, as in the original recording.

# %%
places = [place for _, place in view.controls["value"].options]
four = np.unique(np.linspace(0, places[-1], 4).round().astype(int)).tolist()
view.controls["axis"].value, view.controls["value"].value = "frame rate, Hz", four[1]
bookpress.explorable(
    view,
    over={"axis": None, "value": four},
    name="explore-06b",
    caption="Above: four seconds of four neurons as they are seen (lines), and their true "
    "spikes (ticks). Below on the left: recovery along the axis chosen, means over "
    "networks with 95 % intervals, and where the chosen value lies. On the right: "
    "recovery at that value, network by network. Dashed: chance. Solid: the ceiling, "
    "exact spikes in fine bins, by lagged partials.",
)

# %% [markdown]
# In print, three frame rates:

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Recovery at three frame rates of calcium, each network a dot, with the mean and its interval. Dashed: chance.", "name": "fig-06b-explore"}, "image": {"alt": "Three panels with a few dots and an interval each."}}
cliff_small_multiples(quality, axis="frame rate, Hz")
plt.show()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the check", "code_prompt_hide": "Hide the check"}
assert "frame rate, Hz" in set(quality["axis"]), "the axis is there to choose"

# %% tags=["remove-cell"]
from matplotlib.figure import Figure

figure = Figure(figsize=(4, 3), layout="constrained")
ax = figure.subplots()
for name, colour in (("jitter, s", figures.REAL), ("noise, spikes in a second of light", figures.GENERATED)):
    along = quality[(quality["axis"] == name) & (quality["method"] == "lagged partials")]
    each = along.pivot(index="value", columns="network", values="AUROC")  # a column a network
    x = np.linspace(0, 1, len(each))
    ax.plot(x, each, color=colour, linewidth=0.9, alpha=0.35)
    ax.plot(x, each.mean(axis=1), color=colour, linewidth=2.8)
    ax.plot(x, each.mean(axis=1), "o", color=colour, markeredgecolor=figures.PAPER, markersize=8)
ax.axhline(0.5, color=figures.CHANCE, linestyle=(0, (4, 3)), linewidth=1.6)
ax.text(0.01, 0.51, "chance", color=figures.CHANCE, fontsize=15)
ax.set(xlim=(-0.03, 1.03), ylim=(0.44, 1.0))
ax.set_axis_off()
bookpress.cover(
    figure, alt="Two curves fall from left to right towards a dashed line, one slowly and one steeply: "
    "recovery of synapses as spike times become less exact, and as noise grows.",
)

# %% [markdown]
# ## Exercises
#
# ```{exercise} Warm-up: the decay, wrongly taken
# :label: ex-06b-decay
# Before you run it: should half the decay that was found cost more, or twice as much? Fit the spectral network with both.
# ```
#
# ```{solution-start} ex-06b-decay
# :class: dropdown
# A wrong decay leaves each trace with a memory that looks like that of the neuron itself, and the fit has a term for that. It is
# forgiving, more so than methods that compare neighbouring frames.
# ```

# %%
for factor in (0.5, 1.0, 2.0):
    wrong = clone(model).set_params(decay=factor * kinetics.decay).fit(traces)
    print(f"{factor:3.1f}: {connectivity.synapse_auroc(wrong.scores_, wiring.weights):.3f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: a network that bursts
# :label: ex-06b-bursts
# See a bursting network through the same microscope. Which method suffers least, and why was a challenge about such cultures won by weighting
# frames in which few neurons are active?
# ```
#
# ```{solution-start} ex-06b-bursts
# :class: dropdown
# In a burst all neurons are active at once and every pair is correlated, with or without a synapse. What tells pairs apart happens
# between bursts.
# ```

# %%
size = {"n_neurons": n_neurons, "duration": 60 * minutes}
bursting = visualcortex.load("wired_network", seed=seed, regime="bursting", **size)
burst_traces = image_spikes(bursting, microscope, seed).traces.to_numpy().T
for name, method in methods.items():
    found = clone(method).fit(burst_traces).scores_
    print(f"{name:20} {connectivity.synapse_auroc(found, bursting.truth.weights):.2f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: spikes first
# :label: ex-06b-counts
# Count spikes in each frame, given whole spikes of one size, before the network is fitted to them. Does it help?
# ```
#
# ```{solution-start} ex-06b-counts
# :class: dropdown
# That spikes are whole is knowledge that spectra do not have. It helps where the noise is small and amplitudes are known, and
# not where they are guessed.
# ```

# %%
from visualcortex.models.spike_counts import count_spikes

counted = count_spikes(traces, 1 / frame, decay=kinetics.decay)
on_counts = connectivity.SpectralNetwork(step=frame, seed=seed).fit(counted)
print(f"from calcium {connectivity.synapse_auroc(model.scores_, wiring.weights):.3f}")
print(f"from counts  {connectivity.synapse_auroc(on_counts.scores_, wiring.weights):.3f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Core: where direction comes from
# :label: ex-06b-signs
# A covariance is symmetric, and yet the fit tells directions. The chapter says: by signs, and by what a source shares with all
# its targets. Take nearly all of the first away, with a network in which very few neurons inhibit. What is left of
# direction, and which of the two does the work?
# ```
#
# ```{solution-start} ex-06b-signs
# :class: dropdown
# Direction hardly drops, so that signs are not what carries it. In either network most pairs are of two excitatory neurons,
# whose signs agree whichever of them is the source. They have to be told by what the source shares with its other targets,
# and by the little that lags between frames hold; frames of a tenth of a second would tell how much the latter is.
# ```

# %%
for excitatory in (0.8, 0.95):
    one = visualcortex.load("wired_network", seed=seed, excitatory=excitatory, **size)
    one_seen = image_spikes(one, microscope, seed).traces.to_numpy().T
    found = clone(model).fit(one_seen).scores_
    told = connectivity.direction_accuracy(found, one.truth.weights)
    ranked = connectivity.synapse_auroc(found, one.truth.weights)
    print(f"{excitatory:.0%} excite: direction {told:.2f}, AUROC {ranked:.2f}")

# %% [markdown]
# ```{solution-end}
# ```
#
# ```{exercise} Stretch: plan a recording
# :label: ex-06b-plan
# Take a recording that you have, or would like to have: its frame rate, the decay of its indicator, its noise, its minutes,
# the share of neurons seen. Predict what can be recovered of it, with an interval. Which one change would help most? Then
# doubt the prediction: give the simulated neurons shared input, make the network larger, and see how much of your
# answer was an assumption.
# ```
#
# ```{solution-start} ex-06b-plan
# :class: dropdown
# A start, with a plan of five minutes at ten frames a second. Networks differ more than most changes help: more of them
# are needed before one change can be preferred to another. Shared input matters more than any setting of the microscope.
# ```

# %%
plan = cliff.Condition(frame_rate=10.0, decay=0.6, minutes=5.0, noise=0.1, seen=0.5)
plans = {
    "as planned": (plan, {}),
    "twice the minutes": (replace(plan, minutes=10.0), {}),
    "half the noise": (replace(plan, noise=0.05), {}),
    "three times the frames": (replace(plan, frame_rate=30.0), {}),
    "with shared input": (plan, {"shared": 2.0}),
}
for name, (condition, changed) in plans.items():
    network = WiredNetwork(n_neurons=40, **changed)
    rows = cliff.expected_recovery(condition, network, seeds=range(seed, seed + 4))
    mean, low, high = student(rows["AUROC"].to_numpy())
    print(f"{name:22} {mean:.2f} ({low:.2f} to {high:.2f})")

# %% [markdown]
# ```{solution-end}
# ```
#
# ## What would falsify it
#
# - *Coarse frames are enough if neurons are independent and all are seen.* Bins of a tenth of a second leave
#   {glue:text}`cliff_bins:.2f` of the {glue:text}`cliff_best:.2f` that exact spikes give. Give `simulated`, in the first cell
#   of Data, the setting `shared=2.0`, and the first number should fall further than the second. How far it falls says how
#   much independence carries: if hardly at all, the low {glue:text}`original_shared:.2f` must come from the neurons not
#   seen and their weaker synapses, and not from shared input.
# - *The original's recording holds little.* {glue:text}`original_shared:.2f` for its frames, and
#   {glue:text}`original_trial:.2f` ({glue:text}`original_trial_low:.2f` to {glue:text}`original_trial_high:.2f`) for one
#   number a trial, are meant as upper bounds. One recording of cortex at ten frames a second, in which synapses were tested
#   afterwards with electrodes or traced in an electron microscope, and ranked better than that, would break the bound.
# - *What repeats need not be a synapse.* Pairs without a synapse repeat at {glue:text}`repeats_unlinked:.2f`. Set `shared` to
#   nought for the larger network, and see all its neurons: if they still repeated as well, and above what is shifted
#   ({glue:text}`repeats_unlinked_chance:.2f`), hidden neurons and shared input would not be the reason.
# - *Cells are known again.* Types that mean nothing are told at {glue:text}`defect_types_permuted_at_random:.2f`
#   ({glue:text}`defect_types_permuted_at_random_low:.2f` to {glue:text}`defect_types_permuted_at_random_high:.2f`). The
#   interval is wide, with so few cells. Raise `n_neurons` and `n_permutations` in that section: if the value went to one
#   half, there would be no leak. Then set `amplitude_spread=0.0`: as far as the value stays, cells are known by
#   how they fire and not by the size of their transients.
# - *What no run of this chapter can show.* On a recording of cortex no number here says that a synapse is there. The limits
#   were measured on networks of one kind, seen without motion, neuropil or slow drift; that they are upper limits is an
#   argument, not a measurement.
#
# ## References
#
# Networks in continuous time: {cite:t}`hawkes1971`; the challenge's winner: {cite:t}`sutera2014`; generalised transfer
# entropy: {cite:t}`stetter2012`; errors of such inference in strongly coupled networks: {cite:t}`das2020`; indicators:
# {cite:t}`chen2013`; the original project: {cite:t}`gao2021neurogan` and {cite:t}`gao2021report`. Full entries stand in
# the [bibliography](../bibliography.md).
