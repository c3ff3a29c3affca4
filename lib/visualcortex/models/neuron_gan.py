"""A small conditional generative adversarial network that synthesises population activity.

A Wasserstein network with gradient penalty (Arjovsky et al. 2017, Gulrajani et al. 2017), one
convolution in time, neurons as channels: no neuron is next to another, so that their order means
nothing (as in CalciumGAN; Li et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from visualcortex.evaluation.surrogates import checked_frames, stimulus_codes
from visualcortex.models.adversaries import separated, write
from visualcortex.models.duel import Duel, Settings, is_binary
from visualcortex.training import run_epochs


class Snapshots(NamedTuple):
    """What the averaged generator wrote on its way, always from the same noise."""

    epochs: np.ndarray  # (n_snapshots,)
    labels: np.ndarray  # (n_stimuli,): one trial of each
    activity: np.ndarray  # (n_snapshots, n_stimuli, n_time, n_neurons), or without time


class NeuronGAN(BaseEstimator):
    r"""Conditional Wasserstein network with gradient penalty, for trials of population activity.

    With recorded trials x of stimulus s, generated ones :math:`G(z, s)` and points
    :math:`\hat x` drawn uniformly on the lines between them, critic D and generator G play

    .. math::

        \min_G \max_D \; E[D(x, s)] - E[D(G(z, s), s)]
            - \lambda E[(\lVert \nabla D(\hat x, s) \rVert - 1)^2].

    The generator (`visualcortex.models.adversaries.Generator`) writes what neurons share by trial
    latents and by latent paths in time, and what each has for itself by a state of its own: engaged
    or silent, and more or less excited, for a whole trial. The critic (`Critic`, there) sees blocks
    of frames, rates, products of a neuron's frames some frames apart, and how many neurons are
    active in a frame; distances, and the slope that the penalty holds at one, are meant in the
    space of all these.

    An epoch goes once through the training trials in critic steps; the generator takes a step
    after every `n_critic` of them. What is kept is an exponential moving average of the
    generator's weights (decay 0.98 a generator step), of the epoch in which the energy distance
    between validation trials and generated trials, given the stimulus, is lowest; without
    validation trials, of the last epoch. The distance is taken in each of the first ten epochs and
    in every tenth after them, with eight generated trials for each of validation: populations
    have heavy tails, and a distance from few trials is that of their luck.

    The generator *starts* from the mean rates of the training trials, stimulus by stimulus: rates
    that fit the training data are therefore put in, not discovered, and with few trials they are
    as uncertain as those means. What training adds is how neurons vary together and in time.
    Bias: with few trials the critic comes to know the training trials, and generated correlations
    follow those of the training set, sampling noise included, rather than the population's. The
    products and counts that the critic is shown are those by which populations are commonly judged;
    of statistics that it is not shown it learns less. The gradients of drawn frames and states are
    straight-through, those of their probabilities: biased, but of little variance. The epoch is
    chosen by rates of trials alone, whatever frames do.

    Several networks, alike but for their seeds, train faster side by side: `fit_networks`.

    Parameters
    ----------
    n_epochs : int
        Number of epochs in all, those before an interruption included.
    batch_size : int
        Trials a step.
    lr : float
        Learning rate of Adam, both networks.
    b1, b2 : float
        Decay of Adam's first and second moments.
    latent_dim : int
        Number of latents of a trial, standard normal.
    n_paths : int
        Number of latent paths in time; none where activity has no time.
    n_critic : int
        Critic steps for each generator step. The usual 5 is for training without a limit of
        time; for the same time 2 fits better here.
    gradient_penalty : float, optional
        Lambda. By default 10, or 0 with `spectral_norm`.
    spectral_norm : bool
        Whether the critic's weights are divided by their largest singular values, which bounds its
        slope by one, so that no penalty is needed. Bias: the bound is loose, so that the critic's
        distance is too small.
    width : int
        Number of features in the hidden layers; half as many in each frame of the generator.
    sample_interval : int, optional
        After every so many epochs, the averaged generator writes a trial of each stimulus, from the
        same noise each time.
    seed : int
        Of weights, shuffles and noise.
    device : str
        "auto", "cpu" or "cuda".

    Attributes
    ----------
    history_ : pandas.DataFrame
        A row an epoch: "epoch", "wasserstein" (the estimate E[D(x)] - E[D(G(z))], in units of
        Euclidean distance between trials as the critic sees them), "penalty", "validation" (energy
        distance, the last one taken) and "kept".
    snapshots_ : Snapshots
        What `sample_interval` asked for: epochs, labels and activity.
    binary_ : bool
        Whether the training activity was binary; then generated activity is.
    labels_ : (n_stimuli,) array
        The stimuli that can be generated.

    References
    ----------
    Gulrajani, I., Ahmed, F., Arjovsky, M., Dumoulin, V. & Courville, A. (2017). Improved training
    of Wasserstein GANs. NeurIPS.
    Miyato, T., Kataoka, T., Koyama, M. & Yoshida, Y. (2018). Spectral normalization for generative
    adversarial networks. ICLR.
    """

    def __init__(
        self,
        *,
        n_epochs: int = 250,
        batch_size: int = 32,
        lr: float = 1e-3,
        b1: float = 0.0,
        b2: float = 0.9,
        latent_dim: int = 64,
        n_paths: int = 8,
        n_critic: int = 2,
        gradient_penalty: float | None = None,
        spectral_norm: bool = False,
        width: int = 64,
        sample_interval: int | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.b1 = b1
        self.b2 = b2
        self.latent_dim = latent_dim
        self.n_paths = n_paths
        self.n_critic = n_critic
        self.gradient_penalty = gradient_penalty
        self.spectral_norm = spectral_norm
        self.width = width
        self.sample_interval = sample_interval
        self.seed = seed
        self.device = device

    def fit(
        self,
        activity: np.ndarray,
        labels: np.ndarray,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        *,
        checkpoint: str | Path | None = None,
        progress: bool = True,
    ) -> NeuronGAN:
        """Train on recorded trials.

        Parameters
        ----------
        activity : (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Active frames (0 or 1), or graded activity in [0, 1].
        labels : (n_trials,) array
            Stimulus of each trial.
        validation : (activity, labels), optional
            Trials that choose the state to keep and are not trained on; at least two of each of
            their stimuli.
        checkpoint : path, optional
            File to write every ten epochs, and to go on from.
        progress : bool
            Whether to show a bar.

        Returns
        -------
        NeuronGAN
            Itself.

        Raises
        ------
        ValueError
            If activity lies outside [0, 1] or is not finite, shapes disagree, a validation
            stimulus is not in training, or `sample_interval` is below 1.
        visualcortex.training.CheckpointError
            If the checkpoint is damaged, or of other data or parameters.
        """
        _fit_jointly([self], activity, labels, validation, checkpoint, progress)
        return self

    def sample(self, labels: np.ndarray, *, seed: int) -> np.ndarray:
        """Generate a trial for each label.

        Parameters
        ----------
        labels : (n_trials,) array
            Stimuli, among those of the training trials.
        seed : int
            Of latents and private noise; the same seed gives the same trials.

        Returns
        -------
        (n_trials, n_time, n_neurons) or (n_trials, n_neurons) array
            Activity in [0, 1], with time if training had it. Binary if training was binary: each
            frame is drawn with the probability that the generator gives it, there is no threshold.

        Raises
        ------
        ValueError
            If a label was not in training.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_is_fitted(self, "generator_")
        device = self.generator_.engagement.device
        stimulus = torch.eye(len(self.labels_), device=device)[stimulus_codes(labels, self.labels_)]
        rng = torch.Generator(device).manual_seed(seed)
        written = [trials[0].cpu() for trials in write(self.generator_, stimulus, [rng])]
        sampled = torch.cat(written).numpy()
        return sampled if self.has_time_ else sampled[:, 0]

    def _settings(self) -> Settings:
        """What it has in common with networks of other seeds."""
        chosen = {name: getattr(self, name) for name in Settings._fields}
        if self.sample_interval is not None and self.sample_interval < 1:
            raise ValueError(
                f"sample_interval must be None or at least 1 epoch; got {self.sample_interval}"
            )
        if self.gradient_penalty is None:
            chosen["gradient_penalty"] = 0.0 if self.spectral_norm else 10.0
        return Settings(**chosen)

    def _take(self, duel: Duel, index: int) -> None:
        """Take over what a duel has trained for this network."""
        generators, epochs = duel.kept()
        self.generator_ = separated(generators, index)
        rows = torch.stack(duel.rows)[:, index].numpy()
        names = ["wasserstein", "penalty", "validation"][: rows.shape[1]]
        history = pd.DataFrame(rows, columns=names)
        history.insert(0, "epoch", np.arange(1, len(rows) + 1))
        self.history_ = history.assign(kept=history["epoch"] == epochs[index])
        written = [activity[index].numpy() for _, activity in duel.snapshots]
        shape = len(self.labels_), self.generator_.n_time, self.generator_.n_neurons
        activity = np.stack(written) if written else np.empty((0, *shape), dtype=np.float32)
        self.snapshots_ = Snapshots(
            np.array([epoch for epoch, _ in duel.snapshots], dtype=int),
            self.labels_,
            activity if self.has_time_ else activity[:, :, 0],
        )


def fit_networks(
    network: NeuronGAN,
    seeds: Sequence[int],
    activity: np.ndarray,
    labels: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> list[NeuronGAN]:
    """Train networks that are alike in everything but their seeds, side by side.

    Each is the network that `NeuronGAN.fit` gives with its seed, but for rounding, which training
    amplifies in time: they agree as two runs on different machines do.

    Parameters
    ----------
    network : NeuronGAN
        The parameters of all; its seed is not used.
    seeds : sequence of int
        Seeds of the networks, all different.
    activity, labels, validation, progress
        As for `NeuronGAN.fit`.
    checkpoint : path, optional
        One file for all of them.

    Returns
    -------
    list of NeuronGAN
        Fitted networks, in the order of the seeds.

    Raises
    ------
    ValueError
        If there are no seeds or one comes twice, and as `NeuronGAN.fit` does.
    visualcortex.training.CheckpointError
        If the checkpoint is damaged, or of other data, parameters or seeds.
    """
    seeds = [int(seed) for seed in seeds]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds must be different, and at least one; got {seeds}")
    networks = [clone(network).set_params(seed=seed) for seed in seeds]
    _fit_jointly(networks, activity, labels, validation, checkpoint, progress)
    return networks


def _fit_jointly(
    networks: list[NeuronGAN],
    activity: np.ndarray,
    labels: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray] | None,
    checkpoint: str | Path | None,
    progress: bool,
) -> None:
    """Fit networks that differ by their seeds only."""
    frames = checked_frames(activity, labels)
    first = networks[0]
    for network in networks:
        network.labels_ = np.unique(labels)
        network.binary_ = is_binary(frames)
        network.has_time_ = np.ndim(activity) == 3
    held_out = None
    if validation is not None:
        held_out = checked_frames(*validation), stimulus_codes(validation[1], first.labels_)
        if held_out[0].shape[1:] != frames.shape[1:]:
            raise ValueError(
                "validation must have the frames and neurons of training, "
                f"{frames.shape[1:]}; got {held_out[0].shape[1:]}"
            )
    seeds = [network.seed for network in networks]
    data = frames, stimulus_codes(labels, first.labels_)
    duel = Duel(first._settings(), seeds, data, held_out, first.device)
    run_epochs(
        duel,
        first.n_epochs,
        checkpoint=checkpoint,
        checkpoint_every=10,
        progress=progress,
        description=f"neuron-GAN, seed {', '.join(map(str, seeds))}",
    )
    for index, network in enumerate(networks):
        network._take(duel, index)
