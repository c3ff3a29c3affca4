"""How well a model predicts responses to images, and how well any model could.

Responses are (image, repeat, neuron), NaN where an image has fewer repeats than others, or a list
of (repeat, neuron) arrays, one an image. Noise is taken to be independent between repeats: drift
or a state that outlasts a repeat counts as signal where repeats of an image are neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from visualcortex.evaluation.intervals import Interval, _percentile, resampled_indices

Repeats = np.ndarray | Sequence[np.ndarray]
# of resampled images, each drawn so many times, (R, M), the score of each neuron, (R, N)
Resampled = Callable[[np.ndarray], np.ndarray]

KINDS = ("jackknife", "conservative", "split")
# what is left of a constant after the subtraction of its mean is rounding
ROUNDING = 1e-12
# scores, of resamples and neurons, held at a time
CHUNK = 2**20


def oracle_correlation(
    responses: Repeats, kind: str = "jackknife", *, n_splits: int = 20, seed: int = 0
) -> np.ndarray:
    r"""Correlation that a model which knows the mean response to every image would reach.

    With :math:`S` the variance over images of the mean response and :math:`N` that of the noise of
    one repeat, a perfect model correlates with single trials by :math:`\sqrt{S / (S + N)}`. With
    n repeats of each image:

    - "jackknife": the correlation, over all trials, of a trial with the mean of the other repeats
      of its image. Too low, by the noise of the n - 1 others: about
      :math:`S / \sqrt{(S + N)(S + N / (n - 1))}`;
    - "conservative": :math:`\sqrt{v_m / (v_m + v_n)}`, with :math:`v_m` the variance over images
      of the mean over repeats and :math:`v_n` the mean variance over repeats, both without
      Bessel's correction. Too high, for both: about :math:`\sqrt{(S + N/n) / (S + N)}`, which is
      :math:`1 / \sqrt{n}`, not 0, for a neuron without signal;
    - "split": the correlation of the means of two random halves of the repeats, averaged over
      splits: about :math:`S / (S + 2 N / n)`. It is the reliability of such means, which a model
      may exceed by predicting an average of more repeats, and no bound for single trials.

    The first two are those of Willeke et al. (2022).

    Parameters
    ----------
    responses : (n_images, n_repeats, n_neurons) array, or list of (n_repeats, n_neurons) arrays
        Any unit. Images shown once are left out.
    kind : str
        "jackknife", "conservative" or "split".
    n_splits : int
        Random halvings, for "split".
    seed : int
        Of the halvings.

    Returns
    -------
    (n_neurons,) array
        NaN for neurons whose response, or mean response, never changes.

    Raises
    ------
    ValueError
        If the kind is unknown, shapes are wrong, a value is infinite, or a neuron has fewer than
        two images with two repeats.

    References
    ----------
    Willeke, K. F. et al. (2022). The Sensorium competition on predicting large-scale mouse primary
    visual cortex activity.
    """
    if kind not in KINDS or n_splits < 1:
        raise ValueError(
            f"kind must be one of {KINDS} and n_splits at least 1; got {kind!r} and {n_splits}"
        )
    values = _only_repeated(_checked(responses))
    if kind == "jackknife":
        return _jackknife(values)
    if kind == "conservative":
        return _conservative(values)
    rng = np.random.default_rng(seed)
    return np.mean([_split_half(values, rng) for _ in range(n_splits)], axis=0)


def explainable_variance(responses: Repeats) -> np.ndarray:
    r"""Fraction of the variance of single trials that is due to the image (FEV).

    :math:`(v_t - v_n) / v_t`, with :math:`v_t` the variance over all trials and :math:`v_n` the
    mean over images of the variance over repeats, both with Bessel's correction (Cadena et al.
    2019).

    Bias: :math:`v_t - v_n` estimates :math:`S\, n (M - 1) / (n M - 1)` for M images with n repeats
    each, slightly less than the variance S of the signal; the ratio is off by terms of order 1 /
    M. Below 0 for about half of the neurons without signal: do not clip before averaging.

    Parameters
    ----------
    responses : (n_images, n_repeats, n_neurons) array, or list of (n_repeats, n_neurons) arrays
        Any unit. Images shown once are left out.

    Returns
    -------
    (n_neurons,) array
        At most 1; NaN for neurons whose response never changes.

    Raises
    ------
    ValueError
        If shapes are wrong, a value is infinite, or a neuron has fewer than two images with two
        repeats.

    References
    ----------
    Cadena, S. A. et al. (2019). Deep convolutional models improve predictions of macaque V1
    responses to natural images. PLoS Comput. Biol. 15.
    """
    values = _only_repeated(_checked(responses))
    total, noise = _variances(values)(_once(values))
    return ((total - noise) / total)[0]


def feve(responses: Repeats, predictions: np.ndarray) -> np.ndarray:
    r"""Fraction of the explainable variance that predictions explain (FEVE).

    :math:`1 - (e - v_n) / (v_t - v_n)`, with e the mean squared error of the prediction in single
    trials and :math:`v_t, v_n` as in `explainable_variance` (Cadena et al. 2019).

    Bias: :math:`e - v_n` estimates the squared distance to the true mean responses without bias if
    the predictions were made without these trials, and :math:`v_t - v_n` is a little too small,
    see there; the ratio has heavy tails, on both sides, where the explainable variance is near 0.
    Neurons with an explainable fraction below 0.15 are usually left out; choose them by other
    trials, or say that these chose them. It may exceed 1 by chance, and has no lower bound.

    Parameters
    ----------
    responses : (n_images, n_repeats, n_neurons) array, or list of (n_repeats, n_neurons) arrays
        Any unit. Images shown once are left out.
    predictions : (n_images, n_neurons) array
        Same unit.

    Returns
    -------
    (n_neurons,) array
        NaN for neurons without explainable variance: where :math:`v_t \le v_n`.

    Raises
    ------
    ValueError
        As `explainable_variance`, or predictions have another shape or are not finite.
    """
    values = _checked(responses)
    return _explained(values, _like(values, predictions))(_once(values))[0]


def correlation_to_single_trials(responses: Repeats, predictions: np.ndarray) -> np.ndarray:
    r"""Correlation, over all trials, of responses with the prediction for their image.

    Bias: none but that of a correlation, order 1 / n_trials; it is low where noise is strong, and
    at best :math:`\sqrt{S / (S + N)}`, see `oracle_correlation`. Images shown more often weigh
    more.

    Parameters
    ----------
    responses : (n_images, n_repeats, n_neurons) array, or list of (n_repeats, n_neurons) arrays
        Any unit; one repeat will do.
    predictions : (n_images, n_neurons) array
        Any unit.

    Returns
    -------
    (n_neurons,) array
        NaN for neurons whose response or prediction never changes.

    Raises
    ------
    ValueError
        If shapes disagree, a value is infinite, or a neuron has fewer than two images.
    """
    values = _checked(responses)
    return _to_trials(values, _like(values, predictions))(_once(values))[0]


def correlation_to_average(responses: Repeats, predictions: np.ndarray) -> np.ndarray:
    r"""Correlation, over images, of the mean over repeats with the prediction.

    Bias: low, since the mean of n repeats still has noise: at best
    :math:`\sqrt{S / (S + N / n)}`. It depends on n: compare between recordings with the same
    number of repeats only. Images weigh the same.

    Parameters
    ----------
    responses : (n_images, n_repeats, n_neurons) array, or list of (n_repeats, n_neurons) arrays
        Any unit; one repeat will do.
    predictions : (n_images, n_neurons) array
        Any unit.

    Returns
    -------
    (n_neurons,) array
        NaN for neurons whose mean response or prediction never changes.

    Raises
    ------
    ValueError
        If shapes disagree, a value is infinite, or a neuron has fewer than two images.
    """
    values = _checked(responses)
    return _to_average(values, _like(values, predictions))(_once(values))[0]


def score_intervals(
    responses: Repeats,
    predictions: np.ndarray,
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Medians over neurons of the three scores of predictions, with intervals.

    Images and neurons are drawn with replacement, independently of each other: the pigeonhole
    bootstrap (Owen 2007), and the ends are quantiles over resamples. It asks how far the medians
    would move with other images *and* other neurons. The repeats of an image stay with it, and the
    three scores share their resamples.

    Bias: the medians carry that of their scores, see there. The interval is conservative: what
    belongs to an image and a neuron together, as the noise of trials does, counts up to three
    times. Resamples hold only 63 % different images, which makes explainable variances small: the
    interval of FEVE reaches lower than it should, the more so the fewer images there are.

    Parameters
    ----------
    responses : (n_images, n_repeats, n_neurons) array, or list of (n_repeats, n_neurons) arrays
        Any unit.
    predictions : (n_images, n_neurons) array
        Same unit, made without these trials.
    rng : numpy.random.Generator
        Source of the draws.
    n_resamples : int
        Number of resamples.
    level : float
        Coverage aimed at.

    Returns
    -------
    dict from str to Interval
        "single_trials": median of `correlation_to_single_trials`; "average": of
        `correlation_to_average`; "feve": of `feve`. Neurons whose score is NaN are left out of
        the median, in each resample those that have none there.

    Raises
    ------
    ValueError
        As the three scores do, `level` is not in (0, 1), or in most resamples no neuron has a
        score.

    References
    ----------
    Owen, A. B. (2007). The pigeonhole bootstrap. Annals of Applied Statistics 1, 386-411.
    """
    values = _checked(responses)
    predictions = _like(values, predictions)
    scores = {
        "single_trials": _to_trials(values, predictions),
        "average": _to_average(values, predictions),
        "feve": _explained(values, predictions),
    }
    images, neurons = (
        resampled_indices(values.shape[axis], n_resamples, rng=rng) for axis in (0, 2)
    )
    # images and neurons as they are come first
    weights = np.concatenate([_once(values), _times_drawn(images)])
    neurons = np.concatenate([np.arange(values.shape[2])[None], neurons])
    medians = {name: _medians(score, weights, neurons) for name, score in scores.items()}
    return {name: _percentile(float(m[0]), m[1:], level) for name, m in medians.items()}


def _to_trials(values: np.ndarray, predictions: np.ndarray) -> Resampled:
    """`correlation_to_single_trials` of resampled images."""
    shown = _n_repeats(values) > 0
    _check_images(shown, "one trial")
    counts, x, xx = _sums(values)
    y = np.nan_to_num(_centred(np.where(shown, predictions, np.nan)[:, None])[:, 0])
    sums = x, xx, counts * y, counts * y**2, x * y

    def resampled(weights: np.ndarray) -> np.ndarray:
        """Correlation for each row of weights (R, M), (R, N)."""
        x, xx, y, yy, xy = _weighted(weights, counts, *sums)
        return (xy - x * y) / np.sqrt(_variance(x, xx) * _variance(y, yy))

    return resampled


def _to_average(values: np.ndarray, predictions: np.ndarray) -> Resampled:
    """`correlation_to_average` of resampled images."""
    return _to_trials(_means(values)[:, None], predictions)


def _explained(values: np.ndarray, predictions: np.ndarray) -> Resampled:
    """`feve` of resampled images."""
    values = _only_repeated(values)
    variances, counts = _variances(values), _n_repeats(values)
    errors = np.nansum((values - predictions[:, None]) ** 2, axis=1)

    def resampled(weights: np.ndarray) -> np.ndarray:
        """Explained fraction for each row of weights (R, M), (R, N)."""
        total, noise = variances(weights)
        (error,) = _weighted(weights, counts, errors)
        return 1 - (error - noise) / np.where(total > noise, total - noise, np.nan)

    return resampled


def _variances(values: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Variance of all trials, NaN if there is none, and the mean variance over repeats."""
    counts, *sums = _sums(values)
    bessel = counts / np.where(counts > 1, counts - 1, np.nan)
    spread = np.nan_to_num(_spread(values) * bessel)

    def resampled(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both variances for each row of weights (R, M), (R, N) each."""
        n = weights @ counts
        (noise,) = _weighted(weights, counts > 1, spread)
        return _variance(*_weighted(weights, counts, *sums)) * n / (n - 1), noise

    return resampled


def _sums(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, sum and sum of squares of the repeats, (M, N) each, about the neuron's mean."""
    centred = _centred(values)
    return _n_repeats(values), np.nansum(centred, axis=1), np.nansum(centred**2, axis=1)


def _weighted(weights: np.ndarray, counts: np.ndarray, *sums: np.ndarray) -> list[np.ndarray]:
    """Sums of each image and neuron as means over resampled images, (R, N) each."""
    n = weights @ counts
    n = np.where(n > 0, n, np.nan)
    return [weights @ x / n for x in sums]


def _variance(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    variance = square - mean**2
    return np.where(variance > ROUNDING * square, variance, np.nan)


def _medians(score: Resampled, weights: np.ndarray, neurons: np.ndarray) -> np.ndarray:
    """Median over the drawn neurons, (R,), NaN where none has a score."""
    n_chunks = -(-neurons.size // CHUNK)
    medians = np.full(len(weights), np.nan)
    for rows in np.array_split(np.arange(len(weights)), n_chunks):
        drawn = np.take_along_axis(score(weights[rows]), neurons[rows], axis=1)
        defined = np.isfinite(drawn).any(axis=1)
        medians[rows[defined]] = np.nanmedian(drawn[defined], axis=1)
    return medians


def _once(values: np.ndarray) -> np.ndarray:
    """Weights of the images as they are, (1, M)."""
    return np.ones((1, len(values)))


def _times_drawn(indices: np.ndarray) -> np.ndarray:
    """How often each resample holds each image, (R, M)."""
    n_resamples, n_images = indices.shape
    places = indices + n_images * np.arange(n_resamples)[:, None]
    counts = np.bincount(places.ravel(), minlength=indices.size)
    return counts.reshape(indices.shape).astype(float)


def _jackknife(values: np.ndarray) -> np.ndarray:
    others = np.nansum(values, axis=1, keepdims=True) - values  # (M, R, N)
    return _correlation(values, others / (_n_repeats(values)[:, None] - 1))


def _conservative(values: np.ndarray) -> np.ndarray:
    noise = np.nanmean(_spread(values), axis=0)
    means = _means(values)
    signal = np.nanmean((means - np.nanmean(means, axis=0)) ** 2, axis=0)
    changes = _varies(np.nanstd(values, axis=(0, 1)), values)
    return np.sqrt(signal / np.where(changes, signal + noise, np.nan))


def _split_half(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # missing repeats come last in the random order, so that halves are of those present
    keys = np.where(np.isnan(values), 2.0, rng.random(values.shape))
    order = keys.argsort(axis=1).argsort(axis=1)
    halves = [_means(np.where(order % 2 == half, values, np.nan)) for half in (0, 1)]
    return _correlation(*(half[:, None] for half in halves))


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Over the first two axes, NaN left out, which both have in the same places."""
    a, b = _centred(a), _centred(b)
    scale = np.sqrt(np.nanmean(a**2, axis=(0, 1)) * np.nanmean(b**2, axis=(0, 1)))
    return np.nanmean(a * b, axis=(0, 1)) / np.where(scale > 0, scale, np.nan)


def _centred(values: np.ndarray) -> np.ndarray:
    """Less the neuron's mean over the first two axes; 0 for neurons that do not vary."""
    varies = _varies(np.nanstd(values, axis=(0, 1)), values)
    return np.where(varies | np.isnan(values), values - np.nanmean(values, axis=(0, 1)), 0.0)


def _varies(sd: np.ndarray, values: np.ndarray) -> np.ndarray:
    return sd > ROUNDING * np.nanmax(np.abs(values), axis=(0, 1))


def _n_repeats(values: np.ndarray) -> np.ndarray:
    """Repeats of each image and neuron, (M, N)."""
    return np.isfinite(values).sum(axis=1)


def _means(values: np.ndarray) -> np.ndarray:
    """Means over repeats, (M, N), NaN where there are none."""
    counts = _n_repeats(values)
    return np.nansum(values, axis=1) / np.where(counts > 0, counts, np.nan)


def _spread(values: np.ndarray) -> np.ndarray:
    """Variances over repeats without Bessel's correction, (M, N), NaN where there are none."""
    return _means((values - _means(values)[:, None]) ** 2)


def _only_repeated(values: np.ndarray) -> np.ndarray:
    repeated = _n_repeats(values) > 1
    _check_images(repeated, "two repeats")
    return np.where(repeated[:, None], values, np.nan)


def _check_images(enough: np.ndarray, what: str) -> None:
    """Every neuron needs two images with so many trials."""
    short = np.flatnonzero(enough.sum(axis=0) < 2)
    if len(short):
        shown = ", ".join(map(str, short[:5])) + (", …" if len(short) > 5 else "")
        raise ValueError(
            f"a neuron needs at least two images with {what} each; {len(short)} have fewer "
            f"(neuron {shown}). Give the test images, or leave these neurons out"
        )


def _checked(responses: Repeats) -> np.ndarray:
    """Return responses as (M, R, N) in float64."""
    if not isinstance(responses, np.ndarray):
        responses = _padded([np.asarray(image, dtype=float) for image in responses])
    values = np.asarray(responses, dtype=float)
    if values.ndim != 3 or values.size == 0 or np.isinf(values).any():
        raise ValueError(
            "responses must be (image, repeat, neuron), finite but for NaN where a repeat is "
            f"missing; got shape {values.shape}, {np.isinf(values).sum()} infinite values"
        )
    return values


def _padded(images: list[np.ndarray]) -> np.ndarray:
    shapes = {image.shape[1:] for image in images}
    if len(shapes) != 1 or any(image.ndim != 2 for image in images):
        raise ValueError(
            "a list of responses must hold one (repeat, neuron) array an image, of the same "
            f"neurons; got shapes {sorted({image.shape for image in images})}"
        )
    padded = np.full((len(images), max(map(len, images)), *shapes.pop()), np.nan)
    for row, image in zip(padded, images, strict=True):
        row[: len(image)] = image
    return padded


def _like(values: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    predictions = np.asarray(predictions, dtype=float)
    expected = (values.shape[0], values.shape[2])
    if predictions.shape != expected or not np.isfinite(predictions).all():
        raise ValueError(
            f"predictions must be (image, neuron) = {expected} and finite; got shape "
            f"{predictions.shape} with {np.count_nonzero(~np.isfinite(predictions))} NaN or "
            "infinite values"
        )
    return predictions
