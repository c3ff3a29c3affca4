"""What simulating a network of leaky integrate-and-fire neurons costs, beside what others offer.

    python benchmarks/networks.py [--quick] [--out networks.csv] [--threads 1] [--only ours brian2]

One network of 1,000 neurons of the asynchronous regime, steps of 1 ms, ten minutes, by this
library, by a plain PyTorch loop, and by snnTorch, Norse and Brian2, each of which is optional and
imported by this script alone: what is not installed is said and left out. Brian2 2.9 runs with
NumPy before 2 only, so that it wants an environment of its own. All have the same synapses, delays,
drive, noise, refractory time and exact decay between steps; random numbers differ, so that rates
and the coefficient of variation of intervals (CV) are to be equal, not spikes. The packages know no
delays or no refractory time of this kind: what is missing is added by hand, and only spikes that
came are passed on, so that the loops are as fast as we could write them. Ours and Brian2 are timed
over the whole time, the loops over some seconds, scaled up ("timed_s" says how many); statistics of
all are those of so many seconds. "peak_mb" is the most memory of the process, imports included.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from visualcortex.simulators.integrate_and_fire import Leaky
from visualcortex.simulators.wired_network import (
    REGIMES,
    WiredNetwork,
    build_circuit,
    draw_wiring,
)

WAYS = {  # the package that each way needs
    "ours": None,
    "torch": "torch",
    "snntorch": "snntorch",
    "norse": "norse",
    "brian2": "brian2",
}
FULL = ("ours", "brian2")  # timed over the whole time: the start of a run takes Brian2 long
SETTLING = 0.5  # s
NEURON = Leaky()
KEEP = float(np.exp(-NEURON.step / NEURON.decay))
NOISE = REGIMES["lif", "asynchronous"].noise * float(np.sqrt(1 - KEEP**2))  # mV a step
Spikes = tuple[np.ndarray, np.ndarray]  # step and neuron of each
Run = Callable[[int], Spikes]  # goes on for some steps


class Network(NamedTuple):
    """Synapses (mV, whole steps), ``(source, target)``, and the drive of each neuron, mV."""

    weights: np.ndarray
    delays: np.ndarray
    drive: np.ndarray
    settings: WiredNetwork


def network_of(n_neurons: int) -> Network:
    """Draw the network that all simulate."""
    settings = WiredNetwork(n_neurons=n_neurons)
    weights, delays = draw_wiring(settings, np.random.default_rng(0))
    circuit = build_circuit(settings, weights, delays, np.random.default_rng(1))
    return Network(weights, delays, circuit.drive, settings)


def ours(network: Network) -> Run:
    """Return our own engine."""
    weights, delays, _, settings = network
    return build_circuit(settings, weights, delays, np.random.default_rng(1)).run


def torch_loop(network: Network, step_of: Callable[..., Any]) -> Run:
    """Return a loop over time; `step_of` makes the step of the neurons, without refractoriness."""
    import torch

    n, longest = len(network.drive), int(network.delays.max())
    delay = torch.arange(1, longest + 1)[None, :, None]
    jumps = torch.from_numpy(network.weights)[:, None] * (
        torch.from_numpy(network.delays)[:, None] == delay
    )  # (source, delay, target)
    ring = torch.zeros(longest + 1, n)
    drive = (1 - KEEP) * torch.from_numpy(network.drive)
    step, resting = step_of(n), torch.zeros(n)

    @torch.no_grad()
    def run(n_steps: int) -> Spikes:
        """Go on for some steps."""
        nonlocal ring, resting
        when, who = [], []
        for t in range(n_steps):
            fired = step(drive + ring[0] + NOISE * torch.randn(n), resting > 0)
            resting = (resting - 1).clamp(min=0)
            ring = torch.cat([ring[1:], torch.zeros(1, n)])
            sources = fired.nonzero()[:, 0]
            if len(sources):
                resting[sources] = NEURON.refractory
                ring[:-1] += jumps[sources].sum(0)
                who.append(sources.numpy())
                when.append(np.full(len(sources), t))
        return np.concatenate(when), np.concatenate(who)

    return run


def plain_step(n: int) -> Callable[..., Any]:
    """Return a step of leaky neurons in plain PyTorch."""
    import torch

    v = NEURON.reset + (NEURON.threshold - NEURON.reset) * torch.rand(n)
    reset = torch.full((n,), NEURON.reset)

    def step(given: Any, resting: Any) -> Any:
        """Move the potential and reset it."""
        nonlocal v
        v = torch.where(resting, reset, KEEP * v + given)
        fired = v >= NEURON.threshold
        v = torch.where(fired, reset, v)
        return fired

    return step


def snntorch_step(n: int) -> Callable[..., Any]:
    """Return a step of snnTorch's neurons, whose reset is 0: potentials are above ours."""
    import snntorch
    import torch

    height = NEURON.threshold - NEURON.reset
    neuron = snntorch.Leaky(beta=KEEP, threshold=height, reset_mechanism="zero", reset_delay=False)
    v, none = height * torch.rand(n), torch.zeros(n)

    def step(given: Any, resting: Any) -> Any:
        """Hold those that rest at the reset."""
        nonlocal v
        fired, v = neuron(torch.where(resting, none, given - (1 - KEEP) * NEURON.reset), v)
        v = torch.where(resting, none, v)
        return fired

    return step


def norse_step(n: int) -> Callable[..., Any]:
    """Return a step of Norse's neurons without a synaptic current."""
    import torch
    from norse.torch.functional.lif_box import (
        LIFBoxFeedForwardState,
        LIFBoxParameters,
        lif_box_feed_forward_step,
    )

    known = LIFBoxParameters(
        tau_mem_inv=torch.tensor(1000 * (1 - KEEP)),  # its steps of 1 ms then decay as ours
        v_leak=torch.tensor(0.0),
        v_th=torch.tensor(NEURON.threshold),
        v_reset=torch.tensor(NEURON.reset),
    )
    state = LIFBoxFeedForwardState(
        v=NEURON.reset + (NEURON.threshold - NEURON.reset) * torch.rand(n)
    )
    reset = torch.full((n,), NEURON.reset)

    def step(given: Any, resting: Any) -> Any:
        """Hold those that rest at the reset; in Norse the input is that of the equation."""
        nonlocal state
        held = torch.where(resting, reset, given / (1 - KEEP))
        fired, state = lif_box_feed_forward_step(held, state, known, dt=0.001)
        return fired

    return step


def brian2(network: Network) -> Run:
    """Return Brian2's network, exactly solved between steps; compiled if it finds a compiler."""
    import brian2 as b

    b.defaultclock.dt = NEURON.step * b.ms
    group = b.NeuronGroup(
        len(network.drive),
        "dv/dt = (drive - v) / decay : volt (unless refractory)\ndrive : volt",
        threshold="v >= threshold",
        reset="v = reset",
        refractory=(NEURON.refractory + NEURON.step) * b.ms,  # it counts the spike's own step
        method="exact",
        namespace={
            "decay": NEURON.decay * b.ms,
            "threshold": NEURON.threshold * b.mV,
            "reset": NEURON.reset * b.mV,
            "noise": NOISE * b.mV,
            "keep": KEEP,
        },
    )
    group.drive = network.drive * b.mV
    group.v = "reset + (threshold - reset) * rand()"
    noise = group.run_regularly("v += noise * randn() * int(not_refractory)", when="after_groups")
    # a spike that is passed on after a step decays in the next one: it comes a step early for that
    synapses = b.Synapses(
        group,
        group,
        "w : volt",
        on_pre="v_post += w / keep * int(not_refractory_post)",
        namespace={"keep": KEEP},
    )
    sources, targets = network.weights.nonzero()
    synapses.connect(i=sources, j=targets)
    synapses.w = network.weights[sources, targets] * b.mV
    synapses.delay = (network.delays[sources, targets] - 1) * NEURON.step * b.ms
    monitor = b.SpikeMonitor(group)
    whole = b.Network(group, noise, synapses, monitor)

    def run(n_steps: int) -> Spikes:
        """Go on for some steps."""
        before, start = monitor.num_spikes, whole.t / b.ms
        whole.run(n_steps * NEURON.step * b.ms)
        when = (np.array(monitor.t)[before:] * 1000 - start) / NEURON.step
        return np.rint(when).astype(int), np.array(monitor.i)[before:]

    return run


MAKERS: dict[str, Callable[[Network], Run]] = {
    "ours": ours,
    "torch": lambda network: torch_loop(network, plain_step),
    "snntorch": lambda network: torch_loop(network, snntorch_step),
    "norse": lambda network: torch_loop(network, norse_step),
    "brian2": brian2,
}


def statistics(spikes: Spikes, settings: WiredNetwork, seconds: float) -> dict[str, float]:
    """Rates of excitatory and inhibitory neurons, spikes/s, and the median CV, of some seconds."""
    when, who = (x[spikes[0] < seconds * 1000] for x in spikes)
    n = settings.n_neurons
    rates = np.bincount(who, minlength=n) / seconds
    n_excitatory = round(settings.excitatory * n)
    trains = [when[who == i] for i in range(n)]
    gaps = [np.diff(train) for train in trains if len(train) > 10]
    return {
        "rate_e": rates[:n_excitatory].mean(),
        "rate_i": rates[n_excitatory:].mean(),
        "cv": float(np.median([g.std() / g.mean() for g in gaps])) if gaps else np.nan,
    }


def one(way: str, n_neurons: int, seconds: float, compared: float, n_runs: int) -> dict[str, Any]:
    """Time one way in this process; the first run, in which things are compiled, is not timed."""
    network = network_of(n_neurons)
    run = MAKERS[way](network)
    run(round(SETTLING * 1000))
    took, spikes = [], None
    for _ in range(n_runs):
        start = time.perf_counter()
        spikes = run(round(seconds * 1000))
        took.append(time.perf_counter() - start)
    return {
        "way": way,
        "timed_s": seconds,
        "seconds": float(np.median(took)),
        **statistics(spikes, network.settings, min(seconds, compared)),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def compare(ways: list[str], options: argparse.Namespace) -> pd.DataFrame:
    """Run every way in a process of its own, and scale its time up to the whole time."""
    rows = []
    for way in ways:
        seconds = options.seconds if way in FULL else options.compared
        numbers = (options.neurons, seconds, options.compared, options.runs)
        command = [sys.executable, __file__, "--one", way, *map(str, numbers)]
        command += ["--threads", str(options.threads)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        row["seconds"] *= options.seconds / seconds
        rows.append(row | {"ratio": row["seconds"] / (rows[0] if rows else row)["seconds"]})
        print(f"{way}: {row['seconds']:.3g} s for {options.seconds:g} s", flush=True)
    return pd.DataFrame(rows)


def installed(only: list[str] | None) -> list[str]:
    """Return the ways that can be run here, ours first, and say which cannot."""
    wanted = [way for way in WAYS if only is None or way in only or way == "ours"]
    absent = [way for way in wanted if WAYS[way] and not importlib.util.find_spec(WAYS[way])]
    if absent:
        print(f"not installed and left out: {', '.join(absent)}")
    return [way for way in wanted if way not in absent]


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quick check at a small size")
    parser.add_argument("--neurons", type=int, default=1000, help="how many neurons")
    parser.add_argument("--seconds", type=float, default=600.0, help="simulated by ours")
    parser.add_argument("--compared", type=float, default=20.0, help="simulated by the loops")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), help="ways beside ours")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        if importlib.util.find_spec("torch"):
            import torch

            torch.set_num_threads(options.threads)
        way, n, seconds, compared, n_runs = options.one
        print(json.dumps(one(way, int(n), float(seconds), float(compared), int(n_runs))))
        return
    if options.quick:
        options.neurons, options.seconds, options.compared, options.runs = 200, 20.0, 2.0, 1
    table = compare(installed(options.only), options)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if options.out:
        table.to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
