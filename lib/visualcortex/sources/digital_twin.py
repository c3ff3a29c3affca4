"""A digital twin: the published network that stands for 7,776 neurons of mouse V1.

The convolutional baseline of the Sensorium competition (Willeke, Fahey, Bashiri and others 2022,
https://arxiv.org/abs/2206.08666), trained by its authors on recording 26872-17-20 and published as
a PyTorch checkpoint. It answers any image at once and without noise, so that an image made for a
neuron can be tried on it.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visualcortex.recording import Provenance

HEIGHT, WIDTH = 36, 64  # pixels of the images that it was trained on
PAGE = "https://github.com/sinzlab/sensorium/tree/c433fed25f234724fd9adf0cef3c260a2068b1fa"
_FEATURES = re.compile(r"(readout\.[^.]+)\._features")
_UNUSED = re.compile(r"core\._input_weights_regularizer\.|readout\.[^.]+\.sigma$")


class DigitalTwin(nn.Module):
    r"""The expected response of every neuron to an image.

    .. math::

        r_i(s) = \operatorname{ELU}\Big(\sum_c w_{ci}\,\phi_c(s)[\mu_i] + b_i\Big) + 1,
        \qquad \mu_i = \tanh\big(A_2 \operatorname{ELU}(A_1 p_i + a_1) + a_2\big)

    The core :math:`\phi` is a stack of convolutions without bias, each followed by batch
    normalization with its stored statistics and by ELU: first 9 x 9 without padding, then
    depth-separable ones (1 x 1, 7 x 7 of each channel with zeros around the edge, 1 x 1); there
    are no skip connections and only the last layer is read. The readout interpolates that layer
    linearly at :math:`\mu_i`, which a small network computes from the position :math:`p_i` of the
    neuron in cortex: the mean of the Gaussian from which training drew it (Lurz and others 2021).
    Neither behaviour nor the position of the eye enters.

    Responses are in units of each neuron's standard deviation over its training images and never
    negative. Images are grey levels minus the mean, over the standard deviation, of the training
    images. The network is a biased stand-in for its neurons: it explains only part of their
    responses, and what it answers to images unlike photographs is extrapolation.

    Parameters
    ----------
    checkpoint
        The published ``state_dict``; `read_digital_twin` reads it from its file.
    provenance
        Where it comes from.

    Raises
    ------
    ValueError
        The checkpoint is not of that layout, or holds NaN.

    Notes
    -----
    It is frozen: always in evaluation mode, with gradients with respect to the images only. It is
    as precise as its weights: ``twin.double()`` for 64 bits.
    """

    def __init__(
        self, checkpoint: Mapping[str, Tensor], provenance: Provenance | None = None
    ) -> None:
        super().__init__()
        features = _features_of(checkpoint)
        shape = checkpoint[features].shape
        _check(len(shape) == 4, f"{features} must have four axes; got {tuple(shape)}")
        n_channels, n_neurons = shape[1], shape[3]
        self.core = _core(checkpoint)
        self.position_to_grid = _position_to_grid(checkpoint, features)
        self.register_buffer("features", torch.empty(1, n_channels, 1, n_neurons))
        self.register_buffer("bias", torch.empty(n_neurons))
        self.register_buffer("source_grid", torch.empty(n_neurons, 2))
        self._load(checkpoint, features)
        self.provenance = provenance
        self.requires_grad_(False)
        self.eval()

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return len(self.bias)

    @property
    def positions(self) -> np.ndarray:
        """Positions of the neurons in cortex, ``(neuron, 2)``, x and y.

        They are as published: centred, and divided by the largest distance along either axis.
        """
        return self.source_grid.cpu().numpy()

    @property
    def readout_grid(self) -> np.ndarray:
        """Where each neuron reads the core, ``(neuron, 2)``, x and y.

        From -1, the centre of the first column (row), to 1, that of the last.
        """
        return self._grid().cpu().numpy()

    def forward(self, images: Tensor, neurons: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return the responses to images.

        Parameters
        ----------
        images
            ``(image, 1, 36, 64)``, standardized.
        neurons
            Positions of the neurons whose responses are wanted; all by default.

        Returns
        -------
        torch.Tensor
            ``(image, neuron)``, differentiable with respect to the images.

        Raises
        ------
        ValueError
            The images are of another shape.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (1, HEIGHT, WIDTH):
            raise ValueError(
                f"images must be (image, 1, {HEIGHT}, {WIDTH}); got {tuple(images.shape)}. Resize "
                f"them, and add the axis of the single grey channel with images[:, None]."
            )
        wanted = slice(None) if neurons is None else torch.as_tensor(neurons, device=images.device)
        grid = self._grid()[wanted]
        read = F.grid_sample(  # (B, C, N, 1)
            self.core(images),
            grid[None, :, None].expand(len(images), -1, -1, -1),
            align_corners=True,
        )
        weights = self.features[0, :, 0][:, wanted]  # (C, N)
        drive = torch.einsum("bcn,cn->bn", read[..., 0], weights)
        return F.elu(drive + self.bias[wanted]) + 1

    def train(self, mode: bool = True) -> DigitalTwin:
        """Stay in evaluation mode, whatever is asked: it stands for neurons, and is not fitted."""
        return super().train(False)

    def _grid(self) -> Tensor:
        return self.position_to_grid(self.source_grid)

    def _load(self, checkpoint: Mapping[str, Tensor], features: str) -> None:
        """Copy the weights under their names here, all of them or none."""
        readout = features.removesuffix("_features")
        weights = {}
        for name, value in checkpoint.items():
            if not _UNUSED.match(name):
                _check(bool(torch.isfinite(value).all()), f"{name} holds NaN or infinity")
                name = name.replace("core.features.", "core.").replace(readout, "")
                name = name.replace("mu_transform.", "position_to_grid.")
                weights["features" if name == "_features" else name] = value
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise _unlike(" ".join(str(error).split())) from error


def read_digital_twin(path: Path) -> DigitalTwin:
    """Read the digital twin from its checkpoint.

    Parameters
    ----------
    path
        ``sensorium_sota_model.pth``. Only arrays are read from it; code that a checkpoint may
        hold is refused.

    Returns
    -------
    DigitalTwin
        In 32 bits, on the CPU.

    Raises
    ------
    ValueError
        The file is not a checkpoint of that layout; the message names it.
    """
    content = path.read_bytes()
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch, pickle and zipfile raise many types
        raise ValueError(
            f"{path.name} cannot be read as a PyTorch checkpoint of arrays only "
            f"({type(error).__name__}). It may be cut short, damaged or another file: fetch it "
            f"again."
        ) from error
    provenance = Provenance(
        source="Sensorium 2022, the competition's baseline network, recording 26872-17-20",
        citation="willeke2022",
        licence="MIT",
        url=PAGE,
        sha256={path.name: hashlib.sha256(content).hexdigest()},
        preprocessing=("trained by its authors; read at the mean position, behaviour not used",),
    )
    try:
        return DigitalTwin(checkpoint, provenance)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _features_of(checkpoint: Mapping[str, Tensor]) -> str:
    """Return the name of the readout's weights: the key of the recording is part of it."""
    arrays = isinstance(checkpoint, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in checkpoint.items()
    )
    _check(arrays, "it must be a dictionary of arrays by name")
    found = [name for name in checkpoint if _FEATURES.fullmatch(name)]
    _check(
        len(found) == 1,
        f"it must hold one readout, readout.<recording>._features; got {len(found)}",
    )
    return found[0]


def _core(checkpoint: Mapping[str, Tensor]) -> nn.Sequential:
    """Build the layers with the numbers of channels and the sizes of kernels of the checkpoint."""
    n_layers = 0
    while f"core.features.layer{n_layers}.norm.weight" in checkpoint:
        n_layers += 1
    first = checkpoint.get("core.features.layer0.conv.weight")
    _check(first is not None and first.ndim == 4, "it lacks core.features.layer0.conv.weight")
    n_channels, _, kernel, _ = first.shape
    layers = OrderedDict(layer0=_layer("conv", nn.Conv2d(1, n_channels, kernel, bias=False)))
    for k in range(1, n_layers):
        name = f"core.features.layer{k}.ds_conv.spatial_conv.weight"
        _check(name in checkpoint and checkpoint[name].ndim == 4, f"it lacks {name}")
        layers[f"layer{k}"] = _layer("ds_conv", _separable(n_channels, len(checkpoint[name][0, 0])))
    return nn.Sequential(layers)


def _layer(name: str, convolution: nn.Module) -> nn.Sequential:
    n_channels = list(convolution.parameters())[-1].shape[0]
    return nn.Sequential(
        OrderedDict([(name, convolution), ("norm", nn.BatchNorm2d(n_channels)), ("elu", nn.ELU())])
    )


def _separable(n_channels: int, kernel: int) -> nn.Sequential:
    spatial = nn.Conv2d(
        n_channels, n_channels, kernel, padding=kernel // 2, groups=n_channels, bias=False
    )
    return nn.Sequential(
        OrderedDict(
            in_depth_conv=nn.Conv2d(n_channels, n_channels, 1, bias=False),
            spatial_conv=spatial,
            out_depth_conv=nn.Conv2d(n_channels, n_channels, 1, bias=False),
        )
    )


def _position_to_grid(checkpoint: Mapping[str, Tensor], features: str) -> nn.Sequential:
    name = features.replace("_features", "mu_transform.0.weight")
    _check(name in checkpoint and checkpoint[name].ndim == 2, f"it lacks {name}")
    n_hidden = len(checkpoint[name])
    return nn.Sequential(nn.Linear(2, n_hidden), nn.ELU(), nn.Linear(n_hidden, 2), nn.Tanh())


def _check(right: bool, wrong: str) -> None:
    if not right:
        raise _unlike(wrong)


def _unlike(wrong: str) -> ValueError:
    return ValueError(
        f"this is not the checkpoint of the digital twin: {wrong}. Expected the layers core."
        f"features.layer0 ... and one readout.<recording>, as in sensorium_sota_model.pth: fetch "
        f"that file again."
    )
