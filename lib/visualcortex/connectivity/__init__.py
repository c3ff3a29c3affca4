"""Who drives whom: candidates for the wiring from spikes, and how to score them."""

from visualcortex.connectivity.correlogram_peaks import CorrelogramPeaks, source_signs
from visualcortex.connectivity.correlograms import (
    BinnedSpikes,
    cross_correlograms,
    jitter_corrected,
    jitter_expectation,
    two_sided,
)
from visualcortex.connectivity.coupling_filters import CouplingFilters
from visualcortex.connectivity.couplings import (
    CouplingGLM,
    lagged_correlation,
    partial_correlation,
)
from visualcortex.connectivity.kernels import coupling_scores
from visualcortex.connectivity.observed import observed_binned, observed_bins
from visualcortex.connectivity.peaks import Peaks, excess, find_peaks, peak_edges
from visualcortex.connectivity.precision import (
    LaggedCorrelation,
    PartialCorrelation,
    WhitenedPrecision,
)
from visualcortex.connectivity.spectral import SpectralNetwork
from visualcortex.connectivity.transfer_entropy import TransferEntropy
from visualcortex.connectivity.whitened_correlograms import WhitenedCorrelograms
from visualcortex.connectivity.wiring import (
    PermutationTest,
    bootstrap_neurons,
    dale_accuracy,
    density,
    direction_accuracy,
    edge_correlation,
    edge_jaccard,
    permute_neurons,
    score_wiring,
    sign_accuracy,
    synapse_auprc,
    synapse_auroc,
)

__all__ = [
    "BinnedSpikes",
    "CorrelogramPeaks",
    "CouplingFilters",
    "CouplingGLM",
    "LaggedCorrelation",
    "PartialCorrelation",
    "Peaks",
    "PermutationTest",
    "SpectralNetwork",
    "TransferEntropy",
    "WhitenedCorrelograms",
    "WhitenedPrecision",
    "bootstrap_neurons",
    "coupling_scores",
    "cross_correlograms",
    "dale_accuracy",
    "density",
    "direction_accuracy",
    "edge_correlation",
    "edge_jaccard",
    "excess",
    "find_peaks",
    "jitter_corrected",
    "jitter_expectation",
    "lagged_correlation",
    "observed_binned",
    "observed_bins",
    "partial_correlation",
    "peak_edges",
    "permute_neurons",
    "score_wiring",
    "sign_accuracy",
    "source_signs",
    "synapse_auprc",
    "synapse_auroc",
    "two_sided",
]
