"""Active frames of recordings of every kind."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from visualcortex import load
from visualcortex.activity import active_population
from visualcortex.models.deconvolution import active_frames
from visualcortex.recording import CalciumRecording, Provenance, SpikeTrains

MADE = Provenance(source="made", citation="", licence="", url="", sha256={}, preprocessing=())


def spiking(rng, n_trials=20, n_bins=12, n_neurons=5):
    counts = rng.poisson(np.linspace(0.05, 0.5, n_neurons), (n_trials, n_bins, n_neurons))
    table = pd.DataFrame({"stimulus": np.zeros(n_trials, int), "session": np.zeros(n_trials, int)})
    return SpikeTrains(
        responses=xr.DataArray(
            counts,
            dims=("trial", "bin", "neuron"),
            coords={"bin": 0.0025 + 0.005 * np.arange(n_bins)},
            attrs={"quantity": "spikes", "units": "count per 5 ms"},
        ),
        trials=table,
        neurons=pd.DataFrame(index=range(n_neurons)),
        provenance=MADE,
    )


@pytest.mark.parametrize(("frame_ms", "joined"), [(5, 1), (10, 2), (25, 5)])
def test_a_frame_with_a_spike_is_active(frame_ms, joined):
    recording = spiking(np.random.default_rng(0))
    active = active_population(recording, frame_ms=frame_ms)
    counts = recording.responses.to_numpy()
    for t in range(12 // joined):
        expected = counts[:, t * joined : (t + 1) * joined].sum(axis=1) > 0
        np.testing.assert_array_equal(active[:, t], expected)
    assert active.shape == (20, 12 // joined, 5)
    np.testing.assert_allclose(np.diff(active["time"]), frame_ms / 1000)
    assert active.attrs["quantity"] == "active frames"


def test_the_most_active_neurons_are_kept_in_their_order():
    recording = spiking(np.random.default_rng(1), n_trials=400)
    order = np.array([4, 0, 3, 1, 2])
    mixed = SpikeTrains(
        responses=recording.responses[:, :, order],
        trials=recording.trials,
        neurons=recording.neurons,
        provenance=MADE,
    )
    kept = active_population(mixed, n_neurons=2)
    np.testing.assert_array_equal(kept["neuron"], [0, 2])
    np.testing.assert_array_equal(kept.to_numpy(), active_population(mixed)[:, :, [0, 2]])


def test_traces_are_thresholded_and_rates_left_alone():
    traces = load("calcium_population", n_neurons=4, trials_per_stimulus=5, n_stimuli=2)
    np.testing.assert_array_equal(active_population(traces), active_frames(traces.responses))
    rates = CalciumRecording(
        responses=xr.DataArray(
            np.random.default_rng(2).random((10, 3)),
            dims=("trial", "neuron"),
            attrs={"quantity": "active frames", "units": "1"},
        ),
        trials=pd.DataFrame({"stimulus": np.zeros(10, int), "session": np.zeros(10, int)}),
        neurons=pd.DataFrame(index=range(3)),
        provenance=MADE,
    )
    assert active_population(rates) is rates.responses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_ms": 7}, "multiple of the bins of 5 ms"),
        ({"frame_ms": 2}, "multiple of the bins of 5 ms"),
        ({"frame_ms": 40}, "fit twice"),
        ({"n_neurons": 6}, "from 1 to 5"),
        ({"n_neurons": 0}, "from 1 to 5"),
    ],
)
def test_impossible_frames_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        active_population(spiking(np.random.default_rng(3)), **options)


def test_the_dark_flashes_have_frames(real_data, monkeypatch):
    path = real_data("hchoi_ccg/750749662_flash_dark_clean.npz")
    monkeypatch.setenv("VISUALCORTEX_DATA", str(path.parents[1]))
    recording = load("tang2024_spikes")
    active = active_population(recording, frame_ms=10, n_neurons=60)
    assert active.shape == (75, 25, 60)
    counts = recording.responses.to_numpy().sum(axis=(0, 1))
    assert active.to_numpy().sum() <= np.sort(counts)[-60:].sum()
