"""Every tensor of logits that the report is made of, for one trained network.

Separate from `members.py` (how a member is made): here is which members which split needs.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pipeline.config.streams import Streams
from pipeline.models.standardized import Standardized
from pipeline.prediction.members import augmented, deterministic, noise, trained
from pipeline.regularizers.base import NOISE_PASSES, Regularizer, noise_layers

VIEWS = 8  # draws of training conditions for the gap's decomposition


def predictions(
    network: Standardized, images: Mapping[str, Tensor], chosen: Sequence[Regularizer], streams: Streams
) -> dict[str, Tensor]:
    """ "<split>/<kind>" -> logits (members, N, classes), for splits train, validation and test.

    Always `deterministic`; `noise` on validation and test where there are noise layers; on train `augmented` where
    batches are augmented, and `trained` (augmented and noisy, as in training) where there are noise layers.
    """
    tensors = {f"{split}/deterministic": deterministic(network, inputs) for split, inputs in images.items()}
    noisy, changing = bool(noise_layers(network)), any(regularizer.augments for regularizer in chosen)
    for split in ("validation", "test") if noisy else ():
        tensors[f"{split}/noise"] = noise(network, images[split], NOISE_PASSES, streams.noise)
    if changing:
        tensors["train/augmented"] = augmented(network, images["train"], VIEWS, chosen, streams.augmentation)
    if noisy:
        seeds = (streams.augmentation, streams.noise)
        tensors["train/trained"] = trained(network, images["train"], VIEWS, chosen, seeds)
    return {name: tensor.to(torch.float32).contiguous() for name, tensor in tensors.items()}
