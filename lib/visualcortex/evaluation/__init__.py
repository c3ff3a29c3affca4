"""How results are judged: splits, scores and the intervals around them.

Nothing here knows a file, a recording or a model: arrays go in, arrays and numbers come out.
"""

from visualcortex.evaluation.intervals import (
    Interval,
    bootstrap,
    bootstrap_mean,
    resampled_indices,
    wilson,
)
from visualcortex.evaluation.scores import (
    correlation_of_correlations,
    decoding_correct,
    energy_distance,
    half_of_session_correct,
    mean_rates,
    noise_correlations,
    trial_features,
    trial_rates,
    two_sample_correct,
)
from visualcortex.evaluation.splits import (
    Parts,
    blocked_folds,
    blocked_parts,
    shuffled_folds,
)

__all__ = [
    "Interval",
    "Parts",
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
    "shuffled_folds",
    "trial_features",
    "trial_rates",
    "two_sample_correct",
    "wilson",
]
