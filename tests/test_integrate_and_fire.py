"""Deterministic spiking neurons against closed forms and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf

from visualcortex.simulators.integrate_and_fire import (
    CHUNK,
    Circuit,
    Depression,
    Izhikevich,
    Leaky,
)
from visualcortex.simulators.spiking_network import Synapses

ONE = np.float32(1)


def circuit(weights, delays=None, *, neurons=None, drive=0.0, noise=0.0, seed=0, depression=None):
    weights = np.asarray(weights, np.float32)
    delays = np.ones(weights.shape, int) if delays is None else np.asarray(delays)
    synapses = Synapses.of(weights, delays)
    rng = np.random.default_rng(seed)
    return Circuit(synapses, neurons or Leaky(), drive, noise, rng, depression)


def alone(n=1):
    return np.zeros((n, n))


def izhikevich(kind):
    a, d = {"regular": (0.02, 8.0), "fast": (0.1, 2.0)}[kind]
    return Izhikevich(a=np.array([a]), b=np.array([0.2]), c=np.array([-65.0]), d=np.array([d]))


def plain(neurons, drive, n_steps, real):
    """Return the spikes of a lone neuron in numbers of some precision."""
    a, b, c, d = (real(getattr(neurons, name)[0]) for name in "abcd")
    v, half, when = real(-65), real(0.5), []
    u = b * v
    for t in range(n_steps):
        v = v + half * ((real(0.04) * v + real(5)) * v + real(140) + (real(drive) - u))
        u = u + half * a * (b * v - u)
        if v >= 30:
            v, u = c, u + d
            when.append(t)
    return np.array(when)


def drawn(random):
    """Advance the generators of noise, by whole numbers in Python."""
    whole, sums = 2**64 - 1, []
    for i, s in enumerate(map(int, random)):
        s ^= (s << 13) & whole
        s ^= s >> 7
        s ^= (s << 17) & whole
        random[i] = s
        sums.append(sum((s >> shift) & 0xFFFF for shift in (0, 16, 32, 48)))
    scale = np.float32(1 / math.sqrt((2.0**32 - 1) / 3))
    return (np.array(sums, np.float32) - np.float32(2 * 65535)) * scale


class TestLeaky:
    @pytest.mark.parametrize("refractory", [0.0, 2.0, 5.0])
    def test_intervals_are_those_of_the_closed_form(self, refractory):
        drives = np.array([20.3, 21.0, 25.0, 40.0, 90.0])
        leaky = Leaky(refractory=refractory)
        when, who = circuit(alone(5), neurons=leaky, drive=drives).run(3000)
        for i, drive in enumerate(drives):
            expected = refractory + 20 * math.log((drive - 10) / (drive - 20))
            assert leaky.interval(drive) == pytest.approx(expected)
            assert set(np.diff(when[who == i])) == {math.ceil(expected)}

    def test_below_threshold_it_is_silent(self):
        when, _ = circuit(alone(), drive=20.0).run(2000)
        assert len(when) == 0
        assert Leaky().interval(20.0) == math.inf

    @pytest.mark.parametrize(("drive", "noise"), [(15.0, 5.0), (19.0, 3.0), (24.0, 4.0)])
    def test_with_noise_the_rate_is_that_of_siegert(self, drive, noise):
        """In whole steps the threshold is passed late: as if it were .583 s.d. of a step higher."""
        n, n_steps = 2000, 3000
        chip = circuit(alone(n), drive=drive, noise=noise)
        chip.run(500)
        rate = len(chip.run(n_steps)[0]) / (n * n_steps)
        late = 0.5826 * noise * math.sqrt(2 / 20)
        low, high = ((v - drive) / (noise * math.sqrt(2)) for v in (10.0, 20.0 + late))
        area = quad(lambda x: math.exp(x**2) * (1 + erf(x)), low, high)[0]
        assert rate == pytest.approx(1 / (2 + 20 * math.sqrt(math.pi) * area), rel=0.03)

    def test_noise_moves_the_free_potential_by_as_much_as_said(self):
        n = 4000
        chip = circuit(alone(n), neurons=Leaky(threshold=1e6, reset=0), drive=3.0, noise=2.0)
        chip.potential[:] = 0
        chip.run(200)
        assert chip.potential.mean() == pytest.approx(3.0, abs=4 * 2 / math.sqrt(n))
        assert chip.potential.std() == pytest.approx(2.0, abs=4 * 2 / math.sqrt(2 * n))
        z = (chip.potential - 3) / 2
        assert (z**3).mean() == pytest.approx(0, abs=4 * math.sqrt(6 / n))
        assert (z**4).mean() == pytest.approx(3, abs=4 * math.sqrt(24 / n))
        before = z.copy()
        assert np.corrcoef(before[:-1], before[1:])[0, 1] == pytest.approx(0, abs=4 / math.sqrt(n))

    def test_a_network_fires_as_in_a_plain_loop(self):
        rng = np.random.default_rng(3)
        n, n_steps = 30, 600
        weights = np.where(rng.random((n, n)) < 0.3, rng.normal(0, 3, (n, n)), 0)
        weights = weights.astype(np.float32)
        delays = rng.integers(1, 6, (n, n))
        drive, noise = rng.normal(20, 2, n), rng.uniform(0, 3, n)
        chip = circuit(weights, delays, drive=drive, noise=noise, seed=4)
        v, random = chip.potential.copy(), [int(s) for s in chip.random]
        keep, threshold, reset, dead, unit = Leaky().constants(1.0)
        spread, mu = chip.noise * unit, chip.drive
        shared = rng.normal(0, 1, n_steps // 10).astype(np.float32)
        arriving, rest = np.zeros((n_steps + 6, n), np.float32), np.zeros(n)
        expected = []
        for t in range(n_steps):
            moved = v * keep + (ONE - keep) * (mu + shared[t // 10])
            moved = moved + (arriving[t] + spread * drawn(random))
            v = np.where(rest > 0, reset, moved)
            rest = np.maximum(rest - 1, 0)
            for i in np.flatnonzero(v >= threshold):
                v[i], rest[i] = reset, dead
                expected.append((t, i))
                for j in np.flatnonzero(weights[i]):
                    arriving[t + delays[i, j], j] += weights[i, j]
        when, who = chip.run(n_steps, shared)
        assert len(when) > 300
        assert list(zip(when.tolist(), who.tolist(), strict=True)) == expected


class TestSynapses:
    @pytest.mark.parametrize("delay", [1, 2, 7, 40])
    def test_a_spike_arrives_after_exactly_its_delay(self, delay):
        weights = [[0, 50, 0], [0, 0, 0], [0, 0, 0]]
        delays = np.full((3, 3), delay)
        for neurons, drive in ((Leaky(), 22.0), (izhikevich("regular"), 10.0)):
            if isinstance(neurons, Izhikevich):
                same = {name: np.repeat(getattr(neurons, name), 3) for name in "abcd"}
                neurons = Izhikevich(**same)
                weights = [[0, 200, 0], [0, 0, 0], [0, 0, 0]]
            chip = circuit(weights, delays, neurons=neurons, drive=[drive, 0, 0])
            when, who = chip.run(1000)
            source = when[who == 0]
            np.testing.assert_array_equal(when[who == 1], source[source + delay < 1000] + delay)
            assert len(source) > 3
            assert 2 not in who  # no synapse leads there

    def test_a_jump_below_threshold_decays_as_the_membrane_does(self):
        chip = circuit([[0, 5], [0, 0]], [[0, 3], [0, 0]], drive=[21.0, 0])
        first = chip.run(1000)[0][0]
        again = circuit([[0, 5], [0, 0]], [[0, 3], [0, 0]], drive=[21.0, 0])
        again.run(int(first) + 1 + 3 + 10)
        assert again.potential[1] == pytest.approx(5 * math.exp(-10 / 20), rel=1e-5)

    def test_inhibition_lowers_the_rate_and_excitation_raises_it(self):
        rates = [
            (circuit([[0, w], [0, 0]], drive=[30, 21]).run(5000)[1] == 1).sum() for w in (-2, 0, 2)
        ]
        assert rates[0] < rates[1] < rates[2]

    def test_depression_settles_where_the_closed_form_says(self):
        use, recovery, drive = 0.3, 500.0, 30.0
        depression = Depression(use=np.array([use, 0.0]), recovery=recovery)
        chip = circuit([[0, 1], [0, 0]], drive=[drive, 0], depression=depression)
        when, who = chip.run(4000)
        faded = math.exp(-math.ceil(Leaky().interval(drive)) / recovery)
        full = (1 - faded) / (1 - (1 - use) * faded)
        assert chip.resource[0] == pytest.approx((1 - use) * full, rel=1e-4)
        # the jump, not only the resource: it has decayed since
        jumps = chip.potential[1]
        ages = 4000 - 1 - (when[who == 0][-60:] + 1)
        ages = ages[ages >= 0]
        assert jumps == pytest.approx(full * np.exp(-ages / 20).sum(), rel=1e-3)


class TestIzhikevich:
    @pytest.mark.parametrize(("kind", "drive"), [("regular", 10.0), ("fast", 10.0), ("fast", 5.0)])
    def test_it_fires_as_a_plain_loop_does(self, kind, drive):
        """The overshoot beyond 30 mV makes intervals sensitive: late spikes differ by rounding."""
        neurons = izhikevich(kind)
        when, _ = circuit(alone(), neurons=neurons, drive=drive).run(2000)
        single, double = (plain(neurons, drive, 2000, real) for real in (np.float32, float))
        np.testing.assert_array_equal(when, single)
        np.testing.assert_array_equal(when[:5], double[:5])
        assert abs(len(when) - len(double)) <= 1

    def test_a_network_fires_as_in_a_plain_loop(self):
        rng = np.random.default_rng(3)
        n, n_steps = 20, 600
        weights = np.where(rng.random((n, n)) < 0.3, rng.normal(0, 5, (n, n)), 0)
        weights, delays = weights.astype(np.float32), rng.integers(1, 6, (n, n))
        neurons = Izhikevich.drawn(np.arange(n) > 15, rng)
        chip = circuit(weights, delays, neurons=neurons, drive=rng.normal(8, 1, n), noise=2.0)
        v, u, random = chip.potential.copy(), chip.other.copy(), [int(s) for s in chip.random]
        a, b, c, d = neurons.parameters()
        spread = chip.noise * np.float32(math.sqrt(0.5))
        arriving, expected, half = np.zeros((n_steps + 6, n), np.float32), [], np.float32(0.5)
        for t in range(n_steps):
            flow = (np.float32(0.04) * v + np.float32(5)) * v + np.float32(140) + (chip.drive - u)
            v = v + half * flow + arriving[t] + spread * drawn(random)
            u = u + half * a * (b * v - u)
            for i in np.flatnonzero(v >= 30):
                v[i], u[i] = c[i], u[i] + d[i]
                expected.append((t, i))
                for j in np.flatnonzero(weights[i]):
                    arriving[t + delays[i, j], j] += weights[i, j]
        when, who = chip.run(n_steps)
        assert len(when) > 200
        assert list(zip(when.tolist(), who.tolist(), strict=True)) == expected

    def test_regular_spiking_adapts_and_fast_spiking_hardly(self):
        intervals = {
            kind: np.diff(circuit(alone(), neurons=izhikevich(kind), drive=10.0).run(4000)[0])
            for kind in ("regular", "fast")
        }
        assert intervals["regular"][-1] > 1.5 * intervals["regular"][0]
        assert intervals["fast"][5:].max() < 1.4 * intervals["fast"][2]
        assert intervals["fast"].mean() < intervals["regular"].mean() / 2

    def test_without_input_it_stays_at_its_fixed_point(self):
        chip = circuit(alone(), neurons=izhikevich("regular"))
        assert len(chip.run(4000)[0]) == 0
        rest = (-4.8 - math.sqrt(4.8**2 - 22.4)) / 0.08  # 0.04 v^2 + (5 - b) v + 140 = 0
        assert chip.potential[0] == pytest.approx(rest, abs=0.01)

    def test_drawn_neurons_are_those_of_the_published_mixture(self):
        inhibitory = np.arange(1000) >= 800
        neurons = Izhikevich.drawn(inhibitory, np.random.default_rng(0))
        r = np.sqrt((neurons.c[:800] + 65) / 15)
        np.testing.assert_allclose(neurons.d[:800], 8 - 6 * r**2)
        assert abs(r.mean() - 0.5) < 0.05
        np.testing.assert_allclose(neurons.b[800:], 0.25 - 0.05 * (neurons.a[800:] - 0.02) / 0.08)
        assert set(neurons.d[800:]) == {2.0}


@pytest.mark.parametrize("kind", ["lif", "izhikevich"])
def test_running_in_parts_is_running_once(kind):
    rng = np.random.default_rng(1)
    n = 12
    weights = np.where(rng.random((n, n)) < 0.3, rng.normal(0, 2, (n, n)), 0)
    delays = rng.integers(1, 6, (n, n))

    def make(seed=0):
        inhibitory = np.arange(n) > 8
        neurons = Leaky() if kind == "lif" else Izhikevich.drawn(inhibitory, rng)
        if kind != "lif":
            neurons = Izhikevich.drawn(inhibitory, np.random.default_rng(9))
        use = Depression(use=np.where(inhibitory, 0.0, 0.2))
        drive = 18.0 if kind == "lif" else 4.0
        return circuit(
            weights, delays, neurons=neurons, drive=drive, noise=2.0, seed=seed, depression=use
        )

    n_steps = CHUNK + 700
    when, who = make().run(n_steps)
    parts = make()
    first, second = parts.run(1500), parts.run(n_steps - 1500)
    np.testing.assert_array_equal(when, np.r_[first[0], second[0] + 1500])
    np.testing.assert_array_equal(who, np.r_[first[1], second[1]])
    assert len(when) > 50
    assert (np.diff(when) >= 0).all()
    other = make(seed=1).run(n_steps)[0]
    assert len(other) != len(when) or (other != when).any()


def test_what_cannot_run_is_refused():
    with pytest.raises(FloatingPointError, match="run away"):
        circuit(np.full((20, 20), 30.0), neurons=Leaky(refractory=0.0), drive=40.0).run(4000)
    with pytest.raises(ValueError, match="delays must be whole steps, 1 or more; got 0"):
        circuit([[0, 1], [0, 0]], np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="shared must have a number for every 10 ms, 5; got 3"):
        circuit(alone()).run(41, np.zeros(3))
    assert len(circuit(alone()).run(0)[0]) == 0
