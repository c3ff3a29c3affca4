"""Generators of population activity and their critics, several independent networks at once.

Every parameter has a leading axis of networks, M: what one network does to its trials, M networks
do to theirs in one call. Neurons are channels, so that their order means nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

# frames that the networks handle at once
BLOCK = 4
# trials that are written at once
N_AT_ONCE = 512
# frames between the two of which the critic is shown the product
LAGS = (1, 2, 4)
# slope of the hidden units where they are negative
LEAK = 0.2
# time constants of the latent paths at the start, frames: the first and the last
PATH_TIMES = 2.0, 64.0
# maps of the critic that spectral normalisation divides, and by what besides: blocks and rates see
# the same frames, and their slopes add up
NORMALISED = {"blocks": math.sqrt(2), "rates": math.sqrt(2), "summaries": 1.0, "dense": 1.0}

Network = TypeVar("Network", bound=nn.Module)


class Affine(nn.Module):
    """Affine map of M networks, (M, B, n_in) -> (M, B, n_out); starts as `torch.nn.Linear`."""

    def __init__(self, n_in: int, n_out: int, bias: bool = True) -> None:
        super().__init__()
        bound = max(n_in, 1) ** -0.5
        self.weight = nn.Parameter(torch.empty(1, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(1, 1, n_out).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map each network's rows."""
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)


def joined(networks: Sequence[Network]) -> Network:
    """Put networks of the same sizes side by side in one, along the first axis."""
    out = copy.deepcopy(networks[0])
    states = [network.state_dict() for network in networks]
    return _with_state(out, {name: torch.cat([s[name] for s in states]) for name in states[0]})


def separated(network: Network, index: int) -> Network:
    """Take one of the networks out of those side by side in one; a copy."""
    state = network.state_dict()
    return _with_state(
        copy.deepcopy(network), {name: x[index : index + 1].clone() for name, x in state.items()}
    )


def _with_state(network: Network, state: dict[str, Tensor]) -> Network:
    """Replace parameters and buffers, which may then be of another number of networks."""
    for name, value in network.named_parameters():
        value.data = state[name]
    for name, value in network.named_buffers():
        value.data = state[name]
    return network


class Noise(NamedTuple):
    """What makes one trial another: all but the last axes shown are (M, B, ...)."""

    latent: Tensor  # (M, B, L) normal: shared by the neurons of a trial
    innovations: Tensor  # (M, P, T, B) normal: of the latent paths, shared by the neurons
    excursion: Tensor  # (M, B, N) normal: of one neuron in one trial
    engaged: Tensor  # (M, B, N) uniform: of one neuron in one trial
    private: Tensor  # (M, B, T, N), uniform if binary else normal: of one neuron in one frame


class _Drawn(torch.autograd.Function):
    """1 with the given probability, else 0; backwards as if it were the probability."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor, uniform: Tensor) -> Tensor:
        """Draw."""
        return (uniform < probability).to(probability.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Hand on."""
        return gradient, None


class Generator(nn.Module):
    r"""From noise and a stimulus to the activity of trials, (M, B, T, N).

    The drive of neuron i in frame t of a trial with stimulus s is

    .. math::

        \mu_{ti} = W_i \cdot h_t(z, s) + V_i \cdot z + A_i \cdot y_t + b_{si} + \gamma_i \eta_i,

    with what is shared by the neurons of a trial: latents z, normal; temporal features h, grown
    from them by a transposed convolution; latent paths y, each normal, of variance one and
    first-order autoregressive with a time constant of its own, which is learned; and with what is
    private: :math:`\eta_i`, normal, one value a trial. The neuron is engaged in a trial with
    probability :math:`q_i`, else it is silent. If engaged, its frames are drawn with private noise:

    - binary activity: 1 with probability :math:`\mathrm{sigmoid}(\mu_{ti})`, with the gradient
      of the probability (straight-through), as for the engagement;
    - graded activity: :math:`\mathrm{clip}(\mu_{ti} + \sigma_i \epsilon, 0, 1)`, normal
      :math:`\epsilon`, which is exactly 0 or 1 with positive probability.
    """

    def __init__(
        self, n_neurons: int, n_time: int, n_stimuli: int, latent_dim: int, n_paths: int,
        width: int, binary: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_neurons, self.n_time, self.latent_dim = n_neurons, n_time, latent_dim
        self.width, self.binary = width, binary
        self.n_paths = n_paths if n_time > 1 else 0  # of one frame there is no path
        self.block = min(BLOCK, n_time)
        self.n_blocks = -(-n_time // self.block)
        self.start = Affine(latent_dim + n_stimuli, width * self.n_blocks)
        n_features = -(-width // 2)  # of a frame
        self.grow = Affine(width, n_features * self.block)
        self.readout = Affine(n_features, n_neurons, bias=False)
        self.shared = Affine(latent_dim, n_neurons, bias=False)
        self.tuning = Affine(n_stimuli, n_neurons, bias=False)
        self.paths = Affine(self.n_paths, n_neurons, bias=False)
        times = torch.logspace(*(math.log10(t) for t in PATH_TIMES), self.n_paths)
        self.persistence = nn.Parameter(torch.logit(torch.exp(-1 / times))[None])
        self.engagement = nn.Parameter(torch.full((1, 1, n_neurons), 2.0))  # q = 0.88
        self.log_excursion = nn.Parameter(torch.full((1, 1, n_neurons), -1.0))
        self.log_noise = nn.Parameter(torch.full((1, 1, n_neurons), -1.0))
        nn.init.zeros_(self.tuning.weight)

    def noise(self, rngs: Sequence[torch.Generator], n_trials: int) -> Noise:
        """Draw noise for trials of every network, each from its own generator."""
        shapes = Noise(
            (n_trials, self.latent_dim), (self.n_paths, self.n_time, n_trials),
            (n_trials, self.n_neurons), (n_trials, self.n_neurons),
            (n_trials, self.n_time, self.n_neurons),
        )  # fmt: skip
        device = self.engagement.device
        drawn = Noise(*(torch.empty(len(rngs), *shape, device=device) for shape in shapes))
        for index, rng in enumerate(rngs):
            for name, values in drawn._asdict().items():
                if name == "engaged" or (name == "private" and self.binary):
                    values[index].uniform_(generator=rng)
                else:
                    values[index].normal_(generator=rng)
        return drawn

    def drive(self, noise: Noise, stimulus: Tensor) -> Tensor:
        """Drive of each neuron in each frame, (M, B, T, N); `stimulus` is one-hot, (M, B, S)."""
        m, n = stimulus.shape[:2]
        blocks = self.start(torch.cat([noise.latent, stimulus], dim=2))
        blocks = functional.leaky_relu_(blocks.view(m, -1, self.width), LEAK)
        features = functional.leaky_relu_(self.grow(blocks), LEAK)
        features = features.view(m, n, self.n_blocks * self.block, -1)
        if features.shape[2] > self.n_time:
            features = features[:, :, : self.n_time]
        features = features.reshape(m, n * self.n_time, -1)  # (M, B T, C)
        in_time = self.readout(features)
        if self.n_paths:
            paths = self.latent_paths(noise.innovations).reshape(m, -1, self.n_paths)
            in_time = torch.baddbmm(in_time, paths, self.paths.weight)
        per_trial = self.shared(noise.latent) + self.tuning(stimulus)
        per_trial = per_trial + self.log_excursion.exp() * noise.excursion  # (M, B, N)
        return in_time.view(m, n, self.n_time, -1) + per_trial[:, :, None]

    def latent_paths(self, innovations: Tensor) -> Tensor:
        """Stationary first-order autoregressive paths, (M, B, T, P), as one product a path."""
        step = torch.arange(self.n_time, device=innovations.device)
        lag = step[:, None] - step  # (T, T)
        kept = self.persistence.sigmoid()[:, :, None, None]  # (M, P, 1, 1)
        kernel = torch.where(lag >= 0, kept ** lag.clamp(min=0), 0.0)
        scale = torch.where(step == 0, 1.0, (1 - kept.square()).sqrt())
        return torch.matmul(kernel * scale, innovations).permute(0, 3, 2, 1)

    def forward(self, noise: Noise, stimulus: Tensor) -> Tensor:
        """Activity (M, B, T, N) of the trials that the noise stands for."""
        drive = self.drive(noise, stimulus)
        engaged = _Drawn.apply(self.engagement.sigmoid().expand_as(noise.engaged), noise.engaged)
        if self.binary:
            frames = _Drawn.apply(drive.sigmoid(), noise.private)
        else:
            frames = drive + self.log_noise.exp()[:, :, None] * noise.private
            frames = frames.clamp(0, 1)
        return frames * engaged[:, :, None]


def write(
    generator: Generator, stimulus: Tensor, rngs: Sequence[torch.Generator]
) -> Iterator[Tensor]:
    """Write trials (M, B, T, N) of stimuli (B, S), the same for all networks, some at a time."""
    for block in stimulus.split(N_AT_ONCE):
        noise = generator.noise(rngs, len(block))
        with torch.no_grad():
            yield generator(noise, block.expand(len(rngs), -1, -1))


class Seen(NamedTuple):
    """What the critic sees of trials."""

    blocks: Tensor  # (M, B, blocks, block N)
    rates: Tensor  # (M, B, N)
    summaries: Tensor  # (M, B, Q)


class Critic(nn.Module):
    r"""Score of trials (M, B, T, N) with their stimuli, (M, B): high for recorded, low for not.

    Three affine maps see a trial: blocks of `BLOCK` frames (a convolution in time whose stride is
    its width), its rates, and its *summaries*, which are not linear in the frames: products of a
    neuron's frames at `LAGS`, and how often, and how far, the number of active neurons exceeds
    given `levels`. A dense layer follows. The stimulus enters by projection (Miyato & Koyama 2018).

    The critic's slope is meant with respect to frames and summaries alike, as if summaries were
    further coordinates of a trial; in these the critic is piecewise linear, and its slope the
    product of masked matrices.

    With `spectral_norm` every map is divided by its largest singular value (power iteration, one
    round a training step; Miyato et al. 2018), the last by its longest row, and those of blocks and
    rates by the root of two besides, so that no slope exceeds one.
    """

    def __init__(
        self, n_neurons: int, n_time: int, n_stimuli: int, width: int, levels: Tensor,
        spectral_norm: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_time, self.width, self.spectral_norm = n_time, width, spectral_norm
        self.block = min(BLOCK, n_time)
        self.n_blocks = -(-n_time // self.block)
        self.n_padded = self.n_blocks * self.block - n_time
        self.lags = tuple(lag for lag in LAGS if lag < n_time) or (0,)
        self.blocks = Affine(self.block * n_neurons, width)
        self.rates = Affine(n_neurons, 2 * width)
        self.summaries = Affine(len(self.lags) * n_neurons + len(levels), width)
        self.dense = Affine(width * (self.n_blocks + 3), width)
        self.score = Affine(width, 1, bias=False)  # a constant would cancel out
        self.projection = Affine(n_stimuli, width, bias=False)
        self.register_buffer("levels", levels.clone()[None])  # (M, levels)
        for name in NORMALISED if spectral_norm else ():
            start = torch.randn(1, getattr(self, name).weight.shape[2], 1)
            self.register_buffer(f"direction_{name}", start / start.norm())

    def weights(self) -> dict[str, Tensor]:
        """Return the matrices in use, "top" being (M, S, C), and the biases."""
        found = {name: getattr(self, name).weight for name in NORMALISED}
        found["top"] = self.projection.weight + self.score.weight.transpose(1, 2)
        if self.spectral_norm:
            for name, factor in NORMALISED.items():
                direction = getattr(self, f"direction_{name}")
                found[name] = found[name] / (
                    factor * (found[name] @ direction).norm(dim=1)[:, None]
                )
            found["top"] = found["top"] / found["top"].norm(dim=2).amax(dim=1)[:, None, None]
        return found | {f"{name}_bias": getattr(self, name).bias for name in NORMALISED}

    def take_gradients(self, weights: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        """Give the parameters their gradients, from those of the matrices in use."""
        if self.spectral_norm:
            torch.autograd.backward(list(weights.values()), [gradients[name] for name in weights])
            return
        for name in NORMALISED:
            layer = getattr(self, name)
            layer.weight.grad, layer.bias.grad = gradients[name], gradients[f"{name}_bias"]
        self.projection.weight.grad = gradients["top"]
        self.score.weight.grad = gradients["top"].sum(1)[..., None]

    @torch.no_grad()
    def iterate(self) -> None:
        """One round of the power iteration, if there is one to do."""
        for name in NORMALISED if self.spectral_norm else ():
            weight, direction = getattr(self, name).weight, getattr(self, f"direction_{name}")
            turned = torch.bmm(weight.transpose(1, 2), torch.bmm(weight, direction))
            direction.copy_(turned / turned.norm(dim=1, keepdim=True))

    def see(self, frames: Tensor) -> Seen:
        """What is seen of trials (M, B, T, N)."""
        m, n, t, _ = frames.shape
        padded = functional.pad(frames, (0, 0, 0, self.n_padded)) if self.n_padded else frames
        blocks = padded.reshape(m, n, self.n_blocks, -1)
        # sqrt(T): a step of length one in the space of frames is one in the space of rates; pairs
        # and counts are at the same scale
        pairs = [(frames[:, :, : t - lag] * frames[:, :, lag:]).sum(2) for lag in self.lags]
        products = torch.cat(pairs, dim=2) * t**-0.5
        levels = self.levels[:, None, None]  # (M, 1, 1, levels)
        above = (frames.sum(3)[..., None] - levels) / (levels + 1).sqrt()
        counts = above.clamp(-1, 1).sum(2) * t**-0.5
        return Seen(blocks, frames.sum(2) * t**-0.5, torch.cat([products, counts], dim=2))

    def unsee(self, gradient: Seen, frames: Tensor) -> Tensor:
        """Gradient with respect to frames (M, B, T, N), given that with respect to what is seen."""
        m, n, t, n_neurons = frames.shape
        in_time = gradient.blocks.reshape(m, n, -1, n_neurons)[:, :, :t].clone()
        products, counts = gradient.summaries.split(
            [len(self.lags) * n_neurons, self.levels.shape[1]], dim=2
        )
        levels = self.levels[:, None, None]
        width = (levels + 1).sqrt()
        inside = ((frames.sum(3)[..., None] - levels).abs() < width) * (t**-0.5 / width)
        per_frame = (inside * counts[:, :, None]).sum(3, keepdim=True)  # (M, B, T, 1)
        in_time += (gradient.rates * t**-0.5)[:, :, None] + per_frame
        for lag, product in zip(self.lags, products.split(n_neurons, dim=2), strict=True):
            weight = product[:, :, None] * t**-0.5
            in_time[:, :, : t - lag].addcmul_(frames[:, :, lag:], weight)
            in_time[:, :, lag:].addcmul_(frames[:, :, : t - lag], weight)
        return in_time

    def first(self, seen: Seen, weights: dict[str, Tensor]) -> Tensor:
        """First layer before its rectification, (M, B, F)."""
        m, n = seen.rates.shape[:2]
        parts = [
            torch.baddbmm(weights[f"{name}_bias"], x.flatten(1, -2), weights[name]).view(m, n, -1)
            for name, x in seen._asdict().items()
        ]
        return torch.cat(parts, dim=2)

    def forward(self, frames: Tensor, stimulus: Tensor) -> Tensor:
        """Scores, (M, B); `stimulus` is one-hot, (M, B, S)."""
        weights = self.weights()
        features = functional.leaky_relu(self.first(self.see(frames), weights), LEAK)
        hidden = torch.baddbmm(weights["dense_bias"], features, weights["dense"])
        top = torch.bmm(stimulus, weights["top"])
        return (functional.leaky_relu(hidden, LEAK) * top).sum(dim=2)

    def parts(self, features: Tensor) -> Seen:
        """Split what belongs to the first layer, (M, B, F), into the three maps'; views."""
        blocks, rates, summaries = features.split(
            [self.n_blocks * self.width, 2 * self.width, self.width], dim=2
        )
        return Seen(blocks.unflatten(2, (self.n_blocks, self.width)), rates, summaries)

    def groups(self, blocks: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Blocks (M, B, n, C) of as many frames, the weights of these, and how many they are.

        The last block may have fewer frames than weights; those of the padding are set to nought.
        """
        if not self.n_padded:
            yield blocks, weight, self.block
            return
        yield blocks[:, :, :-1], weight, self.block
        n_frames = self.block - self.n_padded
        cut = weight.clone()
        cut.unflatten(1, (self.block, -1))[:, n_frames:] = 0
        yield blocks[:, :, -1:], cut, n_frames

    def in_rates(self, weight: Tensor) -> Tensor:
        """Weights of blocks summed over frames, (M, N, C), at the scale of the rates."""
        return weight.unflatten(1, (self.block, -1)).sum(1) * self.n_time**-0.5
