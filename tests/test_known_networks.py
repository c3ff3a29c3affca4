"""Readers of networks that others simulated: small files in their form, and the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from visualcortex.connectivity import (
    BinnedSpikes,
    CorrelogramPeaks,
    cross_correlograms,
    dale_accuracy,
    excess,
    synapse_auprc,
    synapse_auroc,
)
from visualcortex.connectivity.whitened_correlograms import WhitenedCorrelograms
from visualcortex.sources.lif80 import read_lif80, read_lif80_calcium
from visualcortex.sources.naixinren import read_naixinren
from visualcortex.sources.spycon import read_spycon

LIF20, TINY, LIF80 = "lif20.mat", "sim1917Cell1Block1_tiny.npz", "lif80.npz"


def lif20():
    """Return the variable of a file of three neurons; 0 excites 1, and 2 inhibits 0."""
    trains = np.empty((1, 3), object)
    trains[0, :] = [np.array([[5.0, 99.9]]), np.array([[0.1]]), np.array([[3599999.9]])]
    weights, delays = np.zeros((2, 3, 3))
    weights[0, 1], weights[2, 0] = 0.3, -0.2
    delays[0, 1], delays[2, 0] = 2.1, 0.4
    return {
        "spk": trains,
        "syn": {"w_syn": weights, "syn_den": 0.1, "dt_true": delays},
        "xx": np.array([[1.0, 2, 3]]),
        "yy": np.array([[4.0, 5, 6]]),
    }


def tiny():
    """Return the arrays of a file of three neurons; 8 drives 7."""
    pairs = [(i, j) for i in (7, 8, 9) for j in (7, 8, 9) if i != j]
    return {
        "times": np.array([0.1, 0.2, 0.3, 1799.9]),
        "ids": np.array([8, 7, 8, 9]),
        "nodes": np.array([7, 8, 9]),
        "marked_edges": np.array([(i, j, (i, j) == (8, 7)) for i, j in pairs], float),
    }


def lif80():
    """Return the arrays of a file of three neurons, the last one inhibitory, of 1 s."""
    weights = np.array([[0, 0, -2.0], [1.5, 0, 0], [0, 0, 0]], np.float32)  # rows are targets
    rng = np.random.default_rng(0)
    return {
        "spike_ms": np.array([0, 33, 33, 989], np.uint32),
        "spike_id": np.array([1, 0, 2, 1], np.uint8),
        "W": weights,
        "n_excitatory": np.array(2),
        "duration_ms": np.array(1000),
        "calcium_30hz": rng.normal(size=(30, 3)).astype(np.float16),
        "calcium_frame_ms": np.array(33),
    }


@pytest.fixture
def lif20_file(tmp_path):
    def write(content):
        savemat(tmp_path / LIF20, {"data": content})
        return tmp_path / LIF20

    return write


def write_arrays(path, arrays):
    np.savez(path, **arrays)
    return path


class TestNaixinren:
    def test_it_is_read_with_sources_in_rows(self, lif20_file):
        read = read_naixinren(lif20_file(lif20()))
        assert read.truth.weights[0, 1] == 0.3
        assert read.truth.weights[2, 0] == -0.2
        assert read.truth.delays[0, 1] == 2.1
        assert list(read.neurons["cell_type"]) == ["E", "unknown", "I"]
        assert list(read.neurons["y"]) == [4, 5, 6]
        np.testing.assert_allclose(read.spikes.of(0), [0.00505, 0.09995])
        assert read.responses.shape == (360, 100, 3)
        assert read.responses[0, 0].values.tolist() == [2, 1, 0]
        assert set(read.provenance.sha256) == {LIF20}

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda c: c.pop("syn"), f"{LIF20} lacks data.syn"),
            (lambda c: c["syn"].pop("dt_true"), f"{LIF20} lacks data.syn.dt_true"),
            (lambda c: c["syn"].update(w_syn=np.zeros((2, 2))), "weights must be finite, 3 x 3"),
            (lambda c: c.update(xx=np.zeros(2)), "a place for each of 3 neurons; got 2 and 3"),
            (lambda c: c["syn"]["w_syn"].__setitem__((0, 2), -1), "both signs in row 0"),
            (lambda c: c["syn"]["dt_true"].__setitem__((0, 1), 0), "delay of every synapse"),
            (lambda c: c["syn"]["w_syn"].__setitem__((1, 1), 1), "0 on the diagonal"),
            (lambda c: c["spk"].__setitem__((0, 0), np.array([[9.0, 2]])), "must be in order"),
            (lambda c: c["spk"].__setitem__((0, 0), np.array([[4e6]])), "from 0 to 3600 s"),
        ],
    )
    def test_files_of_another_form_are_refused(self, lif20_file, damage, message):
        content = lif20()
        damage(content)
        with pytest.raises(ValueError, match=message):
            read_naixinren(lif20_file(content))

    def test_damaged_files_are_refused(self, lif20_file):
        path = lif20_file(lif20())
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], b"404: Not Found", b""):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=LIF20):
                read_naixinren(path)


class TestSpycon:
    def test_it_is_read_pair_by_pair(self, tmp_path):
        read = read_spycon(write_arrays(tmp_path / TINY, tiny()))
        assert np.argwhere(read.truth.weights).tolist() == [[1, 0]]
        assert read.truth.delays is None
        assert list(read.neurons["cell_type"]) == 3 * ["unknown"]
        assert list(read.neurons["node"]) == [7, 8, 9]
        assert read.spikes.of(1).tolist() == [0.1, 0.3]
        assert read.truth.density == pytest.approx(1 / 6)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda a: a.pop("nodes"), f"{TINY} lacks nodes"),
            (lambda a: a.update(ids=np.array([8, 7, 8])), "ids in .* got shapes .3,. and .4,."),
            (lambda a: a.update(ids=np.array([8, 7, 8, 1])), "or other neurons"),
            (lambda a: a.update(marked_edges=a["marked_edges"][:5]), "each of the 6 ordered pairs"),
            (lambda a: a.update(marked_edges=a["marked_edges"][[0, 0, 1, 2, 3, 4]]), "or double"),
            (lambda a: a.update(marked_edges=a["marked_edges"][:, :2]), "got shape .6, 2."),
            (lambda a: a["marked_edges"].__setitem__((0, 0), 5), "each of the 6 ordered pairs"),
            (lambda a: a.update(times=a["times"] * 1000), "from 0 to 1800 s"),
        ],
    )
    def test_files_of_another_form_are_refused(self, tmp_path, damage, message):
        arrays = tiny()
        damage(arrays)
        with pytest.raises(ValueError, match=message):
            read_spycon(write_arrays(tmp_path / TINY, arrays))


class TestLif80:
    def test_it_is_read_with_targets_turned_into_columns(self, tmp_path):
        read = read_lif80(write_arrays(tmp_path / LIF80, lif80()))
        assert np.argwhere(read.truth.weights).tolist() == [[0, 1], [2, 0]]
        assert (read.truth.weights[0, 1], read.truth.delays[0, 1]) == (1.5, 2)
        assert list(read.truth.cell_type) == ["E", "E", "I"]
        np.testing.assert_allclose(read.spikes.of(1), [0.0005, 0.9895])
        assert read.responses.shape == (1, 10, 3)

    def test_calcium_goes_with_the_spikes_of_its_frames(self, tmp_path):
        arrays = lif80()
        seen = read_lif80_calcium(write_arrays(tmp_path / LIF80, arrays))
        np.testing.assert_array_equal(seen.traces, arrays["calcium_30hz"].T)
        assert seen.frame_rate == pytest.approx(1000 / 33)
        assert np.argwhere(seen.spikes.values).tolist() == [[0, 1], [1, 0], [1, 29], [2, 1]]
        assert seen.truth.wiring.weights[2, 0] == -2

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda a: a.pop("W"), f"{LIF80} lacks W"),
            (lambda a: a.update(W=a["W"].T), "first 2 columns not negative"),
            (lambda a: a.update(spike_id=a["spike_id"] + np.uint8(1)), "one of 3 neurons"),
            (lambda a: a.update(spike_ms=a["spike_ms"][1:]), "got shapes .4,. and .3,."),
            (lambda a: a.update(duration_ms=np.array(900)), "spikes must be from 0 to 0.9 s"),
            (lambda a: a.update(calcium_30hz=a["calcium_30hz"][:9]), "30 frames of 3 neurons"),
        ],
    )
    def test_files_of_another_form_are_refused(self, tmp_path, damage, message):
        arrays = lif80()
        damage(arrays)
        path = write_arrays(tmp_path / LIF80, arrays)
        reader = read_lif80_calcium if "frames" in message else read_lif80
        with pytest.raises(ValueError, match=message):
            reader(path)


@pytest.mark.parametrize(("reader", "name"), [(read_spycon, TINY), (read_lif80, LIF80)])
def test_damaged_and_pickled_archives_are_refused(tmp_path, reader, name):
    path = write_arrays(tmp_path / name, tiny())
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"404: Not Found", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as an archive"):
            reader(path)
    pickled = dict.fromkeys(tiny() | lif80(), np.array([{"an": "object"}], dtype=object))
    with pytest.raises(ValueError, match="cannot be read as an archive"):
        reader(write_arrays(path, pickled))
    first, second = whole.find(b"times"), len(whole) // 4
    path.write_bytes(whole[: first + 60] + bytes(second) + whole[first + 60 + second :])
    with pytest.raises(ValueError, match=name):
        reader(path)


def found(method, read):
    """Return the scores of a method, fitted to all spikes."""
    return method.fit(read.spikes, stop=read.truth.duration).scores_


@pytest.mark.long
class TestTheRealFiles:
    """Wiring is in them, and in the direction that the readers say."""

    def test_naixinren(self, real_data):
        read = read_naixinren(Path(real_data(f"naixinren_sim/{LIF20}")))
        weights = read.truth.weights
        assert (np.count_nonzero(weights), read.truth.density) == (38, pytest.approx(0.1))
        kinds = list(read.truth.cell_type)
        assert [kinds.count(kind) for kind in ("E", "I", "unknown")] == [8, 10, 2]
        scores = found(CorrelogramPeaks(), read)
        assert synapse_auroc(scores, weights) == pytest.approx(0.978, abs=0.004)
        assert synapse_auprc(scores, weights) > 0.9
        assert synapse_auroc(scores.T, weights) < 0.75
        assert dale_accuracy(scores, weights) > 0.9
        whitened = found(WhitenedCorrelograms(), read)
        assert synapse_auroc(whitened, weights) == pytest.approx(0.967, abs=0.004)
        assert synapse_auroc(whitened.T, weights) < 0.7

    def test_spycon(self, real_data):
        read = read_spycon(Path(real_data(f"spycon/{TINY}")))
        weights = read.truth.weights
        assert np.count_nonzero(weights) == 17
        scores = found(CorrelogramPeaks(), read)
        assert synapse_auroc(scores, weights) == pytest.approx(0.975, abs=0.004)
        assert synapse_auroc(scores.T, weights) < 0.75
        whitened = found(WhitenedCorrelograms(), read)
        assert synapse_auroc(whitened, weights) == pytest.approx(0.982, abs=0.004)
        assert synapse_auroc(whitened.T, weights) < 0.7

    def test_lif80(self, real_data):
        path = Path(real_data(f"lif80/{LIF80}"))
        read, seen = read_lif80(path), read_lif80_calcium(path)
        weights = read.truth.weights
        assert read.truth.density == pytest.approx(0.12, abs=0.01)
        whitened = found(WhitenedCorrelograms(), read)
        assert synapse_auroc(whitened, weights) > 0.999
        assert synapse_auroc(whitened.T, weights) < 0.6
        binned = BinnedSpikes.from_times(read.spikes, 0, read.truth.duration)
        counted = cross_correlograms(binned, 50)
        scores = excess(counted, lags=(1, 5), flank=20)
        scores /= np.sqrt(counted[:, :, 20:].mean(axis=2))
        assert synapse_auroc(scores, weights) == pytest.approx(0.997, abs=0.001)
        assert synapse_auroc(scores.T, weights) < 0.55
        # the first lag with an effect is the delay
        strongest = np.unravel_index(weights.argmax(), weights.shape)
        assert counted[strongest].argmax() == read.truth.delays[strongest] == 2
        noise = seen.traces.to_numpy()[:, 0] - seen.spikes.to_numpy()[:, 0]
        decayed = np.exp(-0.033 / seen.truth.decay)
        model = seen.spikes.to_numpy()[:, :1]
        for frame in seen.spikes.to_numpy()[:, 1:200].T:
            model = np.c_[model, decayed * model[:, -1] + frame]
        error = seen.traces.to_numpy()[:, :200] - model
        assert noise.std() == pytest.approx(0.3, abs=0.1)
        assert error.std() == pytest.approx(seen.truth.noise, rel=0.02)
