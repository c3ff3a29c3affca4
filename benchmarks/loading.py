"""What loading a recording of real size costs: `python benchmarks/loading.py`.

Writes a file like natimg2800_*.mat (5,880 presentations, 11,000 neurons; zlib-compressed version 5,
then version 7.3) in a temporary folder and loads it twice, each time in a process of its own. The
peak is what that process needed above its imports, as a multiple of stim.resp and stim.spont as
stored. About 1.5 GB of disk and two minutes.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

N_PRESENTATIONS, N_SPONTANEOUS, N_NEURONS = 5880, 2000, 11000
NAME = "natimg2800_M170714_MP032_2017-09-14.mat"


def activity(rng: np.random.Generator, n_rows: int) -> np.ndarray:
    """Deconvolved activity: mostly zero, else exponential."""
    values = rng.standard_exponential((n_rows, N_NEURONS), dtype=np.float32)
    values[rng.random(values.shape, dtype=np.float32) < 0.6] = 0
    return values


def write(folder: Path, version: str) -> None:
    """Write a recording, the images and the categories."""
    import h5py
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    stim = {
        "resp": activity(rng, N_PRESENTATIONS),
        "istim": np.r_[np.tile(np.arange(1, 2801), 2), np.full(280, 2801)][:, None],
        "spont": activity(rng, N_SPONTANEOUS),
    }
    med, red = rng.random((N_NEURONS, 3)) * 1000, rng.random(N_NEURONS) < 0.05
    if version == "7.3":
        with h5py.File(folder / NAME, "w", userblock_size=512) as file:
            for name, value in stim.items():
                file.create_dataset(f"stim/{name}", data=value.T, chunks=True, compression=1)
            file["med"] = med.T
            cells = [file.create_dataset(f"#refs#/{k}", data=[[v]]) for k, v in enumerate(red)]
            file["stat/redcell"] = np.array([[cell.ref] for cell in cells], h5py.ref_dtype)
    else:
        stat = np.empty((N_NEURONS, 1), [("redcell", object), ("ipix", object), ("lam", object)])
        for cell, label in zip(stat[:, 0], red, strict=True):
            cell["redcell"], cell["ipix"], cell["lam"] = label, np.arange(80), rng.random(80)
        content = {"stat": stat, "med": med, "stim": stim}
        savemat(folder / NAME, content, do_compression=True)
    images = rng.integers(0, 256, (68, 270, 2800), dtype=np.uint8)
    savemat(folder / "images.mat", {"imgs": images}, do_compression=True)
    names = np.array(["unknown", "cats"], object)
    savemat(folder / "classes.mat", {"class_assignment": np.zeros(2800), "class_names": names})


def load(folder: Path) -> tuple[float, float]:
    """Return the seconds and the peak of memory, in bytes, of loading a recording."""
    from visualcortex.sources.stringer2018b import read_stringer2018b

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    paths = (folder / name for name in (NAME, "images.mat", "classes.mat"))
    read_stringer2018b(*paths, folder=folder / "neutral")
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return seconds, peak * 1024.0


def alone(function, *arguments):
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    """Print size, peak and seconds for both versions."""
    arrays = 4.0 * (N_PRESENTATIONS + N_SPONTANEOUS) * N_NEURONS
    for version in ("5", "7.3"):
        with tempfile.TemporaryDirectory() as name:
            alone(write, Path(name), version)
            size = (Path(name) / NAME).stat().st_size
            first, second = alone(load, Path(name)), alone(load, Path(name))
        print(
            f"version {version}: file {size / 1e6:.0f} MB, arrays {arrays / 1e6:.0f} MB; first "
            f"load {first[0]:.2f} s, peak {first[1] / arrays:.2f}; second load {second[0]:.2f} s "
            f"({first[0] / second[0]:.0f} times faster), peak {second[1] / arrays:.2f}"
        )


if __name__ == "__main__":
    main()
