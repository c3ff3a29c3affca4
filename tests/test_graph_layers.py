"""Graph layers give what PyTorch Geometric's give, keep trials apart, and refuse what is wrong."""

import importlib
import warnings

import pytest
import torch
from torch.nn import functional

from visualcortex.models import graph_layers
from visualcortex.models.graph_layers import (
    AdaptiveGraph,
    DotProductAttention,
    GraphAttention,
    GraphAttentionV2,
    GraphConvolution,
)

B, N, F, C, H = 3, 7, 4, 3, 2
PEERS = {GraphAttention: "GATConv", GraphAttentionV2: "GATv2Conv"}
ATTENTION = [GraphAttention, GraphAttentionV2, DotProductAttention]
LAYERS = [*ATTENTION, GraphConvolution]


@pytest.fixture(scope="module")
def peers():
    """PyTorch Geometric's layers; their import warns of its own use of torch.jit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module("torch_geometric.nn")


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of two targets of one trial, so that there are many, the last one smaller."""
    monkeypatch.setitem(graph_layers.BLOCK, "cpu", 2 * H * N)


def graph(kind, n=N):
    """A complete graph, a sparse directed one, one with a neuron that nobody talks to."""
    if kind == "complete":
        return torch.ones(n, n)
    edges = (torch.rand(n, n, generator=torch.Generator().manual_seed(1)) < 0.35).float()
    if kind == "isolated":
        edges[:, 2] = edges[2] = 0
    return edges


def union(edges, n_trials):
    """Edges of all trials as one graph, by loops."""
    n = len(edges)
    pairs = [
        (b * n + i, b * n + j)
        for b in range(n_trials)
        for i in range(n)
        for j in range(n)
        if edges[i, j]
    ]
    return torch.tensor(pairs).T


def gradients(layer, out, inputs):
    """Gradients of inputs and parameters of a loss that no symmetry makes zero."""
    names = dict(layer.named_parameters())
    loss = (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum()
    grads = torch.autograd.grad(loss, [*inputs, *names.values()])
    return dict(zip([*range(len(inputs)), *names], grads, strict=True))


def layer_of(kind, dtype=torch.float32, **settings):
    """A layer with biases that are not zero."""
    heads = {} if kind is GraphConvolution else {"heads": H}
    layer = kind(F, C, **heads, **settings).to(dtype)
    torch.nn.init.normal_(layer.bias)
    return layer


# the same as PyTorch Geometric


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("edges", ["complete", "sparse", "isolated"])
@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("path", ["dense", "sparse"])
def test_outputs_and_gradients_are_those_of_pytorch_geometric(
    peers, kind, edges, self_loops, weighted, path
):
    edge_dim = 1 if weighted else None
    layer = layer_of(kind, torch.float64, edge_dim=edge_dim, self_loops=self_loops, path=path)
    peer = getattr(peers, PEERS[kind])(F, C, H, add_self_loops=self_loops, edge_dim=edge_dim)
    peer.double().load_state_dict(layer.state_dict())  # strict: all names and shapes
    x = torch.randn(B, N, F, dtype=torch.float64, requires_grad=True)
    adjacency = graph(edges)
    index = union(adjacency, B)
    weights = torch.randn(N, N, dtype=torch.float64, requires_grad=True) if weighted else None
    inputs = [x] if weights is None else [x, weights]
    mine = layer(x, adjacency, edge_weights=weights)
    per_edge = weights[adjacency != 0].repeat(B)[:, None] if weighted else None
    expected = peer(x.reshape(B * N, F), index, per_edge).view_as(mine)
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)
    ours, theirs = gradients(layer, mine, inputs), gradients(peer, expected, inputs)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", PEERS)
def test_single_precision_and_the_mean_over_heads_agree(peers, kind):
    layer = layer_of(kind, concat=False, negative_slope=0.05)
    peer = getattr(peers, PEERS[kind])(F, C, H, concat=False, negative_slope=0.05)
    peer.load_state_dict(layer.state_dict())
    x = torch.randn(B, N, F)
    expected = peer(x.reshape(B * N, F), union(graph("sparse"), B)).view(B, N, C)
    torch.testing.assert_close(layer(x, graph("sparse")), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("edges", ["complete", "sparse", "isolated"])
@pytest.mark.parametrize("self_loops", [True, False])
def test_graph_convolution_is_that_of_pytorch_geometric(peers, edges, self_loops):
    layer = layer_of(GraphConvolution, self_loops=self_loops)
    peer = peers.GCNConv(F, C, add_self_loops=self_loops)
    peer.load_state_dict(layer.state_dict())
    x = torch.randn(B, N, F, requires_grad=True)
    weights = (graph(edges) * torch.rand(N, N)).requires_grad_()
    per_edge = weights[weights != 0].repeat(B)
    expected = peer(x.reshape(B * N, F), union(weights, B), per_edge).view(B, N, C)
    mine = layer(x, weights)
    torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)
    ours, theirs = gradients(layer, mine, [x, weights]), gradients(peer, expected, [x, weights])
    present = weights.detach() != 0  # a peer without an edge has no gradient there
    torch.testing.assert_close(ours[1][present], theirs[1][present], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=1e-5)


# closed forms


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("weighted", [True, False])
def test_gradients_are_those_of_finite_differences(kind, weighted):
    """Of all inputs at once: features, a bias of each head, edge weights."""
    layer = layer_of(kind, torch.float64, edge_dim=1 if weighted else None, path="dense")
    n, exact = 5, {"dtype": torch.float64, "requires_grad": True}
    x, bias = torch.randn(2, n, F, **exact), torch.randn(H, n, n, **exact)
    weights = torch.randn(n, n, **exact) if weighted else None

    def messages(x, bias, weights):
        return layer(x, graph("isolated", n), bias=bias, edge_weights=weights)

    assert torch.autograd.gradcheck(messages, (x, bias, weights))


def by_loops(kind, layer, x, edges, bias):
    """Attention (source, target) of one trial by its definition, one target at a time."""
    attention = torch.zeros(H, len(x), len(x))
    for h in range(H):
        part = slice(h * C, (h + 1) * C)
        for j in range(len(x)):
            sources = [i for i in range(len(x)) if edges[i, j]]
            if sources:
                logits = [logit_of(kind, layer, x[i], x[j], h, part) for i in sources]
                logits = torch.stack(logits) + bias[sources, j]
                attention[h, sources, j] = logits.softmax(0)
    return attention


def logit_of(kind, layer, source, target, h, part):
    if kind is GraphAttention:
        a, b = (layer.lin(v)[part] for v in (source, target))
        return functional.leaky_relu(a @ layer.att_src[0, h] + b @ layer.att_dst[0, h], 0.2)
    if kind is GraphAttentionV2:
        summed = layer.lin_l(source)[part] + layer.lin_r(target)[part]
        return functional.leaky_relu(summed, 0.2) @ layer.att[0, h]
    return layer.lin_query(target)[part] @ layer.lin_key(source)[part] / C**0.5


@pytest.mark.parametrize("kind", ATTENTION)
def test_attention_is_that_of_the_definition(kind):
    """With a bias, a neuron without sources, and self-loops left out."""
    layer, x = layer_of(kind, self_loops=False), torch.randn(B, N, F)
    bias, edges = torch.randn(N, N), graph("isolated")
    out, attention = layer(x, edges, bias=bias, return_attention=True)
    expected = torch.stack([by_loops(kind, layer, trial, edges, bias) for trial in x])
    torch.testing.assert_close(attention, expected, rtol=1e-5, atol=1e-6)
    assert not attention.requires_grad
    lin = {GraphAttention: "lin", GraphAttentionV2: "lin_l", DotProductAttention: "lin_value"}
    values = getattr(layer, lin[kind])(x).view(B, N, H, C)
    messages = torch.einsum("bhij,bihc->bjhc", attention, values).flatten(2)
    torch.testing.assert_close(out, messages + layer.bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_neuron_without_a_source_gets_the_bias(kind):
    layer, x = layer_of(kind, self_loops=False), torch.randn(B, N, F)
    out = layer(x, graph("isolated"))
    assert torch.equal(out[:, 2], layer.bias.expand(B, -1))
    out.square().sum().backward()
    for parameter in layer.parameters():
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("kind", ATTENTION)
def test_the_log_of_a_graph_gates_and_a_factor_of_each_target_cancels(kind):
    layer, x = layer_of(kind), torch.randn(B, N, F)
    gates = torch.rand(N, N) + 0.1
    plain = layer(x, return_attention=True)[1]
    gated = layer(x, bias=gates.log(), return_attention=True)[1]
    product = plain * gates
    torch.testing.assert_close(gated, product / product.sum(dim=2, keepdim=True))
    scaled = layer(x, bias=(gates * torch.rand(N)).log(), return_attention=True)[1]
    torch.testing.assert_close(scaled, gated)


def test_all_targets_of_the_first_kind_rank_sources_alike_and_of_the_second_do_not():
    x = torch.randn(1, 30, F)
    ranks = {}
    for kind in PEERS:
        attention = kind(F, C)(x, return_attention=True)[1]
        ranks[kind] = len({tuple(a.tolist()) for a in attention[0, 0].argsort(dim=0).T})
    assert ranks[GraphAttention] == 1
    assert ranks[GraphAttentionV2] > 15


def test_graph_convolution_with_signs_and_weights():
    """Two neurons, by hand: degrees are of absolute weights, 2 and 1."""
    layer = GraphConvolution(1, 1, self_loops=False)
    torch.nn.init.ones_(layer.lin.weight)
    out = layer(torch.tensor([[[3.0], [5.0]]]), torch.tensor([[0.0, -1.0], [2.0, 0.0]]))
    torch.testing.assert_close(out[0, :, 0], torch.tensor([2 * 5 / 2**0.5, -3 / 2**0.5]))


# trials and neurons


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("path", ["dense", "sparse"])
def test_trials_are_kept_apart(kind, path):
    """In any order they give the same, and changing one changes no other."""
    layer = layer_of(kind, **({"path": path} if kind in PEERS else {}))
    x, order = torch.randn(6, N, F), torch.tensor([4, 2, 5, 0, 1, 3])
    out = layer(x, graph("sparse"))
    torch.testing.assert_close(layer(x[order], graph("sparse")), out[order])
    torch.testing.assert_close(layer(x[3:4], graph("sparse")), out[3:4])
    changed = x.clone()
    changed[3, 1] += 1
    apart = (layer(changed, graph("sparse")) - out).abs().amax(dim=2)
    listeners = (graph("sparse")[1] + torch.eye(N)[1]) > 0
    assert torch.equal(apart[[0, 1, 2, 4, 5]], torch.zeros(5, N))
    heard = torch.where(listeners, apart[3], 1) > 1e-5
    assert heard.all()  # the message does arrive, in any slot of the batch


@pytest.mark.parametrize("kind", LAYERS)
def test_neurons_have_no_order(kind):
    layer, x, order = layer_of(kind), torch.randn(B, N, F), torch.randperm(N)
    edges = graph("isolated")
    biased = {"bias": torch.randn(N, N)} if kind in ATTENTION else {}
    out = layer(x, edges, **biased)
    moved = {name: bias[order][:, order] for name, bias in biased.items()}
    again = layer(x[:, order], edges[order][:, order], **moved)
    torch.testing.assert_close(again, out[:, order])


@pytest.mark.parametrize("kind", LAYERS)
def test_messages_go_from_source_to_target(kind):
    edges = torch.zeros(N, N)
    edges[0, 1] = 1
    x = torch.randn(1, N, F, requires_grad=True)
    heard = torch.autograd.grad(layer_of(kind)(x, edges)[0, 1].sum(), x)[0][0].abs().sum(dim=1)
    told = torch.autograd.grad(layer_of(kind)(x, edges)[0, 0].sum(), x)[0][0].abs().sum(dim=1)
    assert torch.equal(heard.nonzero().flatten(), torch.tensor([0, 1]))
    assert torch.equal(told.nonzero().flatten(), torch.tensor([0]))


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("self_loops", [True, False])
def test_weights_where_there_is_no_edge_do_nothing(kind, self_loops):
    """Scores of connectivity have NaN from each neuron to itself."""
    layer, x = layer_of(kind, edge_dim=1, self_loops=self_loops), torch.randn(B, N, F)
    edges = graph("sparse").fill_diagonal_(0)
    weights = torch.randn(N, N)
    out = layer(x, edges, edge_weights=weights)
    assert torch.equal(layer(x, edges, edge_weights=weights.where(edges != 0, torch.nan)), out)


# dense or sparse


@pytest.mark.parametrize("kind", PEERS)
def test_the_path_is_chosen_by_size_and_density(kind):
    layer, n = kind(F, C), graph_layers.SPARSE_FROM
    few = torch.zeros(n, n, dtype=torch.bool).fill_diagonal_(True)
    many = few.clone()
    many[: int(n * layer.sparse_below)] = True
    assert layer._is_sparse(n, few, dense_only=False)
    assert not layer._is_sparse(n, many, dense_only=False)
    assert not layer._is_sparse(n, few, dense_only=True)
    assert not layer._is_sparse(n, None, dense_only=False)
    assert not layer._is_sparse(n - 1, few[1:, 1:], dense_only=False)


@pytest.mark.parametrize("kind", PEERS)
def test_both_paths_agree_where_the_choice_is_automatic(kind):
    n = graph_layers.SPARSE_FROM + 1
    edges, x = torch.eye(n).roll(1, 0), torch.randn(2, n, F)
    layer = layer_of(kind)
    chosen = layer(x, edges)
    layer.path = "dense"
    torch.testing.assert_close(chosen, layer(x, edges), rtol=1e-5, atol=1e-6)


# what is refused


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("x", "adjacency", "message"),
    [
        (torch.zeros(N, F), None, "single trial"),
        (torch.zeros(B, N, F + 1), None, "features"),
        (torch.zeros(0, N, F), None, "none of them 0"),
        (torch.zeros(B, N, F), torch.ones(N + 1, N), "source, target"),
        (torch.zeros(B, N, F), torch.full((N, N), torch.nan), "nan_to_num"),
    ],
)
def test_wrong_shapes_are_refused(kind, x, adjacency, message):
    with pytest.raises(ValueError, match=message):
        layer_of(kind)(x, adjacency)


@pytest.mark.parametrize("kind", ATTENTION)
def test_a_learned_graph_must_enter_where_its_gradient_survives(kind):
    layer, x = layer_of(kind), torch.randn(B, N, F)
    with pytest.raises(ValueError, match="Give its log as bias"):
        layer(x, torch.ones(N, N, requires_grad=True))
    with pytest.raises(ValueError, match="bias must be"):
        layer(x, bias=torch.zeros(H + 1, N, N))


@pytest.mark.parametrize("kind", PEERS)
def test_edge_weights_and_settings_are_checked(kind):
    x = torch.randn(B, N, F)
    with pytest.raises(ValueError, match="got edge_dim=1 and none"):
        kind(F, C, edge_dim=1)(x)
    with pytest.raises(ValueError, match="got edge_dim=None and some"):
        kind(F, C)(x, edge_weights=torch.ones(N, N))
    with pytest.raises(ValueError, match="edge_weights must be"):
        kind(F, C, edge_dim=1)(x, edge_weights=torch.ones(N))
    with pytest.raises(ValueError, match="takes no bias"):
        kind(F, C, path="sparse")(x, bias=torch.zeros(N, N))
    for settings in ({"edge_dim": 2}, {"path": "fast"}, {"negative_slope": -1}, {"heads": 0}):
        with pytest.raises(ValueError, match="got"):
            kind(F, C, **settings)


# learned graphs


@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("signs", [None, "learned"])
@pytest.mark.parametrize("mode", ["sigmoid", "softmax"])
def test_a_gradient_reaches_every_edge_and_parameter(rank, signs, mode):
    model = AdaptiveGraph(N, rank, mode=mode, signs=signs, n_graphs=2)
    weights = model()
    assert weights.shape == (2, N, N)
    target = torch.randn(2, N, N)
    grads = torch.autograd.grad((weights * target).sum(), [*model.parameters()])
    for name, grad in zip(dict(model.named_parameters()), grads, strict=True):
        reached = grad != 0
        expected = ~torch.eye(N, dtype=torch.bool).expand(2, N, N)
        assert torch.equal(reached, expected if name == "logits" else torch.ones_like(reached))


@pytest.mark.parametrize("kind", ATTENTION)
def test_through_attention_a_gradient_reaches_every_edge(kind):
    """As a bias, and as edge weights where these are known."""
    model, x = AdaptiveGraph(N), torch.randn(B, N, F)
    layer = layer_of(kind)
    bias = (model()[0] + 1e-3).log()
    layer(x, bias=bias).square().sum().backward()
    assert torch.equal(model.logits.grad[0] != 0, ~torch.eye(N, dtype=torch.bool))
    if kind in PEERS:
        model.zero_grad()
        layer_of(kind, edge_dim=1)(x, edge_weights=model()[0]).square().sum().backward()
        assert torch.equal(model.logits.grad[0] != 0, ~torch.eye(N, dtype=torch.bool))


@pytest.mark.parametrize("rank", [None, 1, 8])
def test_a_graph_starts_near_none_without_loops(rank):
    model = AdaptiveGraph(40, rank, start=0.01)
    weights = model().detach()[0]
    assert torch.equal(weights.diagonal(), torch.zeros(40))
    off = weights[~torch.eye(40, dtype=torch.bool)]
    assert 0 < off.min()
    assert off.max() < 0.03
    torch.testing.assert_close(model.penalty().detach(), off.mean())


def test_a_sum_over_sources_is_one_under_a_softmax():
    torch.testing.assert_close(AdaptiveGraph(N, 2, mode="softmax")().sum(dim=1), torch.ones(1, N))


def test_signs_are_those_of_the_source():
    given = torch.tensor([1.0, -1, 1, 1, -1, -1, 1])
    weights = AdaptiveGraph(N, signs=given, n_graphs=3)()
    off = ~torch.eye(N, dtype=torch.bool)
    assert torch.equal(weights.sign()[:, off], given[:, None].expand(N, N)[off].expand(3, -1))
    learned = AdaptiveGraph(N, signs="learned")
    assert torch.equal(learned().sign()[0][off], learned.signs.sign()[:, None].expand(N, N)[off])
    assert learned.signs.abs().max() < 1


def test_a_directed_graph_is_learned_up_to_its_signs():
    """Targets that depend on the graph tell its edges, directions and signs."""
    truth = torch.zeros(N, N)
    truth[[0, 1, 2, 5], [1, 2, 0, 6]] = torch.tensor([0.8, -0.7, 0.6, -0.9])
    x = torch.randn(400, N)
    model = AdaptiveGraph(N, signs="learned")
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(400):
        optimiser.zero_grad()
        loss = (x @ truth - x @ model()[0]).square().mean() + 0.01 * model.penalty()
        loss.backward()
        optimiser.step()
    found = model().detach()[0]
    assert (found - truth).abs().max() < 0.1
    assert torch.equal(found.abs() > 0.3, truth != 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_neurons": 1}, "at least 2 neurons"),
        ({"rank": 0}, "rank"),
        ({"start": 1.0}, "start"),
        ({"mode": "relu"}, "mode must be"),
        ({"signs": "dale"}, "learned"),
        ({"signs": torch.zeros(N)}, "1 or -1"),
        ({"signs": torch.ones(N + 1)}, "1 or -1"),
    ],
)
def test_settings_of_a_graph_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveGraph(**{"n_neurons": N} | settings)
