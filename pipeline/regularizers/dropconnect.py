"""DropConnect: single weights, biases among them, are zeroed at random while training.

Wan, Zeiler, Zhang, LeCun and Fergus, Regularization of Neural Networks using DropConnect, ICML
2013.

Acts on linear layers with a mask for every example, as in the paper. Masks are drawn chunk by chunk
and drawn again in the backward pass, so memory stays bounded. Convolutions get one mask per batch,
a compromise for speed. Inverted scaling. (Some libraries call stochastic depth drop_connect.)
Test rule: deterministic, by the mean weights or by the paper's Gaussian moments where a ReLU
follows.
"""

import itertools
import math
from abc import ABC
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, Self, cast, final

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models._sites import Site, convolutions, linear_layers, plain, require_plain_weights
from pipeline.regularizers._audit import AuditInputs, Measures, require_rate
from pipeline.regularizers._masks import mean_rate
from pipeline.regularizers._noise import NoiseLayer, attach, layers_of, place_instead
from pipeline.regularizers._regularizer import Regularizer
from pipeline.regularizers._weight_masks import PARTS, MaskedProduct, Masks, draw_mask, parts
from pipeline.runtime.errors import Refusal

LOWEST = -(1 << 63)  # of 64-bit words


def dropconnect(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, masks: Iterable[Tensor], keep: float
) -> Tensor:
    """Return ((M * weight) inputs + m * bias) / keep, with a mask for every row of inputs.

    Wan et al., ICML 2013.

    Args:
        inputs: (N, in).
        weight: (out, in).
        bias: (out,) or None.
        masks: 1 where kept and 0 elsewhere, (rows, out, in + 1; the last column is the bias's;
            without bias, in) in chunks of rows that add up to N; iterated once forward and once
            backward.
        keep: The chance of being kept, in (0, 1].

    Returns:
        (N, out).
    """
    if bias is not None:
        inputs = functional.pad(inputs, (0, 1), value=1.0)
        weight = torch.cat([weight, bias[:, None]], dim=1)
    product: Tensor = MaskedProduct.apply(inputs, weight, masks)  # type: ignore[no-untyped-call]  # in torch
    return product / keep


def thinned(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """Return each of the weights times its mask, in the layout of the weights.

    All at once, which is fastest.

    Args:
        weights: Any shapes.
        masks: One over the chance of being kept where a weight is kept, and 0 elsewhere; the same
            shapes.
    """
    products = torch._foreach_mul(list(weights), list(masks))
    # where an axis has length 1 torch may choose strides that push the network out of channels_last
    return [
        product
        if product.stride() == weight.stride()
        else product.as_strided(weight.shape, weight.stride())
        for product, weight in zip(products, weights, strict=True)
    ]


def gaussian_moments(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, rate: float
) -> tuple[Tensor, Tensor]:
    """Return mean and variance (N, out) of a linear layer over all masks.

    Wan et al., ICML 2013: with inverted scaling the mean is that of the plain layer, and the
    variance rate / (1 - rate) times the sum of squared weight times squared input.

    Args:
        inputs: (N, in).
        weight: (out, in).
        bias: (out,) or None.
        rate: The chance of being dropped, in [0, 1).
    """
    squared = None if bias is None else bias.square()
    spread = functional.linear(inputs.square(), weight.square(), squared)
    return functional.linear(inputs, weight, bias), spread * (rate / (1 - rate))


def expected_relu(mean: Tensor, variance: Tensor) -> Tensor:
    """Return E[max(u, 0)] of normal u: mean Phi(mean / s) + s phi(mean / s), s its deviation.

    Args:
        mean: The means of u, any shape.
        variance: The variances of u, the same shape.
    """
    deviation = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
    ratio = mean / deviation
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    expected: Tensor = mean * torch.special.ndtr(ratio) + deviation * density
    return expected


@final
class DropConnect(Regularizer):
    """Settings of DropConnect.

    Attributes:
        rate: The chance that a weight is dropped.
        where: The layers it acts on, linear or convolution.
        inference: The deterministic form: mean (the weights themselves) or gaussian (moments, for
            linear layers that a ReLU follows).
    """

    name: ClassVar = "dropconnect"
    family: ClassVar = "noise"
    needs: ClassVar = (
        "linear layer (where: linear) or convolution that sees more than one pixel "
        "(where: convolution)"
    )
    off: ClassVar = {"rate": 0}
    activity: ClassVar = "realised_rate"

    rate: float = Field(0.5, ge=0, lt=1)
    where: Literal["linear", "convolution"] = "linear"
    inference: Literal["mean", "gaussian"] = "mean"

    @model_validator(mode="after")
    def _moments_of_linear_layers(self) -> Self:
        if self.where == "convolution" and self.inference == "gaussian":
            raise ValueError(
                "inference: mean where convolutions are thinned; gaussian is for where: linear"
            )
        return self

    def other_forms(self, network: nn.Module) -> dict[str, Self]:
        """Return the Gaussian form, where these settings have another and a ReLU follows a site."""
        if self.where == "convolution" or self.inference == "gaussian":
            return {}
        followed = _followed_by_relu(network)
        if not any(module in followed for _, module in self.sites(network)):
            return {}
        return {"moments": self.model_copy(update={"inference": "gaussian"})}

    def sites(self, network: nn.Module) -> list[Site]:
        """Return the linear layers or the convolutions, as `where` has it."""
        return linear_layers(network) if self.where == "linear" else convolutions(network)

    def modify_model(self, network: nn.Module) -> None:
        """Compute every site by a noise layer.

        Raises:
            Refusal: There is no site, with Gaussian inference none that a ReLU follows, a
                convolution computes its weight from others, or a linear layer computes something
                else than torch's.
        """
        sites = self.require_sites(network)
        if self.where == "convolution":
            require_plain_weights(network, f"{self.name}: where: convolution")
            owners = [module for _, module in sites]
            _place_around(network, sites[0], ConvolutionsLayer("convolutions", self.rate, owners))
            return
        for site, module in sites:
            if type(module).forward is not nn.Linear.forward:
                raise Refusal(
                    f"{self.name}: {plain(site)} has a forward of its own; "
                    "expected that of nn.Linear, which masks replace"
                )
        gaussian = _followed_by_relu(network) if self.inference == "gaussian" else set()
        if self.inference == "gaussian" and not any(module in gaussian for _, module in sites):
            raise Refusal(
                f'{self.name}: inference: invalid value "gaussian"; expected mean, since the '
                "network has no linear layer that a ReLU follows in a sequence"
            )
        for site, module in sites:
            layer = LinearLayer(site, self.rate, module, module in gaussian)
            place_instead(module, layer, "dropconnect_noise")

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return sites and the share of weights dropped; every site has to have acted.

        Raises:
            NoEffect: No mask was drawn, or a site dropped another share of its weights than the
                rate.
        """
        layers = layers_of(inputs.network, WeightMaskLayer)  # type: ignore[type-abstract]
        realised = mean_rate(self.name, layers)
        expected = parts(self.rate) / PARTS
        for layer in layers:
            drawn, kept = int(layer.counts["drawn"]), int(layer.counts["kept"])
            require_rate(self.name, f"weights at {layer.site}", drawn - kept, drawn, expected)
        return {"sites": sum(len(layer.owners) for layer in layers), "realised_rate": realised}


def _followed_by_relu(network: nn.Module) -> set[nn.Module]:
    """Return the modules whose next in a sequence is a ReLU."""
    chains = [list(owner) for owner in network.modules() if isinstance(owner, nn.Sequential)]
    pairs = itertools.chain.from_iterable(map(itertools.pairwise, chains))
    return {one for one, two in pairs if isinstance(two, nn.ReLU)}


class WeightMaskLayer(NoiseLayer, ABC):
    """A layer that drops part of the weights of `owners`, and counts them.

    The modules are in a tuple: as submodules they would be their own descendants.
    """

    def __init__(self, site: str, rate: float, owners: Iterable[nn.Module]):
        super().__init__("dropconnect", site)
        self.dropped = parts(rate)
        self.owners = tuple(owners)
        self.counts = {"drawn": 0, "kept": 0}

    @property
    def keep(self) -> float:
        """Return the exact chance that a weight is kept."""
        return 1 - self.dropped / PARTS


@final
class LinearLayer(WeightMaskLayer):
    """A linear layer with a mask for every row of its input.

    With `gaussian` the deterministic form is the expected output of the ReLU that follows.
    """

    def __init__(self, site: str, rate: float, module: nn.Module, gaussian: bool = False):
        super().__init__(site, rate, [module])
        self.gaussian = gaussian

    def deterministic(self, inputs: Tensor) -> Tensor:
        """Return the linear layer's own output, or E[relu(u)] of normal u with its moments."""
        (module,) = cast(tuple[nn.Linear], self.owners)
        if not self.gaussian:
            output: Tensor = type(module).forward(module, inputs)
            return output
        rate = self.dropped / PARTS
        return expected_relu(*gaussian_moments(inputs, module.weight, module.bias, rate))

    def sample(self, inputs: Tensor) -> Tensor:
        """Return (..., out) for inputs (..., in)."""
        (module,) = cast(tuple[nn.Linear], self.owners)
        rows = inputs.reshape(-1, module.in_features).to(module.weight.dtype)
        columns = module.in_features + (module.bias is not None)
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=self.generator))
        masks = Masks(seed, len(rows), (module.out_features, columns), self.dropped, rows.dtype)
        # the custom product knows one type of numbers
        with torch.autocast(inputs.device.type, enabled=False):
            output = dropconnect(rows, module.weight, module.bias, masks, self.keep)
        self.count(drawn=len(rows) * module.out_features * columns, kept=masks.kept)
        return output.view(*inputs.shape[:-1], module.out_features)


@final
class ConvolutionsLayer(WeightMaskLayer):
    """A layer that thins the weights of convolutions by one mask for the whole batch.

    The weights are thinned while the network runs.

    All are drawn and multiplied at once: one by one costs several times as much.
    """

    def sample(self, inputs: Tensor) -> Tensor:
        """Return the inputs unchanged, once the weights are thinned."""
        named = [
            (module, name, weight)
            for module in self.owners
            for name, weight in module.named_parameters(recurse=False)
        ]
        weights = [weight for _, _, weight in named]
        products = thinned(weights, self._masks(weights))
        for (module, name, _), product in zip(named, products, strict=True):
            # found before the parameter of that name, which stays the one that is trained
            module.__dict__[name] = product
        return inputs

    def restore(self) -> None:
        """Restore the convolutions' own weights."""
        for module in self.owners:
            for name in ("weight", "bias"):
                module.__dict__.pop(name, None)

    def _masks(self, weights: Sequence[Tensor]) -> list[Tensor]:
        def words(number: int) -> Tensor:
            empty = torch.empty(number, dtype=torch.int64)
            return empty.random_(LOWEST, None, generator=self.generator)

        sizes = [weight.numel() for weight in weights]
        kept = draw_mask(words, (sum(sizes),), self.dropped, weights[0].dtype)
        self.count(drawn=kept.numel(), kept=int(kept.sum()))
        masks = kept.mul_(1 / self.keep).to(weights[0].device).split(sizes)
        return [
            mask.as_strided(weight.shape, weight.stride())
            for mask, weight in zip(masks, weights, strict=True)
        ]


def _place_around(network: nn.Module, first: Site, layer: ConvolutionsLayer) -> None:
    """Thin the weights before `network` runs and restore them after, even if it fails.

    The layer is a child of the first convolution: a network that is a sequence would run it as one
    more step.
    """
    path = f"{first[0]}.{attach(first[1], layer)}"

    def thin(owner: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        owner.get_submodule(path)(arguments[0])

    def restore(owner: nn.Module, arguments: Any, output: Any) -> None:
        cast(ConvolutionsLayer, owner.get_submodule(path)).restore()

    network.register_forward_pre_hook(thin)
    network.register_forward_hook(restore, always_call=True)
