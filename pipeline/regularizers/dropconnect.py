"""DropConnect (Wan, Zeiler, Zhang, LeCun and Fergus, Regularization of Neural Networks using DropConnect, ICML 2013): single
weights, biases among them, are zeroed at random while training.

Acts on linear layers with a mask of its own for every example, as in the paper and exactly: masks are drawn chunk by chunk
and drawn again in the backward pass, so memory stays bounded. Convolutions get one mask a batch, a compromise for speed.
Not stochastic depth, which some libraries call drop_connect. Inverted scaling. Test rule: deterministic, by the mean weights or
by the paper's Gaussian moments where a ReLU follows.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models._sites import Site, convolutions, linear_layers
from pipeline.regularizers.base import (
    Evidence,
    Measures,
    NoiseLayer,
    Regularizer,
    attach,
    noise_layers,
    place_instead,
    require_effect,
    require_rate,
)
from pipeline.runtime.errors import Refusal

PARTS = (
    1 << 16
)  # chances are whole parts of this: a mask costs a 16-bit random word per weight, or 8 bits where these suffice
LOWEST = -(1 << 63)  # of 64-bit words
CHUNK = 1 << 17  # weights masked at once: two such tensors stay in the processor's cache
REMEMBERED = (
    1 << 20
)  # masks of so many weights are kept for the backward pass, 4 MiB; more are drawn again
SETTINGS_OF_STOCHASTIC_DEPTH = (
    *("mode", "survival", "survival_prob", "decay", "drop_path", "drop_path_rate"),
    *("drop_connect", "drop_connect_rate", "drop_prob"),
)
BRANCHES = ("branch", "branches", "block", "blocks", "residual", "path", "layer", "layers")
HINT = "stochastic_depth, which drops whole branches (drop_connect in timm and EfficientNet)"


def dropconnect(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, masks: Iterable[Tensor], keep: float
) -> Tensor:
    """(M * weight) inputs + m * bias, over `keep`, with a mask for every row of inputs (N, in): (N, out).

    `masks`: 1 where kept and 0 elsewhere, (rows, out, in + 1; the last column is the bias's; without bias, in) in chunks of
    rows that add up to N; iterated once forward and once backward. `keep`: the chance of being kept, more than 0.
    """
    if bias is not None:
        inputs, weight = (
            functional.pad(inputs, (0, 1), value=1.0),
            torch.cat([weight, bias[:, None]], dim=1),
        )
    product: Tensor = _Product.apply(inputs, weight, masks)  # type: ignore[no-untyped-call]  # in torch
    return product / keep


def thinned(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
    """Each of the weights times its mask (same shape), in the layout of the weights; all at once, which is fastest.

    `masks`: one over the chance of being kept where a weight is kept, and 0 elsewhere.
    """
    products = torch._foreach_mul(list(weights), list(masks))
    # where an axis has length 1 torch may choose strides that push the whole network out of channels_last
    return [
        product
        if product.stride() == weight.stride()
        else product.as_strided(weight.shape, weight.stride())
        for product, weight in zip(products, weights, strict=True)
    ]


def gaussian_moments(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, rate: float
) -> tuple[Tensor, Tensor]:
    """Mean and variance (N, out) of a linear layer's output over all masks, the bias's included; inputs (N, in)."""
    squared = None if bias is None else bias.square()
    spread = functional.linear(inputs.square(), weight.square(), squared)
    return functional.linear(inputs, weight, bias), spread * (rate / (1 - rate))


def expected_relu(mean: Tensor, variance: Tensor) -> Tensor:
    """E[max(u, 0)] of normal u: mean Phi(mean / s) + s phi(mean / s), with s the standard deviation."""
    deviation = variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()
    ratio = mean / deviation
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    expected: Tensor = mean * torch.special.ndtr(ratio) + deviation * density
    return expected


class DropConnect(Regularizer):
    """`rate` is the chance that a weight is dropped; `where`: linear or convolution; `inference`, the deterministic form:
    mean (the weights themselves) or gaussian (moments, for linear layers that a ReLU follows)."""

    name: ClassVar[str] = "dropconnect"

    rate: float = Field(0.5, ge=0, lt=1)
    where: Literal["linear", "convolution"] = "linear"
    inference: Literal["mean", "gaussian"] = "mean"

    @model_validator(mode="before")
    @classmethod
    def _not_stochastic_depth(cls, given: Any) -> Any:
        strays = (
            [key for key in given if key in SETTINGS_OF_STOCHASTIC_DEPTH]
            if isinstance(given, dict)
            else []
        )
        if strays:
            raise ValueError(f"rate, where and inference; {strays[0]} is for {HINT}")
        return given

    @field_validator("where", mode="before")
    @classmethod
    def _not_a_branch(cls, given: Any) -> Any:
        if given in BRANCHES:
            raise ValueError(f"linear or convolution; {given} is for {HINT}")
        return given

    @model_validator(mode="after")
    def _moments_of_linear_layers(self) -> Self:
        if self.where == "convolution" and self.inference == "gaussian":
            raise ValueError(
                "inference: mean where convolutions are thinned; gaussian is for where: linear"
            )
        return self

    @classmethod
    def neutral(cls) -> Self:
        """Nothing is ever dropped."""
        return cls(rate=0)

    def is_neutral(self) -> bool:
        """Nothing is ever dropped, wherever."""
        return self.rate == 0

    def other_forms(self) -> dict[str, Self]:
        """`moments`: Gaussian inference in the linear layers that a ReLU follows."""
        apt = self.where == "linear" and self.inference == "mean" and self.rate > 0
        return {"moments": self.model_copy(update={"inference": "gaussian"})} if apt else {}

    def modify_model(self, network: nn.Module) -> None:
        """Lets a noise layer compute every linear layer, or every convolution of more than one pixel. Raises Refusal."""
        found = self._sites(network)
        if self.where == "convolution":
            _place_around(
                network, found[0], SharedLayer(self.rate, *(module for _, module in found))
            )
            return
        for site, module in found:
            layer = GaussianLayer if self._gaussian(network, module) else Layer
            place_instead(module, layer(site, self.rate, module))

    def audit(self, evidence: Evidence) -> Measures:
        """Sites, and the share of weights that was dropped. Every site has to have acted."""
        layers = [layer for layer in noise_layers(evidence.network) if isinstance(layer, Masked)]
        drawn, kept = (
            sum(int(layer.counts[name]) for layer in layers) for name in ("drawn", "kept")
        )
        require_effect(drawn > 0, 0, "dropconnect: no mask was drawn")
        for layer in layers:
            number, due = int(layer.counts["drawn"]), _parts(self.rate) / PARTS
            require_rate(
                "dropconnect",
                f"weights at {layer.site}",
                number - int(layer.counts["kept"]),
                number,
                due,
            )
        return {
            "sites": sum(len(layer.owners) for layer in layers),
            "realised_rate": 1 - kept / drawn,
        }

    def _sites(self, network: nn.Module) -> list[Site]:
        found = linear_layers(network) if self.where == "linear" else convolutions(network)
        if not found:
            what = (
                "linear layer"
                if self.where == "linear"
                else "convolution that sees more than one pixel"
            )
            raise Refusal(f"dropconnect: the network has no {what} (where: {self.where})")
        if self.inference == "gaussian" and not any(
            self._gaussian(network, module) for _, module in found
        ):
            raise Refusal(
                "dropconnect: inference: gaussian: the network has no linear layer that a ReLU follows in a sequence"
            )
        return found

    def _gaussian(self, network: nn.Module, module: nn.Module) -> bool:
        """Whether moments replace the module's output: its next in a sequence is a ReLU, which lets them pass."""
        chains = [list(owner) for owner in network.modules() if isinstance(owner, nn.Sequential)]
        followed = any(
            one is module and isinstance(two, nn.ReLU)
            for chain in chains
            for one, two in itertools.pairwise(chain)
        )
        return self.inference == "gaussian" and followed


class Masks:
    """Masks of `rows` examples for weights of `shape`, chunk by chunk; the same ones however often they are iterated.

    Few are remembered; many are drawn again from their seed.
    """

    def __init__(
        self, seed: int, rows: int, shape: tuple[int, int], dropped: int, dtype: torch.dtype
    ):
        self.seed, self.rows, self.shape, self.dropped, self.dtype = (
            seed,
            rows,
            shape,
            dropped,
            dtype,
        )
        self.kept = 0  # weights, once all masks have been drawn
        small = rows * math.prod(shape) <= REMEMBERED
        self.remembered = list(self._draw()) if small else None

    def __iter__(self) -> Iterator[Tensor]:
        return self._draw() if self.remembered is None else iter(self.remembered)

    def _draw(self) -> Iterator[Tensor]:
        source, self.kept = np.random.SFC64(self.seed), 0
        size = max(1, CHUNK // math.prod(self.shape))
        for start in range(0, self.rows, size):
            mask = _mask(
                source, (min(size, self.rows - start), *self.shape), self.dropped, self.dtype
            )
            self.kept += int(mask.sum())
            yield mask


class Masked(NoiseLayer):
    """Drops part of the weights of `owners`, and counts them.

    The modules stand in a tuple, since as submodules they would be their own descendants.
    """

    def __init__(self, site: str, rate: float, *owners: nn.Module):
        super().__init__("dropconnect", site)
        self.dropped = _parts(rate)
        self.owners = owners
        self.counts = {"drawn": 0, "kept": 0}

    @property
    def keep(self) -> float:
        """The exact chance that a weight is kept."""
        return 1 - self.dropped / PARTS


class Layer(Masked):
    """A linear layer with a mask of its own for every row of its input."""

    def deterministic(self, inputs: Tensor) -> Tensor:
        """The linear layer's own output: the mean over masks."""
        (module,) = self.owners
        output: Tensor = type(module).forward(module, inputs)
        return output

    def sample(self, inputs: Tensor) -> Tensor:
        """Inputs (..., in) -> (..., out)."""
        (module,) = cast(tuple[nn.Linear], self.owners)
        rows = inputs.reshape(-1, module.in_features).to(module.weight.dtype)
        columns = module.in_features + (module.bias is not None)
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=self.generator))
        masks = Masks(seed, len(rows), (module.out_features, columns), self.dropped, rows.dtype)
        with torch.autocast(
            inputs.device.type, enabled=False
        ):  # a product of our own knows one type
            output = dropconnect(rows, module.weight, module.bias, masks, self.keep)
        self.count(drawn=len(rows) * module.out_features * columns, kept=masks.kept)
        return output.view(*inputs.shape[:-1], module.out_features)


class GaussianLayer(Layer):
    """The same, with the expected output of the ReLU that follows as its deterministic form."""

    def deterministic(self, inputs: Tensor) -> Tensor:
        """E[relu(u)], u normal with the moments of the output over all masks; never negative."""
        (module,) = cast(tuple[nn.Linear], self.owners)
        return expected_relu(
            *gaussian_moments(inputs, module.weight, module.bias, self.dropped / PARTS)
        )


class SharedLayer(Masked):
    """Lets the convolutions of a network see thinned weights while it runs.

    One mask for the whole batch. All of them are drawn and multiplied at once: one by one costs several times as much.
    """

    def __init__(self, rate: float, *owners: nn.Module):
        super().__init__("convolutions", rate, *owners)

    def sample(self, inputs: Tensor) -> Tensor:
        """The inputs as they are, once the weights are thinned."""
        named = [
            (module, name, own)
            for module in self.owners
            for name, own in module._parameters.items()
            if own is not None
        ]
        weights: list[Tensor] = [own for _, _, own in named]
        for (module, name, _), weight in zip(
            named, thinned(weights, self._masks(weights)), strict=True
        ):
            module.__dict__[name] = (
                weight  # found before the parameter of that name, which stays the one that is trained
            )
        return inputs

    def restore(self) -> None:
        """Lets the convolutions see their own weights again."""
        for module in self.owners:
            for name in ("weight", "bias"):
                module.__dict__.pop(name, None)

    def _masks(self, weights: Sequence[Tensor]) -> list[Tensor]:
        sizes = [weight.numel() for weight in weights]
        words = torch.empty(_words(sum(sizes), self.dropped), dtype=torch.int64).random_(
            LOWEST, None, generator=self.generator
        )
        kept = _kept(words, (sum(sizes),), self.dropped, weights[0].dtype)
        self.count(drawn=kept.numel(), kept=int(kept.sum()))
        parts = kept.mul_(1 / self.keep).to(weights[0].device).split(sizes)
        return [
            part.as_strided(weight.shape, weight.stride())
            for part, weight in zip(parts, weights, strict=True)
        ]


def _place_around(network: nn.Module, first: Site, layer: SharedLayer) -> None:
    """Thins the weights before `network` runs and restores them after, even if it fails.

    The layer is a child of the first convolution: a network that is a sequence would run it as one more step.
    """
    path = f"{first[0]}.{attach(first[1], layer)}"

    def thin(owner: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        owner.get_submodule(path)(arguments[0])

    def restore(owner: nn.Module, arguments: Any, output: Any) -> None:
        cast(SharedLayer, owner.get_submodule(path)).restore()

    network.register_forward_pre_hook(thin)
    network.register_forward_hook(restore, always_call=True)


class _Product(torch.autograd.Function):
    """inputs (N, in), weight (out, in), masks in chunks (rows, out, in) -> (N, out)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, masks: Iterable[Tensor]) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.masks = masks
        chunks = _chunks(masks, inputs)
        return torch.cat(
            [
                torch.bmm(part[:, None], (mask * weight).transpose(1, 2))[:, 0]
                for mask, part in chunks
            ]
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        inputs, weight = ctx.saved_tensors
        of_inputs, of_weight = [], torch.zeros_like(weight)
        for mask, part, back in _chunks(ctx.masks, inputs, gradient):
            if ctx.needs_input_grad[0]:
                of_inputs.append(torch.bmm(back[:, None], mask * weight)[:, 0])
            of_weight += (mask * part[:, None]).mul_(back[:, :, None]).sum(0)
        return torch.cat(of_inputs) if of_inputs else None, of_weight, None


def _chunks(masks: Iterable[Tensor], *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Each mask with the rows of every tensor that it belongs to."""
    start = 0
    for mask in masks:
        yield mask.to(tensors[0].device), *(tensor[start : start + len(mask)] for tensor in tensors)
        start += len(mask)


def _parts(rate: float) -> int:
    """A rate in whole parts, neither nothing nor all of them by rounding."""
    return min(max(round(rate * PARTS), 1), PARTS - 1) if rate else 0


def _mask(
    source: np.random.SFC64, shape: tuple[int, ...], dropped: int, dtype: torch.dtype
) -> Tensor:
    """1 with chance 1 - dropped / 65536, else 0. Many words come faster from numpy, few from torch."""
    words = np.asarray(source.random_raw(_words(math.prod(shape), dropped)))
    return _kept(torch.from_numpy(words.view(np.int64)), shape, dropped, dtype)


def _bits(dropped: int) -> int:
    """How long a random word has to be for the chance of dropped / 65536: rates such as 1/4 and 1/2 need 8 bits alone."""
    return 16 if dropped % 256 else 8


def _words(number: int, dropped: int) -> int:
    """How many 64-bit words hold enough for `number` weights."""
    return -(-number * _bits(dropped) // 64)


def _kept(words: Tensor, shape: tuple[int, ...], dropped: int, dtype: torch.dtype) -> Tensor:
    """1 where a part of the 64-bit random words is not among the lowest. Floats, since products of mixed types are slow."""
    bits = _bits(dropped)
    parts = words.view(torch.int16 if bits == 16 else torch.int8)[: math.prod(shape)].view(shape)
    lowest = (dropped - PARTS // 2) >> (16 - bits)
    return torch.ge(parts, lowest, out=torch.empty(shape, dtype=dtype))
