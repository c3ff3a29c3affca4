"""Networks whose layers are read out: ResNets, small ones trained here and published ones.

Every network takes images (B, 3, H, W), RGB from 0 to 1, and standardises them itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.models.supervised import Examples, Supervised
from visualcortex.training import choose_device, run_epochs

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
IMAGENET_SIZE = 224  # pixels
ROUNDING = 1e-3  # by which images that were standardised and put back may leave 0 to 1
PLAIN_MEAN, PLAIN_SD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
# Commits of the hub that hold the weights as safetensors.
REVISIONS = {
    "microsoft/resnet-18": "65a5785d9156231087c481e0c7dd33a5ff6f7e3e",
    "microsoft/resnet-50": "34c2154c194f829b11125337b98c8f5f9965ff19",
}


class WeightsError(RuntimeError):
    """Published weights are neither at hand nor to be had; the message says what to do."""


class Normalised(nn.Module):
    r"""A network that is given :math:`(x - \mu_c) / \sigma_c` for the images x, c the channel.

    Parameters
    ----------
    network : torch.nn.Module
        Takes (B, 3, H, W).
    mean, sd : three floats
        Of red, green and blue, for images from 0 to 1.
    size : int, optional
        Side in pixels that images are resized to before, by bilinear interpolation with a filter
        against aliasing (nothing is cropped); by default they stay as they are.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float] = PLAIN_MEAN,
        sd: Sequence[float] = PLAIN_SD,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.network, self.size = network, size
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("sd", torch.tensor(sd)[:, None, None])

    def forward(self, images: Tensor) -> Any:
        """What the network says of images (B, 3, H, W), RGB from 0 to 1."""
        if self.size is not None and images.shape[2:] != (self.size, self.size):
            size = (self.size, self.size)
            images = functional.interpolate(images, size, mode="bilinear", antialias=True)
        return self.network((images - self.mean) / self.sd)


def small_resnet(
    n_classes: int,
    *,
    widths: Sequence[int] = (16, 32, 64, 128),
    n_blocks: Sequence[int] = (1, 1, 1, 1),
    size: int | None = None,
    seed: int,
) -> Normalised:
    """Return a small residual network with random weights (He et al. 2016).

    A 7 x 7 convolution and a maximum, which together keep every fourth pixel, then stages of basic
    blocks, each after the first at half the resolution of the one before, the average over
    positions and a linear classifier. Images of 64 x 64 pixels leave maps of 16, 8, 4 and 2.

    Parameters
    ----------
    n_classes : int
        Number of classes, at least 2.
    widths, n_blocks : ints
        Channels and blocks of each stage. The first convolution has ``widths[0]`` channels.
    size : int, optional
        Side in pixels that images are resized to before; by default they stay as they are.
    seed : int
        Of the weights. The random state of torch is left as it is.

    Returns
    -------
    Normalised
        On the CPU, in evaluation mode. Its `network` is a
        ``transformers.ResNetForImageClassification``, its output has ``logits`` (B, n_classes).

    Raises
    ------
    ValueError
        A number is too small, or widths and blocks are not of as many stages.

    References
    ----------
    He, K., Zhang, X., Ren, S. & Sun, J. (2016). Deep residual learning for image recognition.
    CVPR. https://arxiv.org/abs/1512.03385
    """
    if n_classes < 2 or not widths or len(widths) != len(n_blocks) or min(*widths, *n_blocks) < 1:
        raise ValueError(
            "need at least 2 classes, and a width and a number of blocks, both positive, for each "
            f"stage; got n_classes={n_classes}, widths={widths} and n_blocks={n_blocks}"
        )
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=widths[0],
        hidden_sizes=list(widths),
        depths=list(n_blocks),
        layer_type="basic",
        num_labels=n_classes,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        return Normalised(ResNetForImageClassification(config), size=size).eval()


def untrained(network: Normalised, seed: int) -> Normalised:
    """Return a ResNet of the same form with random weights, the control of every trained one.

    Parameters
    ----------
    network : Normalised
        From `small_resnet` or `published_resnet`; stays as it is.
    seed : int
        Of the weights. The random state of torch is left as it is.

    Returns
    -------
    Normalised
        On the CPU, in evaluation mode: batch normalizations keep the statistics that they start
        with, mean 0 and variance 1, so that an image's answer does not depend on other images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        fresh = type(network.network)(network.network.config)
    mean, sd = (values.flatten().tolist() for values in (network.mean, network.sd))
    return Normalised(fresh, mean, sd, network.size).eval()


class Luminance(nn.Module):
    """The mean of red, green and blue, (B, 1, H, W): what a model of pixels or of V1 reads."""

    def forward(self, images: Tensor) -> Tensor:
        """Luminance of images (B, 3, H, W)."""
        return images.mean(dim=1, keepdim=True)


def published_resnet(
    name: str = "microsoft/resnet-50", revision: str | None = None, *, folder: Path | None = None
) -> Normalised:
    """Return a residual network trained on ImageNet (He et al. 2016; Apache-2.0).

    The weights come from the Hugging Face hub, once, into its cache (``HF_HOME``), from one commit
    and as safetensors, which hold arrays and no code. With ``VISUALCORTEX_OFFLINE=1`` only the
    cache is looked at.

    Images are resized to 224 x 224. ImageNet's own protocol crops the middle of a larger image;
    nothing is cropped here, for objects in neuroscience experiments fill their images.

    Parameters
    ----------
    name : str
        "microsoft/resnet-18" or "microsoft/resnet-50".
    revision : str, optional
        Full commit of the weights, 40 hexadecimal digits; by default that of `REVISIONS`.
    folder : path, optional
        Another cache than the hub's own.

    Returns
    -------
    Normalised
        On the CPU, in evaluation mode, without gradients of the weights.

    Raises
    ------
    ValueError
        An unknown network, or a revision that is no full commit and so might change.
    WeightsError
        The weights are not at hand and cannot be had, or are damaged.
    """
    if name not in REVISIONS:
        raise ValueError(f"name must be one of {sorted(REVISIONS)}; got {name!r}")
    revision = REVISIONS[name] if revision is None else revision
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise ValueError(
            f"revision must be a full commit, 40 hexadecimal digits; got {revision!r}. Names of "
            "branches are refused, since what they stand for changes."
        )
    network = _from_hub(name, revision, folder)
    network = Normalised(network, IMAGENET_MEAN, IMAGENET_SD, IMAGENET_SIZE)
    return network.eval().requires_grad_(False)


def stages(network: nn.Module) -> dict[str, str]:
    """Return the layers of a ResNet that are usually read, as module paths by readable names.

    Parameters
    ----------
    network : torch.nn.Module
        A ``transformers`` ResNet, or a module with one inside.

    Returns
    -------
    dict
        "embedder" (first convolution and maximum), "stage 1" and so on, "average" (over positions)
        in the order in which they are computed.

    Raises
    ------
    ValueError
        There is no ResNet in it, or more than one.
    """
    from transformers import ResNetModel

    found = [path for path, part in network.named_modules() if isinstance(part, ResNetModel)]
    if len(found) != 1:
        raise ValueError(
            f"expected a module with one ResNetModel of transformers; got "
            f"{type(network).__name__} with {len(found)}. Name layers of other networks by their "
            "paths in named_modules()."
        )
    start = f"{found[0]}." if found[0] else ""
    n_stages = len(network.get_submodule(f"{start}encoder.stages"))
    paths = {f"stage {k + 1}": f"{start}encoder.stages.{k}" for k in range(n_stages)}
    return {"embedder": f"{start}embedder", **paths, "average": f"{start}pooler"}


def train_classifier(
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    *,
    n_epochs: int = 20,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Train a network, in place, to tell classes of images apart.

    AdamW on the mean cross-entropy, with a learning rate that rises for a fifth of the steps and
    falls along half a cosine, on batches in random order (what is left of the last is not used).
    The epoch with the lowest validation loss is kept. Gains and offsets do not decay.

    Bias: the validation loss of the epoch kept is the lowest of many; report other images.

    Parameters
    ----------
    network : torch.nn.Module
        Images (B, 3, H, W) to logits (B, K), or to an output that has them as ``logits``. It is
        left in evaluation mode, on the device of the training.
    images : (M, 3, H, W) array
        RGB from 0 to 1; anything with a length and a shape that is indexed with arrays of ints,
        and read a batch at a time.
    labels : (M,) ints
        Classes, from 0 to K - 1.
    validation : (images, labels)
        Other images of the same classes.
    n_epochs, batch_size : int
        Epochs; images a step, 2 or more.
    learning_rate, weight_decay : float
        Of AdamW; the rate at its highest.
    seed : int
        Of the order of images.
    device : str
        "auto", "cpu" or "cuda".
    progress : bool
        Whether to show a bar.

    Returns
    -------
    pandas.DataFrame
        A row an epoch: "epoch", "train" and "validation" (cross-entropy, nats), "kept".

    Raises
    ------
    ValueError
        Images and labels do not belong together, images are not RGB from 0 to 1, a label is of no
        class, or a setting is out of range.
    FloatingPointError
        Training diverges.
    """
    if min(n_epochs, batch_size - 1) < 1 or learning_rate <= 0 or weight_decay < 0:
        raise ValueError(
            "need at least 1 epoch, 2 images a batch, a positive learning rate and a weight decay "
            f"that is not negative; got {n_epochs}, {batch_size}, {learning_rate}, {weight_decay}"
        )
    network.to(choose_device(device))
    sets = _examples(images, labels), _examples(*validation)
    _check_classes(network, *sets)
    training = Supervised(
        network,
        *sets,
        _cross_entropy,
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
    )
    try:
        return run_epochs(training, n_epochs, progress=progress, description="classifier")
    finally:
        network.eval()


def _examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    """Images with classes, checked as far as no image need be read."""
    labels = np.asarray(labels)
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 3 or labels.shape != shape[:1] or len(labels) < 2:
        raise ValueError(
            "expected images (M, 3, H, W) and labels (M,), M at least 2; got shapes "
            f"{shape} and {labels.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(
            "labels must be integers from 0, one number a class; got "
            f"{labels.dtype}; numpy.unique(..., return_inverse=True) makes such"
        )
    return Examples(_Checked(images), (torch.from_numpy(labels.astype(np.int64)),))


class _Checked:
    """Images of which every batch is looked at when it is read."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return some images, or refuse what is not RGB from 0 to 1."""
        images = np.asarray(self.images[rows])
        if images.dtype.kind != "f" or not (
            images.min() >= -ROUNDING and images.max() <= 1 + ROUNDING
        ):
            raise ValueError(
                "images must be floating-point numbers from 0 to 1; got "
                f"{images.dtype} from {images.min()} to {images.max()}. Divide bytes by 255."
            )
        return images


@torch.no_grad()
def _check_classes(network: nn.Module, *sets: Examples) -> None:
    network.eval()
    images, _ = sets[0].batch(np.arange(1), next(network.parameters()).device)
    n_classes = _logits(network(images)).shape[1]
    highest = max(int(examples.targets[0].max()) for examples in sets)
    if highest >= n_classes:
        raise ValueError(
            f"the network tells {n_classes} classes apart, from 0; got label {highest}"
        )


def _cross_entropy(output: Any, targets: tuple[Tensor, ...]) -> Tensor:
    return functional.cross_entropy(_logits(output), targets[0])


def _logits(output: Any) -> Tensor:
    return getattr(output, "logits", output)


def _from_hub(name: str, revision: str, folder: Path | None) -> nn.Module:
    """Weights from the cache, else from the network unless that is forbidden."""
    from safetensors import SafetensorError
    from transformers import ResNetForImageClassification

    offline = os.environ.get("VISUALCORTEX_OFFLINE", "0") not in ("", "0")
    fault: Exception
    for local in (True,) if offline else (True, False):
        try:
            network, found = ResNetForImageClassification.from_pretrained(
                name,
                revision=revision,
                cache_dir=folder,
                local_files_only=local,
                use_safetensors=True,
                output_loading_info=True,
            )
            return _complete(network, found["missing_keys"])
        except (OSError, SafetensorError, WeightsError) as error:
            fault = error
    raise _no_weights(name, revision, offline, fault) from fault


def _complete(network: nn.Module, missing: set[str]) -> nn.Module:
    """Refuse weights with gaps, which would be filled at random; a counter does not matter."""
    gaps = sorted(key for key in missing if not key.endswith("num_batches_tracked"))
    if gaps:
        raise WeightsError(f"{len(gaps)} weights are missing, {gaps[0]} the first")
    return network


def _no_weights(name: str, revision: str, offline: bool, fault: Exception) -> WeightsError:
    network = "unset VISUALCORTEX_OFFLINE" if offline else "connect to the network"
    reason = str(fault).partition("\n")[0].rstrip(".")
    return WeightsError(
        f"the weights of {name} at {revision} are not in the hub's cache, or damaged there, and "
        f"could not be downloaded from https://huggingface.co/{name}"
        f"{' (VISUALCORTEX_OFFLINE forbids the network)' if offline else ''}: {reason}. To do: "
        f"{network}, or let HF_HOME name a cache that holds them; delete the folder "
        f"models--{name.replace('/', '--')} of a damaged cache."
    )
