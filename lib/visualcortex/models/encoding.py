"""Convolutional models of visual neurons: one core for all, one point of it for each neuron.

Images are (B, 1, H, W) about the mean grey, responses (B, N) and not negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.models.linear_nonlinear import (
    IMAGES_AT_A_TIME,
    TINY,
    Presented,
    Shown,
    bank_for,
    best_pairs,
    check_size,
    checked_parts,
    poisson_loss,
    predicted,
)
from visualcortex.training import choose_device, run_epochs

FORMAT = "visualcortex image encoder 1"
WARM = 0.2  # share of training in which the learning rate rises
JITTER = 0.1  # s.d. of the position of a readout at first, in half heights or widths of the image
LAPLACE = ((0.25, 0.5, 0.25), (0.5, -3.0, 0.5), (0.25, 0.5, 0.25))


class CoreLayer(nn.Module):
    r"""Convolution with zeros around the edge, batch normalization, ELU.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    size : int
        Side of the kernel, odd.
    stride : int
        Pixels from one output to the next.
    depth_separable : bool
        Whether the kernel is a product of one of each channel and a mixing of channels.
    n_rotations : int
        Channel f R + r holds feature f at rotation r, counter-clockwise by 360 r / R degrees:
        kernels are turned copies of those of r = 0 (Cohen & Welling 2016; for other angles than
        90 degrees interpolated, Ecker et al. 2019). A first layer has ``n_in = 1``.
    rng : torch.Generator
        Of the initial weights.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        size: int,
        *,
        stride: int = 1,
        depth_separable: bool = False,
        n_rotations: int = 1,
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.stride, self.n_rotations = stride, n_rotations
        n_features = n_out // n_rotations
        shape = (n_in, 1) if depth_separable else (n_features, n_in)
        fan_in = size**2 * (1 if depth_separable else n_in)
        self.spatial = nn.Parameter(_normal((*shape, size, size), fan_in, rng))
        self.mixing = (
            nn.Parameter(_normal((n_out, n_in, 1, 1), n_in, rng)) if depth_separable else None
        )
        self.norm = nn.BatchNorm2d(n_features)
        if n_rotations > 1:
            self.register_buffer("turns", rotations(size, n_rotations))

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, n_out, H / stride, W / stride) of (B, n_in, H, W)."""
        padding = self.spatial.shape[-1] // 2
        if self.mixing is None:
            x = functional.conv2d(x, self.kernel(), stride=self.stride, padding=padding)
        else:
            x = functional.conv2d(
                x, self.spatial, stride=self.stride, padding=padding, groups=len(self.spatial)
            )
            x = functional.conv2d(x, self.mixing)
        if self.n_rotations > 1:  # all rotations of a feature are normalized alike
            turned = x.unflatten(1, (-1, self.n_rotations)).flatten(2, 3)  # (B, F, R H, W)
            return functional.elu(self.norm(turned).reshape(x.shape))
        return functional.elu(self.norm(x))

    def kernel(self) -> Tensor:
        """Kernel of the equivalent full convolution, (n_out, n_in, size, size)."""
        if self.mixing is not None:
            return self.mixing * self.spatial.transpose(0, 1)
        if self.n_rotations == 1:
            return self.spatial
        return self._turned()

    def folded(self) -> tuple[Tensor, Tensor]:
        """Kernel and bias of the convolution that, before ELU, does the same in evaluation."""
        norm = self.norm
        gain = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = norm.bias - norm.running_mean * gain
        gain, bias = (p.repeat_interleave(self.n_rotations) for p in (gain, bias))
        return self.kernel() * gain[:, None, None, None], bias

    def _turned(self) -> Tensor:
        """All rotations of the kernels: those of rotated inputs move on by as many rotations."""
        size, n = self.spatial.shape[-1], self.n_rotations
        turned = torch.einsum("rpq,fiq->frip", self.turns, self.spatial.flatten(2))
        if turned.shape[2] > 1:
            groups = turned.unflatten(2, (-1, n))  # (F, R, F_in, R_in, P)
            parts = [groups[:, r].roll(r, dims=2) for r in range(n)]
            turned = torch.stack(parts, dim=1).flatten(2, 3)
        return turned.flatten(0, 1).unflatten(2, (size, size))


class EncodingNetwork(nn.Module):
    r"""Rates of neurons that each read one point of a common convolutional core.

    .. math::

        r_i(s) = \operatorname{ELU}\Big(\sum_c w_{ic}\, \phi_c(s)[\mu_i] + b_i\Big) + 1

    The core :math:`\phi` is a stack of `CoreLayer`; its last layer is interpolated linearly at
    :math:`\mu_i`. In training the position is drawn, for each image and neuron, from a Gaussian
    about :math:`\mu_i` with a learned covariance, so that it can find its way (Lurz et al. 2021).

    Parameters
    ----------
    n_neurons : int
        N.
    shape : pair of int
        Height and width of the images.
    n_channels : int
        C, channels of each layer.
    kernels : ints
        Side of the kernel of each layer, odd.
    stride : int
        Stride of the first layer; later ones have 1. With 2, everything after the first layer is
        computed at every other pixel, for a quarter of the arithmetic.
    depth_separable : bool
        Whether layers after the first have `CoreLayer.mixing`.
    n_rotations : int
        Rotations of each feature; divides `n_channels`.
    seed : int
        Of initial weights and of the positions drawn in training.

    Attributes
    ----------
    core : torch.nn.Sequential
        Images to features (B, C, H / stride, W / stride).
    layers : list of CoreLayer
        Those of the core.
    grid : (N, 2) tensor
        :math:`\mu`, x and y from -1, the centre of the first column (row) of the features, to 1,
        that of the last (`torch.nn.functional.grid_sample`, ``align_corners=True``).
    features : (N, C) tensor
        w.
    bias : (N,) tensor
        b.

    Raises
    ------
    ValueError
        A parameter is out of range, or separable layers are to be rotated.

    References
    ----------
    Cohen, T. & Welling, M. (2016). Group equivariant convolutional networks. ICML.
    Ecker, A. S. et al. (2019). A rotation-equivariant convolutional neural network model of
    primary visual cortex. ICLR.
    Lurz, K.-K. et al. (2021). Generalization in data-driven models of primary visual cortex. ICLR.
    """

    def __init__(
        self,
        n_neurons: int,
        shape: Sequence[int] = (36, 64),
        *,
        n_channels: int = 32,
        kernels: Sequence[int] = (9, 7, 7),
        stride: int = 1,
        depth_separable: bool = False,
        n_rotations: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check_network(n_neurons, n_channels, kernels, stride, depth_separable, n_rotations)
        self.shape = tuple(shape)
        self.rng = torch.Generator().manual_seed(seed)
        layers, n_in = [], 1
        for k, size in enumerate(kernels):
            layer = CoreLayer(
                n_in,
                n_channels,
                size,
                stride=1 if k else stride,
                depth_separable=depth_separable and k > 0,
                n_rotations=n_rotations,
                rng=self.rng,
            )
            layers.append(layer)
            n_in = n_channels
        self.core = nn.Sequential(*layers)
        self.position = nn.Parameter(torch.zeros(n_neurons, 2))
        self.spread = nn.Parameter(JITTER * torch.eye(2).repeat(n_neurons, 1, 1))
        self.features = nn.Parameter(_normal((n_neurons, n_channels), 4 * n_channels, self.rng))
        self.bias = nn.Parameter(torch.zeros(n_neurons))

    @property
    def layers(self) -> list[CoreLayer]:
        """The layers of the core, in order."""
        return list(self.core)

    @property
    def grid(self) -> Tensor:
        """Where each neuron reads the features, (N, 2); see the class."""
        return self.position.clamp(-1, 1)

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return len(self.bias)

    def folded_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Kernel (C_out, C_in, k, k) and bias (C_out,) of each layer, with its normalization.

        In evaluation, the core is ``elu(conv2d(x, kernel, bias, padding=k // 2))`` for one after
        the other, the first with the stride of the network.
        """
        return [layer.folded() for layer in self.core]

    def forward(self, images: Tensor, neurons: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return the rates, (B, N), of images (B, 1, H, W).

        Parameters
        ----------
        images : (B, 1, H, W) tensor
            About the mean grey.
        neurons : ints, optional
            Neurons whose rates are wanted; all by default.

        Returns
        -------
        (B, N) tensor

        Raises
        ------
        ValueError
            The images have another size.
        """
        check_size(images, self.shape)
        wanted = slice(None) if neurons is None else torch.as_tensor(neurons, device=images.device)
        at = self._positions(len(images), wanted)
        read = functional.grid_sample(self.core(images), at, align_corners=True)  # (B, C, N, 1)
        drive = torch.einsum("bcn,nc->bn", read[..., 0], self.features[wanted])
        return functional.elu(drive + self.bias[wanted]) + 1

    def _positions(self, n_images: int, wanted: slice | Tensor) -> Tensor:
        """Where to read, (B, N, 1, 2): the mean, or around it in training."""
        mean = self.grid[wanted][None, :, None].expand(n_images, -1, -1, -1)
        if not self.training:
            return mean
        normal = torch.randn(mean.shape, generator=self.rng).to(mean)
        moved = torch.einsum("nij,bnkj->bnki", self.spread[wanted], normal)
        return (mean + moved).clamp(-1, 1)


class EncodingEnsemble(nn.Module):
    """Mean of the rates of several networks: images (B, 1, H, W) to (B, N)."""

    def __init__(self, members: Sequence[EncodingNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor, neurons: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return the mean rates; arguments as `EncodingNetwork.forward`."""
        rates = [member(images, neurons) for member in self.members]
        return torch.stack(rates).mean(0)


class ImageEncoder(BaseEstimator):
    r"""Ensemble of `EncodingNetwork`, trained to predict the responses to images.

    Each network minimises, by AdamW (Loshchilov & Hutter 2019) with a learning rate that rises for
    a fifth of the steps and falls along a half cosine, the mean over images and neurons of
    :math:`r - y \log r` (Poisson), plus

    - `smoothing` times :math:`|\Delta k|^2 / |k|^2`, mean over the kernels k of the first layer,
      :math:`\Delta` the Laplacian;
    - `sparsity` times the mean over neurons of :math:`\sum_c |w_{ic}|`,

    and keeps the epoch with the lowest Poisson loss on validation images. Readouts start where
    the Gabor pair that the responses follow best is (`linear_nonlinear.best_pairs`, on training
    images), not in the centre: with few epochs they would not get there.

    Bias: the validation loss of the epoch kept is the lowest of many; report a test set. Rates
    are shrunk towards those of typical images: what a network answers to an image that drives a
    neuron far more than any photograph is extrapolation, and differs between members.

    Parameters
    ----------
    n_networks : int
        Members, which differ in initial weights, order of images and drawn positions.
    n_channels, kernels, stride, depth_separable, n_rotations
        See `EncodingNetwork`.
    n_epochs : int
        Epochs at most; the learning rate is 0 at the end of the last.
    patience : int
        Epochs without a lower validation loss after which a network stops.
    batch_size : int
        Images a step.
    learning_rate, weight_decay : float
        Of AdamW; the rate at its highest, the decay of the core only.
    smoothing, sparsity : float
        Weights of the penalties.
    seed : int
        Of everything drawn.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    members : list of EncodingNetwork
        In evaluation mode.
    module : EncodingEnsemble
        Their mean, differentiable with respect to the images.
    history_ : pandas.DataFrame
        A row an epoch and network: "network", "epoch", "train", "validation", "kept".

    References
    ----------
    Loshchilov, I. & Hutter, F. (2019). Decoupled weight decay regularization. ICLR.
    """

    def __init__(
        self,
        *,
        n_networks: int = 2,
        n_channels: int = 16,
        kernels: Sequence[int] = (13, 3),
        stride: int = 2,
        depth_separable: bool = False,
        n_rotations: int = 1,
        n_epochs: int = 5,
        patience: int = 5,
        batch_size: int = 32,
        learning_rate: float = 2e-2,
        weight_decay: float = 1e-2,
        smoothing: float = 1e-3,
        sparsity: float = 1e-3,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.n_networks = n_networks
        self.n_channels = n_channels
        self.kernels = kernels
        self.stride = stride
        self.depth_separable = depth_separable
        self.n_rotations = n_rotations
        self.n_epochs = n_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.smoothing = smoothing
        self.sparsity = sparsity
        self.seed = seed
        self.device = device

    def fit(
        self,
        images: np.ndarray,
        responses: np.ndarray,
        validation: Presented,
        *,
        progress: bool = True,
    ) -> ImageEncoder:
        """Train all networks, one after the other.

        Parameters
        ----------
        images : (M, H, W) array
            About the mean grey, M at least 2.
        responses : (M, N) array
            Not negative, best of order 1.
        validation : (images, responses)
            Other images, which choose the epoch to keep.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        ImageEncoder
            Itself.

        Raises
        ------
        ValueError
            If shapes disagree, values are not finite, responses are negative, or a parameter is
            out of range.
        FloatingPointError
            If training diverges.
        """
        _check_settings(self)
        train, held_out = checked_parts(images, responses, validation, self.device)
        shape = tuple(train.images.shape[2:])
        place = _places(train)
        seeds = np.random.SeedSequence(self.seed).generate_state(self.n_networks).tolist()
        members, histories = [], []
        for k, seed in enumerate(seeds):
            member = self._network(train.responses.shape[1], shape, seed).to(train.images.device)
            _settle(member, place, train.responses.mean(0))
            history = run_epochs(
                _Training(self, member, train, held_out),
                self.n_epochs,
                patience=self.patience,
                progress=progress,
                description=f"network {k + 1} of {self.n_networks}",
            )
            histories.append(history.assign(network=k))
            members.append(member.eval())
        self._keep(members)
        self.history_ = pd.concat(histories, ignore_index=True)
        return self

    @property
    def members(self) -> list[EncodingNetwork]:
        """The networks."""
        return list(self.module.members)

    @property
    def module(self) -> EncodingEnsemble:
        """The ensemble as a module."""
        check_is_fitted(self, "module_")
        return self.module_

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Mean rates of the networks, (M, N) in float32, of images (M, H, W).

        Raises
        ------
        ValueError
            If images have another size than in training, or are not finite.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        return predicted(self.module, images, self.device)

    def save(self, path: str | Path) -> None:
        """Write settings, weights and history to a file that `load` reads."""
        member = self.members[0]
        torch.save(
            {
                "format": FORMAT,
                "settings": self.get_params(),
                "n_neurons": member.n_neurons,
                "shape": member.shape,
                "members": [member.state_dict() for member in self.members],
                "history": self.history_.to_dict("list"),
            },
            path,
        )

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto") -> ImageEncoder:
        """Read a fitted encoder; only arrays and plain values are taken from the file.

        Raises
        ------
        ValueError
            The file is not of an encoder.
        """
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{path} is no image encoder; expected a file that `save` has written")
        encoder = cls(**{**content["settings"], "device": device})
        members = []
        for state in content["members"]:
            member = encoder._network(content["n_neurons"], content["shape"], 0)
            member.load_state_dict(state)
            members.append(member.to(choose_device(device)).eval())
        encoder._keep(members)
        encoder.history_ = pd.DataFrame(content["history"])
        return encoder

    def _keep(self, members: Sequence[EncodingNetwork]) -> None:
        self.module_ = EncodingEnsemble(members).eval().requires_grad_(False)

    def _network(self, n_neurons: int, shape: Sequence[int], seed: int) -> EncodingNetwork:
        names = "n_channels", "kernels", "stride", "depth_separable", "n_rotations"
        settings = {name: getattr(self, name) for name in names}
        return EncodingNetwork(n_neurons, shape, **settings, seed=seed)


class _Training:
    """One network on its way: what `run_epochs` trains."""

    def __init__(
        self, settings: ImageEncoder, network: EncodingNetwork, train: Shown, held_out: Shown
    ) -> None:
        self.settings, self.network, self.train, self.held_out = settings, network, train, held_out
        core = list(network.core.parameters())
        readout = [network.position, network.spread, network.features, network.bias]
        self.optimiser = torch.optim.AdamW(
            [{"params": core}, {"params": readout, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.size = min(settings.batch_size, len(train.images))
        self.n_steps = len(train.images) // self.size
        n_in_all = settings.n_epochs * self.n_steps
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: warm_cosine(step / n_in_all)
        )

    def train_epoch(self) -> dict[str, float]:
        """Go once through the images in random order; what is left of the last batch is not."""
        self.network.train()
        order = torch.randperm(len(self.train.images), generator=self.network.rng)
        total = 0.0
        for batch in order[: self.n_steps * self.size].split(self.size):
            rates = self.network(self.train.images[batch])
            loss = poisson_loss(rates, self.train.responses[batch]).mean()
            self.optimiser.zero_grad()
            (loss + self._penalty()).backward()
            self.optimiser.step()
            self.schedule.step()
            with torch.no_grad():  # beyond the edge it would have no slope to come back by
                self.network.position.clamp_(-1, 1)
            total += loss.detach()
        return {"train": float(total) / self.n_steps}

    @torch.no_grad()
    def validate(self) -> float:
        """Poisson loss of the validation images."""
        self.network.eval()
        parts = [self.network(part) for part in self.held_out.images.split(IMAGES_AT_A_TIME)]
        return float(poisson_loss(torch.cat(parts), self.held_out.responses).mean())

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rng": self.network.rng.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.network.rng.set_state(state["rng"])

    def _penalty(self) -> Tensor:
        sparsity = self.network.features.abs().sum(1).mean()
        roughness = laplacian_ratio(self.network.layers[0].spatial)
        return self.settings.sparsity * sparsity + self.settings.smoothing * roughness


def warm_cosine(done: float) -> float:
    """Share of the highest learning rate when a share of training is done.

    Up in a straight line over the first fifth, then down to 0 along half a cosine.
    """
    if done < WARM:
        return (done + 0.01) / (WARM + 0.01)
    return (1 + math.cos(math.pi * (done - WARM) / (1 - WARM))) / 2


def laplacian_ratio(kernels: Tensor) -> Tensor:
    r"""Roughness :math:`|\Delta k|^2 / |k|^2`, mean over kernels (C, 1, k, k), zero around them.

    The ratio, since the scale of a kernel is free where its output is normalized.
    """
    laplace = torch.tensor(LAPLACE).to(kernels)[None, None]
    change = functional.conv2d(kernels, laplace, padding=1).square().sum((1, 2, 3))
    return (change / (kernels.square().sum((1, 2, 3)) + TINY)).mean()


def rotations(size: int, n_rotations: int) -> Tensor:
    """Matrices (R, size^2, size^2) that turn kernels counter-clockwise, by linear interpolation.

    What comes from outside the kernel is 0. Multiples of 90 degrees are exact.
    """
    pixels = torch.eye(size**2).reshape(1, size**2, size, size)
    matrices = []
    for r in range(n_rotations):
        angle = 2 * np.pi * r / n_rotations
        cos, sin = np.cos(angle), np.sin(angle)
        # to the place in the output belongs the place in the input that is turned back
        theta = torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]], dtype=torch.float32)
        grid = functional.affine_grid(theta, [1, 1, size, size], align_corners=True)
        turned = functional.grid_sample(pixels, grid, align_corners=True)
        matrices.append(turned[0].flatten(1).T)
    return torch.stack(matrices)


def _places(train: Shown) -> Tensor:
    """Where receptive fields are, column and row in pixels, (N, 2)."""
    pyramid = bank_for(train.images.shape[2:])
    table = pyramid.table.iloc[best_pairs(train, pyramid).row]
    return torch.as_tensor(table[["column", "row"]].to_numpy()).to(train.images)


@torch.no_grad()
def _settle(network: EncodingNetwork, place: Tensor, mean: Tensor) -> None:
    """Start readouts at their places, and rates near their mean."""
    height, width = network.shape
    stride = network.layers[0].stride
    # the first and the last feature are centred on pixel 0 and on the last multiple of the stride
    last = torch.tensor([(n - 1) // stride * stride for n in (width, height)]).to(place)
    network.position.copy_((2 * place / last.clamp(min=1) - 1).clamp(-1, 1))
    mean = mean.clamp(min=0.01)
    # the inverse of ELU + 1
    network.bias.copy_(torch.where(mean > 1, mean - 1, mean.log()))


def _normal(shape: Sequence[int], fan_in: int, rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng) * fan_in**-0.5


def _check_network(
    n_neurons: int,
    n_channels: int,
    kernels: Sequence[int],
    stride: int,
    depth_separable: bool,
    n_rotations: int,
) -> None:
    odd = len(kernels) > 0 and all(size > 0 and size % 2 for size in kernels)
    if min(n_neurons, n_channels, stride, n_rotations) < 1 or not odd:
        raise ValueError(
            "need at least one neuron, channel, stride and rotation, and kernels with odd sides; "
            f"got {n_neurons}, {n_channels}, {stride}, {n_rotations} and kernels {kernels}"
        )
    if n_channels % n_rotations or (depth_separable and n_rotations > 1):
        raise ValueError(
            "n_rotations must divide n_channels, and rotated layers cannot be depth_separable; got "
            f"{n_rotations} and {n_channels}, depth_separable={depth_separable}"
        )


def _check_settings(encoder: ImageEncoder) -> None:
    names = ("n_networks", "n_epochs", "patience", "batch_size", "learning_rate")
    low = {name: getattr(encoder, name) for name in names if getattr(encoder, name) <= 0}
    names = ("weight_decay", "smoothing", "sparsity")
    low |= {name: getattr(encoder, name) for name in names if getattr(encoder, name) < 0}
    if low:
        raise ValueError(
            "numbers of networks, epochs and images and the learning rate must be positive, "
            f"penalties not negative; got {low}"
        )
