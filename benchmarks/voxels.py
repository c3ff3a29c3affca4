"""What voxels, Gabor energies and ensembles cost: `python benchmarks/voxels.py [--small]`.

Each task in the ways that one would write it first, beside the library's. Medians of wall time
after a warm-up, in seconds; "ratio" is the time over the library's; the floor is work that no way
can do without. Four minutes on two idle cores, or with --small one; 1 GB of memory. Where other
work is running, set OMP_NUM_THREADS=1: waiting threads would be what is measured.
Denormal numbers cost nothing on AMD processors, and up to forty times on some of Intel's.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats

from visualcortex.models.decoders import NetworkDecoder
from visualcortex.models.gabor import GaborPyramid, QuadraturePair, gabor_energy
from visualcortex.voxels import SplatWeights, VoxelGrid, splat_weights, voxelise

Ways = dict[str, Callable[[], object]]


def median_seconds(way: Callable[[], object], n_runs: int) -> float:
    """Median wall time of `n_runs` calls after one that is not counted (if there are several)."""
    times = []
    for _ in range(n_runs + (n_runs > 1)):
        start = time.perf_counter()
        way()
        times.append(time.perf_counter() - start)
    return float(np.median(times[-n_runs:]))


def table(title: str, ways: Ways, n_runs: int, once: tuple[str, ...] = ()) -> None:
    """Time the ways, the library's first, and print a row each."""
    print(f"\n{title}\n{'':44s}{'median s':>10s}{'ratio':>8s}")
    ours = None
    for name, way in ways.items():
        seconds = median_seconds(way, 1 if name in once else n_runs)
        ours = seconds if ours is None else ours
        print(f"{name:44s}{seconds:10.3f}{seconds / ours:8.2f}", flush=True)


def add_at(responses: np.ndarray, weights: SplatWeights) -> np.ndarray:
    """Add neuron by neuron into voxels."""
    entries = weights.matrix.tocoo()
    voxels = np.zeros((weights.grid.n_voxels, len(responses)), dtype=np.float32)
    np.add.at(voxels, entries.row, (responses[:, entries.col] * entries.data).T)
    return voxels.T


def binned(responses: np.ndarray, positions: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """SciPy's binned statistic of every trial."""
    ends = np.array(grid.origin) + np.array(grid.shape[::-1]) * grid.spacing_um
    edges = list(zip(grid.origin, ends, strict=True))
    return stats.binned_statistic_dd(
        positions, responses, bins=grid.shape[::-1], range=edges
    ).statistic


def index_add(responses: np.ndarray, weights: SplatWeights) -> torch.Tensor:
    """Add with torch, sixty-four trials at a time; each neuron in one voxel."""
    entries = weights.matrix.tocsc().tocoo()  # ordered by neuron
    voxel, share = torch.from_numpy(entries.row).long(), torch.from_numpy(entries.data)
    voxels = torch.empty(len(responses), weights.grid.n_voxels)
    pairs = zip(voxels.split(64), torch.from_numpy(responses).split(64), strict=True)
    for part, trials in pairs:
        part.copy_(torch.zeros(part.shape).index_add_(1, voxel, trials * share))
    return voxels


def torch_sparse(responses: np.ndarray, weights: SplatWeights) -> torch.Tensor:
    """Multiply with a sparse matrix of torch, 256 trials at a time."""
    matrix = weights.matrix
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that these matrices are new
        parts = (torch.from_numpy(x) for x in (matrix.indptr, matrix.indices, matrix.data))
        sparse = torch.sparse_csr_tensor(*parts, matrix.shape, check_invariants=False)
    voxels = torch.empty(len(responses), weights.grid.n_voxels)
    for part, trials in zip(voxels.split(256), torch.from_numpy(responses).split(256), strict=True):
        part.copy_((sparse @ trials.T.contiguous()).T)
    return voxels


def traffic(responses: np.ndarray, grid: VoxelGrid) -> None:
    """Read the responses and write as many numbers as there are voxels, once."""
    responses.sum()
    np.empty((len(responses), grid.n_voxels), dtype=np.float32).fill(0)


def voxels(n_trials: int, n_neurons: int, n_runs: int) -> None:
    """Mean of every voxel in every trial."""
    rng = np.random.default_rng(0)
    positions = rng.random((n_neurons, 3)) * [960, 960, 330]
    grid = VoxelGrid((0, 0, 0), (30, 30, 30), (11, 32, 32))
    responses = rng.normal(size=(n_trials, n_neurons)).astype(np.float32)
    few = responses[: n_trials // 20]
    bins, smooth = (splat_weights(positions, grid, kernel=k) for k in ("bin", "gaussian"))
    expected = voxelise(few, bins).reshape(len(few), -1)
    for other in (add_at, index_add, torch_sparse):
        assert np.allclose(expected, other(few, bins), atol=1e-5)
    ways: Ways = {
        "voxelise": lambda: voxelise(responses, bins),
        "SciPy CSR, all trials at once": lambda: np.ascontiguousarray((bins[0] @ responses.T).T),
        "torch index_add": lambda: index_add(responses, bins),
        "torch CSR": lambda: torch_sparse(responses, bins),
        "np.add.at": lambda: add_at(responses, bins),
        f"binned_statistic_dd, {len(few)} trials only": lambda: binned(few, positions, grid),
        "floor: read and write once": lambda: traffic(responses, grid),
    }
    size = f"{n_trials} trials, {n_neurons} neurons, 11 x 32 x 32"
    table(f"Bins: {size}", ways, n_runs, once=("np.add.at",))
    ways = {
        "voxelise": lambda: voxelise(responses, smooth),
        "torch CSR": lambda: torch_sparse(responses, smooth),
        "floor: read and write once": lambda: traffic(responses, grid),
    }
    title = f"Gaussian of one voxel: {size}, {smooth[0].nnz // n_neurons} voxels a neuron"
    table(title, ways, min(n_runs, 3))


def with_tails(pyramid: GaborPyramid, phase: float) -> np.ndarray:
    """The filters of a pyramid as the formula gives them, in single precision."""
    y, x = np.mgrid[: pyramid.height, : pyramid.width]
    rows = []
    for frequency, orientation, sigma, row, column in pyramid.table[
        ["frequency", "orientation", "sigma", "row", "column"]
    ].to_numpy():
        dx, dy = x - column, row - y
        along = dx * np.cos(orientation) + dy * np.sin(orientation)
        wave = np.cos(2 * np.pi * frequency * along + phase)
        rows.append((np.exp(-(dx**2 + dy**2) / (2 * sigma**2)) * wave).ravel())
    filters = np.stack(rows)
    return (filters / np.linalg.norm(filters, axis=1, keepdims=True)).astype(np.float32)


def gabors(n_images: int, n_runs: int) -> None:
    """Energies of quadrature pairs, with and without the tails of the filters."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(n_images, 36, 64)).astype(np.float32)
    pyramid = GaborPyramid(36, 64, frequencies=(0.06, 0.1, 0.16, 0.26), n_orientations=4)
    whole = QuadraturePair(with_tails(pyramid, 0.0), with_tails(pyramid, -np.pi / 2))
    n_pairs = len(whole.even)
    pyramid.pair  # noqa: B018  the filters are made once, whatever the images
    denormal = np.mean((whole.even != 0) & (np.abs(whole.even) < np.finfo(np.float32).tiny))
    pixels = torch.from_numpy(images.reshape(n_images, -1))
    dense = torch.from_numpy(rng.normal(size=(pixels.shape[1], 2 * n_pairs)).astype(np.float32))
    ways: Ways = {
        "GaborPyramid.transform": lambda: pyramid.transform(images),
        "the same with tails": lambda: gabor_energy(images, whole),
        "floor: one matrix product": lambda: pixels @ dense,
    }
    title = f"Gabors: {n_images} images of 36 x 64, {n_pairs} pairs, {denormal:.1%} denormal"
    table(title, ways, n_runs, once=("the same with tails",))


def ensembles(n_epochs: int, n_runs: int) -> None:
    """Five networks at once, beside one after the other."""
    rng = np.random.default_rng(0)
    y = rng.integers(11, size=1500)
    shapes = {"mlp": (300,), "voxel_cnn": (4, 12, 12), "set": (1500,)}
    for name, shape in shapes.items():
        x = rng.normal(size=(1500, *shape)).astype(np.float32)
        option = {"positions": rng.random((1500, 3))} if name == "set" else {}

        def fit(n_networks, seed, name=name, x=x, option=option):
            decoder = NetworkDecoder(
                name, n_networks=n_networks, n_epochs=n_epochs, patience=n_epochs, seed=seed
            )
            held_out = x[1200:], y[1200:]
            decoder.fit(x[:1200], y[:1200], held_out, progress=False, **option)

        ways: Ways = {
            "five at once": lambda fit=fit: fit(5, 0),
            "five, one after the other": lambda fit=fit: [fit(1, seed) for seed in range(5)],
            "floor: one alone": lambda fit=fit: fit(1, 0),
        }
        table(f"Ensemble, {name}: 1200 trials of {shape}, {n_epochs} epochs", ways, n_runs)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a tenth of the work")
    small = parser.parse_args().small
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    n_runs = 3 if small else 7
    voxels(280 if small else 2800, 10_000, n_runs)
    gabors(500 if small else 5000, n_runs)
    ensembles(3 if small else 30, 1 if small else 3)


if __name__ == "__main__":
    main()
