"""Layers that pass messages between the neurons of a trial, and graphs that are learned.

Inputs are (B, N, F): B trials, N neurons, F features. Every trial has the same graph, and no
message leaves its trial. Graphs are (source, target): entry [i, j] is the edge from i to j.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

PATHS = ("auto", "dense", "sparse")
MODES = ("sigmoid", "softmax")
# Below that many neurons PyTorch Geometric's fixed costs outweigh what a sparse graph saves.
SPARSE_FROM = 200
# Logits held at a time, over all heads: as many as a processor's cache holds, more on a GPU.
BLOCK = {"cpu": 2**18, "cuda": 2**25}


class _GraphLayer(nn.Module):
    """What all layers share: checks, heads put together, a bias for each output."""

    bias: Tensor

    def __init__(self, n_in: int, n_out: int, heads: int, concat: bool, self_loops: bool) -> None:
        super().__init__()
        if min(n_in, n_out, heads) < 1:
            raise ValueError(
                "need at least one input feature, one output feature and one head; got "
                f"n_in={n_in}, n_out={n_out} and heads={heads}"
            )
        self.n_in, self.n_out, self.heads = n_in, n_out, heads
        self.concat, self.self_loops = concat, self_loops
        self.bias = nn.Parameter(torch.zeros(n_out * (heads if concat else 1)))

    def extra_repr(self) -> str:
        """Sizes, for `print`."""
        return f"{self.n_in}, {self.n_out}, heads={self.heads}, concat={self.concat}"

    def _split(self, projected: Tensor) -> Tensor:
        """(B, N, H C) to (B, H, N, C), in memory in that order."""
        return projected.unflatten(-1, (self.heads, self.n_out)).transpose(1, 2).contiguous()

    def _merge(self, messages: Tensor) -> Tensor:
        """(B, H, N, C) to (B, N, H C), or their mean over heads, and the bias."""
        if not self.concat:
            return messages.mean(dim=1) + self.bias
        return messages.transpose(1, 2).flatten(2) + self.bias

    def _edges(self, adjacency: Tensor | None, x: Tensor) -> Tensor | None:
        """Where there is an edge, (source, target) bool, with self-loops if wanted."""
        if adjacency is None:
            return None
        edges = adjacency.to(x.device) != 0
        return edges.fill_diagonal_(True) if self.self_loops else edges


class _AdditiveAttention(_GraphLayer):
    """Attention by a rectified sum over source and target; dense here, sparse by PyG."""

    peer: str
    sparse_below: float

    def __init__(
        self,
        n_in: int,
        n_out: int,
        heads: int = 1,
        *,
        concat: bool = True,
        edge_dim: int | None = None,
        negative_slope: float = 0.2,
        self_loops: bool = True,
        path: str = "auto",
    ) -> None:
        super().__init__(n_in, n_out, heads, concat, self_loops)
        if edge_dim not in (None, 1):
            raise ValueError(f"an edge has one weight or none: edge_dim None or 1; got {edge_dim}")
        if path not in PATHS:
            raise ValueError(f"path must be one of {PATHS}; got {path!r}")
        if not 0 <= negative_slope <= 1:
            raise ValueError(f"negative_slope must be from 0 to 1; got {negative_slope}")
        self.edge_dim, self.negative_slope, self.path = edge_dim, negative_slope, path
        if edge_dim:
            self.lin_edge = _linear(1, heads * n_out, bias=False)

    def forward(
        self,
        x: Tensor,
        adjacency: Tensor | None = None,
        *,
        bias: Tensor | None = None,
        edge_weights: Tensor | None = None,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Pass messages along the edges of each trial.

        Parameters
        ----------
        x : (B, N, n_in) tensor
            Features of the neurons of each trial.
        adjacency : (N, N) tensor, optional
            (source, target); an edge where it is not zero. By default from all to all, themselves
            included. No gradient goes through it.
        bias : (N, N) or (heads, N, N) tensor, optional
            (source, target); is added to the logits before the softmax, dense path only. The log
            of a non-negative learned graph is a gate: attention is proportional to A exp(logit).
            A gate that is zero has no finite gradient; keep a floor. A factor common to all
            sources of a target cancels.
        edge_weights : (N, N) tensor
            (source, target), only with and always with `edge_dim` 1. A self-loop's weight is the
            mean weight of the edges to its neuron, as in PyTorch Geometric.
        return_attention : bool
            Whether to return the attention too, dense path only.

        Returns
        -------
        (B, N, heads n_out) or (B, N, n_out) tensor
            A neuron that has no source gets the layer's own bias.
        (B, heads, N, N) tensor
            (source, target), if asked for: the sum over sources is 1, or 0 where there is none.
            It is for looking at: no gradient goes through it.

        Raises
        ------
        ValueError
            A shape is wrong, `adjacency` wants a gradient, edge weights lack or are too many, or
            the sparse path is asked for what only the dense one can do.
        """
        _check_inputs(x, adjacency, bias, self.n_in, self.heads)
        self._check_weights(edge_weights, x.shape[1])
        edges = self._edges(adjacency, x)
        if self._is_sparse(x.shape[1], edges, dense_only=bias is not None or return_attention):
            return self._by_edges(x, edges, edge_weights)
        weights = None
        if edge_weights is not None:
            weights = _weights_of(edges, edge_weights.to(x), self.self_loops).T
        offset, linked = _offset(edges, bias, x)
        values, *parts = self._parts(x)
        logits = _Logits(*parts, weights, offset, self.negative_slope)
        out = self._merge(_linked_only(_Attend.apply(values, *logits), linked))
        if not return_attention:
            return out
        with torch.no_grad():
            return out, _linked_only(logits.softmax(), linked).mT

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        """Values (B, H, N, C); sources, targets, scale and edge scale of `_Logits`."""
        raise NotImplementedError

    def _is_sparse(self, n_neurons: int, edges: Tensor | None, dense_only: bool) -> bool:
        if self.path == "sparse" and dense_only:
            raise ValueError(
                "path 'sparse' takes no bias and returns no attention; got one of them wanted. Use "
                "path 'auto' or 'dense', or give edge_weights"
            )
        if self.path != "auto" or dense_only or edges is None or n_neurons < SPARSE_FROM:
            return self.path == "sparse"
        return bool(edges.count_nonzero() < self.sparse_below * edges.numel())

    def _by_edges(self, x: Tensor, edges: Tensor | None, weights: Tensor | None) -> Tensor:
        """PyTorch Geometric's layer with our parameters, on one graph of disjoint trials."""
        n_trials, n = x.shape[:2]
        if edges is None:
            edges = x.new_ones(n, n, dtype=torch.bool)
        conv = getattr(_pytorch_geometric(), self.peer)(
            self.n_in, self.n_out, self.heads, self.concat, self.negative_slope,
            add_self_loops=self.self_loops, edge_dim=self.edge_dim,
        )  # fmt: skip
        first = n * torch.arange(n_trials, device=x.device)
        index = (edges.nonzero().T[:, None] + first[:, None]).flatten(1)  # (2, B E)
        if weights is not None:
            weights = weights[edges].repeat(n_trials)[:, None]
        given = (x.flatten(0, 1), index, weights)
        out = torch.func.functional_call(conv, dict(self.named_parameters()), given)
        return out.unflatten(0, (n_trials, n))

    def _check_weights(self, weights: Tensor | None, n: int) -> None:
        if (weights is None) == bool(self.edge_dim):
            raise ValueError(
                f"edge_weights (N, N) go with edge_dim=1, and only with it; got edge_dim="
                f"{self.edge_dim} and {'none' if weights is None else 'some'}"
            )
        if weights is not None and weights.shape != (n, n):
            raise ValueError(
                f"edge_weights must be (source, target) of shape {(n, n)}; got "
                f"{tuple(weights.shape)}"
            )


class GraphAttention(_AdditiveAttention):
    r"""Graph attention of Velickovic et al. (2018).

    With :math:`h_i = W x_i`, target j gets, of each head,

    .. math:: \sum_i \alpha_{ij} h_i, \quad \alpha_{ij} = \mathrm{softmax}_i\big(
        \mathrm{LeakyReLU}(a_s \cdot h_i + a_t \cdot h_j + u\, w_{ij}) + b_{ij}\big)

    over its sources i; u w is there with edge weights w, b with a given bias. All targets rank
    their sources alike, which `GraphAttentionV2` mends. Parameters have PyTorch Geometric's names
    and shapes: the state of a `GATConv` loads.

    The dense path holds no (B, H, N, N) array: logits are computed block by block, and again for
    the gradient. The sparse path is `GATConv` on all trials as one graph without edges between
    trials. "auto" takes the sparse one from 200 neurons on where less than `sparse_below` of the
    pairs are edges, as a pair costs the dense path that share of what an edge costs `GATConv`
    (measured on two cores, 4 heads of 16 features).

    Parameters
    ----------
    n_in, n_out : int
        Features of a neuron, before and after, the latter of a head.
    heads : int
        Number of heads.
    concat : bool
        Whether heads are put side by side, or averaged.
    edge_dim : None or 1
        Whether edges have a weight.
    negative_slope : float
        Of the rectification.
    self_loops : bool
        Whether each neuron listens to itself, whatever the adjacency says.
    path : str
        "auto", "dense" or "sparse".
    """

    peer = "GATConv"
    sparse_below = 0.05

    def __init__(self, n_in: int, n_out: int, heads: int = 1, **settings: Any) -> None:
        super().__init__(n_in, n_out, heads, **settings)
        self.lin = _linear(n_in, heads * n_out, bias=False)
        self.att_src, self.att_dst = _vectors(heads, n_out), _vectors(heads, n_out)
        if self.edge_dim:
            self.att_edge = _vectors(heads, n_out)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        values = self._split(self.lin(x))
        source, target = (
            torch.einsum("bhnc,hc->bhn", values, vector[0])[:, :, None]
            for vector in (self.att_src, self.att_dst)
        )
        edge = None
        if self.edge_dim:
            products = self.lin_edge.weight.view_as(self.att_edge)[0] * self.att_edge[0]
            edge = products.sum(dim=-1, keepdim=True)
        return values, source, target, values.new_ones(self.heads, 1), edge


class GraphAttentionV2(_AdditiveAttention):
    r"""Graph attention of Brody et al. (2021), in which every target ranks its sources itself.

    With :math:`l_i = W_l x_i + b_l` and :math:`r_j = W_r x_j + b_r`, target j gets, of each head,

    .. math:: \sum_i \alpha_{ij} l_i, \quad \alpha_{ij} = \mathrm{softmax}_i\big(
        a \cdot \mathrm{LeakyReLU}(l_i + r_j + u\, w_{ij}) + b_{ij}\big).

    The state of a PyTorch Geometric `GATv2Conv` loads. The logits are summed channel by channel,
    so that memory does not grow with N x N x channels either; all else as in `GraphAttention`,
    with the same parameters.
    """

    peer = "GATv2Conv"
    sparse_below = 0.1

    def __init__(self, n_in: int, n_out: int, heads: int = 1, **settings: Any) -> None:
        super().__init__(n_in, n_out, heads, **settings)
        self.lin_l, self.lin_r = _linear(n_in, heads * n_out), _linear(n_in, heads * n_out)
        self.att = _vectors(heads, n_out)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        values, target = self._split(self.lin_l(x)), self._split(self.lin_r(x))
        edge = self.lin_edge.weight.view_as(self.att)[0] if self.edge_dim else None
        return values, values.mT.contiguous(), target.mT.contiguous(), self.att[0], edge


class DotProductAttention(_GraphLayer):
    r"""Attention of transformers (Vaswani et al. 2017), masked by the graph.

    With queries, keys and values :math:`q, k, v` linear in x, target j gets, of each head,

    .. math:: \sum_i \mathrm{softmax}_i\big(q_j \cdot k_i / \sqrt{C} + b_{ij}\big)\, v_i.

    This is another model than the graph attention of the two others, with three projections and
    no rectification, and by far the quickest. It goes through
    `torch.nn.functional.scaled_dot_product_attention`, which holds a (B, H, N, N) array only
    where the bias wants a gradient.

    Parameters
    ----------
    n_in, n_out : int
        Features of a neuron, before and after, the latter (C) of a head.
    heads : int
        Number of heads.
    concat : bool
        Whether heads are put side by side, or averaged.
    self_loops : bool
        Whether each neuron listens to itself, whatever the adjacency says.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        heads: int = 1,
        *,
        concat: bool = True,
        self_loops: bool = True,
    ) -> None:
        super().__init__(n_in, n_out, heads, concat, self_loops)
        self.lin_query, self.lin_key, self.lin_value = (
            _linear(n_in, heads * n_out) for _ in range(3)
        )

    def forward(
        self,
        x: Tensor,
        adjacency: Tensor | None = None,
        *,
        bias: Tensor | None = None,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Pass messages; arguments, results and errors as those of `GraphAttention`."""
        _check_inputs(x, adjacency, bias, self.n_in, self.heads)
        offset, linked = _offset(self._edges(adjacency, x), bias, x)
        query, key = self._split(self.lin_query(x)), self._split(self.lin_key(x))
        messages = functional.scaled_dot_product_attention(
            query, key, self._split(self.lin_value(x)), attn_mask=offset
        )
        out = self._merge(_linked_only(messages, linked))
        if not return_attention:
            return out
        with torch.no_grad():
            logits = query @ key.mT / self.n_out**0.5
            attention = (logits if offset is None else logits + offset).softmax(dim=-1)
            return out, _linked_only(attention, linked).mT


class GraphConvolution(_GraphLayer):
    r"""Graph convolution of Kipf & Welling (2017): messages weighted by the graph alone.

    .. math:: y_j = b + \sum_i \frac{a_{ij}}{\sqrt{d_i d_j}} W x_i, \quad d_j = \sum_i |a_{ij}|

    where a neuron without a weight to itself gets the weight 1. Edges may be directed, weighted
    and signed, and weights may be learned: gradients reach them. The state of a PyTorch Geometric
    `GCNConv` loads, and non-negative graphs give the same result.

    Parameters
    ----------
    n_in, n_out : int
        Features of a neuron, before and after.
    self_loops : bool
        Whether each neuron listens to itself where the adjacency has no weight for that.
    """

    def __init__(self, n_in: int, n_out: int, *, self_loops: bool = True) -> None:
        super().__init__(n_in, n_out, 1, True, self_loops)
        self.lin = _linear(n_in, n_out, bias=False)

    def forward(self, x: Tensor, adjacency: Tensor | None = None) -> Tensor:
        """Pass messages along weighted edges.

        Parameters
        ----------
        x : (B, N, n_in) tensor
            Features of the neurons of each trial.
        adjacency : (N, N) tensor, optional
            Weights (source, target). By default 1 from all to all.

        Returns
        -------
        (B, N, n_out) tensor
            A neuron that has no source gets the bias.

        Raises
        ------
        ValueError
            A shape is wrong.
        """
        _check_inputs(x, adjacency, None, self.n_in, 1, mask=False)
        n = x.shape[1]
        weights = x.new_ones(n, n) if adjacency is None else adjacency.to(x)
        if self.self_loops:
            weights = weights + torch.diag((weights.diagonal() == 0).to(x))
        return self._normalised(weights).T @ self.lin(x) + self.bias

    @staticmethod
    def _normalised(weights: Tensor) -> Tensor:
        """Weights over the root of both neurons' degrees; those of degree zero stay zero."""
        degree = weights.abs().sum(dim=0)
        root = torch.where(degree > 0, degree, torch.inf).rsqrt()
        return root[:, None] * weights * root


class AdaptiveGraph(nn.Module):
    r"""Directed graphs over neurons that are learned, (graph, source, target).

    .. math:: A_{ij} = s_i\, g(z_{ij} + z_0), \quad z = E^s {E^t}^\top \text{ or free},
        \quad A_{ii} = 0

    The gate g is a sigmoid by default: between 0 and 1, each edge free of the others, and with a
    gradient everywhere, which a rectification lacks where it is closed. "softmax" is over the
    sources of a target, as Wu et al. (2019) have it: it cannot say that a neuron has no source.
    :math:`z_0 = \mathrm{logit}(\text{start})`, so that all gates begin near `start` and the
    model near one without a graph. Signs s, of the *source*, follow Dale's principle.

    Weights are drawn from torch's default generator. That a graph helps a task does not make it
    the one of the synapses.

    Parameters
    ----------
    n_neurons : int
        N, at least 2.
    rank : int, optional
        Columns of both embeddings, O(N rank) numbers; by default every edge has its own.
    mode : str
        "sigmoid" or "softmax".
    n_graphs : int
        Graphs, for instance one a time bin.
    signs : None, "learned" or (N,) tensor
        Sign of each source: all positive, the tanh of a parameter, or given as 1 and -1.
    start : float
        Gate at the start, between 0 and 1; "sigmoid" only.

    Raises
    ------
    ValueError
        A setting is out of range.
    """

    def __init__(
        self,
        n_neurons: int,
        rank: int | None = None,
        *,
        mode: str = "sigmoid",
        n_graphs: int = 1,
        signs: None | str | Tensor = None,
        start: float = 0.02,
    ) -> None:
        super().__init__()
        _check_graph(n_neurons, rank, mode, n_graphs, signs, start)
        self.n_neurons, self.rank, self.mode, self.n_graphs = n_neurons, rank, mode, n_graphs
        if rank is None:
            self.logits = nn.Parameter(0.1 * torch.randn(n_graphs, n_neurons, n_neurons))
        else:
            # the product's entries have standard deviation 0.1, whatever the rank
            scale, shape = 0.1**0.5 * rank**-0.25, (n_graphs, n_neurons, rank)
            self.source = nn.Parameter(scale * torch.randn(shape))
            self.target = nn.Parameter(scale * torch.randn(shape))
        if isinstance(signs, str):
            self.sign_logits = nn.Parameter(0.1 * torch.randn(n_neurons))
        given = signs.to(torch.float32) if isinstance(signs, Tensor) else torch.ones(n_neurons)
        self.register_buffer("given_signs", given)
        self.register_buffer("offset", torch.logit(torch.tensor(start)))
        self.register_buffer("loops", torch.eye(n_neurons, dtype=torch.bool), persistent=False)

    @property
    def signs(self) -> Tensor:
        """Signs of the sources, (N,), from -1 to 1."""
        return torch.tanh(self.sign_logits) if hasattr(self, "sign_logits") else self.given_signs

    def gates(self) -> Tensor:
        """Strengths without signs, (graph, source, target), from 0 to 1, 0 from i to i."""
        z = self.logits if self.rank is None else self.source @ self.target.mT
        z = z.masked_fill(self.loops, -torch.inf)
        return torch.sigmoid(z + self.offset) if self.mode == "sigmoid" else z.softmax(dim=1)

    def forward(self) -> Tensor:
        """Signed weights, (graph, source, target)."""
        return self.signs[:, None] * self.gates()

    def penalty(self) -> Tensor:
        """Mean absolute weight of the edges, all but those from i to i: for sparsity."""
        n_edges = self.n_graphs * self.n_neurons * (self.n_neurons - 1)
        return self.forward().abs().sum() / n_edges


class _Logits(NamedTuple):
    """What attention is the softmax of: sum_k a_k leaky(source_k + target_k + u_k w) + offset.

    GATv2 has a channel k for each feature, GAT a single one, of a = 1.
    """

    sources: Tensor  # (B, H, K, S)
    targets: Tensor  # (B, H, K, T)
    scale: Tensor  # a, (H, K)
    edge_scale: Tensor | None  # u, (H, K)
    weights: Tensor | None  # w, (T, S)
    offset: Tensor | None  # (H or 1, T, S)
    slope: float

    def block(self, trials: slice, targets: slice) -> _Logits:
        """Those of some trials and targets."""
        return self._replace(
            sources=self.sources[trials],
            targets=self.targets[trials, ..., targets],
            weights=None if self.weights is None else self.weights[targets],
            offset=None if self.offset is None else self.offset[:, targets],
        )

    def sum(self, k: int) -> Tensor:
        """What is rectified in channel k, (B, H, T, S)."""
        z = self.targets[:, :, k, :, None] + self.sources[:, :, k, None, :]
        if self.weights is None:
            return z
        return z.addcmul_(self.edge_scale[:, k, None, None], self.weights)

    def softmax(self) -> Tensor:
        """Attention (B, H, T, S); channel after channel, so that no array holds them all."""
        logits = None
        for k, a in enumerate(self.scale.T[..., None, None]):
            z = functional.leaky_relu_(self.sum(k), self.slope)
            logits = z.mul_(a) if logits is None else logits.addcmul_(z, a)
        if self.offset is not None:
            logits += self.offset
        return torch.softmax(logits, dim=-1)


class _Attend(torch.autograd.Function):
    """Messages (B, H, T, C), block by block; logits are computed again for the gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, *parts: Any) -> Tensor:
        """Average the values (B, H, S, C) by the softmax of `_Logits`, given part by part."""
        logits, out = _Logits(*parts), torch.empty_like(values)
        for b, t in _blocks(logits.targets):
            out[b, :, t] = logits.block(b, t).softmax() @ values[b]
        ctx.save_for_backward(out, values, *parts[:-1])
        ctx.slope = logits.slope
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the values and of all parts of the logits but the slope."""
        out, values, *parts = ctx.saved_tensors
        logits = _Logits(*parts, ctx.slope)
        of_values = torch.zeros_like(values)
        wanted = (True, True, True, parts[3] is not None, *ctx.needs_input_grad[5:7])
        zeros = [torch.zeros_like(p) if w else None for p, w in zip(parts, wanted, strict=True)]
        grads = _Logits(*zeros, ctx.slope)
        mean = (given * out).sum(dim=-1, keepdim=True)  # of the attention's gradient, by it
        for b, t in _blocks(logits.targets):
            block = logits.block(b, t)
            attention = block.softmax()
            of_values[b] += attention.mT @ given[b, :, t]
            grad = (given[b, :, t] @ values[b].mT).sub_(mean[b, :, t]).mul_(attention)
            _add_gradients(grads.block(b, t), block, grad)
        return of_values, *_scaled(grads, logits)[:-1], None


def _add_gradients(grads: _Logits, block: _Logits, grad: Tensor) -> None:
    """Add the gradients of a block, in place, given that of its logits (n, H, T, S).

    Those of sources, targets and edge scale without their factor a.
    """
    if grads.offset is not None:
        grads.offset.add_(grad.sum(dim=0).sum_to_size(grads.offset.shape))
    # leaky'(z) is slope everywhere, and 1 - slope more where z > 0
    s, t, e = (block.slope * grad.sum(dim=dim) for dim in (-2, -1, 0))
    for k in range(block.scale.shape[1]):
        z = block.sum(k).gt_(0).mul_(grad)
        grads.sources[:, :, k] += s + (1 - block.slope) * z.sum(dim=-2)
        grads.targets[:, :, k] += t + (1 - block.slope) * z.sum(dim=-1)
        if block.weights is not None:
            z = e + (1 - block.slope) * z.sum(dim=0)  # (H, T, S)
            grads.edge_scale[:, k] += (z * block.weights).sum(dim=(1, 2))
            if grads.weights is not None:
                factor = block.scale[:, k] * block.edge_scale[:, k]
                grads.weights.add_(torch.einsum("h,hts->ts", factor, z))


def _scaled(grads: _Logits, logits: _Logits) -> _Logits:
    """Gradients with the factor a, and that of a itself, because leaky(z) = z leaky'(z)."""
    of_scale = (grads.sources * logits.sources).sum(dim=(0, 3))
    of_scale += (grads.targets * logits.targets).sum(dim=(0, 3))
    edge_scale = grads.edge_scale
    if edge_scale is not None:
        of_scale += edge_scale * logits.edge_scale
        edge_scale = edge_scale * logits.scale
    return grads._replace(
        sources=grads.sources * logits.scale[..., None],
        targets=grads.targets * logits.scale[..., None],
        scale=of_scale,
        edge_scale=edge_scale,
    )


def _blocks(targets: Tensor) -> Iterator[tuple[slice, slice]]:
    """Trials and targets (B, H, K, T) in blocks of so many logits that the cache holds them."""
    n_trials, heads, _, n = targets.shape
    size = BLOCK.get(targets.device.type, BLOCK["cpu"]) // (heads * n)
    n_targets = min(n, max(1, size))
    step = max(1, size // n)
    for b in range(0, n_trials, step):
        for t in range(0, n, n_targets):
            yield slice(b, b + step), slice(t, t + n_targets)


def _linked_only(array: Tensor, linked: Tensor | None) -> Tensor:
    """(B, H, T, ...) with zeros for targets that no source reaches, of which None means none."""
    return array if linked is None else array * linked[..., None]


def _offset(
    edges: Tensor | None, bias: Tensor | None, x: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """What is added to the logits, (H or 1, T, S); targets that have a source, (H or 1, T).

    No offset where there is neither graph nor bias; no targets where all have a source.
    """
    if edges is None and bias is None:
        return None, None
    offset = x.new_zeros(1, x.shape[1], x.shape[1]) if bias is None else bias.to(x).mT
    offset = offset if offset.ndim == 3 else offset[None]
    if edges is not None:
        offset = offset.masked_fill(~edges.T, -torch.inf)
    linked = (offset > -torch.inf).any(dim=-1)
    if linked.all():
        return offset, None
    # a softmax over nothing is NaN: let it be of zeros here, and drop its result
    return torch.where(linked[..., None], offset, 0), linked


def _weights_of(edges: Tensor | None, weights: Tensor, self_loops: bool) -> Tensor:
    """Weights (source, target) of the edges, 0 elsewhere.

    A self-loop that the layer adds has the mean weight of the edges to its neuron.
    """
    if not self_loops:
        return weights if edges is None else torch.where(edges, weights, 0)
    others = ~torch.eye(len(weights), dtype=torch.bool, device=weights.device)
    others = others if edges is None else others & edges
    known = torch.where(others, weights, 0)
    return known + torch.diag(known.sum(dim=0) / others.sum(dim=0).clamp(min=1))


def _linear(n_in: int, n_out: int, bias: bool = True) -> nn.Linear:
    """Return a linear layer with Glorot's weights, as graph attention has them."""
    layer = nn.Linear(n_in, n_out, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    return layer


def _vectors(heads: int, n_out: int) -> nn.Parameter:
    """One vector a head, (1, H, C)."""
    bound = (6 / (heads + n_out)) ** 0.5
    return nn.Parameter(torch.empty(1, heads, n_out).uniform_(-bound, bound))


def _pytorch_geometric() -> ModuleType:
    """Return `torch_geometric.nn`; its first import takes seconds, and warns of its own doing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module("torch_geometric.nn")


def _check_inputs(
    x: Tensor,
    adjacency: Tensor | None,
    bias: Tensor | None,
    n_in: int,
    heads: int,
    mask: bool = True,
) -> None:
    if x.ndim != 3 or x.shape[2] != n_in or min(x.shape) < 1:
        raise ValueError(
            f"x must be (trials, neurons, {n_in} features), none of them 0; got {tuple(x.shape)}. "
            "A single trial is x[None]."
        )
    n = x.shape[1]
    if adjacency is not None and adjacency.shape != (n, n):
        raise ValueError(
            f"adjacency must be (source, target) of shape {(n, n)}; got {tuple(adjacency.shape)}"
        )
    if adjacency is not None and adjacency.isnan().any():
        raise ValueError(
            "adjacency must say of every pair whether there is an edge; got NaN. "
            "torch.nan_to_num makes no edge of it."
        )
    if mask and adjacency is not None and adjacency.requires_grad:
        raise ValueError(
            "adjacency only says where edges are, so that no gradient reaches it; got one that "
            "wants a gradient. Give its log as bias, or give it as edge_weights."
        )
    if bias is not None and bias.shape not in ((n, n), (heads, n, n)):
        raise ValueError(
            f"bias must be (source, target) of shape {(n, n)} or {(heads, n, n)}; got "
            f"{tuple(bias.shape)}"
        )


def _check_graph(
    n_neurons: int,
    rank: int | None,
    mode: str,
    n_graphs: int,
    signs: None | str | Tensor,
    start: float,
) -> None:
    if n_neurons < 2 or n_graphs < 1 or (rank is not None and rank < 1) or not 0 < start < 1:
        raise ValueError(
            "need at least 2 neurons, 1 graph, a rank of at least 1 or None, and a start between 0 "
            f"and 1; got {n_neurons}, {n_graphs}, {rank} and {start}"
        )
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}; got {mode!r}")
    if isinstance(signs, str) and signs != "learned":
        raise ValueError(f'signs must be None, "learned" or a tensor; got {signs!r}')
    if isinstance(signs, Tensor) and not (
        signs.shape == (n_neurons,) and bool((signs.abs() == 1).all())
    ):
        raise ValueError(
            f"given signs must be 1 or -1, one for each of {n_neurons} neurons; got a tensor of "
            f"shape {tuple(signs.shape)}. Use torch.sign on what has no zeros."
        )
