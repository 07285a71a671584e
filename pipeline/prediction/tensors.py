"""Every tensor of logits that the report is made of, for one trained network.

Separate from `members.py` (how a member is made): here is which members which split needs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config.run import RunConfig
from pipeline.config.test_rules import DETERMINISTIC, NOISE_PASSES
from pipeline.data.loader import as_fractions
from pipeline.models._standardized import Standardized
from pipeline.prediction.members import augmented, deterministic, keep_labels, noise, trained
from pipeline.prediction.network import assemble
from pipeline.prediction.views import crops, ten_crop
from pipeline.regularizers import test_rule
from pipeline.regularizers.base import Regularizer, noise_layers

PASSES = (
    20  # noise passes on the test: the test rule's and some more, to see where they stop to help
)
VIEWS = 8  # draws of training conditions, for the gap's decomposition and for averaging at test
HELD_OUT = ("validation", "test")

States = Mapping[str, Mapping[str, Tensor]]  # name -> state of a network
Named = Iterator[tuple[str, Tensor]]  # "<split>/<kind>", logits (members, N, classes)


@dataclass(frozen=True)
class Subject:
    """A run to predict with: its settings and regularizers, its weights, and further weights by name (raw, snapshot_1).

    `device` is where its network computes, in PyTorch's words; logits come back to the processor.
    """

    config: RunConfig
    chosen: Sequence[Regularizer]
    weights: Mapping[str, Tensor]
    kept: States
    device: str = "cpu"

    def network(
        self, chosen: Sequence[Regularizer], shape: tuple[int, ...], classes: int
    ) -> Standardized:
        """The trained network with these regularizers, for images of `shape`."""
        network = assemble(self.config, chosen, shape, classes).to(self.device)
        network.load_state_dict(dict(self.weights))
        return network


def predictions(
    subject: Subject, images: Mapping[str, Tensor], classes: int, viewed: bool, flips_keep: bool
) -> dict[str, Tensor]:
    """ "<split>/<kind>" -> logits (members, N, classes), for splits train, validation and test, images fractions or bytes.

    Always `deterministic`. Where there are noise layers, `noise`, on validation only where a test rule asks for it or the
    run is `viewed`; where batches are augmented, `augmented` on train, and `trained` (augmented and noisy, as in training)
    where there are noise layers. `moments` and other deterministic forms, `raw` and `snapshots` where the run has them.
    Where `viewed`, `draws` of the run's own augmentation if they keep labels, or `crops` (ten if `flips_keep` labels, else
    five) for a run without regularizers.
    """
    shape = tuple(next(iter(images.values())).shape[1:])
    network = subject.network(subject.chosen, shape, classes)
    held = {split: images[split] for split in HELD_OUT}
    found = dict(_plain(network, subject, images, viewed))
    for form, chosen in _forms(subject.chosen):
        found |= _deterministic(subject.network(chosen, shape, classes), held, form)
    if viewed:
        found |= dict(_views(network, subject, held, flips_keep))
    found |= dict(_kept(network, subject.kept, held))
    return {name: tensor.to(torch.float32).contiguous() for name, tensor in found.items()}


def _plain(
    network: Standardized, subject: Subject, images: Mapping[str, Tensor], needed: bool
) -> Named:
    streams, train = subject.config.streams, images["train"]
    yield from _deterministic(network, images, "deterministic").items()
    if noise_layers(network):
        yield "test/noise", noise(network, images["test"], PASSES, streams.noise)
        if needed or test_rule(subject.chosen) != DETERMINISTIC:
            yield (
                "validation/noise",
                noise(
                    network, images["validation"], PASSES if needed else NOISE_PASSES, streams.noise
                ),
            )
        yield (
            "train/trained",
            trained(
                network,
                as_fractions(train),
                VIEWS,
                subject.chosen,
                (streams.augmentation, streams.noise),
            ),
        )
    if _augments(subject):
        yield (
            "train/augmented",
            augmented(network, as_fractions(train), VIEWS, subject.chosen, streams.augmentation),
        )


def _forms(chosen: Sequence[Regularizer]) -> Iterator[tuple[str, list[Regularizer]]]:
    """Every other deterministic form of one of the regularizers, the rest as they are."""
    for item in chosen:
        for form, other in item.other_forms().items():
            yield form, [other if one is item else one for one in chosen]


def _views(
    network: Standardized, subject: Subject, held: Mapping[str, Tensor], flips_keep: bool
) -> Named:
    seed = subject.config.streams.augmentation
    flipped = any(regularizer.flips for regularizer in subject.chosen) and not flips_keep
    for split, images in ((split, as_fractions(images)) for split, images in held.items()):
        if _augments(subject):
            if flipped or not keep_labels(images, subject.chosen, seed):
                continue
            yield f"{split}/draws", augmented(network, images, VIEWS, subject.chosen, seed)
        elif not subject.chosen:
            views = ten_crop(images, flips_keep) if flips_keep else crops(images)
            yield f"{split}/crops", torch.cat([deterministic(network, view) for view in views])


def _kept(network: Standardized, kept: States, held: Mapping[str, Tensor]) -> Named:
    """Members of the weights kept beside the last: snapshots in their order as one kind, others by their name."""
    found: dict[str, list[Tensor]] = {}
    for name in sorted(kept, key=lambda name: (len(name), name)):
        network.load_state_dict(dict(kept[name]))
        kind = "snapshots" if name.startswith("snapshot_") else name
        for key, logits in _deterministic(network, held, kind).items():
            found.setdefault(key, []).append(logits)
    yield from ((key, torch.cat(members)) for key, members in found.items())


def _deterministic(
    network: Standardized, images: Mapping[str, Tensor], kind: str
) -> dict[str, Tensor]:
    return {f"{split}/{kind}": deterministic(network, inputs) for split, inputs in images.items()}


def _augments(subject: Subject) -> bool:
    return any(regularizer.augments for regularizer in subject.chosen)
