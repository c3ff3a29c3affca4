"""How results are judged: splits, scores, the intervals around them, and what could be reached.

Nothing here knows a file, a recording or a model of its own: arrays go in (and, to be tried on held
out trials, any classifier of scikit-learn's kind), arrays and numbers come out.
"""

from visualcortex.evaluation.categories import (
    balanced_accuracy,
    balanced_accuracy_interval,
    confusion,
    image_folds,
    image_parts,
    macro_f1,
    macro_f1_interval,
    majority,
    permutation_null,
    stratified,
)
from visualcortex.evaluation.encoding import (
    correlation_to_average,
    correlation_to_single_trials,
    explainable_variance,
    feve,
    oracle_correlation,
    score_intervals,
)
from visualcortex.evaluation.features import PopulationFeatures
from visualcortex.evaluation.held_out import HeldOut, held_out_predictions, rotating_parts
from visualcortex.evaluation.identity import identity_by_neurons, identity_correct, nearest_image
from visualcortex.evaluation.intervals import (
    Interval,
    bootstrap,
    bootstrap_crossed,
    bootstrap_mean,
    resampled_indices,
)
from visualcortex.evaluation.observers import ideal_category, ideal_identity
from visualcortex.evaluation.reliability import (
    PowerLaw,
    cvpca,
    power_law,
    signal_to_noise,
    signal_variance,
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
    "HeldOut",
    "Interval",
    "Parts",
    "PopulationFeatures",
    "PowerLaw",
    "balanced_accuracy",
    "balanced_accuracy_interval",
    "blocked_folds",
    "blocked_parts",
    "bootstrap",
    "bootstrap_crossed",
    "bootstrap_mean",
    "confusion",
    "correlation_of_correlations",
    "correlation_to_average",
    "correlation_to_single_trials",
    "cvpca",
    "decoding_correct",
    "energy_distance",
    "explainable_variance",
    "feve",
    "half_of_session_correct",
    "held_out_predictions",
    "ideal_category",
    "ideal_identity",
    "identity_by_neurons",
    "identity_correct",
    "image_folds",
    "image_parts",
    "macro_f1",
    "macro_f1_interval",
    "majority",
    "mean_rates",
    "nearest_image",
    "noise_correlations",
    "oracle_correlation",
    "permutation_null",
    "power_law",
    "resampled_indices",
    "rotating_parts",
    "score_intervals",
    "shuffle_trials",
    "shuffled_folds",
    "signal_to_noise",
    "signal_variance",
    "stratified",
    "trial_rates",
    "two_sample_correct",
]
