"""The part of a convolutional network that one neuron sees, for many neurons at once.

A neuron that reads the last feature map at one point depends on the 2 x 2 pixels around it, hence
on a patch of the image: its cone. Convolved without padding, the patch shrinks layer by layer to
those 2 x 2 pixels, and nothing is computed that the neuron does not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# input channels up to which the gradient by a banded matrix is the faster one
FEW_CHANNELS = 3


class Stage(NamedTuple):
    """One convolution of a core, and what follows it.

    `padded`: with so many zeros around the map that, at stride 1, it keeps its size; `elu`: ELU
    comes after.
    """

    weight: Tensor
    bias: Tensor | None
    groups: int = 1
    stride: int = 1
    padded: bool = True
    elu: bool = True


class Layer(NamedTuple):
    """A stage, the part of its output that lies on the map, and its weights as a matrix."""

    stage: Stage
    inside: Tensor | None  # (B, 1, h, w), 1 on the map; None where all of it is
    band: Tensor | None


class ConeResponse(nn.Module):
    r"""Response of one neuron to each image, computed from what it sees alone.

    .. math::

        r_i(s) = \operatorname{ELU}\Big(\sum_c w_{ic}\,\phi_c(s)[\mu_i] + b_i\Big) + 1,

    as in the whole network, :math:`\phi` the last of its layers (convolutions, each followed by
    ELU or nothing), read by bilinear interpolation at :math:`\mu_i`. With kernels of k pixels and
    stride 1 the cone is :math:`2 + \sum (k - 1)` pixels wide. Where it reaches beyond the image,
    the features of every layer are set to 0 there, as the zeros around each layer of the whole
    network are: the result is the same at borders and corners, and so is the gradient.

    The weights are copies without gradient: only images are differentiated, once (there are no
    second derivatives).

    Parameters
    ----------
    model : module
        In evaluation mode, such as `encoding.EncodingNetwork`. Either has ``folded_layers()``, a
        list of (weight, bias) of convolutions with zeros around, each followed by ELU (strides, if
        any, are those of ``layers``), or a ``core`` made of Conv2d, BatchNorm2d and ELU.
        Positions ``grid`` (N, 2) or ``readout_grid``, x and y from -1 to 1 (the centres of the
        outermost pixels); ``features`` (N, C) or (1, C, 1, N); ``bias`` (N,).
    shape : (int, int), optional
        Rows and columns of the images; by default the model's.

    Attributes
    ----------
    n_neurons : int
    patch_shape : (int, int)
        Rows and columns of the cone.

    Raises
    ------
    ValueError
        If the core is of other layers, readout and core do not fit each other, or no shape is
        known.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, int] | None = None) -> None:
        super().__init__()
        shape = getattr(model, "shape", None) if shape is None else shape
        if shape is None:
            raise ValueError("the model does not say how large its images are: give their shape")
        self.shape = tuple(shape)
        self.stages = _stages_of(model)
        features, bias, grid = _readout_of(model, self.stages[-1].weight.shape[0])
        self.register_buffer("features", features)  # (N, C)
        self.register_buffer("bias", bias)  # (N,)
        corner, weights = _interpolation(grid, self._sizes()[-1])
        self.register_buffer("interpolation", weights)  # (N, 2, 2)
        patch = (2, 2)
        for stage in reversed(self.stages):
            corner = stage.stride * corner - _before(stage)
            kernel = stage.weight.shape[2:]
            patch = tuple((n - 1) * stage.stride + k for n, k in zip(patch, kernel, strict=True))
        self.patch_shape = patch
        self.register_buffer("origin", corner)  # (N, 2), row and column; may be off the image

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return len(self.bias)

    def forward(self, images: Tensor, index: Tensor | Sequence[int]) -> Tensor:
        """Response of neuron ``index[b]`` to image b.

        Parameters
        ----------
        images : (B, 1, H, W) tensor
        index : (B,) tensor or sequence of int
            A neuron for each image.

        Returns
        -------
        (B,) tensor

        Raises
        ------
        ValueError
            If there is not one neuron an image, no such neuron, or images have another size.
        """
        index = self._checked(images, index, self.shape)
        return self.on_patches(self.crop(images, index), index)

    def on_patches(self, patches: Tensor, index: Tensor | Sequence[int]) -> Tensor:
        """Response of neuron ``index[b]`` to the patch (B, 1, h, w) in its cone.

        What a patch holds beyond the border of the image must be 0, as in what `crop` returns.
        Raises as `forward`.
        """
        index = self._checked(patches, index, self.patch_shape)
        layers = self._layers(index, patches.shape[1])
        seen = _Shrink.apply(patches, layers)  # (B, C, 2, 2)
        read = torch.einsum("bcij,bij->bc", seen, self.interpolation[index])
        drive = (read * self.features[index]).sum(dim=1) + self.bias[index]
        return functional.elu(drive) + 1

    def crop(self, images: Tensor, index: Tensor) -> Tensor:
        """Cut the cones (B, 1, h, w) out of images (B, 1, H, W); 0 beyond the border."""
        place, inside = self._place(index)
        cut = images.flatten(1).gather(1, place.flatten(1)).view(inside.shape)
        return torch.where(inside, cut, 0)[:, None]

    def paste(self, patches: Tensor, index: Tensor) -> Tensor:
        """Put patches (B, 1, h, w) where the cones are, on images (B, 1, H, W) of zeros."""
        place, inside = self._place(index)
        kept = torch.where(inside, patches[:, 0], 0)
        blank = patches.new_zeros(len(patches), self.shape[0] * self.shape[1])
        return blank.scatter_add(1, place.flatten(1), kept.flatten(1)).view(-1, 1, *self.shape)

    def on_image(self, index: Tensor) -> Tensor:
        """Say which pixels of the cones are on the image, (B, 1, h, w) of bool."""
        return self._place(index)[1][:, None]

    def _checked(self, images: Tensor, index: Tensor | Sequence[int], shape: tuple) -> Tensor:
        index = torch.as_tensor(index, device=self.bias.device)
        if images.ndim != 4 or images.shape[2:] != shape or index.shape != images.shape[:1]:
            raise ValueError(
                f"need images (B, 1, {shape[0]}, {shape[1]}) and one neuron for each; got images "
                f"{tuple(images.shape)} and neurons {tuple(index.shape)}"
            )
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < self.n_neurons:
            raise ValueError(
                f"neurons are 0 to {self.n_neurons - 1}; got {int(index.min())} to "
                f"{int(index.max())}"
            )
        return index

    def _sizes(self) -> list[tuple[int, int]]:
        """Size of the map after each stage of the whole network."""
        sizes, size = [], self.shape
        for stage in self.stages:
            lost = (1, 1) if stage.padded else stage.weight.shape[2:]
            size = tuple((n - k) // stage.stride + 1 for n, k in zip(size, lost, strict=True))
            sizes.append(size)
        return sizes

    def _axes(self, index: Tensor, origin: Tensor, shape: Sequence[int]) -> list[Tensor]:
        """Rows (B, h) and columns (B, w) of a patch whose first pixel is at `origin` (N, 2)."""
        return [
            origin[index, axis, None] + torch.arange(n, device=index.device)
            for axis, n in enumerate(shape)
        ]

    def _place(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B, h, w) in the flattened image, and which of them are on it."""
        rows, columns = self._axes(index, self.origin, self.patch_shape)
        inside = _inside(rows, columns, self.shape)
        height, width = self.shape
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        return rows[:, :, None] * width + columns[:, None, :], inside

    def _layers(self, index: Tensor, n_channels: int) -> list[Layer]:
        """Attach to each stage what of its output lies on the map."""
        origin, shape, layers = self.origin, self.patch_shape, []
        for stage, size in zip(self.stages, self._sizes(), strict=True):
            # exact: the patch was made to start on an output and to end on one
            origin = (origin + _before(stage)) // stage.stride
            kernel = stage.weight.shape[2:]
            shape = [(n - k) // stage.stride + 1 for n, k in zip(shape, kernel, strict=True)]
            inside = _inside(*self._axes(index, origin, shape), size)[:, None]
            few = stage.groups == 1 and n_channels <= FEW_CHANNELS
            band = _band(stage, shape[1]) if few else None
            mask = None if bool(inside.all()) else inside.to(stage.weight.dtype)
            layers.append(Layer(stage, mask, band))
            n_channels = len(stage.weight)
        return layers

    def _apply(self, fn: Any, recurse: bool = True) -> ConeResponse:
        """Move the stages too: they are no parameters."""
        self.stages = [
            s._replace(weight=fn(s.weight), bias=None if s.bias is None else fn(s.bias))
            for s in self.stages
        ]
        return super()._apply(fn, recurse)


class _Shrink(torch.autograd.Function):
    """Stages without padding, one after the other, and the gradient by the input alone."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, layers: Sequence[Layer]) -> Tensor:
        """Output of the last stage for patches (B, C, h, w)."""
        outputs, x = [], patches
        for stage, inside, _ in layers:
            x = functional.conv2d(
                x, stage.weight, stage.bias, stride=stage.stride, groups=stage.groups
            )
            x = functional.elu_(x) if stage.elu else x
            x = x if inside is None else x.mul_(inside)
            outputs.append(x)
        ctx.layers, ctx.size = layers, patches.shape
        ctx.save_for_backward(*outputs)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        """Gradient by the patches, from the gradient by the output."""
        outputs = ctx.saved_tensors
        sizes = [ctx.size, *(o.shape for o in outputs[:-1])]
        for layer, x, size in zip(reversed(ctx.layers), outputs[::-1], sizes[::-1], strict=True):
            if layer.stage.elu:  # its derivative, written with its value
                slope = x.clamp_max(0).add_(1).mul_(slope)
            if layer.inside is not None:
                slope = slope * layer.inside
            slope = _slope_by_input(slope, layer, size)
        return slope, None


def _slope_by_input(slope: Tensor, layer: Layer, size: torch.Size) -> Tensor:
    """Turn the gradient by the output of a convolution into that by its input."""
    stage = layer.stage
    if layer.band is None:
        return functional.conv_transpose2d(
            slope, stage.weight, stride=stage.stride, groups=stage.groups
        )
    n, _, height, _ = slope.shape
    tall, channels, width = stage.weight.shape[2], size[1], size[3]
    by_row = slope.transpose(1, 2).reshape(n * height, -1) @ layer.band
    by_row = by_row.view(n, height, channels, tall, width)
    result = slope.new_zeros(size)
    for k in range(tall):
        rows = slice(k, k + (height - 1) * stage.stride + 1, stage.stride)
        result[:, :, rows] += by_row[:, :, :, k].transpose(1, 2)
    return result


def _band(stage: Stage, width: int) -> Tensor:
    """Matrix (C_out width, C_in k_y width_in) from the gradient of an output row to the input's.

    For a few input channels the product with it, mostly zeros as it is, is 4 times faster than the
    transposed convolution of the library (one channel, measured).
    """
    n_out, n_in, tall, wide = stage.weight.shape
    band = stage.weight.new_zeros(n_out, width, n_in, tall, (width - 1) * stage.stride + wide)
    for x in range(width):
        band[:, x, ..., x * stage.stride : x * stage.stride + wide] = stage.weight
    return band.reshape(n_out * width, -1)


def _before(stage: Stage) -> Tensor:
    """Rows and columns of zeros before the map: what the first output pixel is shifted by."""
    sizes = torch.tensor(stage.weight.shape[2:], device=stage.weight.device)
    return (sizes - 1) // 2 * int(stage.padded)


def _inside(rows: Tensor, columns: Tensor, size: Sequence[int]) -> Tensor:
    """Which pixels (B, h, w) of rows (B, h) and columns (B, w) are on a map of this size."""
    on = [(0 <= axis) & (axis < n) for axis, n in zip((rows, columns), size, strict=True)]
    return on[0][:, :, None] & on[1][:, None, :]


def _interpolation(grid: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """First (row, column) of the 2 x 2 pixels around each position (N, 2), and their weights."""
    last = torch.tensor([size[0] - 1, size[1] - 1], device=grid.device)
    place = (grid.flip(1) + 1) / 2 * last  # (N, 2), row and column
    first = place.floor()
    share = place - first
    rows, columns = (torch.stack([1 - s, s], dim=1) for s in share.T)
    return first.long(), rows[:, :, None] * columns[:, None, :]


def _readout_of(model: nn.Module, n_channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Copies of features (N, C), bias (N,) and positions (N, 2)."""
    features, bias = model.features.detach().clone(), model.bias.detach().clone()
    if features.ndim == 4:
        features = features[0, :, 0].T.contiguous()
    grid = torch.as_tensor(model.grid if hasattr(model, "grid") else model.readout_grid)
    grid = grid.detach().to(features).clone()
    expected = (len(bias), n_channels)
    if tuple(features.shape) != expected or tuple(grid.shape) != (len(bias), 2):
        raise ValueError(
            f"a readout of {len(bias)} neurons from {n_channels} channels needs features "
            f"{expected} and positions {(len(bias), 2)}; got {tuple(features.shape)} and "
            f"{tuple(grid.shape)}"
        )
    return features, bias, grid


def _stages_of(model: nn.Module) -> list[Stage]:
    if model.training:
        raise ValueError("the model is in training mode: call model.eval() first")
    if hasattr(model, "folded_layers"):
        stages = [Stage(weight, bias) for weight, bias in model.folded_layers()]
        for k, layer in enumerate(getattr(model, "layers", ())):
            stages[k] = stages[k]._replace(stride=getattr(layer, "stride", 1))
    else:
        stages = _stages_of_modules([m for m in model.core.modules() if not list(m.children())])
    return [
        s._replace(
            weight=s.weight.detach().clone(),
            bias=None if s.bias is None else s.bias.detach().clone(),
        )
        for s in stages
    ]


def _stages_of_modules(modules: Sequence[nn.Module]) -> list[Stage]:
    stages: list[Stage] = []
    for module in modules:
        follows = len(stages) > 0 and not stages[-1].elu
        if isinstance(module, nn.Conv2d) and module.dilation == (1, 1):
            stages.append(_stage(module))
        elif isinstance(module, nn.BatchNorm2d) and follows:
            stages[-1] = _with_norm(stages[-1], module)
        elif isinstance(module, nn.ELU) and module.alpha == 1 and follows:
            stages[-1] = stages[-1]._replace(elu=True)
        else:
            raise ValueError(
                "the core must be convolutions without dilation, each followed by batch "
                f"normalization and ELU or by nothing; got {module}. Give the model "
                "folded_layers()."
            )
    return stages


def _stage(module: nn.Conv2d) -> Stage:
    same = tuple((k - 1) / 2 for k in module.kernel_size)  # no whole number for even kernels
    padded = module.padding in ("same", same)
    if module.padding_mode != "zeros" or not (padded or module.padding in ("valid", (0, 0))):
        raise ValueError(f'convolutions must have zeros as padding, "same" or none; got {module}')
    down, right = module.stride
    if down != right:
        raise ValueError(f"the stride must be the same down and to the right; got {module}")
    return Stage(module.weight, module.bias, module.groups, down, padded, elu=False)


def _with_norm(stage: Stage, norm: nn.BatchNorm2d) -> Stage:
    """Fold batch normalization with its stored statistics into the convolution before it."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = norm.bias - norm.running_mean * scale
    if stage.bias is not None:
        bias = bias + stage.bias * scale
    return stage._replace(weight=stage.weight * scale[:, None, None, None], bias=bias)
