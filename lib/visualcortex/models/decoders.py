"""Neural networks that read the category of an image off the activity of many neurons.

An ensemble is trained as one: every parameter has a leading axis of networks, so that one matrix
product serves all of them. Each network keeps its own random numbers, its own order of trials and
its own early stopping, and is the network that it would be alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.training import choose_device, run_epochs

# axes of X for each architecture, the trial first
LAYOUTS = {
    "mlp": "(trial, feature)",
    "voxel_cnn": "(trial, D, H, W)",
    "set": "(trial, neuron)",
}
# trials that are classified at once
TRIALS_AT_A_TIME = 256
# octaves of the sines and cosines of a neuron's position
N_OCTAVES = 3


class _Linear(nn.Module):
    """K linear layers, (K, B, in) to (K, B, out)."""

    def __init__(self, n_in: int, n_out: int, rngs: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.weight = nn.Parameter(_uniform((n_in, n_out), n_in, rngs))
        self.bias = nn.Parameter(_uniform((1, n_out), n_in, rngs))

    def forward(self, x: Tensor) -> Tensor:
        """Affine map of each network, (K, B, out)."""
        return torch.baddbmm(self.bias, x, self.weight)


class _Perceptrons(nn.Module):
    """K perceptrons, (K, B, in) to (K, B, classes); dropout where there are generators for it."""

    def __init__(
        self, sizes: Sequence[int], dropout: float, rngs: Sequence[torch.Generator]
    ) -> None:
        super().__init__()
        steps = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(_Linear(*step, rngs) for step in steps)
        self.dropout = dropout

    def forward(self, x: Tensor, rngs: Sequence[torch.Generator] | None = None) -> Tensor:
        """Logits (K, B, classes); dropout if there are generators."""
        for layer in self.layers[:-1]:
            x = _dropped(functional.gelu(layer(x)), self.dropout, rngs)
        return self.layers[-1](x)


class _VoxelNetworks(nn.Module):
    """K convolutional networks of voxels, (K, B, D, H, W) to (K, B, classes).

    Two convolutions of 3 x 3 x 3 that halve the plane, not the depth, then a perceptron that knows
    where in the map a feature was: V1 is a map of the visual field, so the place matters.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int,
        sizes: Sequence[int],
        dropout: float,
        rngs: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self.first = nn.Parameter(_uniform((channels, 1, 3, 3, 3), 27, rngs))
        second = (2 * channels, channels, 3, 3, 3)
        self.second = nn.Parameter(_uniform(second, 27 * channels, rngs))
        depth, height, width = shape
        n_features = 2 * channels * depth * -(-height // 4) * -(-width // 4)
        self.dropout = dropout
        self.readout = _Perceptrons((n_features, *sizes), dropout, rngs)

    def forward(self, x: Tensor, rngs: Sequence[torch.Generator] | None = None) -> Tensor:
        """Logits (K, B, classes); dropout if there are generators."""
        n_networks, n_trials = x.shape[:2]
        maps = x.transpose(0, 1)  # (B, K, D, H, W): networks are groups of channels
        for kernel in (self.first, self.second):
            maps = functional.conv3d(
                maps, kernel.flatten(0, 1), stride=(1, 2, 2), padding=1, groups=n_networks
            )
            maps = functional.gelu(maps)  # (B, K C, D, H, W)
        features = maps.reshape(n_trials, n_networks, -1).transpose(0, 1)  # (K, B, F)
        return self.readout(_dropped(features, self.dropout, rngs), rngs)


class _SetNetworks(nn.Module):
    """K networks of the *set* of neurons, (K, B, N) to (K, B, classes), in whatever order.

    A trial is pooled as the means over neurons of r psi(p) and |r| psi(p), with psi a perceptron
    of the position p: a learned splat. The pooled numbers start with mean 0 and variance 1 over
    training trials (as Salimans & Kingma 2016): means over N neurons are small, and those of |r|
    nearly constant.
    """

    def __init__(
        self,
        n_position: int,
        embedding: Sequence[int],
        sizes: Sequence[int],
        dropout: float,
        rngs: Sequence[torch.Generator],
    ) -> None:
        super().__init__()
        self.embedding = _Perceptrons((n_position, *embedding), 0.0, rngs)
        pooled = (len(rngs), 1, 2 * embedding[-1])
        self.shift = nn.Parameter(torch.zeros(pooled, device=rngs[0].device))
        self.gain = nn.Parameter(torch.ones(pooled, device=rngs[0].device))
        self.readout = _Perceptrons((pooled[-1], *sizes), dropout, rngs)

    def pool(self, x: Tensor, position: Tensor) -> Tensor:
        """Means over neurons, (K, B, 2 E), of x (K, B, N) at positions (N, P)."""
        psi = self.embedding(position.expand(len(x), -1, -1)) / len(position)  # (K, N, E)
        return torch.cat([torch.bmm(x, psi), torch.bmm(x.abs(), psi)], dim=2)

    @torch.no_grad()
    def settle(self, x: Tensor, position: Tensor) -> None:
        """Choose the shift and gain with which these trials have mean 0 and variance 1."""
        pooled = self.pool(x, position)
        self.gain.copy_(1 / pooled.std(dim=1, keepdim=True).clamp_min(1e-8))
        self.shift.copy_(-pooled.mean(dim=1, keepdim=True) * self.gain)

    def forward(
        self, x: Tensor, rngs: Sequence[torch.Generator] | None = None, *, position: Tensor
    ) -> Tensor:
        """Logits (K, B, classes) of neurons at positions (N, P)."""
        return self.readout(self.pool(x, position) * self.gain + self.shift, rngs)


class NetworkDecoder(ClassifierMixin, BaseEstimator):
    r"""Ensemble of small networks that classify trials, for few trials and much noise.

    Each network gives logits z and minimises the cross-entropy :math:`-w_y \log
    \mathrm{softmax}(z)_y` with AdamW (Loshchilov & Hutter 2019), dropout and early stopping; the
    ensemble's probability is the mean of the networks' (Lakshminarayanan et al. 2017). There is
    one softmax, inside the loss: with another at the end of the network the loss cannot fall below
    :math:`\log(1 + (C - 1)/e)`, and its gradient vanishes wherever the network is sure.

    Architectures, and the shape of X that they take:

    - "mlp", (n_trials, n_features): a perceptron of features standardised one by one;
    - "voxel_cnn", (n_trials, D, H, W): two 3-D convolutions and a perceptron of dense voxel maps
      (`visualcortex.voxels`), centred voxel by voxel and divided by one s.d. for all, since
      voxels that average more neurons vary less and are not noisier for it;
    - "set", (n_trials, n_neurons) with `positions`: the means over neurons of :math:`r\,\psi(p)`
      and :math:`|r|\,\psi(p)`, with a learned :math:`\psi`, then a perceptron: DeepSets (Zaheer
      et al. 2017) linear in the response and its modulus. It takes other neurons than it was
      trained on, in any order and number, if their positions are aligned and their responses
      standardised alike (zero mean per neuron); a decoder that knows each neuron by its place
      only.

    Bias: probabilities are those of the training classes weighted as in the loss; with balanced
    weights they favour rare classes against their frequency, which is right for balanced accuracy
    and wrong for accuracy. The validation loss of the epoch kept is the lowest of many and too
    good: report a test set, and split by image (`visualcortex.evaluation.categories`).

    Parameters
    ----------
    architecture : str
        "mlp", "voxel_cnn" or "set".
    n_networks : int
        Networks in the ensemble.
    hidden : ints
        Units in the hidden layers of the perceptron that ends each network.
    width : int
        Channels of the first convolution (the second has twice as many), or half the size of the
        embedding of a position; not used by "mlp".
    n_epochs : int
        Number of epochs at most.
    patience : int
        A network stops after so many epochs without a lower validation loss of its own; without
        validation trials none stops early.
    batch_size : int
        Trials a step.
    learning_rate, weight_decay : float
        Of AdamW.
    dropout : float
        Share of hidden units that is left out in a training step.
    class_weights : "balanced" or None
        Whether w makes up for unequal classes: n_trials / (n_classes n_trials_of_class).
    seed : int
        Of weights, shuffles and dropout.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    classes_ : (n_classes,) array
        The classes, in the order of the columns of probabilities.
    history_ : pandas.DataFrame
        A row an epoch and network: "epoch" (from 1), "network", "train" (mean loss of the epoch,
        with dropout), "validation" (NaN without) and "kept". A network that has stopped has no
        more rows.

    References
    ----------
    Lakshminarayanan, B., Pritzel, A. & Blundell, C. (2017). Simple and scalable predictive
    uncertainty estimation using deep ensembles. NeurIPS.
    Zaheer, M. et al. (2017). Deep sets. NeurIPS.
    """

    def __init__(
        self,
        architecture: str = "mlp",
        *,
        n_networks: int = 5,
        hidden: Sequence[int] = (64,),
        width: int = 8,
        n_epochs: int = 60,
        patience: int = 10,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        dropout: float = 0.5,
        class_weights: str | None = "balanced",
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.architecture = architecture
        self.n_networks = n_networks
        self.hidden = hidden
        self.width = width
        self.n_epochs = n_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.class_weights = class_weights
        self.seed = seed
        self.device = device

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        *,
        positions: np.ndarray | None = None,
        progress: bool = True,
    ) -> NetworkDecoder:
        """Train all networks.

        Parameters
        ----------
        X : array, shape as the architecture says
            Trials.
        y : (n_trials,) array
            Class of each trial.
        validation : (X, y), optional
            Trials that choose the epoch to keep, of images that are not in training.
        positions : (n_neurons, 3) array
            For "set", and only there: where the neurons are, any unit.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        NetworkDecoder
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of range, shapes disagree, values are not finite, there is only
            one class, or a validation class is not in training.
        FloatingPointError
            If training diverges.
        """
        _check_settings(self)
        values = _checked(X, self.architecture)
        self._check_positions(values, positions)
        self.classes_ = np.unique(y)
        self.shape_ = values.shape[1:]
        self._standardise(values, positions)
        train = self._trials(values, y)
        held_out = None if validation is None else self._trials(*validation)
        rngs = _generators(self.seed, self.n_networks, train.x.device)
        self.network_ = self._network(rngs, train.x, self._place(positions))
        trainee = _Ensemble(self, train, held_out, self._place(positions), rngs)
        run_epochs(
            trainee,
            self.n_epochs,
            patience=None if validation is None else self.patience,
            progress=progress,
            description=f"{self.n_networks} networks, {self.architecture}",
        )
        trainee.keep_best()
        self.history_ = trainee.history()
        return self

    def networks_proba(self, X: np.ndarray, *, positions: np.ndarray | None = None) -> np.ndarray:
        """Probability of each class by each network, (n_networks, n_trials, n_classes).

        Parameters
        ----------
        X : array, shape as the architecture says
            Trials; for "set" of any neurons.
        positions : (n_neurons, 3) array
            For "set": where these neurons are, in the unit of training.

        Returns
        -------
        (n_networks, n_trials, n_classes) array of float32

        Raises
        ------
        ValueError
            If shapes disagree with training or values are not finite.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "history_")
        values = self._like_training(X)
        self._check_positions(values, positions)
        logits = _logits(self.network_, self._scaled(values), self._place(positions))
        return logits.softmax(dim=2).cpu().numpy()

    def predict_proba(self, X: np.ndarray, *, positions: np.ndarray | None = None) -> np.ndarray:
        """Mean of the networks' probabilities, (n_trials, n_classes); see `networks_proba`."""
        return self.networks_proba(X, positions=positions).mean(axis=0)

    def predict(self, X: np.ndarray, *, positions: np.ndarray | None = None) -> np.ndarray:
        """Most probable class of each trial, (n_trials,); see `networks_proba`."""
        proba = self.predict_proba(X, positions=positions)
        return self.classes_[proba.argmax(axis=1)]

    def _standardise(self, values: np.ndarray, positions: np.ndarray | None) -> None:
        """Note how trials and positions are scaled: by training trials, and them only."""
        if self.architecture == "set":
            # other neurons may come: nothing may be noted of single ones
            self.centre_ = np.float32(0)
            self.scale_ = np.float32(np.linalg.norm(values) / np.sqrt(values.size) or 1)
            positions = np.asarray(positions, dtype=float)
            self.corner_, extent = positions.min(axis=0), np.ptp(positions, axis=0)
            self.extent_ = np.where(extent > 0, extent, 1.0)
            return
        self.centre_ = values.mean(axis=0, dtype=float)
        spread = values.std(axis=0, dtype=float)
        if self.architecture == "voxel_cnn":
            self.scale_ = np.sqrt(np.mean(spread**2)) or 1.0
        else:  # a constant feature may have a tiny spread from rounding
            self.scale_ = np.where(np.ptp(values, axis=0) > 0, spread, 1.0)

    def _scaled(self, values: np.ndarray) -> Tensor:
        scaled = ((values - self.centre_) / self.scale_).astype(np.float32)
        return torch.as_tensor(scaled, device=choose_device(self.device))

    def _like_training(self, X: np.ndarray) -> np.ndarray:
        values = _checked(X, self.architecture)
        if self.architecture != "set" and values.shape[1:] != self.shape_:
            raise ValueError(
                f"trials must have the shape of training trials, {self.shape_}; "
                f"got {values.shape[1:]}"
            )
        return values

    def _trials(self, X: np.ndarray, y: np.ndarray) -> _Trials:
        values, y = self._like_training(X), np.asarray(y)
        unknown = np.setdiff1d(y, self.classes_)
        if y.shape != (len(values),) or len(unknown) or len(self.classes_) < 2:
            raise ValueError(
                f"need one class a trial, at least two, all of them in training: {len(values)} "
                f"trials, classes of shape {y.shape}, in training {self.classes_.tolist()}, not "
                f"in training {unknown.tolist()}. Split within each class"
            )
        x = self._scaled(values)
        codes = torch.as_tensor(np.searchsorted(self.classes_, y), device=x.device)
        return _Trials(x, codes)

    def _check_positions(self, values: np.ndarray, positions: np.ndarray | None) -> None:
        if (self.architecture == "set") != (positions is not None):
            raise ValueError('positions are needed for architecture "set", and only there')
        if positions is None:
            return
        shape = np.shape(positions)
        if shape != (values.shape[1], 3) or not np.isfinite(positions).all():
            raise ValueError(
                f"positions must be x, y, z of each of {values.shape[1]} neurons, finite; "
                f"got shape {shape}"
            )

    def _place(self, positions: np.ndarray | None) -> Tensor | None:
        """Positions in the box of training and their sines and cosines, (N, P)."""
        if positions is None:
            return None
        inside = (np.asarray(positions, dtype=float) - self.corner_) / self.extent_  # (N, 3)
        phases = [np.pi * 2**k * inside for k in range(N_OCTAVES)]
        waves = [wave(phase) for phase in phases for wave in (np.sin, np.cos)]
        place = np.concatenate([inside, *waves], axis=1).astype(np.float32)
        return torch.as_tensor(place, device=choose_device(self.device))

    def _network(
        self, rngs: Sequence[torch.Generator], x: Tensor, place: Tensor | None
    ) -> nn.Module:
        sizes = (*self.hidden, len(self.classes_))
        if self.architecture == "mlp":
            return _Perceptrons((*self.shape_, *sizes), self.dropout, rngs)
        if self.architecture == "voxel_cnn":
            return _VoxelNetworks(self.shape_, self.width, sizes, self.dropout, rngs)
        embedding = 4 * self.width, 2 * self.width
        network = _SetNetworks(place.shape[1], embedding, sizes, self.dropout, rngs)
        some = x[:: -(-len(x) // (4 * TRIALS_AT_A_TIME))]
        network.settle(some.expand(len(rngs), *some.shape), place)
        return network


class _Trials(NamedTuple):
    """Standardised trials (n, ...) and their classes (n,), on the device."""

    x: Tensor
    classes: Tensor


class _Ensemble:
    """All networks on their way: what `run_epochs` trains."""

    def __init__(
        self,
        settings: NetworkDecoder,
        train: _Trials,
        held_out: _Trials | None,
        place: Tensor | None,
        rngs: Sequence[torch.Generator],
    ) -> None:
        self.settings, self.network, self.rngs = settings, settings.network_, rngs
        self.train, self.held_out, self.place = train, held_out, place
        n_classes = len(settings.classes_)
        self.class_weights = torch.ones(n_classes, device=train.x.device)
        if settings.class_weights == "balanced":
            counts = torch.bincount(train.classes, minlength=n_classes)
            self.class_weights = len(train.classes) / (n_classes * counts)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.curves: list[dict[str, np.ndarray]] = []
        self.n_epochs = 0
        self.best = {name: x.clone() for name, x in self.network.state_dict().items()}
        self.best_losses = np.full(len(rngs), np.inf)
        self.best_epochs = np.zeros(len(rngs), dtype=int)
        if held_out is not None:
            self.validate = self._validate

    def train_epoch(self) -> dict[str, float]:
        """Go once through the trials, each network in its own order; the rest is left out."""
        x, classes = self.train
        size = min(self.settings.batch_size, len(x))
        orders = [torch.randperm(len(x), generator=g, device=x.device) for g in self.rngs]
        steps = torch.stack(orders)[:, : len(x) // size * size].split(size, dim=1)
        total = torch.zeros(len(self.rngs), device=x.device)
        for batch in steps:  # (K, B)
            logits = _forward(self.network, x[batch], self.place, self.rngs)
            losses = self._losses(logits, classes[batch]).mean(dim=1)
            self.optimiser.zero_grad()
            # the sum, so that each network has the gradient that it would have alone
            losses.sum().backward()
            self.optimiser.step()
            total += losses.detach()
        self.n_epochs += 1
        train = (total / len(steps)).cpu().numpy()
        running = self._running()
        self.curves.append({"train": train, "running": running})
        return {"train": train[running].mean()}

    def _running(self) -> np.ndarray:
        """Whether each network is still being trained in this epoch, (K,)."""
        if self.held_out is None:
            return np.ones(len(self.rngs), dtype=bool)
        return self.n_epochs - self.best_epochs <= self.settings.patience

    def _losses(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Weighted cross-entropy of each trial, (K, B)."""
        losses = functional.cross_entropy(
            logits.flatten(0, 1), classes.flatten(), reduction="none"
        ).view(classes.shape)
        return losses * self.class_weights[classes]

    def _validate(self) -> float:
        """Keep what is best of each network; return the mean of the lowest losses so far.

        That mean falls if, and only if, a network that has not stopped has improved, so that the
        patience of the loop is out when the last network's is.
        """
        x, classes = self.held_out
        logits = _logits(self.network, x, self.place)
        losses = self._losses(logits, classes.expand(len(logits), -1)).mean(dim=1)
        losses = losses.cpu().numpy().astype(float)
        self.curves[-1]["validation"] = losses
        better = self._running() & (losses < self.best_losses)
        self.best_losses[better] = losses[better]
        self.best_epochs[better] = self.n_epochs
        chosen = torch.as_tensor(better, device=x.device)
        for name, values in self.network.state_dict().items():
            self.best[name][chosen] = values[chosen]
        return float(self.best_losses.mean())

    def keep_best(self) -> None:
        """Give each network the weights of its best epoch; of its last without validation."""
        if self.held_out is not None:
            self.network.load_state_dict(self.best)

    def history(self) -> pd.DataFrame:
        """A row an epoch and network that was being trained."""
        networks = np.arange(len(self.rngs))
        last = self.best_epochs if self.held_out is not None else np.array(self.n_epochs)
        missing = np.full(len(networks), np.nan)
        epochs = [
            pd.DataFrame(
                {
                    "epoch": epoch,
                    "network": networks,
                    "train": curve["train"],
                    "validation": curve.get("validation", missing),
                    "kept": last == epoch,
                }
            )[curve["running"]]
            for epoch, curve in enumerate(self.curves, start=1)
        ]
        return pd.concat(epochs, ignore_index=True)

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rngs": [rng.get_state() for rng in self.rngs],
            "n_epochs": self.n_epochs,
            "best": self.best,
            "best_losses": self.best_losses.tolist(),
            "best_epochs": self.best_epochs.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        for rng, saved in zip(self.rngs, state["rngs"], strict=True):
            rng.set_state(saved)
        self.n_epochs = state["n_epochs"]
        self.best = {name: values.clone() for name, values in state["best"].items()}
        self.best_losses = np.array(state["best_losses"])
        self.best_epochs = np.array(state["best_epochs"])


def _forward(
    network: nn.Module,
    x: Tensor,
    place: Tensor | None,
    rngs: Sequence[torch.Generator] | None = None,
) -> Tensor:
    return network(x, rngs) if place is None else network(x, rngs, position=place)


@torch.no_grad()
def _logits(network: nn.Module, x: Tensor, place: Tensor | None) -> Tensor:
    """Logits (K, n, C) of the same trials (n, ...) by all networks, without dropout."""
    n_networks = len(next(network.parameters()))
    parts = (part.expand(n_networks, *part.shape) for part in x.split(TRIALS_AT_A_TIME))
    return torch.cat([_forward(network, part, place) for part in parts], dim=1)


def _generators(seed: int, n: int, device: torch.device) -> list[torch.Generator]:
    """One generator a network; the first ones do not depend on how many there are."""
    seeds = np.random.SeedSequence(seed).generate_state(n, np.uint32).tolist()
    return [torch.Generator(device).manual_seed(s) for s in seeds]


def _uniform(shape: Sequence[int], n_in: int, rngs: Sequence[torch.Generator]) -> Tensor:
    """Weights (K, *shape), uniform within the bounds that `torch.nn.Linear` takes."""
    draws = [torch.rand(*shape, generator=rng, device=rng.device) for rng in rngs]
    return (2 * torch.stack(draws) - 1) * n_in**-0.5


def _dropped(x: Tensor, share: float, rngs: Sequence[torch.Generator] | None) -> Tensor:
    if rngs is None or share == 0:
        return x
    draws = [torch.rand(x.shape[1:], generator=rng, device=x.device) for rng in rngs]
    return x * (torch.stack(draws) >= share) / (1 - share)


def _checked(X: np.ndarray, architecture: str) -> np.ndarray:
    values = np.asarray(X, dtype=np.float32)
    layout = LAYOUTS[architecture]
    if values.ndim != layout.count(",") + 1 or values.size == 0:
        raise ValueError(f'"{architecture}" takes trials {layout}; got shape {values.shape}')
    if not np.isfinite(values).all():
        raise ValueError(
            f"trials must be finite; got {np.count_nonzero(~np.isfinite(values))} NaN or infinite "
            "values. Drop or fill them"
        )
    return values


def _check_settings(decoder: NetworkDecoder) -> None:
    if decoder.architecture not in LAYOUTS:
        raise ValueError(
            f"architecture must be one of {list(LAYOUTS)}; got {decoder.architecture!r}"
        )
    if decoder.class_weights not in ("balanced", None):
        raise ValueError(f'class_weights must be "balanced" or None; got {decoder.class_weights!r}')
    names = ("n_networks", "width", "n_epochs", "patience", "batch_size", "learning_rate")
    low = {name: getattr(decoder, name) for name in names if getattr(decoder, name) <= 0}
    if low or min(decoder.hidden, default=1) < 1 or not 0 <= decoder.dropout < 1:
        raise ValueError(
            f"{', '.join(names)} and hidden must be positive and dropout in [0, 1); got "
            f"{low or ''} hidden={decoder.hidden}, dropout={decoder.dropout}"
        )
