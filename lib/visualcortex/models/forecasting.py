"""A network that learns who drives whom by forecasting the next spikes of all neurons."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numba
import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from visualcortex.models.graph_layers import AdaptiveGraph, DotProductAttention
from visualcortex.models.spike_networks import SignedGraph
from visualcortex.models.supervised import Examples, Report, Supervised
from visualcortex.training import choose_device, run_epochs

LEAST_GATE = 1e-6  # the log of a closed gate stays finite
N_EMBEDDED, N_VALUES, N_HEADS = 4, 2, 2  # of the attention


class SpikeForecaster(BaseEstimator):
    r"""Forecasts the counts of all neurons in a bin from those before it, over a learned graph.

    Counts :math:`y_j(t)` are Poisson with the logarithm of their mean

    .. math:: \log \lambda_j(t) = b_j + \sum_f s_{fj}\, x_{fj}(t)
        + \sum_i A_{ij} \sum_f c_f\, x_{fi}(t) + \sum_r u_{rj} \sum_{i, g} v_{gir}\, z_{gi}(t).

    The traces x are past counts, exponentially weighted with a few short time constants, about
    their mean: :math:`x_{fi}(t) = (1 - a_f) \sum_{l \ge 1} a_f^{l - 1} (y_i(t - l) - \bar y_i)`,
    :math:`a_f = e^{-\Delta / \tau_f}`; the z likewise with long ones. So there is a history of
    each neuron's own (s, of the long traces too), one graph A with a course in time c that all its
    edges share, and `n_latents` slow fluctuations of the population, so that what changes slowly
    in many neurons at once need not become edges. The graph is the one that
    `visualcortex.models.spike_decoders.SpikeDecoder` learns for telling images apart
    (`SignedGraph`, or `AdaptiveGraph` with signs); only the loss is another. The negative
    log-likelihood of a bin is minimised by AdamW on stretches in random order.

    With `attention`, the edges' part is instead attention over sources in every bin
    (`visualcortex.models.graph_layers.DotProductAttention`) whose logits contain the logarithm of
    a learned graph, of neurons with learned embeddings and signs. It takes a matrix of neurons x
    neurons a bin: for short recordings.

    Bias: neurons that are not recorded, and fast common input such as the onset of an image, make
    edges that are no synapses. Weights of few spikes are noisy; `sparsity` shrinks them towards 0.
    The validation loss of the epoch kept is the lowest of several and a little too good.

    Parameters
    ----------
    rank : int or None
        Of the graph; None for a weight of its own for each pair.
    dale : None, "learned" or (n_neurons,) array of +-1
        Signs of the weights, one a source neuron. None for weights of any sign.
    attention : bool
        Whether edges are attention.
    sparsity : float
        Price in nats, over all training bins, of an absolute weight of 1 in A.
    bin_width : float
        s.
    time_constants, slow_constants : floats
        Of the traces that edges transmit and of the slow ones, s.
    n_latents : int
        Slow fluctuations, 0 for none.
    held_out : float
        Share of the recording, at its end, that chooses the epoch to keep.
    n_epochs : int
        Epochs at most, of which the schedule of learning rates depends.
    patience : int, optional
        Stop after so many epochs without a lower validation loss.
    chunk, batch_size : int
        Bins in a stretch; stretches a step. What is left at the end of the recording is not used.
    learning_rate, weight_decay : float
        Of AdamW.
    seed : int
        Of weights and order. Torch's own random state is left as it is.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    adjacency_ : (n_neurons, n_neurons) float32 array
        Source by target, 0 from i to i: the change of the logarithm of the rate by a spike of the
        source, summed over the bins after it. With `attention` the mean attention in what
        was held out, with the sign of the source.
    history_ : pandas.DataFrame
        A row an epoch: "epoch" (from 1), "train", "validation" (nats a bin, of all neurons) and
        "kept".
    rates_ : (n_neurons,) array
        Mean counts a bin in training.
    network_ : ForecastNetwork

    Notes
    -----
    An epoch takes three products of (bin x neuron) by (neuron x neuron). Traces are made as they
    are needed: no array is larger than the counts.

    References
    ----------
    Truccolo, W. et al. (2005). A point process framework for relating neural spiking activity to
    spiking history, neural ensemble, and extrinsic covariate effects. J Neurophysiol 93.
    """

    def __init__(
        self,
        *,
        rank: int | None = None,
        dale: str | np.ndarray | None = None,
        attention: bool = False,
        sparsity: float = 3.0,
        bin_width: float = 0.005,
        time_constants: Sequence[float] = (0.005, 0.015),
        slow_constants: Sequence[float] = (0.05, 0.5),
        n_latents: int = 16,
        held_out: float = 0.1,
        n_epochs: int = 5,
        patience: int | None = 2,
        chunk: int = 512,
        batch_size: int = 8,
        learning_rate: float = 0.1,
        weight_decay: float = 0.0,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.rank = rank
        self.dale = dale
        self.attention = attention
        self.sparsity = sparsity
        self.bin_width = bin_width
        self.time_constants = time_constants
        self.slow_constants = slow_constants
        self.n_latents = n_latents
        self.held_out = held_out
        self.n_epochs = n_epochs
        self.patience = patience
        self.chunk = chunk
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed
        self.device = device

    def fit(
        self, x: np.ndarray, *, report: Report | None = None, progress: bool = True
    ) -> SpikeForecaster:
        """Train on a recording without gaps.

        Parameters
        ----------
        x : (n_bins, n_neurons) array
            Counts in bins that follow each other, of
            `visualcortex.spikes.contiguous_counts`; float32 is not copied.
        report : callable, optional
            Told the number of epochs done and the validation loss after each.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        SpikeForecaster
            Itself.

        Raises
        ------
        ValueError
            If a setting is out of range, or the counts are not as described, of fewer than two
            neurons, or too few for a stretch to train on and one to hold out.
        FloatingPointError
            If training diverges.
        """
        _check_settings(self)
        counts = _checked(x)
        train, held_out = self._examples(counts)
        self.network_ = self._network()
        training = Supervised(
            self.network_,
            train,
            held_out,
            _loss(self.network_, self.sparsity / train.targets[0][..., 0].numel()),
            n_epochs=self.n_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            seed=self.seed,
            report=report,
        )
        self.history_ = run_epochs(
            training,
            self.n_epochs,
            patience=self.patience,
            progress=progress,
            description="forecasting",
        )
        self.network_.eval()
        self.adjacency_ = self._adjacency(held_out.targets[0].flatten(0, 1).numpy())
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Expected counts of each bin given those before it, (n_bins, n_neurons) float32.

        Before the first bin, counts are taken to have been at their mean.

        Parameters
        ----------
        x : (n_bins, n_neurons) array
            Counts of the neurons of the training, in bins of the same width without a gap.

        Raises
        ------
        ValueError
            If the counts are not as described.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        counts = self._counts(x)
        with torch.inference_mode():
            parts = [self.network_(t).exp()[0].cpu().numpy() for t in self.traces(counts)]
        return np.concatenate(parts)

    def log_likelihood(self, x: np.ndarray) -> float:
        r"""Information about spikes, in bits a spike, against the best constant rates.

        .. math:: \sum_{t, j} \Big( y \log_2 \frac{\lambda}{\bar y_j} - \frac{\lambda - \bar y_j}
            {\ln 2} \Big) \Big/ \sum_{t, j} y

        The constant rates are the means of x itself, so that the comparison is against the model:
        it is below 0 for a model that knows no more than the rates of the training.

        Parameters
        ----------
        x : (n_bins, n_neurons) array
            As for `predict`; counts that the training has not seen.

        Raises
        ------
        ValueError
            As `predict`, or there are no spikes.
        """
        counts = self._counts(x)
        means = counts.mean(axis=0, dtype=np.float64)
        n_spikes = means.sum() * len(counts)
        if n_spikes == 0:
            raise ValueError("bits a spike need spikes; got counts that are all 0")
        gained = 0.0
        with torch.inference_mode():
            for k, traces in enumerate(self.traces(counts)):
                seen = counts[k * self.chunk : (k + 1) * self.chunk]
                logs = self.network_(traces)[0].double().cpu().numpy()
                gained += (seen * logs - np.exp(logs)).sum()
        constant = np.where(means > 0, means * np.log(np.where(means > 0, means, 1)) - means, 0)
        return float((gained - len(counts) * constant.sum()) / n_spikes / np.log(2))

    def mean_attention(self, x: np.ndarray) -> np.ndarray:
        """Mean attention over bins and heads, (n_neurons, n_neurons) float32, source by target.

        Parameters
        ----------
        x : (n_bins, n_neurons) array
            As for `predict`.

        Raises
        ------
        ValueError
            If the model has no attention, or as `predict`.
        """
        counts = self._counts(x)
        if not self.attention:
            raise ValueError("there is no attention: fit SpikeForecaster(attention=True)")
        with torch.inference_mode():
            n_fast = len(self.time_constants)
            sums = sum(self.network_.edges.attention(t[:, :n_fast]) for t in self.traces(counts))
        return (sums / len(counts)).cpu().numpy()

    def traces(self, x: np.ndarray) -> Iterator[Tensor]:
        """Yield what the network reads, (1, trace, bin, neuron), a stretch at a time, in order."""
        stretches = Stretches(self._counts(x), self.rates_, self._decays(), self.chunk)
        for row in range(len(stretches)):
            yield torch.from_numpy(stretches[[row]]).to(next(self.network_.parameters()).device)

    def _examples(self, counts: np.ndarray) -> tuple[Examples, Examples]:
        """Stretches to train on and those held out, with their counts; learns the mean rates."""
        n_chunks = len(counts) // self.chunk
        n_train = n_chunks - max(1, round(self.held_out * n_chunks))
        if n_train < 1 or counts.shape[1] < 2:
            raise ValueError(
                f"need at least two neurons, and two stretches of {self.chunk} bins, one to hold "
                f"out; got counts of shape {counts.shape}. Record longer, or set a smaller chunk"
            )
        self.rates_ = counts[: n_train * self.chunk].mean(axis=0)
        stretches = Stretches(counts, self.rates_, self._decays(), self.chunk)
        targets = torch.from_numpy(counts[: n_chunks * self.chunk])
        targets = targets.view(n_chunks, self.chunk, -1)
        return (
            Examples(stretches.part(0, n_train), (targets[:n_train],)),
            Examples(stretches.part(n_train, n_chunks), (targets[n_train:],)),
        )

    def _decays(self) -> np.ndarray:
        """Factor a bin of each trace, the short ones first."""
        constants = np.array([*self.time_constants, *self.slow_constants])
        return np.exp(-self.bin_width / constants).astype(np.float32)

    def _counts(self, x: np.ndarray) -> np.ndarray:
        check_is_fitted(self, "network_")
        counts = _checked(x)
        if counts.shape[1] != len(self.rates_):
            raise ValueError(
                f"the model was fitted to {len(self.rates_)} neurons; got counts of shape "
                f"{counts.shape}. Select the same neurons."
            )
        return counts

    def _network(self) -> ForecastNetwork:
        """The network, on the device; the random state of torch is left as it is."""
        n, n_fast = len(self.rates_), len(self.time_constants)
        dale = self.dale
        if dale is not None and not isinstance(dale, str):
            dale = torch.as_tensor(np.asarray(dale), dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            if self.attention:
                signs = "learned" if dale is None else dale
                edges = AttentionEdges(AdaptiveGraph(n, self.rank, signs=signs), n_fast)
            elif dale is None:
                edges = GraphEdges(SignedGraph(n, self.rank), n_fast)
            else:
                edges = GraphEdges(AdaptiveGraph(n, self.rank, signs=dale), n_fast)
            # a neuron without spikes has a rate too, that of half a spike in a stretch
            rates = np.maximum(self.rates_, 0.5 / self.chunk)
            network = ForecastNetwork(rates, edges, len(self.slow_constants), self.n_latents)
        return network.to(choose_device(self.device))

    @torch.inference_mode()
    def _adjacency(self, held_out: np.ndarray) -> np.ndarray:
        edges = self.network_.edges
        if self.attention:
            return edges.graph.signs.cpu().numpy()[:, None] * self.mean_attention(held_out)
        return edges.weights().cpu().numpy()


class ForecastNetwork(nn.Module):
    """Logarithm of the mean counts of all neurons from traces of the past.

    Parameters
    ----------
    rates : (N,) array
        Mean counts a bin, above 0, to begin with.
    edges : torch.nn.Module
        Short traces to what sources tell targets: `GraphEdges` or `AttentionEdges`.
    n_slow, n_latents : int
        Slow traces, and what the population shares of them.
    """

    def __init__(self, rates: np.ndarray, edges: nn.Module, n_slow: int, n_latents: int) -> None:
        super().__init__()
        n = len(rates)
        self.edges, self.n_fast = edges, edges.n_traces
        self.baseline = nn.Parameter(torch.from_numpy(np.log(rates)).float())
        self.history = nn.Parameter(torch.zeros(edges.n_traces + n_slow, n))
        self.read = nn.Parameter(torch.randn(n_slow, n_latents, n) / n**0.5)
        self.write = nn.Parameter(torch.zeros(n_latents, n))

    def forward(self, traces: Tensor) -> Tensor:
        """Logarithms (B, C, N) of means, from traces (B, F, C, N) of C bins, short ones first."""
        out = self.baseline + self.edges(traces[:, : self.n_fast])
        for k, weights in enumerate(self.history):
            out = torch.addcmul(out, traces[:, k], weights)
        if not self.read.numel():
            return out
        # few rows by many columns: the other way round takes four times as long
        slow = (traces[:, k].flatten(0, 1).T for k in range(self.n_fast, traces.shape[1]))
        latents = sum(read @ x for read, x in zip(self.read, slow, strict=True))  # (R, B C)
        return out + (latents.T @ self.write).view_as(out)


class GraphEdges(nn.Module):
    """Sums of the sources' traces over a weighted graph, with one course in time for all edges.

    Parameters
    ----------
    graph : torch.nn.Module
        Without input to (1, N, N), source by target.
    n_traces : int
        Traces that make up the course.
    """

    def __init__(self, graph: nn.Module, n_traces: int) -> None:
        super().__init__()
        self.graph, self.n_traces = graph, n_traces
        self.course = nn.Parameter(torch.full((n_traces,), 1 / n_traces))

    def forward(self, traces: Tensor) -> Tensor:
        """What arrives, (B, C, N), of traces (B, F, C, N)."""
        return self.sent(traces) @ self.graph()[0]

    def sent(self, traces: Tensor) -> Tensor:
        """What each source tells all of its targets, (B, C, N)."""
        return sum(c * traces[:, k] for k, c in enumerate(self.course))

    def weights(self) -> Tensor:
        """Weights times the sum of the course over the bins after a spike, (N, N)."""
        return self.graph()[0] * self.course.sum()

    def size(self) -> Tensor:
        """Sum of absolute weights of the graph."""
        return self.graph().abs().sum()


class AttentionEdges(nn.Module):
    """Attention over sources in every bin, with the logarithm of a learned graph in its logits.

    Parameters
    ----------
    graph : AdaptiveGraph
        Its gates are the graph, and its signs those of the sources' traces.
    n_traces : int
        Traces of a neuron.
    """

    def __init__(self, graph: AdaptiveGraph, n_traces: int) -> None:
        super().__init__()
        self.graph, self.n_traces = graph, n_traces
        n = graph.n_neurons
        self.embedding = nn.Parameter(torch.randn(n, N_EMBEDDED))
        self.layer = DotProductAttention(n_traces + N_EMBEDDED, N_VALUES, N_HEADS, self_loops=False)
        self.read = nn.Parameter(torch.ones(n, N_HEADS * N_VALUES))

    def forward(self, traces: Tensor) -> Tensor:
        """What arrives, (B, C, N), of traces (B, F, C, N)."""
        return (self._attend(traces) * self.read).sum(dim=-1)

    def attention(self, traces: Tensor) -> Tensor:
        """Sum over bins of the attention, mean of the heads, (N, N), source by target."""
        _, attention = self._attend(traces, return_attention=True)
        return attention.mean(dim=1).sum(dim=0)

    def size(self) -> Tensor:
        """Sum of the gates of the graph."""
        return self.graph.gates().sum()

    def _attend(self, traces: Tensor, return_attention: bool = False) -> Any:
        """Messages (B, C, N, H V), or those and the attention, of bins one after the other."""
        signed = traces * self.graph.signs
        features = signed.permute(0, 2, 3, 1).flatten(0, 1)  # (B C, N, F)
        given = self.embedding.expand(len(features), -1, -1)
        result = self.layer(
            torch.cat([features, given], dim=-1),
            ~self.graph.loops,
            bias=(self.graph.gates()[0] + LEAST_GATE).log(),
            return_attention=return_attention,
        )
        if return_attention:
            return result
        return result.unflatten(0, (len(traces), -1))


class Stretches:
    """Traces of stretches of a recording, made when they are asked for: (row, trace, bin, neuron).

    Only the traces at the start of each stretch are held. The last stretch may be shorter; it is
    to be asked for alone.

    Parameters
    ----------
    counts : (n_bins, N) float32 array
        The recording.
    rates : (N,) array
        Mean counts, which are taken off, and which the counts before the first had.
    decays : (F,) float32 array
        Factor a bin of each trace.
    size : int
        Bins in a stretch.
    """

    def __init__(
        self, counts: np.ndarray, rates: np.ndarray, decays: np.ndarray, size: int
    ) -> None:
        self.counts, self.size, self.decays = counts, size, decays
        self.rates = np.ascontiguousarray(rates, np.float32)
        self.firsts = np.arange(0, len(counts), size)
        self.states = np.empty((len(self.firsts), len(decays), len(self.rates)), np.float32)
        state = np.zeros(self.states.shape[1:], np.float32)
        out = np.empty((len(decays), size, len(self.rates)), np.float32)
        for k, first in enumerate(self.firsts):
            self.states[k] = state
            _filter(counts[first : first + size], self.rates, decays, state, out)

    def __len__(self) -> int:
        return len(self.firsts)

    def part(self, first: int, last: int) -> Stretches:
        """Stretches from `first` to before `last`."""
        part = copy.copy(self)
        part.firsts, part.states = self.firsts[first:last], self.states[first:last]
        return part

    def __getitem__(self, rows: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return the traces of some stretches, (row, trace, bin, neuron)."""
        n_bins = min(self.size, len(self.counts) - self.firsts[max(rows)])
        out = np.empty((len(rows), len(self.decays), n_bins, len(self.rates)), np.float32)
        for k, row in enumerate(rows):
            block = self.counts[self.firsts[row] : self.firsts[row] + n_bins]
            _filter(block, self.rates, self.decays, self.states[row].copy(), out[k])
        return out


@numba.njit(cache=True, nogil=True)
def _filter(
    counts: np.ndarray, rates: np.ndarray, decays: np.ndarray, state: np.ndarray, out: np.ndarray
) -> None:
    """Fill `out` (trace, bin, neuron) with the traces before each bin; carry `state` on."""
    for f in range(len(decays)):
        keep, gain, now = decays[f], np.float32(1) - decays[f], state[f]
        for t in range(len(counts)):
            for i in range(len(rates)):
                out[f, t, i] = now[i]
                now[i] = keep * now[i] + gain * (counts[t, i] - rates[i])


def _loss(network: ForecastNetwork, price: float) -> Any:
    """Negative Poisson log-likelihood of a bin, and in training the price of the graph."""

    def loss(logs: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
        """Mean over bins, of logarithms of expected counts (chunk, bin, neuron)."""
        n_bins = logs.shape[0] * logs.shape[1]
        value = (logs.exp() - targets[0] * logs).sum() / n_bins
        return value + price * network.edges.size() if network.training and price else value

    return loss


def _checked(x: np.ndarray) -> np.ndarray:
    """Counts (bin, neuron), float32."""
    counts = np.asarray(x)
    if counts.ndim != 2 or 0 in counts.shape or counts.dtype.kind not in "biuf":
        raise ValueError(
            f"counts must be numbers (bin, neuron), none of them 0 long; got shape {counts.shape} "
            f"of {counts.dtype}. Trials are no recording: take contiguous_counts"
        )
    counts = np.require(counts, np.float32, "CW")  # torch wants to be able to write
    low, high = counts.min(), counts.max()  # NaN if there is one
    if not (low >= 0 and high < np.inf):
        raise ValueError(f"counts must be finite and not negative; got values from {low} to {high}")
    return counts


def _check_settings(model: SpikeForecaster) -> None:
    least = {"n_latents": 0, "seed": 0, "sparsity": 0, "weight_decay": 0}
    least |= dict.fromkeys(("n_epochs", "chunk", "batch_size"), 1)
    low = {name: getattr(model, name) for name in least if not getattr(model, name) >= least[name]}
    if low or not model.learning_rate > 0 or not 0 <= model.held_out < 1:
        raise ValueError(
            f"need at least {least}, a positive learning rate and a held-out share in [0, 1); got "
            f"{low}, {model.learning_rate} and {model.held_out}"
        )
    constants = (model.bin_width, *model.time_constants, *model.slow_constants)
    if not model.time_constants or not all(0 < c < np.inf for c in constants):
        raise ValueError(
            "need a bin width and at least one time constant of edges, all in s and above 0; got "
            f"{model.bin_width}, {tuple(model.time_constants)} and {tuple(model.slow_constants)}"
        )
