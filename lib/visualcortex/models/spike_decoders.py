"""Networks that read which image was shown off binned spike counts, as scikit-learn classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional

from visualcortex.models.graph_layers import AdaptiveGraph, GraphAttentionV2, GraphConvolution
from visualcortex.models.spike_baselines import CountScaler
from visualcortex.models.spike_networks import (
    N_HEADS,
    FixedGraph,
    Messages,
    OnGraph,
    Perceptron,
    Recurrent,
    SignedGraph,
    SpikeNetwork,
    Transformer,
    correlation_graph,
    random_graph,
)
from visualcortex.models.supervised import Examples, Report, Supervised
from visualcortex.training import choose_device, run_epochs
from visualcortex.tuning import Settings, Space

ARCHITECTURES = ("linear", "mlp", "lstm", "gru", "transformer", "gcn", "gatv2", "stgat")
ON_GRAPHS = ("gcn", "gatv2", "stgat")
GRAPHS = ("learned", "none", "identity", "random", "correlation", "given")
AT_A_TIME = 256  # trials answered at once


class SpikeDecoder(ClassifierMixin, BaseEstimator):
    r"""Networks that classify trials of binned spike counts (trial, bin, neuron).

    Counts are scaled as by `visualcortex.models.spike_baselines.CountScaler`. A network gives
    logits z and minimises the cross-entropy of :math:`\mathrm{softmax}(z)` with smoothed labels
    (Szegedy et al. 2016) by AdamW (`visualcortex.models.supervised.Supervised`). Each is a linear
    readout of low rank plus a correction (`visualcortex.models.spike_networks.SpikeNetwork`), so
    that two architectures differ by their corrections alone:

    - "linear": none; softmax regression of rank `n_code` with dropout;
    - "mlp": a perceptron of all bins;
    - "lstm", "gru": a recurrent network over bins, its last state;
    - "transformer": attention among bins, read from a token of the class;
    - "gcn": a graph convolution (Kipf & Welling 2017) of neurons with their time courses;
    - "gatv2": graph attention (Brody et al. 2022) instead;
    - "stgat": messages over a graph of neurons in each bin, weighted by attention and added to the
      counts (`visualcortex.models.spike_networks.Messages`), then attention among bins, as
      "transformer", or a GRU.

    Bias: the validation loss of the epoch kept is the lowest of many and too good: report a test
    set. A learned graph is what helps to tell images apart; nothing in this loss asks for
    connections. Label smoothing makes probabilities less extreme than the network's confidence.

    Parameters
    ----------
    architecture : str
        One of the above.
    graph : str, optional
        For "stgat" "learned" (the default), for "gcn" and "gatv2" "correlation" (the default), or
        "none" (no messages), "identity" (each neuron to itself), "random" (`n_sources` for each),
        "given". "learned" is for "stgat" only.
    adjacency : (n_neurons, n_neurons) array, optional
        For graph "given", source by target; its values are weights for "stgat", for the others
        what is not 0 is an edge.
    rank : int or None
        Of a learned graph; None for a weight of its own for each pair.
    per_bin : bool
        Whether each bin has a learned graph of its own.
    dale : None, "learned" or (n_neurons,) array of +-1
        Signs of the learned weights, one a source neuron. None for weights of any sign.
    sparsity : float
        Weight of the mean absolute weight of the learned graph in the loss.
    n_sources : int
        Sources of each neuron in graphs "random" and "correlation".
    n_features : int
        Features of the attention of "stgat"; 0 for none.
    temporal : {"transformer", "gru", "lstm"}
        What reads the bins of "stgat" after the messages.
    channels : int
        Numbers that "gcn" and "gatv2" give each neuron.
    hidden : int
        Size of a perceptron's layer, a recurrent state or a token; a multiple of 4 for tokens.
    n_code : int
        Rank of the linear readout.
    n_networks : int
        Networks, whose probabilities are averaged.
    n_epochs, batch_size : int
        Epochs at most, of which the schedule of learning rates depends; trials a step.
    patience : int, optional
        Stop after so many epochs without a lower validation loss.
    learning_rate, weight_decay : float
        Of AdamW.
    dropout : float
        Share of inputs, and of the code, that is left out in training.
    label_smoothing : float
        Share of a label that is spread over all classes in training.
    seed : int
        Of weights, order of trials, dropout and a random graph. Torch's own random state is left
        as it is.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    classes_ : (n_classes,) array
    adjacency_ : (n_neurons, n_neurons) or (n_bins, n_neurons, n_neurons) array, or None
        Weights of the messages, source by target, mean of the networks; for "gcn" and "gatv2" the
        edges. None without messages.
    history_ : pandas.DataFrame
        A row an epoch and network: "network", "epoch" (from 1), "train", "validation" (where there
        is any) and "kept".
    networks_ : list of torch.nn.Module
    scaler_ : CountScaler

    References
    ----------
    Brody, S., Alon, U. & Yahav, E. (2022). How attentive are graph attention networks? ICLR.
    Kipf, T. N. & Welling, M. (2017). Semi-supervised classification with graph convolutional
    networks. ICLR.
    Szegedy, C. et al. (2016). Rethinking the inception architecture for computer vision. CVPR.
    """

    def __init__(
        self,
        architecture: str = "stgat",
        *,
        graph: str | None = None,
        adjacency: np.ndarray | None = None,
        rank: int | None = 16,
        per_bin: bool = False,
        dale: str | np.ndarray | None = None,
        sparsity: float = 10.0,
        n_sources: int = 10,
        n_features: int = 2,
        temporal: str = "transformer",
        channels: int = 2,
        hidden: int = 64,
        n_code: int = 64,
        n_networks: int = 1,
        n_epochs: int = 15,
        patience: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 8e-3,
        weight_decay: float = 0.3,
        dropout: float = 0.5,
        label_smoothing: float = 0.1,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.architecture = architecture
        self.graph = graph
        self.adjacency = adjacency
        self.rank = rank
        self.per_bin = per_bin
        self.dale = dale
        self.sparsity = sparsity
        self.n_sources = n_sources
        self.n_features = n_features
        self.temporal = temporal
        self.channels = channels
        self.hidden = hidden
        self.n_code = n_code
        self.n_networks = n_networks
        self.n_epochs = n_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.device = device

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        *,
        report: Report | None = None,
        progress: bool = True,
    ) -> SpikeDecoder:
        """Train the networks, one after the other.

        Parameters
        ----------
        X : (n_trials, n_bins, n_neurons) array
            Spike counts.
        y : (n_trials,) array
            Class of each trial.
        validation : (X, y), optional
            Other trials, which choose the epoch to keep; the last epoch is kept without.
        report : callable, optional
            Told the number of epochs done and the validation loss after each, of one network.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        SpikeDecoder
            Itself.

        Raises
        ------
        ValueError
            If a setting is out of range, counts are not as described, there is not one class a
            trial, a validation class is not in training, or the graph does not fit.
        FloatingPointError
            If training diverges.
        """
        graph = _check_settings(self, validation, report)
        self.scaler_ = CountScaler(flat=False).fit(X)
        self.classes_ = np.unique(y)
        train = self._examples(X, y)
        held_out = None if validation is None else self._examples(*validation)
        weights = self._fixed_weights(graph, train.inputs)
        # the first seeds do not depend on how many there are
        seeds = np.random.SeedSequence(self.seed).generate_state(self.n_networks).tolist()
        fits = [self._train(weights, graph, train, held_out, s, report, progress) for s in seeds]
        self.networks_ = [network for network, _ in fits]
        tables = [table.assign(network=k) for k, (_, table) in enumerate(fits)]
        table = pd.concat(tables, ignore_index=True)
        self.history_ = table[["network", *table.columns.drop("network")]]
        self.adjacency_ = self._adjacency(weights, graph)
        return self

    @torch.inference_mode()
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Mean of the networks' probabilities, (n_trials, n_classes) float32; rows add up to 1.

        Parameters
        ----------
        X : (n_trials, n_bins, n_neurons) array
            Spike counts.

        Raises
        ------
        ValueError
            If counts are not as described, or of other bins or neurons than in training.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        sums = [
            sum(network.eval()(x).softmax(1) for network in self.networks_)
            for x in self._batches(X)
        ]
        return (torch.cat(sums) / len(self.networks_)).cpu().numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Most probable class of each trial, (n_trials,), from `classes_`; see `predict_proba`."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    @torch.inference_mode()
    def attention(self, X: np.ndarray) -> np.ndarray:
        """Mean attention over trials, bins or heads, and networks.

        For "stgat" the factors of the weights `adjacency_`, 1 where attention is flat; for "gatv2"
        the shares of the sources, which add up to 1 for each target that has any.

        Parameters
        ----------
        X : (n_trials, n_bins, n_neurons) array
            Spike counts.

        Returns
        -------
        (n_neurons, n_neurons) array
            Source by target, float32.

        Raises
        ------
        ValueError
            If the architecture has no attention among neurons, or as for `predict_proba`.
        """
        modules = [_attends(network) for network in self.networks_]
        if None in modules:
            raise ValueError(
                'attention among neurons needs architecture "gatv2" or "stgat" and a graph; got '
                f"{self.architecture!r} with graph {self.graph!r}"
            )
        sums = sum(m.attention(x) for m in modules for x in self._batches(X))
        return (sums / len(X) / len(modules)).cpu().numpy()

    def _examples(self, X: np.ndarray, y: np.ndarray) -> Examples:
        """Scaled counts and codes of classes; the border for labels."""
        z, y = self.scaler_.transform(X), np.asarray(y)
        unknown = np.setdiff1d(y, self.classes_)
        if y.shape != (len(z),) or len(unknown) or len(self.classes_) < 2:
            raise ValueError(
                f"need one class a trial, at least two, all of them in training: {len(z)} trials, "
                f"classes of shape {y.shape}, {len(self.classes_)} in training, not in training "
                f"{unknown.tolist()}. Split within each class"
            )
        return Examples(z, (torch.as_tensor(np.searchsorted(self.classes_, y)),))

    def _batches(self, X: np.ndarray) -> list[Tensor]:
        check_is_fitted(self, "networks_")
        device = next(self.networks_[0].parameters()).device
        z = torch.from_numpy(self.scaler_.transform(X))
        return [part.to(device) for part in z.split(AT_A_TIME)]

    def _fixed_weights(self, graph: str, z: np.ndarray) -> np.ndarray | None:
        """Weights (source, target) of a graph that is not learned; None without any."""
        n_neurons = z.shape[2]
        if graph in ("learned", "none"):
            return None
        if graph == "identity":
            return np.eye(n_neurons, dtype=np.float32)
        if graph == "correlation":
            return correlation_graph(z, self.n_sources).astype(np.float32)
        if graph == "random":
            rng = np.random.default_rng(self.seed)
            return random_graph(n_neurons, self.n_sources, rng).astype(np.float32)
        given = np.asarray(self.adjacency, dtype=np.float32)
        if given.shape != (n_neurons, n_neurons) or not np.isfinite(given).all():
            raise ValueError(
                f"adjacency must be ({n_neurons}, {n_neurons}), source by target, and finite; got "
                f"shape {given.shape}. Select the same neurons in both."
            )
        return given

    def _network(self, weights: np.ndarray | None, graph: str, seed: int) -> SpikeNetwork:
        """One network, on the device; the random state of torch is left as it is."""
        fixed = None if weights is None else torch.from_numpy(weights)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = SpikeNetwork(
                *self.scaler_.shape_,
                len(self.classes_),
                n_code=self.n_code,
                dropout=self.dropout,
                correction=self._correction(fixed),
                messages=self._messages(fixed, graph),
            )
        return network.to(choose_device(self.device))

    def _correction(self, fixed: Tensor | None) -> nn.Module | None:
        """What the architecture adds to the linear readout, if anything."""
        n_bins, n_neurons = self.scaler_.shape_
        if self.architecture == "mlp":
            return Perceptron(n_bins * n_neurons, self.hidden, self.n_code, self.dropout)
        kind = self.temporal if self.architecture == "stgat" else self.architecture
        if kind == "transformer":
            return Transformer(n_bins, n_neurons, self.hidden, self.n_code)
        if kind in ("lstm", "gru"):
            return Recurrent(kind, n_neurons, self.hidden, self.n_code)
        if self.architecture == "linear" or fixed is None:
            return None
        layer = GraphConvolution if self.architecture == "gcn" else GraphAttentionV2
        layer = layer(n_bins, self.channels)
        return OnGraph(layer, fixed != 0, n_neurons * self.channels, self.n_code)

    def _messages(self, fixed: Tensor | None, graph: str) -> Messages | None:
        """Messages of the spatial layer, over a fixed or a learned graph, if any."""
        if self.architecture != "stgat" or graph == "none":
            return None
        if fixed is not None:
            return Messages(FixedGraph(fixed), self.n_features)
        n_bins, n_neurons = self.scaler_.shape_
        n_graphs = n_bins if self.per_bin else 1
        if self.dale is None:
            learned = SignedGraph(n_neurons, self.rank, n_graphs=n_graphs)
        else:
            signs = self.dale
            if not isinstance(signs, str):
                signs = torch.as_tensor(np.asarray(signs), dtype=torch.float32)
            learned = AdaptiveGraph(n_neurons, self.rank, n_graphs=n_graphs, signs=signs)
        return Messages(learned, self.n_features)

    def _train(
        self,
        weights: np.ndarray | None,
        graph: str,
        train: Examples,
        held_out: Examples | None,
        seed: int,
        report: Report | None,
        progress: bool,
    ) -> tuple[SpikeNetwork, pd.DataFrame]:
        """One trained network, and its history."""
        network = self._network(weights, graph, seed)
        training = Supervised(
            network,
            train,
            held_out or train,
            _loss(network, self.label_smoothing, self.sparsity),
            n_epochs=self.n_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            seed=seed,
            report=report,
        )
        history = run_epochs(
            training if held_out else _Unvalidated(training),
            self.n_epochs,
            patience=self.patience if held_out else None,
            progress=progress,
            description=self.architecture,
        )
        return network.eval(), history

    @torch.inference_mode()
    def _adjacency(self, weights: np.ndarray | None, graph: str) -> np.ndarray | None:
        """Weights of the messages, mean of the networks, or the edges of a fixed graph."""
        if self.architecture in ("gcn", "gatv2"):
            return weights
        messages = [network.messages for network in self.networks_]
        if None in messages:
            return None
        mean = sum(m.graph() for m in messages) / len(messages)
        return mean.cpu().numpy() if len(mean) > 1 else mean[0].cpu().numpy()


class _Unvalidated:
    """A training without its validation, so that the last epoch is kept."""

    def __init__(self, training: Supervised) -> None:
        self.train_epoch = training.train_epoch
        self.state_dict = training.state_dict
        self.load_state_dict = training.load_state_dict


def search_space(architecture: str) -> Space:
    """Return the search space of an architecture, for `visualcortex.tuning.search`.

    Parameters
    ----------
    architecture : str
        As of `SpikeDecoder`.

    Returns
    -------
    callable
        Given a trial of Optuna, returns settings for `SpikeDecoder`, its architecture included.

    Raises
    ------
    ValueError
        There is no such architecture.
    """
    _check_architecture(architecture)

    def space(trial: Any) -> Settings:
        """Settings of this architecture, as the trial suggests them."""
        settings = {
            "architecture": architecture,
            "learning_rate": trial.suggest_float("learning_rate", 2e-3, 2e-2, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-2, 3.0, log=True),
            "dropout": trial.suggest_float("dropout", 0.2, 0.7),
            "n_code": trial.suggest_int("n_code", 16, 128, log=True),
        }
        if architecture in ("mlp", "lstm", "gru", "transformer", "stgat"):
            settings["hidden"] = trial.suggest_categorical("hidden", [32, 64, 128])
        if architecture in ("gcn", "gatv2"):
            settings["channels"] = trial.suggest_int("channels", 2, 8)
            settings["n_sources"] = trial.suggest_int("n_sources", 3, 30, log=True)
        if architecture == "stgat":
            settings["rank"] = trial.suggest_int("rank", 2, 32, log=True)
            settings["n_features"] = trial.suggest_categorical("n_features", [0, 2, 4])
            settings["sparsity"] = trial.suggest_float("sparsity", 0.1, 100, log=True)
        return settings

    return space


def _loss(network: SpikeNetwork, smoothing: float, sparsity: float) -> Any:
    """Cross-entropy; with smoothed labels and the price of a learned graph in training alone."""
    learned = network.messages is not None and not isinstance(network.messages.graph, FixedGraph)

    def loss(logits: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
        """Mean over trials, in nats."""
        if not network.training:
            return functional.cross_entropy(logits, targets[0])
        value = functional.cross_entropy(logits, targets[0], label_smoothing=smoothing)
        if sparsity and learned:
            value = value + sparsity * network.messages.graph().abs().mean()
        return value

    return loss


def _attends(network: SpikeNetwork) -> Messages | OnGraph | None:
    """The part of a network that has attention among neurons, if any."""
    if network.messages is not None:
        return network.messages
    part = network.correction
    return part if isinstance(part, OnGraph) and part.attends else None


def _check_settings(decoder: SpikeDecoder, validation: object, report: object) -> str:
    """Refuse settings that are out of range; return the graph, with the architecture's default."""
    _check_architecture(decoder.architecture)
    graph = _graph(decoder)
    least = {"n_features": 0, "sparsity": 0, "weight_decay": 0, "seed": 0, "batch_size": 2}
    least |= dict.fromkeys(
        ("n_sources", "channels", "hidden", "n_code", "n_networks", "n_epochs"), 1
    )
    low = {name: getattr(decoder, name) for name in least if getattr(decoder, name) < least[name]}
    shares = decoder.dropout, decoder.label_smoothing
    if low or not decoder.learning_rate > 0 or not all(0 <= share < 1 for share in shares):
        raise ValueError(
            f"need at least {least}, a positive learning rate, and dropout and label smoothing in "
            f"[0, 1); got {low}, {decoder.learning_rate} and {shares}"
        )
    if decoder.temporal not in ("transformer", "gru", "lstm"):
        raise ValueError(f"temporal must be transformer, gru or lstm; got {decoder.temporal!r}")
    kind = decoder.temporal if decoder.architecture == "stgat" else decoder.architecture
    if kind == "transformer" and decoder.hidden % N_HEADS:
        raise ValueError(f"hidden must be a multiple of {N_HEADS}; got {decoder.hidden}")
    if validation is None and (report is not None or decoder.patience is not None):
        raise ValueError("report and patience need validation trials; pass validation=(X, y)")
    return graph


def _check_architecture(architecture: str) -> None:
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {ARCHITECTURES}; got {architecture!r}")


def _graph(decoder: SpikeDecoder) -> str:
    """Source of the graph; "none" for an architecture without."""
    if decoder.architecture not in ON_GRAPHS:
        if decoder.graph is not None or decoder.adjacency is not None:
            raise ValueError(
                f"a graph is for {ON_GRAPHS}; got graph {decoder.graph!r} and an adjacency "
                f"{'' if decoder.adjacency is None else 'matrix '}for {decoder.architecture!r}"
            )
        return "none"
    learns = decoder.architecture == "stgat"
    graph = decoder.graph or ("learned" if learns else "correlation")
    if graph not in GRAPHS or (graph == "learned" and not learns):
        raise ValueError(f'graph must be one of {GRAPHS}, "learned" for "stgat"; got {graph!r}')
    if (graph == "given") != (decoder.adjacency is not None):
        raise ValueError('an adjacency goes with graph "given", and only with it')
    return graph
