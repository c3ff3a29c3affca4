"""Who drives whom: candidates for the wiring from spikes, and how to score them."""

from visualcortex.connectivity.correlograms import (
    BinnedSpikes,
    cross_correlograms,
    jitter_corrected,
    jitter_expectation,
    two_sided,
)
from visualcortex.connectivity.couplings import (
    CouplingGLM,
    lagged_correlation,
    partial_correlation,
)
from visualcortex.connectivity.kernels import coupling_scores
from visualcortex.connectivity.peaks import Peaks, excess, find_peaks, peak_edges
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
    "CouplingGLM",
    "Peaks",
    "PermutationTest",
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
    "partial_correlation",
    "peak_edges",
    "permute_neurons",
    "score_wiring",
    "sign_accuracy",
    "synapse_auprc",
    "synapse_auroc",
    "two_sided",
]
