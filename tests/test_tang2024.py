"""The reader of the published graphs: small files in their form, and the real ones if at hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from visualcortex import load
from visualcortex.catalogue import ENTRIES, needs
from visualcortex.connectivity import (
    BinnedSpikes,
    edge_jaccard,
    find_peaks,
    jitter_corrected,
    synapse_auroc,
)
from visualcortex.recording import Networks, Provenance
from visualcortex.sources.tang2024 import (
    FLASHES,
    SESSIONS,
    STIMULI,
    read_tang2024_networks,
    read_tang2024_spikes,
)

GRAPHS = "ccg_directed_networks.npz"
SPIKES = "750749662_flash_dark_clean.npz"
KINDS = ("ccg", "confidence", "offset", "duration")


def graphs(n=4):
    """Return the arrays of one session, two or three edges a stimulus."""
    rng = np.random.default_rng(0)
    arrays = {
        f"{FLASHES}__unit_index": np.array(["59", "60", "262", "1105"][:n]),
        f"{FLASHES}__area": np.array(["VISam", "VISam", "VISpm", "VISrl"][:n]),
    }
    for stimulus in STIMULI:
        linked = np.zeros((n, n), bool)
        linked[0, 1] = linked[2, 0] = True
        for kind in KINDS:
            values = np.where(linked, rng.normal(size=(n, n)), np.nan)
            arrays[f"{FLASHES}__{stimulus}_{kind}"] = values.astype(np.float32)
    return arrays


def trains(n_trials=2, n_bins=11):
    rng = np.random.default_rng(0)
    return (rng.random((741, n_trials, n_bins)) < 0.1).astype(np.uint8)


def packed(spikes):
    """Return the arrays of a file of spikes."""
    flat = spikes.reshape(len(spikes), -1)
    return {"spikes": np.packbits(flat, axis=1), "shape": np.array(spikes.shape)}


def test_graphs_are_read_stimulus_by_stimulus(tmp_path):
    arrays = graphs()
    np.savez(tmp_path / GRAPHS, **arrays)
    read = read_tang2024_networks(tmp_path / GRAPHS)
    assert read.weights.dims == ("network", "source", "target")
    assert list(read.networks["stimulus"]) == list(STIMULI)
    assert list(read.neurons["unit_index"]) == [59, 60, 262, 1105]
    assert list(read.neurons["region"]) == ["VISam", "VISam", "VISpm", "VISrl"]
    for k, stimulus in enumerate(STIMULI):
        name = f"{FLASHES}__{stimulus}_"
        np.testing.assert_array_equal(read.of(stimulus), arrays[f"{name}ccg"])
        for kind in KINDS[1:]:
            np.testing.assert_array_equal(read.measures[kind][k], arrays[name + kind])
    assert set(read.provenance.sha256) == {GRAPHS}
    assert read.summary()["edges"] == "2 to 2 each"
    assert "8 networks × 4 sources × 4 targets" in repr(read)
    assert "natural_scenes" in read._repr_html_()
    with pytest.raises(KeyError, match="no network of 'movie'; there are those of spontaneous"):
        read.of("movie")


def test_spikes_are_unpacked_trial_by_trial(tmp_path):
    spikes = trains()
    np.savez(tmp_path / SPIKES, **packed(spikes))
    read = read_tang2024_spikes(tmp_path / SPIKES)
    assert read.responses.shape == (2, 11, 741)
    np.testing.assert_array_equal(read.responses[1, :, 7], spikes[7, 1])
    np.testing.assert_allclose(read.responses["bin"][:2], [0.0005, 0.0015])
    index = read.neurons["unit_index"]
    assert (index.iloc[0], index.iloc[149], index.iloc[150], index.iloc[-1]) == (56, 205, 262, 1162)
    by_region = read.neurons["region"].value_counts()
    assert dict(by_region) == {
        **{"VISam": 150, "VISp": 143, "VISpm": 135},
        **{"VISrl": 125, "VISal": 109, "VISl": 79},
    }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: a.pop(f"{FLASHES}__area"), f"{GRAPHS} lacks {FLASHES}__area"),
        (lambda a: a.pop(f"{FLASHES}__flash_dark_offset"), "lacks 750749662__flash_dark_offset"),
        (
            lambda a: a.update({f"{FLASHES}__flash_dark_ccg": np.zeros((3, 3))}),
            "flash_dark_ccg in .* must be real numbers of 4 x 4, .* got .3, 3. of float64",
        ),
        (
            lambda a: a.update({f"{FLASHES}__unit_index": np.array(["1", "2", "3", "x"])}),
            "unit_index in .* whole numbers: .*'x'",
        ),
        (
            lambda a: a.update({f"{FLASHES}__unit_index": np.array(["1", "2", "3", "3"])}),
            "name every neuron once",
        ),
        (
            lambda a: a.update({f"{FLASHES}__flash_dark_offset": np.zeros((4, 4), "f4")}),
            "measures.'offset'. must be known of every edge",
        ),
        (
            lambda a: a.update({f"{FLASHES}__flash_dark_ccg": np.zeros((4, 4), "f4")}),
            "also on the diagonal, .* got 4 on the diagonal",
        ),
    ],
)
def test_graphs_of_another_form_are_refused_by_name(tmp_path, damage, message):
    arrays = graphs()
    damage(arrays)
    np.savez(tmp_path / GRAPHS, **arrays)
    with pytest.raises(ValueError, match=message):
        read_tang2024_networks(tmp_path / GRAPHS)


def test_damaged_and_pickled_files_are_refused(tmp_path):
    path = tmp_path / GRAPHS
    np.savez(path, **graphs())
    with pytest.raises(ValueError, match="session must be one of 719161530.* got 7"):
        read_tang2024_networks(path, session=7)
    with pytest.raises(ValueError, match="lacks 719161530__unit_index"):
        read_tang2024_networks(path, session=719161530)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"404: Not Found", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{GRAPHS} cannot be read as an archive"):
            read_tang2024_networks(path)
    np.savez(path, **{"arr_0": np.array([{"an": "object"}], dtype=object)})
    with pytest.raises(ValueError, match="may be one of the published pickles"):
        read_tang2024_networks(path)
    with pytest.raises(ValueError, match="lacks spikes"):
        read_tang2024_spikes(path)


def test_spikes_of_other_units_are_refused(tmp_path):
    for arrays in (packed(trains()[:740]), packed(trains()) | {"shape": np.array([741, 3, 11])}):
        np.savez(tmp_path / SPIKES, **arrays)
        with pytest.raises(ValueError, match="must hold the packed spikes of 741 units; got shape"):
            read_tang2024_spikes(tmp_path / SPIKES)


class TestNetworks:
    """The schema of published graphs."""

    @pytest.fixture
    def parts(self):
        values = np.full((2, 3, 3), np.nan)
        values[:, 0, 1] = 1.0
        attrs = {"quantity": "correlogram", "units": "1"}
        return {
            "weights": xr.DataArray(values, dims=("network", "source", "target"), attrs=attrs),
            "networks": pd.DataFrame({"stimulus": ["scenes", "movie"]}),
            "neurons": pd.DataFrame({"region": ["V1"] * 3}),
            "provenance": Provenance("someone", "", "none stated", "", {}, ()),
        }

    def test_it_says_what_it_holds(self, parts):
        read = Networks(**parts)
        assert (read.n_neurons, read.edges.sum()) == (3, 2)
        assert read.summary()["regions"] == "3 of V1"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda p: p.update(networks=p["networks"][:1]), "networks must have 2 rows"),
            (lambda p: p.update(neurons=p["neurons"][:1]), "neurons must have 3 rows"),
            (lambda p: p.update(neurons=pd.DataFrame({"area": "abc"}, [0, 1, 2])), "'region'"),
            (lambda p: p["networks"].update({"stimulus": ["movie", "movie"]}), "every graph once"),
            (lambda p: p.update(weights=p["weights"][:, :2]), "one square matrix"),
            (lambda p: p.update(weights=p["weights"].astype(str)), "must be real numbers"),
            (lambda p: p.update(weights=p["weights"].rename(source="to")), "must have dimensions"),
            (lambda p: p["weights"].values.__setitem__((0, 2, 1), np.inf), "1 infinite ones"),
            (lambda p: p["weights"].values.__setitem__((1, 2, 2), 0), "1 on the diagonal"),
            (lambda p: p.update(measures={"z": p["weights"][:1]}), "known of every edge"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, parts, change, message):
        change(parts)
        with pytest.raises(ValueError, match=message):
            Networks(**parts)


class TestTheRealFiles:
    """What is known of them, and what our own correlograms say about the same spikes."""

    @pytest.fixture
    def folder(self, real_data, monkeypatch):
        path = real_data(f"hchoi_ccg/{GRAPHS}").parent
        monkeypatch.setenv("VISUALCORTEX_DATA", str(path))
        monkeypatch.setenv("VISUALCORTEX_OFFLINE", "1")
        return path

    def test_they_are_loaded_through_the_catalogue(self, folder):
        for name, session in (
            ("tang2024_networks", {"session": 719161530}),
            ("tang2024_spikes", {}),
        ):
            read = load(name, seed=1, **session)
            (entry,) = (entry for entry in ENTRIES if entry.id == name)
            assert read.provenance.licence == entry.licence
            assert read.provenance.citation == entry.citation
            assert read.provenance.url == entry.url
            assert all(file["present"] for file in needs({"dataset": name}))

    def test_stimuli_share_edges_as_published(self, folder):
        """Means over the seven mice; how far a graph from one stimulus can predict another."""
        path = folder / GRAPHS
        shared = {stimulus: [] for stimulus in STIMULI}
        for session in SESSIONS:
            read = read_tang2024_networks(path, session)
            scenes = read.of("natural_scenes")
            for stimulus in STIMULI:
                shared[stimulus].append(edge_jaccard(scenes, read.of(stimulus)))
        means = {stimulus: np.mean(values) for stimulus, values in shared.items()}
        expected = {"natural_scenes": 1, "static_gratings": 0.31, "natural_movie_three": 0.29}
        expected |= {"natural_movie_one": 0.25, "drifting_gratings": 0.19, "spontaneous": 0.10}
        expected |= {"flash_dark": 0.03, "flash_light": 0.03}
        assert means == pytest.approx(expected, abs=0.0055)

    def test_our_correlograms_agree_with_the_published_graph(self, folder):
        networks = read_tang2024_networks(folder / GRAPHS)
        recording = read_tang2024_spikes(folder / SPIKES)
        place = pd.Series(range(741), index=recording.neurons["unit_index"])
        rows = place[networks.neurons["unit_index"]].to_numpy()
        regions = recording.neurons["region"].to_numpy()[rows]
        np.testing.assert_array_equal(regions, networks.neurons["region"])
        trains = recording.responses.to_numpy()[:, :, rows]
        assert trains.mean(axis=(0, 1)).min() * 1000 > 2  # published: 2 Hz and more
        ours = jitter_corrected(BinnedSpikes.from_trials(trains))
        graph = networks.of("flash_dark")
        z = find_peaks(ours, lags=(0, 12)).z
        assert synapse_auroc(z, np.nan_to_num(graph)) > 0.88
        assert synapse_auroc(z.T, np.nan_to_num(graph)) < 0.88
        edges = np.argwhere(np.isfinite(graph))
        assert len(edges) == 46
        first, more = (
            networks.measures[name][STIMULI.index("flash_dark")].to_numpy()
            for name in ("offset", "duration")
        )
        same = [
            ours[i, j, int(first[i, j]) : int(first[i, j] + more[i, j]) + 1].sum() for i, j in edges
        ]
        assert np.corrcoef(same, graph[tuple(edges.T)])[0, 1] > 0.94
