"""Networks that predict the responses of sites: from pictures, or from the maps of another network.

A network here gives one number a site; a dual-task network, besides, one logit a class.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.models.supervised import Examples, Report, Supervised
from visualcortex.training import choose_device, run_epochs

FORMAT = "visualcortex site network 1"
AT_A_TIME = 256  # examples answered at once


def shallow_network(
    shape: Sequence[int],
    n_outputs: int,
    *,
    widths: Sequence[int] = (16, 32),
    kernel: int = 5,
    dropout: float = 0.2,
    n_pooled: int = 4,
    seed: int = 0,
) -> nn.Sequential:
    """Return convolutions that halve the map as long as it is larger than 4, and a linear layer.

    Each convolution is followed by a batch normalization and a rectification.

    Parameters
    ----------
    shape : three ints
        Channels, rows and columns of the input.
    n_outputs : int
        Sites, and classes if there are any.
    widths : ints
        Channels of each convolution.
    kernel : int
        Side of the first kernel, odd; later ones are 3 x 3.
    dropout : float
        Share of the inputs to the linear layer that are left out in training.
    n_pooled : int
        Maps larger than that are averaged to n_pooled x n_pooled before the linear layer.
    seed : int
        Of the weights; the random state of torch is left as it is.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, in evaluation mode.

    Raises
    ------
    ValueError
        A number is out of range.
    """
    _check_network(shape, n_outputs, widths, kernel, dropout, n_pooled)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers: list[nn.Module] = []
        n_in, side = shape[0], max(shape[1:])
        for k, width in enumerate(widths):
            layers += _convolution(n_in, width, 3 if k else kernel, stride=2 if side > 4 else 1)
            n_in, side = width, -(-side // 2) if side > 4 else side
        n_left = min(side, n_pooled)
        if n_left < side:
            layers.append(nn.AdaptiveAvgPool2d(n_left))
        layers += [nn.Flatten(), nn.Dropout(dropout), nn.LazyLinear(n_outputs)]
        network = nn.Sequential(*layers).eval()
        network(torch.zeros(1, *shape))  # fixes the size of the linear layer
    return network


class Continued(nn.Module):
    """The first layers of a network, and a linear layer on their maps.

    It is on the CPU and in evaluation mode when made, and all of its parameters can be trained.

    Parameters
    ----------
    network : torch.nn.Module
        Is copied. What it would run after the module at `path` is part of the copy, but never run
        nor trained.
    path : str
        Module whose output is read, from its first run if it has several.
    n_outputs : int
        Sites, and classes if there are any.
    image : (1, 3, H, W) tensor
        One picture, for the size of the maps.
    dropout : float
        Share of the inputs to the linear layer that are left out in training.
    seed : int
        Of the linear layer; the random state of torch is left as it is.

    Raises
    ------
    ValueError
        There is no such module, the network does not run it, or its output is no tensor.
    """

    def __init__(
        self,
        network: nn.Module,
        path: str,
        n_outputs: int,
        image: Tensor,
        *,
        dropout: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if path not in dict(network.named_modules()):
            raise ValueError(
                f"the network has no module {path!r}; name one of its named_modules(), for "
                f"instance {list(dict(network.named_children()))}"
            )
        self.network, self.path = copy.deepcopy(network).cpu().requires_grad_(True), path
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.readout = nn.Sequential(
                nn.Flatten(), nn.Dropout(dropout), nn.LazyLinear(n_outputs)
            )
            self.eval()
            with torch.no_grad():
                self.readout(self._maps(image.cpu()))

    def _maps(self, images: Tensor) -> Tensor:
        """Output of the module at `path`, (B, C, H, W); what comes after it is not run."""
        found: list[Any] = []

        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            """Take the maps, and leave the forward pass."""
            found.append(output)
            raise _Reached

        handle = self.network.get_submodule(self.path).register_forward_hook(keep)
        try:
            self.network(images)
        except _Reached:
            pass
        finally:
            handle.remove()
        if not found or not isinstance(found[0], Tensor):
            got = type(found[0]).__name__ if found else "no run of it"
            raise ValueError(
                f"the network must run module {self.path!r} and get a tensor from it; got {got}. "
                "Name another module."
            )
        return found[0]

    def forward(self, images: Tensor) -> Tensor:
        """One number an output, (B, n_outputs), of images (B, 3, H, W)."""
        return self.readout(self._maps(images))


class _Reached(Exception):
    """Ends a forward pass."""


class SiteNetwork(BaseEstimator):
    r"""A network fitted to the responses of all sites at once.

    Responses are standardised by those of the training images, z; the loss is

    .. math:: \tfrac1N \sum_i (z_i - \hat z_i)^2 + w\, \big(-\log p(\text{class})\big),

    the second term, with weight `category_weight`, where classes are given. AdamW, and the epoch of
    the lowest loss on validation images is kept; see `supervised.Supervised`.

    Bias: predictions are shrunk towards the mean, as those of any regularised regression. The
    validation loss is the lowest of many epochs: report a test set.

    Parameters
    ----------
    network : torch.nn.Module
        Inputs to N outputs, or N + K with K classes; is copied. `shallow_network`, `Continued`.
    n_epochs, batch_size : int
        Epochs; examples a step.
    learning_rate, weight_decay : float
        Of AdamW; the rate at its highest.
    category_weight : float
        w.
    seed : int
        Of the order of examples and of dropout; the random state of torch is left as it is.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    network_ : torch.nn.Module
        In evaluation mode. Neither it nor the others change where training ends with an error.
    mean_, sd_ : (N,) arrays
        Of the training responses; the s.d. of a constant site is 1.
    history_ : pandas.DataFrame
        A row an epoch: "epoch", "train", "validation", "kept".
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        n_epochs: int = 8,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 5e-2,
        category_weight: float = 0.0,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.network = network
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.category_weight = category_weight
        self.seed = seed
        self.device = device

    def fit(
        self,
        inputs: np.ndarray,
        responses: np.ndarray,
        validation: tuple[np.ndarray, ...],
        *,
        labels: np.ndarray | None = None,
        report: Report | None = None,
        progress: bool = True,
    ) -> SiteNetwork:
        """Train a copy of the network.

        Parameters
        ----------
        inputs : (M, C, H, W) array
            Images or maps, or an array-like that is indexed with arrays of ints.
        responses : (M, N) array
            Any unit.
        validation : (inputs, responses) or (inputs, responses, labels)
            Other images, which choose the epoch to keep.
        labels : (M,) array of int, optional
            Class of each image, from 0.
        report : callable, optional
            Told the number of epochs done and the validation loss after each.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        SiteNetwork
            Itself.

        Raises
        ------
        ValueError
            Lengths or numbers of sites differ, responses are not finite, labels are not numbers of
            classes or wanted for training and not for validation, the number of outputs is wrong,
            or a setting is out of range.
        FloatingPointError
            Training diverges.
        """
        self._check_settings()
        responses = _checked(inputs, responses, labels)
        held_out = _validation(validation, labels, responses.shape[1])
        scale = _scale(responses)
        sets = _examples(inputs, responses, labels, scale), _examples(*held_out, scale)
        network = copy.deepcopy(self.network).to(choose_device(self.device))
        _check_outputs(network, *sets)
        training = Supervised(
            network,
            *sets,
            self._loss,
            n_epochs=self.n_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            seed=self.seed,
            report=report,
        )
        self.history_ = run_epochs(training, self.n_epochs, progress=progress, description="sites")
        self.network_, (self.mean_, self.sd_) = network.eval(), scale
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Responses (M, N) to inputs (M, C, H, W), float32, in the unit that was fitted."""
        return self._outputs(inputs)[:, : len(self.mean_)] * self.sd_ + self.mean_

    def classify(self, inputs: np.ndarray) -> np.ndarray:
        """Most probable class, (M,), of a network with logits besides its sites.

        Raises
        ------
        ValueError
            It has none.
        """
        logits = self._outputs(inputs)[:, len(self.mean_) :]
        if logits.shape[1] == 0:
            raise ValueError("this network was given no outputs for classes: fit one with labels")
        return logits.argmax(axis=1)

    def save(self, path: str | Path) -> Path:
        """Write weights and scales, nothing that could run: tensors and words.

        The file is replaced as a whole, so that it is never half written.
        """
        check_is_fitted(self, "network_")
        path = Path(path)
        content = {
            "format": FORMAT,
            "state": {k: v.cpu() for k, v in self.network_.state_dict().items()},
            "mean": torch.from_numpy(self.mean_),
            "sd": torch.from_numpy(self.sd_),
        }
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
        try:
            torch.save(content, unfinished)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path

    def load(self, path: str | Path) -> SiteNetwork:
        """Take the weights of a file that `save` wrote, for a network of the same form.

        Raises
        ------
        ValueError
            The file is damaged, of another kind, or of a network of another form.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise
        except Exception as error:  # the unpickler raises many kinds on a damaged file
            raise ValueError(f"{path} is damaged or no file of weights; save it again") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{path} was not written by SiteNetwork.save; save it again")
        network = copy.deepcopy(self.network)
        try:
            network.load_state_dict(content["state"])
        except RuntimeError as error:
            raise ValueError(
                f"{path} holds another network than this one ({error}); make the one it was "
                "saved from"
            ) from error
        self.network_ = network.eval().to(choose_device(self.device))
        self.mean_, self.sd_ = content["mean"].numpy(), content["sd"].numpy()
        return self

    def _check_settings(self) -> None:
        lowest = min(self.learning_rate, self.weight_decay, self.category_weight, self.seed)
        if min(self.n_epochs, self.batch_size - 1) < 1 or self.learning_rate == 0 or lowest < 0:
            raise ValueError(
                "need at least 1 epoch, 2 examples a batch, a positive learning rate, and a weight "
                "decay, category weight and seed that are not negative; got "
                f"{self.n_epochs}, {self.batch_size}, {self.learning_rate}, {self.weight_decay}, "
                f"{self.category_weight} and {self.seed}"
            )

    def _loss(self, outputs: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
        n_sites = targets[0].shape[1]
        loss = functional.mse_loss(outputs[:, :n_sites], targets[0])
        if len(targets) == 1:
            return loss
        cross_entropy = functional.cross_entropy(outputs[:, n_sites:], targets[1])
        return loss + self.category_weight * cross_entropy

    @torch.inference_mode()
    def _outputs(self, inputs: np.ndarray) -> np.ndarray:
        check_is_fitted(self, "network_")
        self.network_.eval()  # whoever trained it further may have left it otherwise
        device = next(self.network_.parameters()).device
        batches = Examples(inputs, ()).batches(AT_A_TIME, device)
        return torch.cat([self.network_(batch) for batch, _ in batches]).cpu().numpy()


def _scale(responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and s.d. of each site, float32; the s.d. of a constant one is 1."""
    # that of a constant would be a rounding error, not 0
    sd = np.where(np.ptp(responses, axis=0) > 0, responses.std(axis=0, dtype=float), 1)
    return responses.mean(axis=0, dtype=float).astype(np.float32), sd.astype(np.float32)


def _examples(
    inputs: np.ndarray,
    responses: np.ndarray,
    labels: np.ndarray | None,
    scale: tuple[np.ndarray, np.ndarray],
) -> Examples:
    z = torch.from_numpy((responses - scale[0]) / scale[1])
    classes = () if labels is None else (torch.from_numpy(np.array(labels, np.int64)),)
    return Examples(inputs, (z, *classes))


@torch.no_grad()
def _check_outputs(network: nn.Module, *sets: Examples) -> None:
    """Refuse a network without an output for each site and class, or with some for nothing."""
    network.eval()
    inputs, (responses, *labels) = sets[0].batch(np.arange(1), next(network.parameters()).device)
    n_outputs, n_sites = network(inputs).shape[1], responses.shape[1]
    n_classes = max(int(s.targets[1].max()) for s in sets) + 1 if labels else 0
    if n_outputs < n_sites + n_classes or (not labels and n_outputs > n_sites):
        raise ValueError(
            f"the network must have {n_sites} outputs for sites"
            f"{f' and {n_classes} or more for classes' if labels else ' and none besides'}; got "
            f"{n_outputs}. Make one with as many."
        )


def _convolution(n_in: int, n_out: int, kernel: int, *, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]


def _validation(
    validation: tuple[np.ndarray, ...], labels: np.ndarray | None, n_sites: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Inputs, responses and labels of the validation images."""
    if len(validation) < (2 if labels is None else 3):
        raise ValueError(
            "validation must be (inputs, responses), and (inputs, responses, labels) where there "
            f"are labels to train on; got {len(validation)} arrays"
        )
    known = None if labels is None else validation[2]
    responses = _checked(validation[0], validation[1], known)
    if responses.shape[1] != n_sites:
        raise ValueError(
            f"validation must be of the {n_sites} sites of the training; got "
            f"{responses.shape[1]}. Select the same sites from both."
        )
    return validation[0], responses, known


def _checked(inputs: np.ndarray, responses: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    responses = np.asarray(responses, dtype=np.float32)
    lengths = {len(inputs), len(responses)} | ({len(labels)} if labels is not None else set())
    if responses.ndim != 2 or len(lengths) > 1 or len(inputs) < 2:
        raise ValueError(
            "need inputs (M, C, H, W), responses (M, N) and one label each where there are any, M "
            f"at least 2; got lengths {sorted(lengths)}. Select the same images from all."
        )
    if not np.isfinite(responses).all():
        raise ValueError("responses must be finite; got NaN or infinity. Drop these images.")
    if labels is not None:
        _check_labels(np.asarray(labels))
    return responses


def _check_labels(labels: np.ndarray) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(
            f"labels must be integers from 0, one an image; got {labels.dtype} of shape "
            f"{labels.shape}. numpy.unique(..., return_inverse=True) makes such."
        )


def _check_network(
    shape: Sequence[int],
    n_outputs: int,
    widths: Sequence[int],
    kernel: int,
    dropout: float,
    n_pooled: int,
) -> None:
    sizes = (*shape, n_outputs, *widths, kernel, n_pooled)
    if len(shape) != 3 or not widths or min(sizes) < 1 or kernel % 2 == 0 or not 0 <= dropout < 1:
        raise ValueError(
            "need a shape (channels, rows, columns), positive numbers of outputs and channels, an "
            "odd kernel, a dropout from 0 to below 1 and maps pooled to at least 1; got "
            f"{tuple(shape)}, {n_outputs}, {tuple(widths)}, {kernel}, {dropout} and {n_pooled}"
        )
