"""How results are judged: splits, scores and the intervals around them.

Nothing here knows a file, a recording or a model: arrays go in, arrays and numbers come out.
"""

from visualcortex.evaluation.features import PopulationFeatures
from visualcortex.evaluation.intervals import (
    Interval,
    bootstrap,
    bootstrap_mean,
    resampled_indices,
)
from visualcortex.evaluation.scores import (
    correlation_of_correlations,
    decoding_correct,
    energy_distance,
    half_of_session_correct,
    mean_rates,
    noise_correlations,
    trial_rates,
    two_sample_correct,
)
from visualcortex.evaluation.splits import (
    Parts,
    blocked_folds,
    blocked_parts,
    shuffled_folds,
)
from visualcortex.evaluation.surrogates import shuffle_trials

__all__ = [
    "Interval",
    "Parts",
    "PopulationFeatures",
    "blocked_folds",
    "blocked_parts",
    "bootstrap",
    "bootstrap_mean",
    "correlation_of_correlations",
    "decoding_correct",
    "energy_distance",
    "half_of_session_correct",
    "mean_rates",
    "noise_correlations",
    "resampled_indices",
    "shuffle_trials",
    "shuffled_folds",
    "trial_rates",
    "two_sample_correct",
]
