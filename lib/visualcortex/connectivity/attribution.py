"""Candidate edges from trained networks: who do they say drives whom?

From a `SpikeDecoder`, which tells images apart, or a `SpikeForecaster`, which forecasts spikes. All
give a matrix ``(source, target)``, float64, with NaN on the diagonal. What a network needs for its
task is not thereby a synapse: score candidates with `visualcortex.connectivity.wiring`, and
compare trainings from other seeds with `seed_agreement`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.models.forecasting import GraphEdges, SpikeForecaster
from visualcortex.models.spike_decoders import SpikeDecoder

Model = SpikeDecoder | SpikeForecaster
TRIALS_AT_A_TIME = 256
PRECISION = 1e-6  # of a removed message's effect on a rate, as a part of the rate


def attention_edges(model: Model, counts: np.ndarray) -> np.ndarray:
    """Mean attention from source to target, over trials or bins, heads and networks.

    Bias: attention says how messages are weighted, not how much they matter (Jain and Wallace
    2019): where the shares of a target's sources add up to 1, it has sources even if it needs
    none.

    Parameters
    ----------
    model
        Fitted, with attention: architecture "stgat" or "gatv2", or ``attention=True``.
    counts
        ``(trial, bin, neuron)`` for a decoder, ``(bin, neuron)`` for a forecaster.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, not negative.

    Raises
    ------
    ValueError
        The model has no attention, or the counts are not those of its neurons.

    References
    ----------
    Jain, S., and Wallace, B. C. (2019). Attention is not explanation. NAACL.
    """
    if isinstance(_checked(model), SpikeDecoder):
        return _without_diagonal(model.attention(counts))
    return _without_diagonal(model.mean_attention(counts))


def adjacency_edges(model: Model) -> np.ndarray:
    """Weights of the graph that the network has learned, or was given.

    Bias: weights of rare spikes are noisy and may be the largest; the decoder's loss asks for none
    in particular.

    Parameters
    ----------
    model
        Fitted. The mean over bins is taken where each bin has a graph of its own.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, signed; of a forecaster with attention, its mean attention with the
        sign of the source.

    Raises
    ------
    ValueError
        The model has no graph.
    """
    weights = _checked(model).adjacency_
    if weights is None:
        raise ValueError(
            "the model has no graph; fit SpikeDecoder with architecture 'stgat' and a graph other "
            "than 'none', or a SpikeForecaster"
        )
    return _without_diagonal(weights.mean(axis=0) if weights.ndim == 3 else weights)


def integrated_gradients(
    function: Callable[[Tensor], Tensor], inputs: Tensor, baseline: Tensor, *, n_steps: int = 8
) -> Tensor:
    r"""Share of each input in the difference of each output from that of a baseline.

    .. math:: a_{ij} = (x_i - x^0_i) \int_0^1 \frac{\partial f_j}{\partial x_i}
        \big(x^0 + s\,(x - x^0)\big)\, ds

    by Gauss-Legendre quadrature, exact if f is a polynomial of a degree up to 2 `n_steps` along
    the path. Shares add up to :math:`f_j(x) - f_j(x^0)` (Sundararajan et al. 2017).

    Parameters
    ----------
    function
        Differentiable, from ``(example, ...)`` to ``(example, output)``, each example for itself.
    inputs
        ``(example, ...)``.
    baseline
        Of the shape of an example, or one an example.
    n_steps
        Points on the path.

    Returns
    -------
    torch.Tensor
        ``(output, example, ...)``.

    Raises
    ------
    ValueError
        `n_steps` is below 1, or the function gives something else.

    References
    ----------
    Sundararajan, M., Taly, A., and Yan, Q. (2017). Axiomatic attribution for deep networks. ICML.
    """
    slopes = torch.stack(list(_mean_slopes(function, inputs, baseline, n_steps)))
    return (inputs - baseline) * slopes


def integrated_gradients_edges(
    model: Model, counts: np.ndarray, *, n_examples: int = 64, n_steps: int = 8
) -> np.ndarray:
    r"""How much an unusual input of the source moves what the network holds of the target.

    .. math:: E_{ij} = \Big\langle \sum_k \big|x_{ik} - \bar x_{ik}\big| \int_0^1
        \frac{\partial f_j}{\partial x_{ik}}\, ds \Big\rangle

    along the path from the mean input to each example, averaged over examples: integrated
    gradients, with departures below the mean counted as those above it, since otherwise they
    would cancel in the mean. Of a decoder, :math:`x_{ik}` is the scaled count in bin k and
    :math:`f_j` the sum over bins of the neuron's activity after the messages (architecture
    "stgat"); of a forecaster, :math:`x_{ik}` are the traces of a neuron's past and :math:`f_j` is
    the logarithm of the expected count.

    Bias: large for sources that change much, whatever their weights. It includes what reaches the
    forecast through shared fluctuations.

    Parameters
    ----------
    model
        Fitted.
    counts
        ``(trial, bin, neuron)`` for a decoder, ``(bin, neuron)`` for a forecaster.
    n_examples
        Trials or bins, evenly spread, at most as many as there are.
    n_steps
        Points on the path.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, signed.

    Raises
    ------
    ValueError
        The decoder has no messages, a number is below 1, or the counts are not as described.
    """
    if n_examples < 1:
        raise ValueError(f"n_examples must be at least 1; got {n_examples}")
    if isinstance(_checked(model), SpikeForecaster):
        bins = _spread_bins(model, counts, n_examples)  # (example, trace, neuron)
        return _moved(lambda x: model.network_(x[:, :, None])[:, 0], bins, n_steps)
    trials = _trials(model, counts)
    trials = trials[_spread(len(trials), n_examples)]
    found = [
        _moved(lambda x, m=messages: (x + m(x)).sum(dim=1), trials, n_steps)
        for messages in _messages(model)
    ]
    return np.mean(found, axis=0)


def ablation_edges(
    model: Model, counts: np.ndarray, labels: np.ndarray | None = None
) -> np.ndarray:
    r"""How much larger the loss becomes when an edge is cut.

    Of a forecaster, exactly: what source i tells, :math:`m_i(t)`, which is 0 on average, enters
    the logarithm of the rate of target j as :math:`A_{ij} m_i(t)`, so that the loss grows by

    .. math:: \Delta_{ij} = \big\langle \lambda_j \big(e^{-A_{ij} m_i} - 1\big)
        + y_j A_{ij} m_i \big\rangle_t

    nats a bin. The exponential is summed as a series, to a relative `PRECISION` of the rates, in
    matrix products. Of a decoder, in first order: :math:`\Delta_{ij} \approx -A_{ij}\, \partial L
    / \partial A_{ij}`, nats a trial of cross-entropy; `cut_edges` does some edges exactly.

    Bias: negative where the network is better off without the edge. The first order leaves
    curvature out, mostly what a cut would cost more; at a minimum of the loss it vanishes, so that
    on the trials of a long training it is noise. Edges that stand in for each other matter little
    one by one.

    Parameters
    ----------
    model
        Fitted; "stgat", or a forecaster without attention.
    counts
        ``(trial, bin, neuron)`` for a decoder, ``(bin, neuron)`` for a forecaster; better of
        trials or bins that training has not seen.
    labels
        Class of each trial, for a decoder only.

    Returns
    -------
    numpy.ndarray
        ``(source, target)``, nats. For candidates with a sign, multiply by that of
        `adjacency_edges`.

    Raises
    ------
    ValueError
        The model has no such edges, labels are missing, too many or unknown, or the counts are
        not as described.
    """
    _check_labels(model, counts, labels)
    if isinstance(model, SpikeForecaster):
        return _without_diagonal(_forecast_ablation(model, counts))
    trials, classes = _trials(model, counts), _codes(model, labels)
    found = []
    for network in _networks(model):
        held, weights = _held(network)
        loss = _cross_entropy(held, trials, classes)
        (slope,) = torch.autograd.grad(loss, weights)
        found.append(-(weights * slope).sum(dim=0).detach().cpu().numpy())
    return _without_diagonal(np.mean(found, axis=0))


def cut_edges(
    model: Model,
    counts: np.ndarray,
    labels: np.ndarray | None,
    edges: Sequence[tuple[int, int]],
) -> np.ndarray:
    """How much larger the loss becomes when an edge is cut: exactly, one after the other.

    Parameters
    ----------
    model, counts, labels
        As for `ablation_edges`.
    edges
        Pairs of source and target.

    Returns
    -------
    numpy.ndarray
        ``(edge,)``, nats a trial or a bin.

    Raises
    ------
    ValueError
        As `ablation_edges`.
    """
    _check_labels(model, counts, labels)
    if isinstance(model, SpikeForecaster):
        _graph_of(model)  # refuses what has none
        networks, loss = [model.network_], partial(_forecast_loss, model, counts)
    else:
        networks = _networks(model)
        loss = partial(_cross_entropy, trials=_trials(model, counts), classes=_codes(model, labels))
    changes = np.zeros(len(edges))
    with torch.no_grad():
        for network in networks:
            held, weights = _held(network)
            before = float(loss(network=held))
            for k, (source, target) in enumerate(edges):
                kept = weights[:, source, target].clone()
                weights[:, source, target] = 0
                changes[k] += (float(loss(network=held)) - before) / len(networks)
                weights[:, source, target] = kept
    return changes


def seed_agreement(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Rank correlation of candidates between trainings that differ in their seed alone.

    Spearman's, over the ordered pairs that are finite in both. What another seed does not find
    again says nothing about the brain, nor even about this data set (Wiegreffe and Pinter 2019).
    Bias: agreement is no proof either; what all seeds share may be the rates of the neurons.

    Parameters
    ----------
    matrices
        ``(source, target)``, at least two, of the same neurons.

    Returns
    -------
    numpy.ndarray
        ``(training, training)``, symmetric, 1 on the diagonal; NaN where a matrix is constant.

    Raises
    ------
    ValueError
        Fewer than two matrices, or not square ones of one size.

    References
    ----------
    Wiegreffe, S., and Pinter, Y. (2019). Attention is not not explanation. EMNLP.
    """
    shapes = {np.shape(matrix) for matrix in matrices}
    shape = next(iter(shapes), ())
    if len(matrices) < 2 or len(shapes) > 1 or len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(
            f"need at least two square matrices (source, target) of the same neurons; got "
            f"{len(matrices)} of shapes {sorted(shapes)}"
        )
    stack = np.array(matrices, np.float64)[:, ~np.eye(shape[0], dtype=bool)]
    agreement = np.eye(len(stack))
    for a in range(len(stack)):
        for b in range(a):
            agreement[a, b] = agreement[b, a] = _rank_correlation(stack[a], stack[b])
    return agreement


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    both = np.isfinite(first) & np.isfinite(second)
    first, second = first[both], second[both]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def _mean_slopes(
    function: Callable[[Tensor], Tensor], inputs: Tensor, baseline: Tensor, n_steps: int
) -> Iterator[Tensor]:
    """Yield, output by output, the mean derivative along each path, (example, ...)."""
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1; got {n_steps}")
    at, weights = np.polynomial.legendre.leggauss(n_steps)
    shape = (n_steps, *[1] * inputs.ndim)
    at = torch.as_tensor((at + 1) / 2).to(inputs).view(shape)
    weights = torch.as_tensor(weights / 2).to(inputs).view(shape)
    points = (baseline + at * (inputs - baseline)).detach().requires_grad_()  # (S, example, ...)
    outputs = function(points.flatten(0, 1))
    if outputs.ndim != 2 or len(outputs) != n_steps * len(inputs):
        raise ValueError(
            f"the function must give (example, output) for {n_steps * len(inputs)} examples; got "
            f"shape {tuple(outputs.shape)}"
        )
    for output in outputs.sum(dim=0):
        (slopes,) = torch.autograd.grad(output, points, retain_graph=True)
        yield (weights * slopes).sum(dim=0)


def _moved(function: Callable[[Tensor], Tensor], examples: Tensor, n_steps: int) -> np.ndarray:
    """Edges of `integrated_gradients_edges`; examples (example, part, neuron) about their mean."""
    sizes = examples.abs()
    slopes = _mean_slopes(function, examples, torch.zeros_like(examples[0]), n_steps)
    columns = [(sizes * slope).sum(dim=1).mean(dim=0) for slope in slopes]
    return _without_diagonal(torch.stack(columns, dim=1).cpu().numpy())


@torch.inference_mode()
def _forecast_ablation(model: SpikeForecaster, counts: np.ndarray) -> np.ndarray:
    """Mean change of the loss of each target, in nats a bin, without each source's message.

    The mean of y A m is one product; that of lambda (exp(-A m) - 1) one for each power of m.
    """
    weights = _graph_of(model).graph()[0].double()
    linear, powers = torch.zeros_like(weights), []
    for traces, seen in _stretches(model, counts):
        sent = model.network_.edges.sent(traces[:, : model.network_.n_fast])[0].double()
        rates = model.network_(traces)[0].double().exp()
        linear += sent.T @ seen
        largest = float((sent.abs().amax(dim=0)[:, None] * weights.abs()).max())
        power = torch.ones_like(sent)
        for order in range(1, _n_terms(largest) + 1):
            power = power * sent / order
            if order > len(powers):
                powers.append(torch.zeros_like(weights))
            powers[order - 1] += power.T @ rates
    change = weights * linear
    for order, moment in enumerate(powers, start=1):
        change += (-weights) ** order * moment
    return (change / len(counts)).cpu().numpy()


def _n_terms(largest: float) -> int:
    """Terms of the series of exp(x) - 1 that leave less than `PRECISION` of exp(|x|) out."""
    term, n_terms = 1.0, 0
    while term > PRECISION or n_terms < largest:
        n_terms += 1
        term *= largest / n_terms
    return n_terms


def _forecast_loss(model: SpikeForecaster, counts: np.ndarray, network: nn.Module) -> float:
    """Loss of a network that reads what the model reads, nats a bin."""
    total = 0.0
    for traces, seen in _stretches(model, counts):
        logs = network(traces)[0].double()
        total += float((logs.exp() - seen * logs).sum())
    return total / len(counts)


def _stretches(model: SpikeForecaster, counts: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield traces (1, trace, bin, neuron) and counts (bin, neuron), a stretch at a time."""
    for k, traces in enumerate(model.traces(counts)):
        seen = np.asarray(counts[k * model.chunk : (k + 1) * model.chunk], np.float64)
        yield traces, torch.from_numpy(seen).to(traces.device)


def _spread_bins(model: SpikeForecaster, counts: np.ndarray, n_examples: int) -> Tensor:
    """Traces of bins evenly spread over a recording, (example, trace, neuron)."""
    found, before = [], 0
    chosen = _spread(len(counts), n_examples)
    for traces in model.traces(counts):
        n_bins = traces.shape[2]
        here = chosen[(chosen >= before) & (chosen < before + n_bins)] - before
        found.append(traces[0][:, here].transpose(0, 1))
        before += n_bins
    return torch.cat(found)


def _spread(n: int, n_wanted: int) -> np.ndarray:
    """Positions evenly spread from 0 to below n, at most n of them."""
    n_wanted = min(n, n_wanted)
    return ((np.arange(n_wanted) + 0.5) * n / n_wanted).astype(int)


def _graph_of(model: SpikeForecaster) -> GraphEdges:
    edges = model.network_.edges
    if not isinstance(edges, GraphEdges):
        raise ValueError(
            "messages that attention weights are not cut one by one: the others' shares would "
            "change; fit SpikeForecaster(attention=False), or use integrated_gradients_edges"
        )
    return edges


def _networks(decoder: SpikeDecoder) -> list[nn.Module]:
    """The decoder's networks, all of them with messages."""
    if any(network.messages is None for network in decoder.networks_):
        raise ValueError(
            "need a decoder of architecture 'stgat' with a graph other than 'none', whose neurons "
            f"send messages; got {decoder.architecture!r} with graph {decoder.graph!r}"
        )
    return decoder.networks_


def _messages(decoder: SpikeDecoder) -> list[nn.Module]:
    return [network.eval().messages for network in _networks(decoder)]


class _HeldGraph(nn.Module):
    """A graph whose weights are at hand."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self) -> Tensor:
        """Weights (graph, source, target)."""
        return self.weights


def _held(network: nn.Module) -> tuple[nn.Module, Tensor]:
    """Copy a network with the weights of its graph as a parameter, and return both."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    part = network.edges if hasattr(network, "edges") else network.messages
    with torch.no_grad():
        part.graph = _HeldGraph(part.graph().clone())
    return network, part.graph.weights


def _cross_entropy(network: nn.Module, trials: Tensor, classes: Tensor) -> Tensor:
    """Mean over trials, nats."""
    parts = zip(trials.split(TRIALS_AT_A_TIME), classes.split(TRIALS_AT_A_TIME), strict=True)
    losses = [functional.cross_entropy(network(x), y, reduction="sum") for x, y in parts]
    return sum(losses) / len(trials)


def _trials(decoder: SpikeDecoder, counts: np.ndarray) -> Tensor:
    """Scaled counts, (trial, bin, neuron), on the device of the networks."""
    device = next(decoder.networks_[0].parameters()).device
    return torch.from_numpy(decoder.scaler_.transform(counts)).to(device)


def _codes(decoder: SpikeDecoder, labels: np.ndarray) -> Tensor:
    """Number of each label's class, (trial,)."""
    codes = torch.from_numpy(np.searchsorted(decoder.classes_, labels))
    return codes.to(next(decoder.networks_[0].parameters()).device)


def _check_labels(model: Model, counts: np.ndarray, labels: np.ndarray | None) -> None:
    if isinstance(_checked(model), SpikeForecaster):
        if labels is not None:
            raise ValueError("a forecaster has no labels; got some. Leave them out")
        return
    known = np.isin(labels, model.classes_)  # of None: False
    if known.shape != np.shape(counts)[:1] or not known.all():
        raise ValueError(
            f"a decoder needs the class of each trial, one that it was trained on; got labels of "
            f"shape {np.shape(labels)} for counts of shape {np.shape(counts)}, {known.sum()} known"
        )


def _checked(model: Model) -> Model:
    """Refuse what is neither kind of model, or is not fitted."""
    if not isinstance(model, SpikeDecoder | SpikeForecaster) or not hasattr(model, "history_"):
        raise ValueError(
            f"need a fitted SpikeDecoder or SpikeForecaster; got {type(model).__name__}. Call fit."
        )
    return model


def _without_diagonal(scores: np.ndarray) -> np.ndarray:
    np.fill_diagonal(scores := np.array(scores, np.float64), np.nan)
    return scores
