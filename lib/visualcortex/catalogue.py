"""The catalogue: every recording of the book, and every published model, by its id."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from visualcortex.sources.fetch import PUBLISHED, RemoteFile, data_folder, fetch, look_up
from visualcortex.sources.given import GivenFile

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from torch import nn

    from visualcortex.recording import CalciumSpikes, Dissimilarities, Networks, Recording

# Readers and simulators are named, not imported: the press asks `needs` before every run and
# should not wait for xarray or torch.

SIMULATED = "simulated"
File = RemoteFile | GivenFile


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One recording, or one model, of the catalogue.

    Parameters
    ----------
    id
        Name by which `load`, and of a model also `load_model`, knows it.
    what
        What was recorded, in one sentence.
    citation
        Key in the bibliography; empty for a simulation, and for what was made for this book.
    licence
        Licence of the data.
    url
        Page on which the data are published; empty for a simulation, and for what was made for
        this book.
    maker
        ``"module:name"`` of the function that reads the files (in their order here), or of the
        class of settings whose ``simulate(seed)`` draws the recording.
    files
        Files of a real recording; none for a simulation.
    mice
        Where there are several recordings of one kind, the file of each; the option `choice`
        says which, the first by default. The reader is given that file, then `files`.
    seconds
        Where such a recording is two files, the second of each; read after the first.
    choice
        Name of that option.
    numbers
        Its values, one a file; from 0 on by default.
    options
        Names of the options that the reader takes besides.
    without
        Name of an option with which the reader can do without `files`: it is then given None for
        each that is not at hand.
    kind
        ``"recording"`` or ``"model"``.
    recorder
        Of a model: ``"module:name"`` of the class of settings whose ``simulate(model, seed)``
        draws a recording from it.
    """

    id: str
    what: str
    citation: str
    licence: str
    url: str
    maker: str
    files: tuple[File, ...] = ()
    mice: tuple[File, ...] = ()
    seconds: tuple[File, ...] = ()
    choice: str = "mouse"
    numbers: tuple[int, ...] = ()
    options: tuple[str, ...] = ()
    without: str = ""
    kind: str = "recording"
    recorder: str = ""

    @property
    def simulated(self) -> bool:
        """Whether it is simulated rather than read from files."""
        return not (self.files or self.mice)

    @property
    def choices(self) -> dict[int, File]:
        """The file of each recording by its number."""
        return dict(zip(self.numbers or range(len(self.mice)), self.mice, strict=True))

    @property
    def every_file(self) -> tuple[File, ...]:
        """The files of all recordings, and those that they share."""
        return (*self.mice, *self.seconds, *self.files)

    def of(self, number: int) -> list[File]:
        """Return the files of one recording by its number, without those that all share."""
        place = list(self.choices).index(number)
        return [self.mice[place], *self.seconds[place : place + 1]]


_NEUROGAN = "520e2ffbed79870676ff5592d83e35b142f80927"
_NEUROGAN_RAW = f"https://raw.githubusercontent.com/0xJchen/NeuroGAN/{_NEUROGAN}"
_NEUROGAN_PAGE = f"https://github.com/0xJchen/NeuroGAN/tree/{_NEUROGAN}"
_GUAN2018_TAG = RemoteFile(
    name="20180827_Mouse1_tag.csv",
    url=f"{_NEUROGAN_RAW}/20180827_Mouse1_tag.csv",
    checksum="sha256:305692e38ffd86dbe8b77f02ac5c17244ca9b121a479c80d62395d87358028b7",
    size=1176,
)
_STRINGER2018B = "10.25378/janelia.6845348"
_STRINGER2018B_CODE = (
    "https://raw.githubusercontent.com/MouseLand/stringer-pachitariu-et-al-2018b/"
    "79850dba7a4e66e213245105c00131f4d6c84e03"
)
_ALLEN_BUCKET = (
    "https://allen-brain-observatory.s3.amazonaws.com/visual-coding-neuropixels/ecephys-cache"
)
_ALLEN_SESSIONS = (
    *(798911424, 715093703, 719161530, 721123822, 732592105, 737581020, 739448407, 742951821),
    *(743475441, 744228101, 746083955, 750332458, 750749662, 751348571, 754312389, 754829445),
    *(755434585, 756029989, 757216464, 757970808, 758798717, 759883607, 760345702, 760693773),
    *(761418226, 762120172, 762602078, 763673393, 773418906, 791319847, 797828357, 799864342),
)
_SENSORIUM = "https://gin.g-node.org/cajal/Sensorium2022"
_SENSORIUM_CODE = "c433fed25f234724fd9adf0cef3c260a2068b1fa"
_BRAINSCORE = "https://brainscore-storage.s3.amazonaws.com/brainio-brainscore"
_RSATOOLBOX = "f1f83cadb7243492a1aae7460466e0f0140b20ac"
_RSATOOLBOX_RAW = (
    f"https://raw.githubusercontent.com/rsagroup/rsatoolbox/{_RSATOOLBOX}/demos/92imageData"
)
_TANG2024 = "467b627a08ad1cd566fb81e210587a7b9396b3d5"
_TANG2024_PAGE = f"https://github.com/HChoiLab/functional-network/tree/{_TANG2024}"
_SPIKEFINDER = "def1f8c2c5268eb71e83f57c265d4b3c102fb5f8"
# checksum and bytes of the tables of traces and of spikes; the first dataset is the default
_SPIKEFINDER_TABLES = {
    5: (
        ("sha256:6b1964a63f2f177fe62b723e876b5c574ea1b3926e37af0546e95b8e397bb2c6", 2267733),
        ("sha256:d31cd91610b20eeea3c0a06929ce763f5cacbcc30f231f9105eb3ddac320dbc2", 304560),
    ),
    1: (
        ("git-blob:f382c7e786fe7131dd3cff801f4a8e803ca7ad00", None),
        ("git-blob:60d17de01fab39a862f27acbe93c40afcfd06718", 2014811),
    ),
    2: (
        ("git-blob:7085247f85bf5248a8bc39fab12149b9a94a915e", None),
        ("git-blob:5d03255ed00eff66c6318982dca9d3520feee4a9", 1785437),
    ),
    3: (
        ("git-blob:b20ec6d3f690609e8ae4734946ce88ae175fdc1f", None),
        ("git-blob:36ddc9451c6a35fa573a02181729b98d01574911", 1435727),
    ),
    4: (
        ("git-blob:9eaa20bbb310c88dde77637af98ddfc156484848", 2466089),
        ("git-blob:141baa75a16abc453ad1c6b789d7a0fe87d2b7f8", 333168),
    ),
    6: (
        ("git-blob:70a7e501ebc07a8df42b2a78b89b80c895f76ec0", 2623628),
        ("git-blob:81d6276ee6fd73e8da4c96464f305f97affaebea", 497966),
    ),
    7: (
        ("git-blob:b8b18cf270f2cfa67b31239666e9af29eb3033a1", None),
        ("git-blob:ab7a73e09614ec70d4cdfe59a2861be77ef4d5dc", 3061688),
    ),
    8: (
        ("git-blob:99264dbb36b9c1d9d0bfbd11ba2b578c99bc213b", None),
        ("git-blob:6227b711947aebdf658ac5db3ce78707803feb65", 1066847),
    ),
    9: (
        ("git-blob:fb80cec00ed4194e74a1e42558f3b289cafd58d3", None),
        ("git-blob:f2809051f180bb4b4a3103984be1fdf2ff7e7c8a", 1895495),
    ),
    10: (
        ("git-blob:e946dbe254ad5cb737f9fa823f563c20ebb20550", None),
        ("git-blob:e4af62cf5e4bdaad1367607e1090ca0be8eefeb3", 2528959),
    ),
}
_NAIXINREN = "61aa9991e45746ced6490a3e8e1600e13ab7dde8"
_NAIXINREN_REPOSITORY = "NaixinRen/extended-GLM-for-synapse-detection"
_SPYCON = "9720cfa0a71ffd70a07c71c4e0e77a02baeba550"
_LIF80 = GivenFile(name="lif80.npz", url="the authors of this book, who made and kept it,")
_SENSORIUM_PRETRAINED = "notebooks/model_tutorial/model_checkpoints/pretrained"


def _published(doi: str, name: str) -> RemoteFile:
    return RemoteFile(name=name, url=f"doi:{doi}/{name}", checksum=PUBLISHED)


def _brainscore(name: str, sha1: str) -> RemoteFile:
    return RemoteFile(name=name, url=f"{_BRAINSCORE}/{name}", checksum=f"sha1:{sha1}")


def _session(number: int) -> GivenFile:
    name = f"session_{number}.nwb"
    return GivenFile(name=name, url=f"{_ALLEN_BUCKET}/session_{number}/{name}")


def _spikefinder(number: int, kind: str) -> RemoteFile:
    """Return the table of "calcium" or of "spikes" of a training dataset."""
    name = f"{number}.train.{kind}.csv"
    checksum, size = _SPIKEFINDER_TABLES[number][kind == "spikes"]
    return RemoteFile(
        name=name,
        url=(
            "https://raw.githubusercontent.com/berenslab/spikefinder_analysis/"
            f"{_SPIKEFINDER}/data/raw/truth/{name}"
        ),
        checksum=checksum,
        size=size,
    )


def _scan(recording: str) -> GivenFile:
    name = f"static{recording}-GrayImageNet-94c6ff995dac583098847cfecd43e7b6"
    return GivenFile(name=f"{name}.zip", url=_SENSORIUM, also=name)


ENTRIES = (
    Entry(
        id="calcium_population",
        what="Simulated calcium imaging of tuned neurons with shared fluctuations and drift",
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.calcium_population:CalciumPopulation",
    ),
    Entry(
        id="v1",
        what=(
            "Simulated primary visual cortex: thousands of tuned neurons at 3-D positions, "
            "natural-like images shown twice"
        ),
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.v1:V1",
    ),
    Entry(
        id="v1_known_rf",
        what=(
            "Simulated primary visual cortex whose neurons' most exciting images are known: "
            "simple, complex and other cells, natural-like images, test images shown repeatedly"
        ),
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.v1_known_rf:V1KnownRF",
    ),
    Entry(
        id="ventral",
        what=(
            "Simulated inferior temporal cortex: 168 sites that read a known layer of a hidden "
            "network, pictures of 64 objects shown repeatedly"
        ),
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.ventral:Ventral",
    ),
    Entry(
        id="ventral_subjects",
        what=(
            "Simulated monkey and human inferior temporal cortex that read a known layer of a "
            "hidden network: dissimilarity matrices of 92 pictures of objects, of 674 sites and of "
            "four human subjects in two sessions each"
        ),
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.ventral_subjects:VentralSubjects",
    ),
    Entry(
        id="probes",
        what=(
            "Simulated Neuropixels session: spiking, connected areas with known synapses, 118 "
            "scenes shown 50 times each, a part of the neurons recorded"
        ),
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.probes:Probes",
    ),
    Entry(
        id="calcium_indicator",
        what=(
            "Simulated calcium traces of single bursting neurons with known spikes, through an "
            "indicator that rises, decays and saturates"
        ),
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.indicator:CalciumIndicator",
    ),
    Entry(
        id="wired_network",
        what=(
            "Simulated network of integrate-and-fire or Izhikevich neurons whose synapses, delays "
            "and cell types are known: spikes without a stimulus"
        ),
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.simulators.wired_network:WiredNetwork",
    ),
    Entry(
        id="lif80",
        what=(
            "Spikes of 80 integrate-and-fire neurons of known wiring, simulated once for this book "
            "and kept, 15 minutes"
        ),
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.sources.lif80:read_lif80",
        files=(_LIF80,),
    ),
    Entry(
        id="lif80_calcium",
        what="Calcium traces of the same 80 neurons, 30 frames a second",
        citation="",
        licence="MIT",
        url="",
        maker="visualcortex.sources.lif80:read_lif80_calcium",
        files=(_LIF80,),
    ),
    Entry(
        id="naixinren_lif20",
        what=(
            "Spikes of 20 integrate-and-fire neurons simulated by others, with their synapses and "
            "delays, one hour"
        ),
        citation="ren2020",
        licence="none stated",
        url=f"https://github.com/{_NAIXINREN_REPOSITORY}/tree/{_NAIXINREN}",
        maker="visualcortex.sources.naixinren:read_naixinren",
        files=(
            RemoteFile(
                name="lif20.mat",
                url=(
                    f"https://raw.githubusercontent.com/{_NAIXINREN_REPOSITORY}/{_NAIXINREN}/"
                    "simulated%20data_20%20neurons.mat"
                ),
                checksum="sha256:4985e3d78d55ffc35bbfb270333a5e69161ac51cf8717b8c69c4f3b9c70c3e2e",
                size=929412,
            ),
        ),
    ),
    Entry(
        id="spycon_tiny",
        what=(
            "Spikes of 20 neurons simulated by others, with marked synapses between them, half an "
            "hour"
        ),
        citation="donner2024",
        licence="MIT",
        url=f"https://github.com/christiando/spycon/tree/{_SPYCON}",
        maker="visualcortex.sources.spycon:read_spycon",
        files=(
            RemoteFile(
                name="sim1917Cell1Block1_tiny.npz",
                url=(
                    f"https://raw.githubusercontent.com/christiando/spycon/{_SPYCON}/data/gt_data/"
                    "sim1917Cell1Block1_tiny.npz"
                ),
                checksum="sha256:129ab56e33e03a5873d463e00bb37c99bfd4df2b985c57cf0192bb7fbe92036c",
                size=378552,
            ),
        ),
    ),
    Entry(
        id="guan2018",
        what="Fraction of active frames of 259 neurons of mouse visual cortex, 498 trials",
        citation="gao2021neurogan",
        licence="none stated",
        url=_NEUROGAN_PAGE,
        maker="visualcortex.sources.guan2018:read_guan2018",
        files=(
            RemoteFile(
                name="20180827_Mouse1_mean_signal.csv",
                url=f"{_NEUROGAN_RAW}/20180827_Mouse1_mean_signal.csv",
                checksum="sha256:a92b73ac789766e4ab62bf2e951080a665bc108611d23d5413176d7d82827bc9",
                size=579401,
            ),
            _GUAN2018_TAG,
        ),
    ),
    Entry(
        id="guan2018_traces",
        what="Raw fluorescence of the same neurons and trials, 29 frames at 10 Hz",
        citation="gao2021neurogan",
        licence="none stated",
        url=_NEUROGAN_PAGE,
        maker="visualcortex.sources.guan2018:read_guan2018_traces",
        files=(
            RemoteFile(
                name="20180827_Mouse1_reshape.csv",
                url=f"{_NEUROGAN_RAW}/20180827_Mouse1_reshape.csv",
                checksum="git-blob:b556927191cbf2b052af63e5fdcaa437a84195e8",
                size=None,
            ),
            _GUAN2018_TAG,
        ),
    ),
    Entry(
        id="spikefinder",
        what=(
            "Calcium traces of single neurons with electrically recorded spikes, 100 Hz: the ten "
            "training datasets of the spikefinder challenge, the fifth by default"
        ),
        citation="berens2018",
        licence="none stated",
        url=f"https://github.com/berenslab/spikefinder_analysis/tree/{_SPIKEFINDER}",
        maker="visualcortex.sources.spikefinder:read_spikefinder",
        mice=tuple(_spikefinder(number, "calcium") for number in _SPIKEFINDER_TABLES),
        seconds=tuple(_spikefinder(number, "spikes") for number in _SPIKEFINDER_TABLES),
        choice="number",
        numbers=tuple(_SPIKEFINDER_TABLES),
    ),
    Entry(
        id="stringer2018b",
        what=(
            "Responses of about ten thousand neurons of mouse visual cortex to 2,800 natural "
            "images shown twice; seven recordings"
        ),
        citation="stringer2019",
        licence="none stated",
        url=f"https://doi.org/{_STRINGER2018B}",
        maker="visualcortex.sources.stringer2018b:read_stringer2018b",
        mice=tuple(
            _published(_STRINGER2018B, f"natimg2800_{recording}.mat")
            for recording in (
                "M170714_MP032_2017-09-14",  # the one of the authors' own Python notebook
                "M160825_MP027_2016-12-14",
                "M161025_MP030_2017-05-29",
                "M170604_MP031_2017-06-28",
                "M170714_MP032_2017-08-07",
                "M170717_MP033_2017-08-20",
                "M170717_MP034_2017-09-11",
            )
        ),
        files=(
            _published(_STRINGER2018B, "images_natimg2800_all.mat"),
            RemoteFile(
                name="stimuli_class_assignment_confident.mat",
                url=f"{_STRINGER2018B_CODE}/classes/stimuli_class_assignment_confident.mat",
                checksum="sha256:18721867c432cc7d51f23c401d2abac514b22d8a672553f553f696210eb191e6",
                size=752,
            ),
        ),
    ),
    Entry(
        id="allen_neuropixels",
        what=(
            "Spikes of the mouse visual system, 118 natural scenes shown 50 times each: counts, or "
            "trains with the option bins; 32 sessions"
        ),
        citation="siegle2021",
        licence="Allen Institute Terms of Use",
        url="https://portal.brain-map.org/circuits-behavior/visual-coding-neuropixels",
        maker="visualcortex.sources.allen_neuropixels:read_allen_neuropixels",
        mice=tuple(_session(number) for number in _ALLEN_SESSIONS),
        choice="session",
        numbers=_ALLEN_SESSIONS,
        options=("area", "window", "block", "bins", "blank", "quality", "reader"),
        without="bins",
        files=(
            GivenFile(
                name="natural_scene_templates",
                url=f"{_ALLEN_BUCKET}/natural_scene_templates/natural_scene_<0 to 117>.tiff",
            ),
        ),
    ),
    Entry(
        id="tang2024_networks",
        what=(
            "Published directed graphs of mouse visual cortex from jitter-corrected correlograms, "
            "eight stimuli; seven sessions of allen_neuropixels"
        ),
        citation="tang2024",
        licence="BSD-2-Clause; recordings under the Allen Institute Terms of Use",
        url=_TANG2024_PAGE,
        maker="visualcortex.sources.tang2024:read_tang2024_networks",
        options=("session",),
        # published as pickles; the reader's module says how these copies are made
        files=(GivenFile(name="ccg_directed_networks.npz", url=_TANG2024_PAGE),),
    ),
    Entry(
        id="tang2024_spikes",
        what="Spike trains of 741 units of mouse visual cortex, 75 dark flashes, bins of 1 ms",
        citation="tang2024",
        licence="BSD-2-Clause; recordings under the Allen Institute Terms of Use",
        url=_TANG2024_PAGE,
        maker="visualcortex.sources.tang2024:read_tang2024_spikes",
        files=(GivenFile(name="750749662_flash_dark_clean.npz", url=_TANG2024_PAGE),),
    ),
    Entry(
        id="allen_2p",
        what=(
            "Calcium activity (dF/F) of neurons of mouse primary visual cortex, 118 natural scenes "
            "shown 50 times each"
        ),
        citation="devries2020",
        licence="Allen Institute Terms of Use",
        url="https://observatory.brain-map.org/visualcoding",
        maker="visualcortex.sources.allen_2p:read_allen_2p",
        options=("block",),
        files=(
            GivenFile(
                name="501498760.nwb",
                url="http://api.brain-map.org/api/v2/well_known_file_download/514422179",
            ),
        ),
    ),
    Entry(
        id="sensorium2022",
        what=(
            "Responses of about eight thousand neurons of mouse primary visual cortex to about "
            "five thousand natural images, a hundred of them repeated; seven recordings"
        ),
        citation="willeke2022",
        licence="stated in the file LICENSE at the url; ask the authors before publishing",
        url=_SENSORIUM,
        maker="visualcortex.sources.sensorium2022:read_sensorium2022",
        mice=tuple(
            _scan(recording)
            for recording in (
                "23964-4-22",  # the one that the authors' own tutorial opens
                "21067-10-18",
                "22846-10-16",
                "23343-5-17",
                "23656-14-22",
                "26872-17-20",  # that of the model below; answers to test images withheld
                "27204-5-13",
            )
        ),
    ),
    Entry(
        id="sensorium2022_model",
        what=(
            "A digital twin: the published network that stands for 7,776 neurons of mouse primary "
            "visual cortex"
        ),
        citation="willeke2022",
        licence="MIT",
        url=f"https://github.com/sinzlab/sensorium/tree/{_SENSORIUM_CODE}",
        maker="visualcortex.sources.digital_twin:read_digital_twin",
        files=(
            RemoteFile(
                name="sensorium_sota_model.pth",
                url=(
                    f"https://raw.githubusercontent.com/sinzlab/sensorium/{_SENSORIUM_CODE}/"
                    f"{_SENSORIUM_PRETRAINED}/sensorium_sota_model.pth"
                ),
                checksum="sha256:7a87989732c34068fe10aaf1dd2c0421cb47cb1693b4f95a5e0e381632456173",
                size=2383728,
            ),
        ),
        kind="model",
        recorder="visualcortex.simulators.v1_twin:V1Twin",
    ),
    Entry(
        id="majaj2015",
        what=(
            "Mean rates of 168 sites of monkey inferior temporal cortex (IT) to 2,880 images of 64 "
            "objects on natural backgrounds, and 320 images whose responses are withheld"
        ),
        citation="majaj2015",
        licence="none stated",
        url="https://github.com/amathislab/NX-414",
        maker="visualcortex.sources.majaj2015:read_majaj2015",
        files=(
            GivenFile(
                name="IT_data.h5",
                url="https://drive.google.com/file/d/1s6caFNRpyR9m7ZM6XEv_e8mcXT3_PnHS",
            ),
        ),
    ),
    Entry(
        id="majaj2015_public",
        what=(
            "Single presentations, about 46 an image: rates of 168 sites of monkey IT, or of 88 of "
            "V4, to 3,200 images of 64 objects on natural backgrounds"
        ),
        citation="majaj2015",
        licence="none stated",
        url="https://www.brain-score.org",
        maker="visualcortex.sources.brainscore:read_majaj2015_public",
        options=("region",),
        files=(
            _brainscore(
                "assy_dicarlo_MajajHong2015_public.nc", "13d28ca0ce88ee550b54db3004374ae19096e9b9"
            ),
            _brainscore("stimulus_hvm-public.csv", "5ca7a3da00d8e9c694a9cd725df5ba0ad6d735af"),
            _brainscore("stimulus_hvm-public.zip", "8aa44e038d7b551efa8077467622f9d48d72e473"),
        ),
    ),
    Entry(
        id="kriegeskorte2008",
        what=(
            "How differently monkey and human IT answer 92 images of objects: dissimilarity "
            "matrices of 674 neurons and of four human subjects in two sessions each"
        ),
        citation="kriegeskorte2008",
        licence="MIT (that of the repository which republishes them)",
        url=f"https://github.com/rsagroup/rsatoolbox/tree/{_RSATOOLBOX}/demos/92imageData",
        maker="visualcortex.sources.kriegeskorte2008:read_kriegeskorte2008",
        files=(
            RemoteFile(
                name="Kriegeskorte_Neuron2008_supplementalData.mat",
                url=f"{_RSATOOLBOX_RAW}/Kriegeskorte_Neuron2008_supplementalData.mat",
                checksum="sha256:06f21214399a5d43dc264eed19a7f4b8daf11c8622a59eec3e106064ce5e3504",
                size=3603779,
            ),
            RemoteFile(
                name="92_brainRDMs.mat",
                url=f"{_RSATOOLBOX_RAW}/92_brainRDMs.mat",
                checksum="sha256:1743f90a15e895798a94318649e80e1123a7e5943a1703fa1dd7c31ea5780b7c",
                size=224663,
            ),
        ),
    ),
)


def load(
    id: str, *, simulator: str | None = None, seed: int = 0, **options: object
) -> Recording | CalciumSpikes | Dissimilarities | Networks:
    """Return a recording of the catalogue.

    Parameters
    ----------
    id
        An id of the catalogue, or ``"simulated"`` for the simulator named next. A model is
        recorded from: its answers, with simulated counts about them.
    simulator
        The simulator that ``"simulated"`` stands for. A real recording takes no notice of it,
        nor of `seed`, so that a chapter can pass both whatever its dataset.
    seed
        Seed of a simulation, also of one that records from a model.
    **options
        Settings of the simulator; of a real recording, ``mouse`` (0 by default) or ``session``
        where the catalogue holds several, and what else its reader takes.

    Returns
    -------
    Recording; CalciumSpikes where spikes are known besides; Dissimilarities or Networks where no
        more is published

    Raises
    ------
    ValueError
        Unknown id, simulator, option or mouse.
    DataError
        Files are neither at hand nor to be had.
    """
    entry = _entry(_resolve(id, simulator))
    if entry.kind == "model":
        settings = _settings(entry, entry.recorder, options)
        return settings.simulate(load_model(entry.id), seed)
    if entry.simulated:
        return _settings(entry, entry.maker, options).simulate(seed)
    _check_options(entry.id, options, [*([entry.choice] if entry.mice else []), *entry.options])
    spared = _spared(entry, options)
    files = _files(entry, _chosen(entry, options))
    paths = (None if file in spared else _get(file, entry) for file in files)
    others = {name: value for name, value in options.items() if name in entry.options}
    return _named(entry.maker)(*paths, **others)


def load_model(id: str) -> nn.Module:
    """Return a published model of the catalogue: an oracle that answers images.

    Parameters
    ----------
    id
        An id of the catalogue whose kind is ``"model"``.

    Returns
    -------
    torch.nn.Module
        On the CPU, in evaluation mode.

    Raises
    ------
    ValueError
        Unknown id, or the id of a recording.
    DataError
        Files are neither at hand nor to be had.
    """
    models = [entry.id for entry in ENTRIES if entry.kind == "model"]
    if id not in models:
        raise ValueError(
            f"{id!r} is no model of the catalogue.{_suggest(id, models)} Models: "
            f"{', '.join(models)}. A recording is loaded with load."
        )
    entry = _entry(id)
    return _named(entry.maker)(*(_get(file, entry) for file in entry.files))


def catalogue() -> pd.DataFrame:
    """Return the catalogue as a table, one row a recording or model.

    Columns: ``kind``, ``what``, ``citation``, ``licence``, ``url``, ``files``, ``checksums``,
    ``size`` and ``how to get it``; the index is the ``id``.
    """
    import pandas as pd

    rows = [
        {
            "id": entry.id,
            "kind": entry.kind,
            "what": entry.what,
            "citation": entry.citation,
            "licence": entry.licence,
            "url": entry.url,
            "files": ", ".join(_names(entry)),
            "checksums": ", ".join(_checksums(entry)),
            "size": _size(entry),
            "how to get it": _how(entry),
        }
        for entry in ENTRIES
    ]
    return pd.DataFrame(rows).set_index("id")


def needs(parameters: Mapping[str, object]) -> list[dict[str, object]]:
    """List the files that a run of a chapter with these parameters needs.

    Parameters
    ----------
    parameters
        Parameters of the chapter; ``"dataset"`` is an id of the catalogue or ``"simulated"``.
        Where the catalogue holds several recordings, ``"mouse"`` (0 by default) or ``"session"``
        says which is read, and the first ``"n_mice"`` are as well. Files that a run can do without
        are listed if they are at hand.

    Returns
    -------
    list of dict
        ``"file"``, ``"size"`` (bytes, None if unknown), ``"checksum"`` and ``"present"`` (whether
        it lies in the data folder with that checksum); empty for a simulation or without
        ``"dataset"``.

    Raises
    ------
    ValueError
        Unknown id or mouse.
    DataError
        The data folder does not exist.
    """
    id = parameters.get("dataset", SIMULATED)
    files = [] if id == SIMULATED else _wanted(_entry(str(id)), parameters)
    return [
        {
            "file": file.name,
            "size": file.size,
            "checksum": file.checksum,
            "present": _at_hand(file),
        }
        for file in files
    ]


def _resolve(id: str, simulator: str | None) -> str:
    if id != SIMULATED:
        return id
    simulators = [entry.id for entry in ENTRIES if entry.simulated]
    if simulator not in simulators:
        raise ValueError(
            f"the dataset {SIMULATED!r} needs the name of a simulator; got simulator="
            f"{simulator!r}.{_suggest(simulator, simulators)} Simulators: {', '.join(simulators)}."
        )
    return simulator


def _entry(id: str) -> Entry:
    for entry in ENTRIES:
        if entry.id == id:
            return entry
    valid = [SIMULATED, *(entry.id for entry in ENTRIES)]
    raise ValueError(f"unknown dataset {id!r}.{_suggest(id, valid)} Datasets: {', '.join(valid)}.")


def _named(path: str) -> Callable:
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def _settings(entry: Entry, path: str, options: Mapping[str, object]) -> Any:
    """Make the settings of a simulator, of known options only."""
    simulator = _named(path)
    _check_options(entry.id, options, list(inspect.signature(simulator).parameters))
    return simulator(**options)


def _get(file: File, entry: Entry) -> Path:
    return file.get() if isinstance(file, GivenFile) else fetch(file, entry.id)


def _at_hand(file: File) -> bool:
    if isinstance(file, GivenFile):
        return file.find() is not None
    return look_up(file, data_folder())[0] is not None


def _chosen(entry: Entry, parameters: Mapping[str, object]) -> list[object]:
    """Return the number of the recording that is asked for, the first one by default."""
    return [parameters.get(entry.choice, next(iter(entry.choices), 0))]


def _wanted(entry: Entry, parameters: Mapping[str, object]) -> list[File]:
    n_mice = int(parameters.get("n_mice", 0))
    first = [*entry.choices, *range(len(entry.mice), n_mice)][:n_mice]
    spared = _spared(entry, parameters)
    files = _files(entry, [*_chosen(entry, parameters), *first])
    return [file for file in files if file not in spared]


def _spared(entry: Entry, options: Mapping[str, object]) -> list[File]:
    """List the files that are neither at hand nor needed with these options."""
    if not entry.without or options.get(entry.without) is None:
        return []
    return [file for file in entry.files if not _at_hand(file)]


def _files(entry: Entry, numbers: Sequence[object]) -> list[File]:
    """Return the files of some recordings, every file once."""
    if not entry.mice:
        return list(entry.files)
    known = entry.choices
    for number in numbers:
        if not isinstance(number, Integral) or number not in known:
            listed = ", ".join(f"{k} = {file.name}" for k, file in known.items())
            raise ValueError(
                f"{entry.id} has no {entry.choice} {number!r}. Its recordings: {listed}."
            )
    return [*(file for number in dict.fromkeys(numbers) for file in entry.of(number)), *entry.files]


def _suggest(word: object, valid: list[str]) -> str:
    close = difflib.get_close_matches(str(word), valid, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _check_options(id: str, options: Mapping[str, object], valid: list[str]) -> None:
    for name in options:
        if name not in valid:
            known = f"Its options: {', '.join(valid)}." if valid else "It takes none."
            raise ValueError(f"{id} has no option {name!r}.{_suggest(name, valid)} {known}")


def _names(entry: Entry) -> Iterator[str]:
    """List the files; of very many recordings the first stands for all."""
    for several in (entry.mice, entry.seconds):
        names = [file.name for file in several]
        yield from names if len(names) < 10 else [f"{names[0]} and {len(names) - 1} more"]
    yield from (file.name for file in entry.files)


def _checksums(entry: Entry) -> list[str]:
    return list(dict.fromkeys(file.checksum for file in entry.every_file))


def _size(entry: Entry) -> str:
    if entry.simulated:
        return "none to fetch"
    files = entry.every_file
    if any(file.checksum == PUBLISHED for file in files):
        return "listed under the DOI"
    sizes = [file.size for file in files]
    if None in sizes:
        return "not published"
    return f"{sum(sizes) / 1e6:.2g} MB"


def _how(entry: Entry) -> str:
    if entry.simulated:
        return "made on the spot by its simulator"
    if any(isinstance(file, GivenFile) for file in entry.every_file):
        return "to be fetched by hand from its publisher and put anywhere below VISUALCORTEX_DATA"
    return "downloaded at first use, or put its files anywhere below VISUALCORTEX_DATA"
