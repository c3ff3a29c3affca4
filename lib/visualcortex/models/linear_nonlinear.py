"""One-stage models of visual neurons: a linear filter, or a Gabor pair, and a nonlinearity.

All neurons are fitted at once. Images are (M, H, W) about the mean grey, responses (M, N) and not
negative. What is fitted is a torch module, differentiable with respect to the images.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.fft import idctn
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from visualcortex.models.gabor import GaborPyramid
from visualcortex.training import choose_device

Presented = tuple[np.ndarray, np.ndarray]  # images (M, H, W) and responses (M, N)

IMAGES_AT_A_TIME = 500
TINY = 1e-6  # keeps slopes of square roots and logarithms of rates finite
# the bank, for an image 64 pixels wide: cycles per pixel, s.d. of the envelope in wavelengths
FREQUENCIES, CYCLES, N_ORIENTATIONS = (0.05, 0.08, 0.13), 0.4, 8
PIXELS = 10.0  # times the step of the other parameters, the step of a centre
STEPS_A_CHECK = 20


class Shown(NamedTuple):
    """Images (M, 1, H, W) and responses (M, N), on the device."""

    images: Tensor
    responses: Tensor


class BestPairs(NamedTuple):
    """For each neuron the quadrature pair of a pyramid that its responses follow best.

    `row` is its row in the table of the pyramid; `even`, `odd` and `amplitude` are the
    correlations of the responses with the three features of the pair.
    """

    row: np.ndarray
    even: np.ndarray
    odd: np.ndarray
    amplitude: np.ndarray


class OneStageModel(nn.Module):
    """What the modules here have in common: images (B, 1, H, W) to rates (B, N)."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, images: Tensor, neurons: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return rates of the neurons, all by default; see the class for the equation.

        Raises
        ------
        ValueError
            The images have another size.
        """
        check_size(images, self.shape)
        wanted = slice(None) if neurons is None else torch.as_tensor(neurons, device=images.device)
        return self._rates(images.flatten(1), wanted)


class LinearNonlinearModel(OneStageModel):
    r""":math:`r_i = \mathrm{ELU}(\langle w_i, s \rangle + b_i) + 1`."""

    def __init__(self, n_neurons: int, shape: Sequence[int]) -> None:
        super().__init__(shape)
        self.filters = nn.Parameter(torch.zeros(n_neurons, shape[0] * shape[1]))
        self.bias = nn.Parameter(torch.zeros(n_neurons))

    def _rates(self, pixels: Tensor, wanted: slice | Tensor) -> Tensor:
        drive = functional.linear(pixels, self.filters[wanted], self.bias[wanted])
        return functional.elu(drive) + 1


class GaborEnergyModel(OneStageModel):
    r"""A mixture of a simple and a complex cell of one Gabor function.

    .. math::

        r_i = b_i + \alpha_i [u_i \cos\phi_i + v_i \sin\phi_i]_+ + \beta_i \sqrt{u_i^2 + v_i^2},

    with :math:`u_i, v_i` the products of the image with the even and the odd filter of `filters`,
    and b, :math:`\alpha`, :math:`\beta` not negative. Parameters of N neurons: `centre` (N, 2) row
    and column in pixels; `orientation`, `phase` (N,) in radians; logarithms of `frequency` (cycles
    per pixel), `sigma` (pixels, s.d. across the bars), `elongation` (s.d. along them over that
    across), of the three weights (N, 3).
    """

    def __init__(self, n_neurons: int, shape: Sequence[int]) -> None:
        super().__init__(shape)
        self.centre = nn.Parameter(torch.zeros(n_neurons, 2))
        self.log_weights = nn.Parameter(torch.zeros(n_neurons, 3))
        for name in ("orientation", "phase", "log_frequency", "log_sigma", "log_elongation"):
            self.register_parameter(name, nn.Parameter(torch.zeros(n_neurons)))

    def filters(self, wanted: slice | Tensor = slice(None)) -> Tensor:
        """Even and odd filters, (N, 2, H * W), of unit norm and without mean.

        As `visualcortex.models.gabor.gabor_bank`, with an elongated envelope, less the mean under
        the envelope, so that uniform light drives neither.
        """
        row, column = (c[:, None, None] for c in self.centre[wanted].unbind(1))
        names = "orientation", "log_frequency", "log_sigma", "log_elongation"
        angle, frequency, sigma, elongation = (
            getattr(self, name)[wanted, None, None] for name in names
        )
        height, width = self.shape
        x = torch.arange(width, device=row.device) - column  # (N, 1, W)
        y = row - torch.arange(height, device=row.device)[:, None]  # (N, H, 1)
        across = x * angle.cos() + y * angle.sin()
        along = y * angle.cos() - x * angle.sin()
        distance = across.square() + (along * (-elongation).exp()).square()
        envelope = (-distance * (-2 * sigma).exp() / 2).exp()
        # tails would be denormal numbers
        envelope = torch.where(envelope > TINY, envelope, 0.0).flatten(1)[:, None]
        wave = (2 * torch.pi * frequency.exp() * across).flatten(1)
        carrier = torch.stack([wave.cos(), wave.sin()], dim=1)
        mean = (envelope * carrier).sum(2, keepdim=True) / envelope.sum(2, keepdim=True)
        return functional.normalize(envelope * (carrier - mean), dim=2)

    def _rates(self, pixels: Tensor, wanted: slice | Tensor) -> Tensor:
        even, odd = (pixels @ self.filters(wanted).flatten(0, 1).T).unflatten(1, (-1, 2)).unbind(2)
        phase = self.phase[wanted]
        simple = (even * phase.cos() + odd * phase.sin()).relu()
        complex_ = (even.square() + odd.square() + TINY).sqrt()
        baseline, alpha, beta = self.log_weights[wanted].exp().unbind(1)
        return baseline + alpha * simple + beta * complex_


class _OneStage(BaseEstimator):
    """What the estimators here have in common."""

    @property
    def module(self) -> OneStageModel:
        """The fitted model: images (B, 1, H, W) to rates (B, N), differentiable."""
        check_is_fitted(self, "module_")
        return self.module_

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Rate of every neuron, (M, N) in float32, of images (M, H, W).

        Raises
        ------
        ValueError
            If images have another size than in training, or are not finite.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        return predicted(self.module, images, self.device)


class LinearNonlinear(_OneStage):
    r"""Linear filter and rectifying nonlinearity for each neuron, all at once.

    .. math::

        r_i(s) = \mathrm{ELU}(\langle w_i, s \rangle + b_i) + 1

    The filter is a sum of cosines (DCT) up to a frequency, hence smooth. It minimises the Poisson
    loss plus :math:`\lambda_i |w_i|^2 / 2`, starting from ridge regression, with that
    :math:`\lambda_i` on a grid with which ridge regression predicts the validation images best.

    Bias: filters are shrunk towards 0, most along the images' weakest directions; a filter with
    finer detail than `max_frequency` loses it. Neurons indifferent to phase have no filter.

    Parameters
    ----------
    max_frequency : float
        Highest frequency of a filter in cycles per pixel, in (0, 0.5].
    penalties : floats
        Grid of :math:`\lambda`, as a multiple of the mean variance of the cosines times M.
    n_steps : int
        Iterations of L-BFGS at most.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    module : LinearNonlinearModel
        `module.filters` (N, H * W) and `module.bias` (N,).
    penalties_ : (N,) array
        What was chosen for each neuron.
    """

    def __init__(
        self,
        *,
        max_frequency: float = 0.2,
        penalties: Sequence[float] = tuple(10.0 ** np.arange(-3, 1.01, 0.5)),
        n_steps: int = 60,
        device: str = "auto",
    ) -> None:
        self.max_frequency = max_frequency
        self.penalties = penalties
        self.n_steps = n_steps
        self.device = device

    def fit(
        self, images: np.ndarray, responses: np.ndarray, validation: Presented
    ) -> LinearNonlinear:
        """Fit all neurons.

        Parameters
        ----------
        images : (M, H, W) array
            About the mean grey.
        responses : (M, N) array
            Not negative, best of order 1.
        validation : (images, responses)
            Other images, which choose the penalty.

        Returns
        -------
        LinearNonlinear
            Itself.

        Raises
        ------
        ValueError
            If shapes disagree, values are not finite, responses are negative, or a parameter is
            out of range.
        """
        if not 0 < self.max_frequency <= 0.5 or min(self.penalties) <= 0 or self.n_steps < 1:
            raise ValueError(
                "max_frequency must be in (0, 0.5] cycles per pixel, penalties positive and "
                f"n_steps at least 1; got {self}"
            )
        train, held_out = checked_parts(images, responses, validation, self.device)
        shape = tuple(train.images.shape[2:])
        basis = torch.as_tensor(smooth_basis(shape, self.max_frequency)).to(train.images)  # (K, P)
        x, x_held_out = (part.images.flatten(1) @ basis.T for part in (train, held_out))
        penalties = np.asarray(self.penalties) * float(x.square().sum(0).mean())
        weights, chosen = _ridge(x, train.responses, x_held_out, held_out.responses, penalties)
        self.penalties_ = chosen.numpy(force=True)
        bias = train.responses.mean(0) - x.mean(0) @ weights - 1
        weights, bias = _poisson(x, train.responses, weights, bias, chosen, self.n_steps)
        self.module_ = LinearNonlinearModel(len(bias), shape).to(x)
        self.module_.load_state_dict({"filters": weights.T @ basis, "bias": bias})
        return self


class GaborEnergy(_OneStage):
    """Mixture of a simple and a complex cell for each neuron, all at once; see `GaborEnergyModel`.

    The pair of a dense bank that the responses follow best is where gradient descent on the
    Poisson loss starts (as the fits of Stringer et al. 2019, who stop at the bank). Each neuron
    keeps the parameters with the lowest validation loss of its own.

    Bias: the loss has many minima; a neuron whose best pair in the bank is far from its Gabor may
    stay in another.

    Parameters
    ----------
    n_steps : int
        Steps of Adam.
    batch_size : int
        Images a step.
    learning_rate : float
        Of Adam, at the start; it falls to 0 along a half cosine.
    seed : int
        Of the order of images.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    module : GaborEnergyModel
        The fitted neurons.
    start_ : BestPairs
        Where they started.
    """

    def __init__(
        self,
        *,
        n_steps: int = 300,
        batch_size: int = 500,
        learning_rate: float = 0.03,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.seed = seed
        self.device = device

    def fit(
        self,
        images: np.ndarray,
        responses: np.ndarray,
        validation: Presented,
        *,
        progress: bool = True,
    ) -> GaborEnergy:
        """Fit all neurons.

        Parameters
        ----------
        images : (M, H, W) array
            About the mean grey.
        responses : (M, N) array
            Not negative, best of order 1.
        validation : (images, responses)
            Other images, which choose when to stop.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        GaborEnergy
            Itself.

        Raises
        ------
        ValueError
            If shapes disagree, values are not finite, responses are negative, or a parameter is
            out of range.
        """
        if min(self.n_steps, self.batch_size, self.learning_rate) <= 0:
            raise ValueError(f"n_steps, batch_size and learning_rate must be positive; got {self}")
        train, held_out = checked_parts(images, responses, validation, self.device)
        pyramid = bank_for(train.images.shape[2:])
        self.start_ = best_pairs(train, pyramid)
        self.module_ = _started(self.start_, pyramid, train)
        self._descend(train, held_out, progress)
        return self

    def _descend(self, train: Shown, held_out: Shown, progress: bool) -> None:
        model, best = self.module_, copy.deepcopy(self.module_.state_dict())
        lowest = self._losses(held_out)
        optimiser = torch.optim.Adam(
            [
                {"params": [model.centre], "lr": PIXELS * self.learning_rate},
                {"params": [p for name, p in model.named_parameters() if name != "centre"]},
            ],
            lr=self.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.n_steps)
        rng = torch.Generator().manual_seed(self.seed)
        size = min(self.batch_size, len(train.images))
        for step in tqdm(range(self.n_steps), desc="Gabor energy", disable=not progress):
            batch = torch.randperm(len(train.images), generator=rng)[:size]
            loss = poisson_loss(model(train.images[batch]), train.responses[batch]).mean(0).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if (step + 1) % STEPS_A_CHECK == 0 or step + 1 == self.n_steps:
                losses = self._losses(held_out)
                better = losses < lowest
                lowest = torch.where(better, losses, lowest)
                for name, values in model.state_dict().items():
                    best[name][better] = values[better]
        model.load_state_dict(best)

    @torch.no_grad()
    def _losses(self, shown: Shown) -> Tensor:
        return poisson_loss(self.module_(shown.images), shown.responses).mean(0)


def poisson_loss(rates: Tensor, responses: Tensor) -> Tensor:
    r"""Negative log-likelihood :math:`r - y \log r` of each response, less what rates do not move.

    Its minimum is where the rate is the mean response, whatever the noise.
    """
    return rates - responses * (rates + TINY).log()


def smooth_basis(shape: Sequence[int], max_frequency: float) -> np.ndarray:
    """Orthonormal cosines (DCT) up to a frequency in cycles per pixel, (K, H * W) in float32."""
    height, width = shape
    frequency = np.hypot(
        np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width)
    ).ravel()
    kept = np.flatnonzero(frequency <= max_frequency)
    single = np.zeros((len(kept), height * width))
    single[np.arange(len(kept)), kept] = 1
    waves = idctn(single.reshape(-1, height, width), axes=(1, 2), norm="ortho")
    return waves.reshape(len(kept), -1).astype(np.float32)


@lru_cache(maxsize=4)
def bank_for(shape: tuple[int, int]) -> GaborPyramid:
    """Pyramid that finds receptive fields in images of this size; made once, never changed."""
    frequencies = tuple(min(0.5, f * 64 / shape[1]) for f in FREQUENCIES)
    return GaborPyramid(
        *shape, frequencies, n_orientations=N_ORIENTATIONS, spacing=1.0, cycles=CYCLES
    )


@torch.no_grad()
def best_pairs(shown: Shown, pyramid: GaborPyramid) -> BestPairs:
    """Correlate responses with the even, odd and amplitude features of every pair.

    The best pair has the largest sum of the squared correlations; that with the amplitude counts
    where it is positive. Neurons that are silent get the first pair, and correlations of 0.
    """
    pixels = shown.images.flatten(1)
    responses = _standardised(shown.responses)
    filters = [torch.as_tensor(bank, device=pixels.device) for bank in pyramid.pair]
    even, odd = (pixels @ bank.T for bank in filters)  # (M, F)
    features = even, odd, (even.square() + odd.square()).sqrt()
    parts = [_standardised(x).T @ responses / len(pixels) for x in features]  # (F, N)
    score = parts[0].square() + parts[1].square() + parts[2].clamp(min=0).square()
    row = score.argmax(0)
    at_best = (part.gather(0, row[None])[0].numpy(force=True) for part in parts)
    return BestPairs(row.numpy(force=True), *at_best)


def predicted(module: nn.Module, images: np.ndarray, device: str) -> np.ndarray:
    """Rates (M, N) of images (M, H, W), a few hundred at a time."""
    shown = checked_images(images, device)
    with torch.no_grad():
        parts = [module(part) for part in shown.split(IMAGES_AT_A_TIME)]
    return torch.cat(parts).numpy(force=True)


def checked_images(images: np.ndarray, device: str) -> Tensor:
    """Images (M, H, W) as a tensor (M, 1, H, W), or an error that says what is wrong."""
    images = np.asarray(images, dtype=np.float32)
    if images.ndim != 3 or images.size == 0 or not np.isfinite(images).all():
        raise ValueError(
            f"images must be (image, H, W), at least one, and finite; got {images.shape} with "
            f"{np.count_nonzero(~np.isfinite(images))} NaN or infinite values"
        )
    return torch.as_tensor(images, device=choose_device(device))[:, None]


def check_size(images: Tensor, shape: tuple[int, ...]) -> None:
    """Raise an error unless images are (B, 1, H, W) of the size of training."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (1, *shape):
        raise ValueError(
            f"images must be of the size of training, (B, 1, {shape[0]}, {shape[1]}); got "
            f"{tuple(images.shape)}. Resize them"
        )


def checked_parts(
    images: np.ndarray, responses: np.ndarray, validation: Presented, device: str
) -> tuple[Shown, Shown]:
    """Training and validation data as tensors, or an error that says what is wrong."""
    train, held_out = (_checked_part(*part, device) for part in ((images, responses), validation))
    sizes = [(tuple(p.images.shape[2:]), p.responses.shape[1]) for p in (train, held_out)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            "validation must have the size of images and the neurons of training; got "
            f"(H, W), N = {sizes[0]} and {sizes[1]}"
        )
    return train, held_out


def _checked_part(images: np.ndarray, responses: np.ndarray, device: str) -> Shown:
    shown = checked_images(images, device)
    responses = np.asarray(responses, dtype=np.float32)
    if responses.ndim != 2 or len(responses) != len(shown) or responses.shape[1] == 0:
        raise ValueError(
            f"responses must be (image, neuron), one row for each of {len(shown)} images; got "
            f"{responses.shape}"
        )
    wrong = np.count_nonzero(~(responses >= 0) | np.isinf(responses))
    if wrong:
        raise ValueError(
            f"responses must be finite and not negative, as a Poisson rate; got {wrong} other "
            "values. Drop the images, or do not centre the responses"
        )
    return Shown(shown, torch.as_tensor(responses, device=shown.device))


def _standardised(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    scale = centred.square().mean(0).sqrt()
    return centred / torch.where(scale > TINY, scale, torch.inf)


def _ridge(
    x: Tensor, y: Tensor, x_held_out: Tensor, y_held_out: Tensor, penalties: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Weights (K, N) and penalties (N,) with the least squared error on the held-out images."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    x = x - x_mean
    values, axes = torch.linalg.eigh(x.T @ x)
    along = axes.T @ (x.T @ (y - y_mean))  # (K, N)
    weights = torch.stack([axes @ (along / (values[:, None] + p)) for p in penalties.tolist()])
    errors = y_held_out - y_mean - (x_held_out - x_mean) @ weights  # (penalty, M, N)
    best = errors.square().mean(1).argmin(0)  # (N,)
    neuron = torch.arange(y.shape[1], device=y.device)
    return weights[best, :, neuron].T, torch.as_tensor(penalties, device=y.device).to(y)[best]


def _poisson(
    x: Tensor, y: Tensor, weights: Tensor, bias: Tensor, penalties: Tensor, n_steps: int
) -> tuple[Tensor, Tensor]:
    """Minimise Poisson loss and penalty of all neurons by one L-BFGS."""
    weights, bias = (p.contiguous().clone().requires_grad_() for p in (weights, bias))
    # near the mean, the Poisson loss is the squared error over twice the mean
    penalties = penalties / (y.mean(0) + TINY)
    optimiser = torch.optim.LBFGS(
        [weights, bias], max_iter=n_steps, line_search_fn="strong_wolfe", tolerance_change=1e-7
    )

    def loss() -> Tensor:
        """Loss of all neurons, with its gradient left in the weights."""
        optimiser.zero_grad()
        rates = functional.elu(x @ weights + bias) + 1
        penalty = (penalties * weights.square()).sum() / 2
        total = (poisson_loss(rates, y).sum() + penalty) / len(x)
        total.backward()
        return total

    optimiser.step(loss)
    return weights.detach(), bias.detach()


@torch.no_grad()
def _started(start: BestPairs, pyramid: GaborPyramid, train: Shown) -> GaborEnergyModel:
    """Model at the best pairs, its weights by the correlations, its mean that of the responses."""
    table = pyramid.table.iloc[start.row]
    model = GaborEnergyModel(len(table), train.images.shape[2:])
    model.centre.copy_(torch.as_tensor(table[["row", "column"]].to_numpy()))
    model.orientation.copy_(torch.as_tensor(table["orientation"].to_numpy()))
    model.log_frequency.copy_(torch.as_tensor(np.log(table["frequency"].to_numpy())))
    model.log_sigma.copy_(torch.as_tensor(np.log(table["sigma"].to_numpy())))
    # the odd filter of the bank lags by 90 degrees, as that of the model
    model.phase.copy_(torch.as_tensor(np.arctan2(start.odd, start.even)))
    simple = np.hypot(start.even, start.odd)
    share = simple / (simple + np.maximum(start.amplitude, 0) + TINY)
    model.to(train.images)
    model.log_weights[:, 1].copy_(torch.as_tensor(np.log(0.1 + share)))
    model.log_weights[:, 2].copy_(torch.as_tensor(np.log(1.1 - share)))
    model.log_weights[:, 0] = -torch.inf
    drive = torch.cat([model(part) for part in train.images.split(IMAGES_AT_A_TIME)]).mean(0)
    mean = train.responses.mean(0) + TINY
    # a quarter of the mean is spontaneous
    model.log_weights[:, 1:] += (0.75 * mean / drive).log()[:, None]
    model.log_weights[:, 0] = (0.25 * mean).log()
    return model
