"""Networks that read the class of a trial off binned spike counts, with and without a graph.

All of them are a linear readout of low rank plus a correction of their own: without a use for the
correction, each is the same plain model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.models.graph_layers import AdaptiveGraph, GraphAttentionV2

N_HEADS = 4  # of the attention among bins
N_COURSES = 3  # in time, that all neurons share


class SpikeNetwork(nn.Module):
    r"""Logits of the classes, (B, K), from scaled counts (B, T, N) of T bins and N neurons.

    .. math:: u = \sum_c W_c \sum_t k_c(t)\, h(t) + f(h), \qquad \mathrm{logits} = V u,

    with h the counts, after messages over a graph if there are any, a few courses in time k that
    all neurons share and that begin as the mean and the slowest cosines over the bins, a code u of
    few numbers, and f the correction that is the architecture's own. A course of its own for each
    neuron would have more weights than trials can tell. Inputs and code are dropped out in
    training.

    Parameters
    ----------
    n_bins, n_neurons, n_classes : int
        T, N and K.
    n_code : int
        Numbers in the code.
    dropout : float
        Share of inputs, and of the code, that is left out in training.
    correction : torch.nn.Module, optional
        f, (B, T, N) to (B, n_code).
    messages : torch.nn.Module, optional
        (B, T, N) to messages of the same shape, which are added to the counts.
    """

    def __init__(
        self,
        n_bins: int,
        n_neurons: int,
        n_classes: int,
        *,
        n_code: int = 64,
        dropout: float = 0.5,
        correction: nn.Module | None = None,
        messages: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.messages, self.correction = messages, correction
        self.courses = nn.Parameter(_cosines(min(N_COURSES, n_bins), n_bins))
        self.linear = nn.Linear(len(self.courses) * n_neurons, n_code)
        self.classify = nn.Linear(n_code, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of scaled counts (B, T, N)."""
        h = x if self.messages is None else x + self.messages(x)
        followed = self.courses @ h  # (B, C, N)
        code = self.linear(self.dropout(followed).flatten(1))  # (B, n_code)
        if self.correction is not None:
            code = code + self.correction(self.dropout(h))
        return self.classify(self.dropout(code))


class Perceptron(nn.Module):
    """One hidden layer over all bins and neurons, mapped to (B, n_code).

    Parameters
    ----------
    n_inputs, hidden, n_code : int
        Numbers in a trial, in the layer and in the code.
    dropout : float
        Share of the layer that is left out in training.
    """

    def __init__(self, n_inputs: int, hidden: int, n_code: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(n_inputs, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_code),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Code (B, n_code) of (B, T, N)."""
        return self.layers(x)


class Recurrent(nn.Module):
    """Last state of a recurrent network over the bins, mapped to (B, n_code).

    Parameters
    ----------
    kind : {"lstm", "gru"}
        Which.
    n_neurons, hidden, n_code : int
        Numbers in a bin, in the state and in the code.
    """

    def __init__(self, kind: str, n_neurons: int, hidden: int, n_code: int) -> None:
        super().__init__()
        layer = {"lstm": nn.LSTM, "gru": nn.GRU}[kind]
        self.layer = layer(n_neurons, hidden, batch_first=True)
        self.code = nn.Linear(hidden, n_code)

    def forward(self, x: Tensor) -> Tensor:
        """Code (B, n_code) of (B, T, N)."""
        states, _ = self.layer(x)
        return self.code(states[:, -1])


class Transformer(nn.Module):
    """Attention among the bins of a trial and a token for the class; the token gives the code.

    Blocks with normalisation first (Xiong et al. 2020) and learned places of the bins.

    Parameters
    ----------
    n_bins, n_neurons, hidden, n_code : int
        Tokens, numbers in each, numbers of a token within, and in the code.
        `hidden` is a multiple of `N_HEADS`.
    """

    def __init__(self, n_bins: int, n_neurons: int, hidden: int, n_code: int) -> None:
        super().__init__()
        self.embed = nn.Linear(n_neurons, hidden)
        self.place = nn.Parameter(0.02 * torch.randn(n_bins, hidden))
        self.token = nn.Parameter(0.02 * torch.randn(1, hidden))
        self.before, self.within = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.attention = nn.MultiheadAttention(hidden, N_HEADS, batch_first=True)
        wide = 2 * hidden
        self.perceptron = nn.Sequential(nn.Linear(hidden, wide), nn.GELU(), nn.Linear(wide, hidden))
        self.code = nn.Linear(hidden, n_code)

    def forward(self, x: Tensor) -> Tensor:
        """Code (B, n_code) of (B, T, N)."""
        tokens = self.embed(x) + self.place
        tokens = torch.cat([self.token.expand(len(x), 1, -1), tokens], dim=1)  # (B, 1 + T, H)
        normed = self.before(tokens)
        # only the token of the class is read
        token = tokens[:, :1] + self.attention(normed[:, :1], normed, normed, need_weights=False)[0]
        token = token + self.perceptron(self.within(token))
        return self.code(token[:, 0])


class OnGraph(nn.Module):
    """A layer over neurons, which carry their time courses, and a linear map of all neurons.

    Parameters
    ----------
    layer : torch.nn.Module
        (B, N, T) and the adjacency (source, target) to (B, N, C).
    adjacency : (N, N) bool tensor
        From source to target.
    n_features, n_code : int
        N C, and numbers in the code.
    """

    def __init__(self, layer: nn.Module, adjacency: Tensor, n_features: int, n_code: int) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("adjacency", adjacency)
        self.code = nn.Linear(n_features, n_code)

    def forward(self, x: Tensor) -> Tensor:
        """Code (B, n_code) of (B, T, N)."""
        h = self.layer(x.transpose(1, 2), self.adjacency)
        return self.code(functional.gelu(h).flatten(1))

    @property
    def attends(self) -> bool:
        """Whether the layer has attention."""
        return isinstance(self.layer, GraphAttentionV2)

    def attention(self, x: Tensor) -> Tensor:
        """Sum over trials of the attention, mean of the heads, (N, N), source by target."""
        _, attention = self.layer(x.transpose(1, 2), self.adjacency, return_attention=True)
        return attention.mean(1).sum(0)


class Messages(nn.Module):
    r"""Messages over a graph of neurons in each bin, weighted by attention.

    Neuron j receives in bin t of a trial, with :math:`f_i = (x_i(t), x_i(t - 1))`,

    .. math:: m_j = \sum_i A_{ij}\, a_{ij}\, (x_i(t) + w\, x_i(t - 1)), \qquad
              a_{ij} = 1 + \frac1R \sum_r \tanh(k_r(f_i)) \tanh(q_r(f_j)),

    with a signed graph A and affine k and q, the same for all neurons. That is attention with a
    kernel in place of the exponential of a dot product (Katharopoulos et al. 2020): it depends on
    trial and bin, lies between 0 and 2, and is 1 where it does not tell sources apart. It is not
    normalised over sources, so that a graph of zeros is no graph, and weights may be negative. No
    trial needs a matrix of neurons x neurons: 1 + R matrix products with A serve the whole batch,
    and their gradient reaches each weight.

    Parameters
    ----------
    graph : torch.nn.Module
        Without input to (1, N, N) or (T, N, N), source by target.
    n_features : int
        R; 0 for :math:`a_{ij} = 1`.

    References
    ----------
    Katharopoulos, A. et al. (2020). Transformers are RNNs: fast autoregressive transformers with
    linear attention. ICML.
    """

    def __init__(self, graph: nn.Module, n_features: int = 2) -> None:
        super().__init__()
        self.graph = graph
        self.before = nn.Parameter(torch.zeros(1))
        self.key = nn.Parameter(0.5 * torch.randn(3, n_features, 1))
        self.query = nn.Parameter(0.5 * torch.randn(3, n_features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Messages (B, T, N) to all neurons."""
        before = _before(x)
        source, target = self._features(x, before)
        value = (x + self.before * before)[:, :, None]
        arrived = _along(value * source, self.graph())  # (B, T, 1 + R, N)
        return (arrived * target).sum(2)

    def attention(self, x: Tensor) -> Tensor:
        """Sum over trials of the mean over bins of the attention a, (N, N), source by target."""
        source, target = (f.flatten(0, 2) for f in self._features(x, _before(x)))
        return source.T @ target / x.shape[1]

    def _features(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Features of sources and targets, (B, T, 1 + R, N) each; their products add up to a."""
        n_features = self.key.shape[1]
        one = torch.ones_like(x[:, :, None])
        if n_features == 0:
            return one, one
        x, before = x[:, :, None], before[:, :, None]
        maps = [(w[0] * x + w[1] * before + w[2]).tanh() for w in (self.key, self.query)]
        source, target = maps[0], maps[1] / n_features
        return torch.cat([one, source], dim=2), torch.cat([one, target], dim=2)


class SignedGraph(nn.Module):
    r"""A learned graph of weights of any sign: gates of what raises less gates of what lowers.

    :math:`A = G^+ - G^-`, each an `visualcortex.models.graph_layers.AdaptiveGraph`. Weights are
    between -1 and 1 and begin near 0, whatever `start` is; a neuron may raise some targets and
    lower others.

    Parameters
    ----------
    n_neurons : int
        N.
    rank : int or None
        Of the logits of both; None for logits of its own for each pair.
    n_graphs : int
        Graphs, for instance one a bin.
    start : float
        Gates at the start.
    """

    def __init__(
        self, n_neurons: int, rank: int | None, *, n_graphs: int = 1, start: float = 0.1
    ) -> None:
        super().__init__()
        self.raising, self.lowering = (
            AdaptiveGraph(n_neurons, rank, n_graphs=n_graphs, start=start) for _ in range(2)
        )

    def forward(self) -> Tensor:
        """Weights (n_graphs, N, N), source by target."""
        return self.raising() - self.lowering()


class FixedGraph(nn.Module):
    """A given graph with one learned strength; the largest sum of weights to a neuron is 1.

    Parameters
    ----------
    weights : (N, N) or (T, N, N) tensor
        Source by target, signed.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        weights = weights if weights.ndim == 3 else weights[None]
        largest = weights.abs().sum(1).max()
        self.register_buffer("weights", weights / (largest if largest > 0 else 1.0))
        self.strength = nn.Parameter(torch.full((1,), 0.1))

    def forward(self) -> Tensor:
        """Weights (1, N, N) or (T, N, N), source by target."""
        return self.strength * self.weights


def correlation_graph(X: np.ndarray, n_sources: int = 10) -> np.ndarray:
    """Connect each neuron to the neurons whose counts correlate most with its own.

    Correlations are over trials and bins, absolute: of signal and noise together.

    Bias: it is no estimate of connections; neurons with a common input are connected too.

    Parameters
    ----------
    X : (n_trials, n_bins, n_neurons) array
        Scaled counts of training trials.
    n_sources : int
        Sources of each target; fewer where neurons are constant.

    Returns
    -------
    (n_neurons, n_neurons) array of bool
        Source by target, without loops.
    """
    rows = X.reshape(-1, X.shape[2]) - X.mean(axis=(0, 1))
    norm = np.linalg.norm(rows, axis=0)
    unit = rows / np.where(norm > 0, norm, np.inf)
    strength = np.abs(unit.T @ unit)
    np.fill_diagonal(strength, 0)
    order = np.argsort(-strength, axis=0, kind="stable")[:n_sources]
    graph = np.zeros(strength.shape, dtype=bool)
    np.put_along_axis(graph, order, np.take_along_axis(strength, order, axis=0) > 1e-6, axis=0)
    return graph


def random_graph(n_neurons: int, n_sources: int, rng: np.random.Generator) -> np.ndarray:
    """Connect each neuron to as many others, drawn at random: (n_neurons, n_neurons) bool.

    Source by target, without loops.
    """
    n_sources = min(n_sources, n_neurons - 1)
    draws = rng.random((n_neurons, n_neurons))
    np.fill_diagonal(draws, np.inf)
    graph = np.zeros((n_neurons, n_neurons), dtype=bool)
    np.put_along_axis(graph, np.argsort(draws, axis=0)[:n_sources], True, axis=0)
    return graph


def _before(x: Tensor) -> Tensor:
    """What was in the bin before, (B, T, N); 0 in the first."""
    return functional.pad(x[:, :-1], (0, 0, 1, 0))


def _along(x: Tensor, graph: Tensor) -> Tensor:
    """Sum over sources, (B, T, R, N) by (1 or T, N, N), source by target."""
    if len(graph) == 1:
        return x @ graph[0]
    n_trials, n_bins, n_features, n_neurons = x.shape
    rows = x.transpose(0, 1).reshape(n_bins, -1, n_neurons)  # (T, B R, N)
    arrived = torch.bmm(rows, graph).view(n_bins, n_trials, n_features, n_neurons)
    return arrived.transpose(0, 1)


def _cosines(n_courses: int, n_bins: int) -> Tensor:
    """Orthonormal cosines over the bins, the constant first, (n_courses, n_bins)."""
    order, place = torch.arange(n_courses)[:, None], torch.arange(n_bins) + 0.5
    waves = torch.cos(torch.pi * order * place / n_bins)
    return waves / waves.norm(dim=1, keepdim=True)
