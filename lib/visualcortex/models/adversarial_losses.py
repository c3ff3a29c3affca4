"""Losses of a critic with gradient penalty, and its gradients, in closed form."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from visualcortex.models.adversaries import LEAK, Critic, Seen

# a slope shorter than this has no direction
SHORTEST = 1e-6


class CriticLosses(NamedTuple):
    """Losses of each network, (M,), and what to go down by, keyed as `Critic.weights`."""

    wasserstein: Tensor
    penalty: Tensor
    gradients: dict[str, Tensor]


def critic_losses(
    critic: Critic,
    weights: dict[str, Tensor],
    seen: Seen,
    stimulus: Tensor,
    share: Tensor,
    penalty_weight: float,
) -> CriticLosses:
    r"""Losses of a critic step and their gradient, in closed form.

    With recorded trials x, generated ones :math:`\tilde x` and :math:`\hat x = u x + (1 - u)
    \tilde x`, the gradient of :math:`\lambda P - W`, where :math:`W = E[D(x)] - E[D(\tilde x)]`
    and :math:`P = E[(\lVert \nabla D(\hat x) \rVert - 1)^2]` (Gulrajani et al. 2017).

    The critic is piecewise linear in what it sees, so that its slope at :math:`\hat x` is
    :math:`J a` with :math:`a = m_1 \circ V (m_2 \circ w)`: first layer J, dense layer V, masks m
    of the rectifications, row w of the stimulus. Masks are constant almost everywhere; hence P is
    differentiated once, not twice. :math:`\hat x` needs no pass through J, which is affine, and
    the length of the slope is :math:`a^\top (J^\top J) a`: the slope itself is never formed.

    Parameters
    ----------
    critic : Critic
        Its sizes.
    weights : dict
        From `Critic.weights`.
    seen : Seen
        From `Critic.see`, of 2 B trials: recorded ones, then generated ones.
    stimulus : (M, B, S) Tensor
        One-hot, of both.
    share : (M, B, 1) Tensor
        u, in [0, 1].
    penalty_weight : float
        Lambda.

    Returns
    -------
    CriticLosses
        W and P of each network, and the gradients.
    """
    n = share.shape[1]
    first = critic.first(seen, weights)  # (M, 2 B, F)
    between = torch.lerp(first[:, n:], first[:, :n], share)  # (M, B, F)
    top = torch.bmm(stimulus, weights["top"])  # (M, B, C)
    gap, gradients = _score_gradients(critic, weights, seen, first, top)
    features, hidden = _hidden_layers(between, weights)
    of_hidden = _masked(top, hidden)
    slope = _masked(torch.bmm(of_hidden, weights["dense"].transpose(1, 2)), features)  # a
    turned = turned_slopes(critic, weights, slope)
    length = (slope * turned).sum(2, keepdim=True).clamp(min=SHORTEST**2).sqrt()  # (M, B, 1)
    # lambda P changes with the square of the length by half of this
    scale = 2 * penalty_weight / n * (length - 1) / length
    _add_slope_gradients(critic, weights, gradients, slope, scale)
    of_slope = _masked(scale * turned, features)
    gradients["dense"].baddbmm_(of_slope.transpose(1, 2), of_hidden)
    of_top = _masked(torch.bmm(of_slope, weights["dense"]), hidden) - gap / n
    gradients["top"] = torch.bmm(stimulus.transpose(1, 2), of_top)
    wasserstein = (gap * top).sum(2).mean(1)
    return CriticLosses(wasserstein, (length - 1).square().mean((1, 2)), gradients)


def uphill(critic: Critic, frames: Tensor, stimulus: Tensor) -> Tensor:
    """Gradient of the score with respect to the frames of trials, summaries included.

    Parameters
    ----------
    critic : Critic
        Its parameters.
    frames : (M, B, T, N) Tensor
        Trials.
    stimulus : (M, B, S) Tensor
        One-hot.

    Returns
    -------
    (M, B, T, N) Tensor
    """
    weights = critic.weights()
    features, hidden = _hidden_layers(critic.first(critic.see(frames), weights), weights)
    of_hidden = _masked(torch.bmm(stimulus, weights["top"]), hidden)
    of_first = _masked(torch.bmm(of_hidden, weights["dense"].transpose(1, 2)), features)
    of_seen = [
        torch.bmm(part.flatten(1, -2), weights[name].transpose(1, 2)).view(*part.shape[:-1], -1)
        for name, part in critic.parts(of_first)._asdict().items()
    ]
    return critic.unsee(Seen(*of_seen), frames)


def _hidden_layers(first: Tensor, weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """First and dense layer, rectified, the first in its place: (M, B, F) and (M, B, C)."""
    features = functional.leaky_relu_(first, LEAK)
    hidden = torch.baddbmm(weights["dense_bias"], features, weights["dense"])
    return features, functional.leaky_relu_(hidden, LEAK)


def _masked(gradient: Tensor, rectified: Tensor) -> Tensor:
    """Take a gradient back through a rectification, which keeps the sign."""
    return torch.ops.aten.leaky_relu_backward(gradient, rectified, LEAK, True)


def _score_gradients(
    critic: Critic, weights: dict[str, Tensor], seen: Seen, first: Tensor, top: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Heights of recorded above generated trials, (M, B, C), and the gradients of -W."""
    n = top.shape[1]
    features, heights = _hidden_layers(first, weights)
    of_hidden = _masked(torch.cat([top / -n, top / n], dim=1), heights)
    of_first = _masked(torch.bmm(of_hidden, weights["dense"].transpose(1, 2)), features)
    gradients = {
        "dense": torch.bmm(features.transpose(1, 2), of_hidden),
        "dense_bias": of_hidden.sum(1, keepdim=True),
    }
    for name, x, of_part in zip(seen._fields, seen, critic.parts(of_first), strict=True):
        x, of_part = x.flatten(1, -2), of_part.flatten(1, -2)
        gradients[name] = torch.bmm(x.transpose(1, 2), of_part)
        gradients[f"{name}_bias"] = of_part.sum(1, keepdim=True)
    return heights[:, :n] - heights[:, n:], gradients


def turned_slopes(critic: Critic, weights: dict[str, Tensor], slope: Tensor) -> Tensor:
    r""":math:`J^\top J a` of slopes a with respect to the first layer, (M, B, F).

    The squared length of the slope with respect to frames and summaries is its product with a.
    """
    blocks, of_rates, of_summaries = critic.parts(slope)
    rates, summaries = weights["rates"], weights["summaries"]
    turned_rates = torch.bmm(of_rates, torch.bmm(rates.transpose(1, 2), rates))
    parts = []
    for group, weight, _ in critic.groups(blocks, weights["blocks"]):
        gram = torch.bmm(weight.transpose(1, 2), weight)
        with_rates = torch.bmm(critic.in_rates(weight).transpose(1, 2), rates)  # (M, C, 2 C)
        turned = torch.bmm(group.flatten(1, 2), gram).view(group.shape)
        turned = turned + torch.bmm(of_rates, with_rates.transpose(1, 2))[:, :, None]
        turned_rates = torch.baddbmm(turned_rates, group.sum(2), with_rates)
        parts.append(turned.flatten(2))
    gram = torch.bmm(summaries.transpose(1, 2), summaries)
    return torch.cat([*parts, turned_rates, torch.bmm(of_summaries, gram)], dim=2)


def _add_slope_gradients(
    critic: Critic,
    weights: dict[str, Tensor],
    gradients: dict[str, Tensor],
    slope: Tensor,
    scale: Tensor,
) -> None:
    """Add what lambda P gives to the gradients of the first layer's matrices."""
    blocks, of_rates, of_summaries = critic.parts(slope)
    scaled = (scale * of_rates).transpose(1, 2)  # (M, 2 C, B)
    gradients["rates"].baddbmm_(weights["rates"], torch.bmm(scaled, of_rates))
    for group, weight, n_frames in critic.groups(blocks, weights["blocks"]):
        weighed = (group * scale[..., None]).flatten(1, 2).transpose(1, 2)
        gradients["blocks"].baddbmm_(weight, torch.bmm(weighed, group.flatten(1, 2)))
        with_rates = torch.bmm(scaled, group.sum(2))  # (M, 2 C, C)
        shared = torch.bmm(weights["rates"], with_rates) * critic.n_time**-0.5  # (M, N, C)
        by_frame = gradients["blocks"].unflatten(1, (critic.block, -1))
        by_frame[:, :n_frames] += shared[:, None]
        gradients["rates"].baddbmm_(critic.in_rates(weight), with_rates.transpose(1, 2))
    scaled = (scale * of_summaries).transpose(1, 2)
    gradients["summaries"].baddbmm_(weights["summaries"], torch.bmm(scaled, of_summaries))
