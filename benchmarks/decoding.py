"""What the decoding kernels cost beside the published ways, at the size of a real recording.

    python benchmarks/decoding.py [--small] [--out decoding.csv] [--plot decoding.png]

Each row is one task: median wall time of ours and of a peer in the same process, their ratio,
and the floor: the larger of the time of the operations that cannot be avoided, at the measured
speed of a matrix product, and that of the bytes, at the measured speed of a sum.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.sparse.linalg import eigsh
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from visualcortex.evaluation import shuffled_folds
from visualcortex.evaluation.identity import identity_by_neurons, identity_correct, nearest_image
from visualcortex.evaluation.reliability import cvpca
from visualcortex.models.readouts import ShrinkageLDA, held_out_decisions
from visualcortex.preprocessing import SpontaneousScaler, split_half, spontaneous_components

N_COMPONENTS = 32


@dataclass(frozen=True)
class Size:
    """Sizes of a recording and of the decoding problem."""

    n_images: int = 2800
    n_grey: int = 280
    n_neurons: int = 10_000
    n_frames: int = 7000
    n_trials: int = 5900
    n_features: int = 2000
    n_classes: int = 118

    @property
    def n_responses(self) -> int:
        """Two presentations of each image, and the grey screens."""
        return 2 * self.n_images + self.n_grey


SMALL = Size(300, 20, 900, 600, 800, 200, 20)


class Task(NamedTuple):
    """One comparison: what is done, by us and by a peer, its floor, and how well both agree."""

    name: str
    peer_name: str
    ours: Callable[[], np.ndarray]
    peer: Callable[[], np.ndarray]
    operations: float
    bytes: float
    agreement: Callable[[np.ndarray, np.ndarray], str]


def activity(size: Size, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Activity with a power law of shared directions over private noise, (n_rows, N) float32."""
    rank = min(300, size.n_neurons // 4)
    latent = rng.normal(size=(n_rows, rank)) * np.arange(1, rank + 1) ** -0.5
    loadings = np.random.default_rng(1).normal(size=(rank, size.n_neurons))
    noise = rng.standard_normal((n_rows, size.n_neurons), dtype=np.float32)
    return noise + latent.astype(np.float32) @ loadings.astype(np.float32) + 1


def images(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Responses with signal, each image twice and the grey screens once each, and stimulus."""
    signal = 0.5 * rng.standard_normal((size.n_images, size.n_neurons), dtype=np.float32)
    stimulus = rng.permutation(np.repeat(np.arange(size.n_images), 2))
    stimulus = np.concatenate([stimulus, size.n_images + np.arange(size.n_grey)])
    responses = activity(size, size.n_responses, rng)
    shown = stimulus < size.n_images
    responses[shown] += signal[stimulus[shown]]
    return responses, stimulus


def labelled(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, classes and folds of five."""
    labels = np.arange(size.n_trials) % size.n_classes
    means = 0.2 * rng.normal(size=(size.n_classes, size.n_features))
    features = means[labels] + rng.normal(size=(size.n_trials, size.n_features))
    return features.astype(np.float32), labels, shuffled_folds(labels, 5, rng=rng)


def sklearn_axes(spontaneous: np.ndarray) -> np.ndarray:
    """Principal axes by scikit-learn's randomised solver."""
    model = PCA(N_COMPONENTS, svd_solver="randomized", random_state=0)
    return model.fit(spontaneous).components_.T


def gram_axes(spontaneous: np.ndarray) -> np.ndarray:
    """Principal axes by the smaller Gram matrix and its leading eigenvectors."""
    centred = spontaneous - spontaneous.mean(axis=0)
    wide = centred.shape[1] > centred.shape[0]
    gram = centred @ centred.T if wide else centred.T @ centred
    vectors = eigsh(gram, k=N_COMPONENTS)[1][:, ::-1]
    return np.linalg.qr(centred.T @ vectors)[0] if wide else vectors


def published_preprocessing(
    spontaneous: np.ndarray, responses: np.ndarray, stimulus: np.ndarray
) -> np.ndarray:
    """Z-score, 32 spontaneous components and two halves, in plain numpy and scipy."""
    mean, scale = spontaneous.mean(axis=0), spontaneous.std(axis=0) + 1e-6
    axes = gram_axes((spontaneous - mean) / scale)
    z = (responses - mean) / scale
    z = z - (z @ axes) @ axes.T
    halves = np.zeros((2, stimulus.max() + 1, z.shape[1]), dtype=np.float32)
    twice = []
    for image in np.unique(stimulus):
        trials = np.flatnonzero(stimulus == image)
        if len(trials) > 1:
            n = len(trials) // 2
            halves[:, image] = z[trials[:n]].mean(axis=0), z[trials[-n:]].mean(axis=0)
            twice.append(image)
    return halves[:, twice]


def our_preprocessing(
    spontaneous: np.ndarray, responses: np.ndarray, stimulus: np.ndarray
) -> np.ndarray:
    """Do the same with this library."""
    scaler = SpontaneousScaler(N_COMPONENTS).fit(spontaneous)
    halves = split_half(scaler.transform(responses), stimulus)
    return np.stack([halves.first, halves.second])


def published_cvpca(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One shuffle of cvPCA with scikit-learn's PCA, as published."""
    swap = rng.integers(2, size=len(first))[:, None] == 1
    f, s = np.where(swap, second, first), np.where(swap, first, second)
    n_ranks = min(1024, len(f) - 1, f.shape[1])
    axes = PCA(n_ranks, svd_solver="randomized", random_state=0).fit(f).components_
    f, s = f - f.mean(axis=0), s - s.mean(axis=0)
    return ((f @ axes.T) * (s @ axes.T)).mean(axis=0)


def direct_curve(first: np.ndarray, second: np.ndarray, counts: list[int], seed: int) -> np.ndarray:
    """Decode each nested subset by itself."""
    order = np.random.default_rng(seed).permutation(first.shape[1])
    some = (order[:count] for count in counts)
    return np.stack([identity_correct(first[:, s], second[:, s]) for s in some])


def loop_over_folds(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Fit and test fold by fold."""
    decisions = np.empty((len(labels), len(np.unique(labels))), dtype=np.float32)
    for fold in np.unique(folds):
        test = folds == fold
        fitted = ShrinkageLDA().fit(features[~test], labels[~test])
        decisions[test] = fitted.decision_function(features[test])
    return decisions


def share_equal(ours: np.ndarray, peer: np.ndarray) -> str:
    """Share of equal entries."""
    return f"{np.mean(ours == peer):.4f} equal"


def share_decided_equal(ours: np.ndarray, peer: np.ndarray) -> str:
    """Share of trials with the same best class."""
    return share_equal(ours.argmax(axis=1), peer.argmax(axis=1))


def largest_difference(ours: np.ndarray, peer: np.ndarray) -> str:
    """Largest difference relative to the largest value."""
    return f"{np.abs(ours - peer).max() / np.abs(peer).max():.1e} apart"


def tasks_of_preprocessing(size: Size, rng: np.random.Generator) -> Iterator[Task]:
    """Spontaneous components, and the whole way to the two halves."""
    frames = activity(size, size.n_frames, rng)
    responses, stimulus = images(size, rng)

    def axes() -> np.ndarray:
        return spontaneous_components(frames, N_COMPONENTS)

    def alike(ours: np.ndarray, peer: np.ndarray) -> str:
        captured = [np.sum(np.square((frames - frames.mean(axis=0)) @ a)) for a in (ours, peer)]
        overlap = np.sum((ours.T @ peer) ** 2) / N_COMPONENTS
        return f"overlap {overlap:.4f}, variance {captured[0] / captured[1]:.5f}"

    # twice through the activity, for products with 32 columns, is the least of any such method
    cost = 4.0 * frames.size * N_COMPONENTS, 2.0 * frames.nbytes
    name = "32 spontaneous components"
    peer = "scikit-learn PCA, randomized"
    yield Task(name, peer, axes, lambda: sklearn_axes(frames), *cost, alike)
    yield Task(name, "Gram matrix + eigsh", axes, lambda: gram_axes(frames), *cost, alike)
    given = frames, responses, stimulus
    operations = cost[0] + 4.0 * responses.size * N_COMPONENTS
    moved = cost[1] + 4.0 * responses.nbytes
    yield Task(
        "whole preprocessing", "numpy, as published", lambda: our_preprocessing(*given),
        lambda: published_preprocessing(*given), operations, moved, largest_difference,
    )  # fmt: skip


def tasks_of_reliability(size: Size, rng: np.random.Generator) -> Iterator[Task]:
    """Identity from nested subsets, and cvPCA."""
    signal = rng.standard_normal((size.n_images, size.n_neurons), dtype=np.float32)
    signal *= (np.arange(1, size.n_neurons + 1) ** -0.5).astype(np.float32)
    first, second = (
        signal + 0.05 * rng.standard_normal(signal.shape, dtype=np.float32) for _ in range(2)
    )
    counts = [c for c in 2 ** np.arange(2, 14) if c < size.n_neurons] + [size.n_neurons]
    product = 2.0 * size.n_images**2 * size.n_neurons

    def curve() -> np.ndarray:
        draw = np.random.default_rng(3)
        return identity_by_neurons(first, second, counts, n_draws=1, rng=draw)[:, 0]

    yield Task(
        "identity, all subsets", "each subset by itself", curve,
        lambda: direct_curve(first, second, counts, 3), product, 2 * first.nbytes, share_equal,
    )  # fmt: skip
    yield Task(
        "cvPCA, 5 shuffles", "scikit-learn PCA, 5 times one",
        lambda: cvpca(first, second, rng=np.random.default_rng(4)),
        lambda: np.mean([published_cvpca(first, second, r) for r in 5 * [rng]], axis=0),
        3 * product, 2 * first.nbytes, largest_difference,
    )  # fmt: skip


def tasks_of_readouts(size: Size, rng: np.random.Generator) -> Iterator[Task]:
    """Nearest neighbour and discriminant analysis."""
    features, labels, folds = labelled(size, rng)
    train, test = folds != 0, folds == 0
    x, y, new = features[train], labels[train], features[test]
    knn = KNeighborsClassifier(1, metric="correlation", algorithm="brute")
    lsqr = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
    product = 2.0 * len(x) * size.n_features
    yield Task(
        "1-NN by correlation", "scikit-learn KNeighbors", lambda: y[nearest_image(x, new)],
        lambda: knn.fit(x, y).predict(new), product * len(new), x.nbytes, share_equal,
    )  # fmt: skip
    yield Task(
        "shrinkage LDA, fit + predict", "scikit-learn lsqr",
        lambda: ShrinkageLDA(priors="empirical").fit(x, y).predict(new),
        lambda: lsqr.fit(x, y).predict(new),
        # a symmetric product needs half of the operations
        product * size.n_features / 2 + size.n_features**3 / 3, x.nbytes, share_equal,
    )  # fmt: skip
    yield Task(
        "shrinkage LDA, 5 folds", "ours, fold by fold",
        lambda: held_out_decisions(features, labels, folds),
        lambda: loop_over_folds(features, labels, folds),
        product * 5 / 4 * size.n_features / 2 + 5 * size.n_features**3 / 3, features.nbytes,
        share_decided_equal,
    )  # fmt: skip


def timed(call: Callable[[], np.ndarray], slow: float = 5.0) -> tuple[float, np.ndarray]:
    """Median wall time of three calls after a first one, or the first one's if that is slow."""
    start = time.perf_counter()
    result = call()
    seconds = [time.perf_counter() - start]
    if seconds[0] < slow:
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


def machine_speed() -> tuple[float, float]:
    """Operations a second of a float32 matrix product, and bytes a second of a sum."""
    a, b = torch.rand(2, 2000, 2000)
    large = torch.rand(50_000_000)
    product, _ = timed(lambda: a @ b)
    total, _ = timed(lambda: large.sum())
    return 2 * 2000**3 / product, large.nbytes / total


def compare(size: Size) -> pd.DataFrame:
    """Time every task."""
    speed, bandwidth = machine_speed()
    print(f"matrix product {speed / 1e9:.0f} Gflop/s, sum {bandwidth / 1e9:.1f} GB/s", flush=True)
    rng = np.random.default_rng(0)
    rows = []
    for group in (tasks_of_preprocessing, tasks_of_reliability, tasks_of_readouts):
        for task in group(size, rng):
            ours, our_result = timed(task.ours, slow=30)
            peer, peer_result = timed(task.peer)
            floor = max(task.operations / speed, task.bytes / bandwidth)
            row = {"task": task.name, "peer": task.peer_name, "ours_s": ours, "peer_s": peer}
            row |= {"ratio": peer / ours, "floor_s": floor, "over_floor": ours / floor}
            rows.append(row | {"agreement": task.agreement(our_result, peer_result)})
            print("  ".join(f"{v:.3g}" if isinstance(v, float) else v for v in rows[-1].values()))
            sys.stdout.flush()
    return pd.DataFrame(rows)


MEMORY = r"""
    import re, sys
    from pathlib import Path
    import numpy as np
    from visualcortex.preprocessing import SpontaneousScaler, split_half
    def peak():
        # not getrusage: its peak is inherited from the parent process
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    folder, copy = sys.argv[1], sys.argv[2] == "copy"
    # what the first call loads of torch is not the kernels' doing
    small = np.random.default_rng(0).normal(size=(60, 50)).astype(np.float32)
    SpontaneousScaler(3).fit(small).transform(small)
    before = peak()
    scaler = SpontaneousScaler(32, copy=copy).fit(np.load(folder + "/s.npy", mmap_mode="r"))
    responses = np.load(folder + "/r.npy", mmap_mode="r" if copy else None)
    z = scaler.transform(responses)
    split_half(z, np.load(folder + "/i.npy"))
    print((peak() - before) / z.nbytes)
"""


def peak_memory(size: Size) -> dict[str, float]:
    """Peak memory of preprocessing, inputs included, in sizes of the response array (Linux)."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/s.npy", activity(size, size.n_frames, rng))
        responses, stimulus = images(size, rng)
        np.save(f"{folder}/r.npy", responses)
        np.save(f"{folder}/i.npy", stimulus)
        found = {}
        for way in ("copy", "in place"):
            command = [sys.executable, "-c", textwrap.dedent(MEMORY), folder, way]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            found[way] = float(run.stdout)
    return found


def costs(size: Size) -> dict[str, float]:
    """Seconds of each step of one recording."""
    rng = np.random.default_rng(0)
    frames, (responses, stimulus) = activity(size, size.n_frames, rng), images(size, rng)
    halves = split_half(responses, stimulus)
    scaler = SpontaneousScaler(N_COMPONENTS).fit(frames)
    steps = {
        "fit": lambda: scaler.fit(frames),
        "transform": lambda: scaler.transform(responses),
        "halves": lambda: split_half(responses, stimulus),
        "identity": lambda: identity_correct(halves.first, halves.second),
    }
    return {name: timed(call)[0] for name, call in steps.items()}


def sweep(size: Size) -> pd.DataFrame:
    """Cost against the number of neurons and of images, with the other as it is."""
    rows = []
    for along, field in (("neurons", "n_neurons"), ("images", "n_images")):
        for share in (0.125, 0.25, 0.5, 1.0):
            count = int(share * getattr(size, field))
            found = costs(replace(size, **{field: count}))
            rows += [
                {"along": along, "count": count, "task": name, "seconds": seconds}
                for name, seconds in found.items()
            ]
    return pd.DataFrame(rows)


def plot(table: pd.DataFrame, path: Path) -> None:
    """Draw the sweep: seconds against neurons and images, logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for panel, (along, part) in zip(axes, table.groupby("along", sort=False), strict=True):
        for name, line in part.groupby("task", sort=False):
            panel.loglog(line["count"], line["seconds"], "o-", label=name)
        panel.set_xlabel(f"number of {along}")
    axes[0].set_ylabel("seconds")
    axes[0].legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a quick check at a small size")
    parser.add_argument("--out", type=Path, help="write the table to this CSV file")
    parser.add_argument("--plot", type=Path, help="draw cost against size into this file")
    options = parser.parse_args()
    size = SMALL if options.small else Size()
    memory = peak_memory(size)
    for way, peak in memory.items():
        print(f"preprocessing, {way}: peak memory {peak:.2f} x the response array")
    table = compare(size)
    print(table.round(3).to_string(index=False))
    if options.out:
        table.to_csv(options.out, index=False)
    if options.plot:
        plot(sweep(size), options.plot)


if __name__ == "__main__":
    main()
