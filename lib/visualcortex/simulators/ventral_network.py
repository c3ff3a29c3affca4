"""The hidden network of the simulated ventral stream: trained once, kept beside this file.

``python -m visualcortex.simulators.ventral_network`` trains it anew (a minute on two cores) and
replaces the file; another machine gives other roundings, hence another network of the same kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from visualcortex.models.activations import extract
from visualcortex.models.backbones import small_resnet, stages, train_classifier
from visualcortex.simulators import objects

LAYERS = ("stage 1", "stage 2", "stage 3", "stage 4")
SIDES = (16, 8, 4, 2)  # of their maps
FILE = Path(__file__).with_suffix(".npz")
SEED = 20150923  # of its weights and of all that it has seen
N_SEEN, N_EPOCHS = 16384, 6


def hidden_network() -> nn.Module:
    """Return the network, in evaluation mode: pictures (B, 3, 64, 64) to logits of 64 objects."""
    network = small_resnet(len(objects.object_names()), seed=SEED)
    with np.load(FILE, allow_pickle=False) as kept:
        state = {name: torch.from_numpy(value).float() for name, value in kept.items()}
    network.load_state_dict(state | _counters(network))
    return network.requires_grad_(False)


def hidden_layer(network: nn.Module, images: np.ndarray, layer: str) -> Tensor:
    """Features of a layer, one of `LAYERS`, of pictures (B, 3, 64, 64); (B, C, H, W)."""
    path = stages(network)[layer]
    flat = extract(network, images, [path], device="cpu", progress=False)[path]
    side = SIDES[LAYERS.index(layer)]
    return torch.from_numpy(flat).unflatten(1, (-1, side, side))


def train_hidden_network(n_seen: int = N_SEEN, n_epochs: int = N_EPOCHS) -> nn.Module:
    """Train the network to name objects in pictures that no recording shows."""
    rng = np.random.default_rng(SEED)
    network = small_resnet(len(objects.object_names()), seed=SEED)
    seen, held_out = (objects.varied_pictures(n, rng) for n in (n_seen, 1024))
    train_classifier(network, *seen, held_out, n_epochs=n_epochs, seed=SEED, device="cpu")
    return network


def _counters(network: nn.Module) -> dict[str, Tensor]:
    """Counts of batches, which evaluation does not use and the file does not hold."""
    return {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}


def main() -> None:
    """Train the network and keep its weights, in half precision."""
    state = train_hidden_network().state_dict()
    kept = {k: v.half().numpy() for k, v in state.items() if v.is_floating_point()}
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    main()
