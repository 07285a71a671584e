"""Compute every tensor of logits that the tables need, for one trained network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config.run import RunConfig
from pipeline.config.test_rules import NOISE
from pipeline.data.arrays import is_row
from pipeline.data.loader import ImageTensor, as_fractions
from pipeline.models._standardized import Standardized
from pipeline.prediction.members import CHUNK, augmented, deterministic, keep_labels, noise, trained
from pipeline.prediction.network import assemble
from pipeline.prediction.views import crops, ten_crop
from pipeline.records.predictions import View
from pipeline.regularizers import test_rule
from pipeline.regularizers._noise import noise_layers
from pipeline.regularizers._regularizer import Regularizer

PASSES = 20  # noise passes on the test set: more than a test rule has, to see where gains end
VIEWS = 8  # draws of training conditions, to decompose the gap and to average at test
CROPPED = 2 * CHUNK  # images whose crops are made at once
HELD_OUT = ("validation", "test")

States = Mapping[str, Sequence[Mapping[str, Tensor]]]  # kind -> states of a network, in order
Images = Mapping[
    str, ImageTensor
]  # split -> images (N, channels, height, width), fractions or bytes
Views = dict[View, Tensor]  # logits (members, N, classes)


@dataclass(frozen=True)
class TrainedRun:
    """A run to predict with: its settings, regularizers, weights and further weights it has kept.

    `device` is where its network computes, as PyTorch names it; logits come back to the CPU.
    """

    config: RunConfig
    regularizers: Sequence[Regularizer]
    weights: Mapping[str, Tensor]
    kept: States
    device: str = "cpu"

    def network(
        self, regularizers: Sequence[Regularizer], shape: tuple[int, ...], classes: int
    ) -> Standardized:
        """Return the trained network with these regularizers, for images of `shape`."""
        network = assemble(self.config, regularizers, shape, classes).to(self.device)
        network.load_state_dict(dict(self.weights))
        return network

    @property
    def augments(self) -> bool:
        """Return whether batches were changed in training."""
        return any(regularizer.augments for regularizer in self.regularizers)


def predictions(
    run: TrainedRun, images: Images, classes: int, viewed: bool, flips_keep: bool
) -> Views:
    """Return the logits of the splits train, validation and test.

    Kinds of members:

    - `deterministic`: always.
    - `noise`: with noise layers; on validation only for a test rule of noise, or if `viewed`.
    - `augmented` on train: images changed as in training; `trained`: noise layers sampling, too.
    - `moments` and other deterministic forms of a regularizer, `raw` and `snapshots`: if there are.
    - `draws` (the run's own augmentation, where it keeps labels) or `crops` (of images by a run
      without regularizers; ten if `flips_keep`, else five): if `viewed`.
    """
    shape = tuple(next(iter(images.values())).shape[1:])
    network = run.network(run.regularizers, shape, classes)
    held_out = {split: images[split] for split in HELD_OUT}
    views = _deterministic(network, images, "deterministic")
    if noise_layers(network):
        views |= _noisy(network, run, images, viewed)
    if run.augments:
        train, seed = images["train"], run.config.streams.augmentation
        views[View("train", "augmented")] = augmented(network, train, VIEWS, run.regularizers, seed)
    for form, regularizers in _forms(run.regularizers, network):
        views |= _deterministic(run.network(regularizers, shape, classes), held_out, form)
    if viewed:
        views |= _averaged_views(network, run, held_out, flips_keep)
    views |= _kept(network, run.kept, held_out)
    return {view: logits.to(torch.float32).contiguous() for view, logits in views.items()}


def _deterministic(network: Standardized, images: Images, kind: str) -> Views:
    return {View(split, kind): deterministic(network, inputs) for split, inputs in images.items()}


def _noisy(network: Standardized, run: TrainedRun, images: Images, viewed: bool) -> Views:
    streams = run.config.streams
    views = {View("test", "noise"): noise(network, images["test"], PASSES, streams.noise)}
    if viewed or test_rule(run.regularizers).view == "noise":
        passes = PASSES if viewed else NOISE.members
        validation = noise(network, images["validation"], passes, streams.noise)
        views[View("validation", "noise")] = validation
    train, seeds = images["train"], (streams.augmentation, streams.noise)
    views[View("train", "trained")] = trained(network, train, VIEWS, run.regularizers, seeds)
    return views


def _forms(
    regularizers: Sequence[Regularizer], network: Standardized
) -> Iterator[tuple[str, list[Regularizer]]]:
    """Yield every other deterministic form of one of the regularizers, the rest as they are."""
    for item in regularizers:
        for form, other in item.other_forms(network).items():
            yield form, [other if one is item else one for one in regularizers]


def _averaged_views(
    network: Standardized, run: TrainedRun, held_out: Images, flips_keep: bool
) -> Views:
    """Return what can be averaged of one network at test: draws of its augmentation, or crops."""
    seed = run.config.streams.augmentation
    flipped = any(regularizer.flips for regularizer in run.regularizers) and not flips_keep
    views: Views = {}
    for split, images in held_out.items():
        if run.augments:
            if not flipped and keep_labels(images, run.regularizers, seed):
                draws = augmented(network, images, VIEWS, run.regularizers, seed)
                views[View(split, "draws")] = draws
        elif not run.regularizers and not is_row(tuple(images.shape[1:])):
            parts = [_cropped(network, part, flips_keep) for part in images.split(CROPPED)]
            views[View(split, "crops")] = torch.cat(parts, dim=1)
    return views


def _cropped(network: Standardized, stored: Tensor, flips_keep: bool) -> Tensor:
    """Return the logits (views, N, classes) of crops."""
    images = as_fractions(stored)
    cropped = ten_crop(images, flips_keep) if flips_keep else crops(images)
    return torch.cat([deterministic(network, view) for view in cropped])


def _kept(network: Standardized, kept: States, held_out: Images) -> Views:
    """Return the members of the weights that were kept along training, in their order."""
    views: Views = {}
    for kind, states in kept.items():
        members: dict[View, list[Tensor]] = {}
        for state in states:
            network.load_state_dict(dict(state))
            for view, logits in _deterministic(network, held_out, kind).items():
                members.setdefault(view, []).append(logits)
        views |= {view: torch.cat(logits) for view, logits in members.items()}
    return views
