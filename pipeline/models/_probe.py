"""Run a network once to find the modules and weights that act, and the layout that it takes."""

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.models._flow import JOINS, Flow, place_of, tensors_in
from pipeline.models._randomness import global_states, restored_globals, seed_globals

PRODUCTS = ("mm", "mv", "conv", "linear", "bilinear", "trilinear", "rnn", "lstm", "gru")
SUMMED = ("addmm", "addmv", "addbmm", "baddbmm")  # these add a product to their first argument
WEIGHTED = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)  # these multiply by their `weight`
RESIZING = "upsample"  # their names hold those of products, as upsample_bilinear2d
KERNELS = {"mm": 1, "addmm": 2, "convolution": 1}  # the place of the weight of a layer
COPIES = ("_to_copy", "clone")  # copies of a weight, as by autocast, count as the weight itself
SELECTIONS = ("index", "index_select", "gather")  # select the matrices of experts in one weight
HOLDERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)  # without a forward
LAYERS = (*WEIGHTED, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)
PASSES = 16  # of a network that draws: a module skipped with chance 1/2 then almost surely runs


@dataclass(frozen=True)
class Probe:
    """The results of training passes of a network.

    Attributes:
        memory_format: channels_last, or contiguous_format for a network that cannot take the
            former: calls of `view` on feature maps need contiguous ones.
        called: Names of the modules whose forward ran.
        factors: Names of the parameters by which inputs were multiplied in a matrix product or a
            convolution.
        changed: Names of the parameters that were changed, for example by a mask, a scale or a
            product with others, and were then the weight of a layer in a product.
        gradients: Names of the parameters that got a gradient.
        queries: Names of the parameters whose products with units become, by a softmax, the weights
            of a sum, such as learned queries: they are not weights of a layer.
        reading: Names of the modules that read the images, before anything was multiplied; beside
            other units if these are joined to them.
        again: Names of the modules whose forward began once more in the backward pass, such as
            modules under activation checkpointing.
    """

    memory_format: torch.memory_format
    called: frozenset[str]
    factors: frozenset[str]
    changed: frozenset[str]
    gradients: frozenset[str]
    queries: frozenset[str]
    reading: frozenset[str]
    again: frozenset[str]


def probe(network: nn.Module, images: Tensor) -> Probe:
    """Return the results of training passes on images (N, channels, height, width).

    One pass is run, or several if the network draws random numbers and one pass has not reached all
    of it. The network is left unchanged.

    Raises:
        RuntimeError: The network takes the images in no layout.
    """
    try:
        return _probed(network, images, torch.channels_last)
    except RuntimeError:
        return _probed(network, images, torch.contiguous_format)


def probe_of(network: nn.Module) -> Probe | None:
    """Return the results of the probe of a network, None for a network of this package."""
    probe = getattr(network, "probe", None)
    return probe if isinstance(probe, Probe) else None


def _probed(network: nn.Module, images: Tensor, memory_format: torch.memory_format) -> Probe:
    copied = copy.deepcopy(network).train()
    copied.to(memory_format=memory_format)  # type: ignore[call-overload]
    inputs = images.contiguous(memory_format=memory_format)
    _evaluate(copied, inputs)
    parameters = dict(copied.named_parameters(remove_duplicate=False))
    products = _Products(parameters, _of_layers(copied))
    calls = _Calls(copied, products.flow)
    gradients: set[str] = set()
    with restored_globals():
        for number in range(PASSES):
            seed_globals(0, "probe", number)
            before = global_states()
            products.flow.begin(inputs)
            with products:
                outputs = copied(inputs).sum()
            with calls.backward(), _GroupNorms():  # type: ignore[no-untyped-call]  # in torch
                outputs.backward()
            gradients = {name for name, value in parameters.items() if value.grad is not None}
            is_whole = calls.reach_all() and gradients == parameters.keys()
            if is_whole or before == global_states():
                break
    queries = products.flow.queries
    weights = [names for names in products.mixtures if not names & queries]
    return Probe(
        memory_format=memory_format,
        called=frozenset(calls.called),
        factors=frozenset(products.factors),
        changed=frozenset((products.changed - queries).union(*weights)),
        gradients=frozenset(gradients),
        queries=frozenset(queries),
        reading=frozenset(calls.reading),
        again=frozenset(calls.again),
    )


class _Calls:
    """Collect the names of the modules whose forward runs, by hooks on all modules of a network.

    Attributes:
        called: The modules whose forward ended.
        reading: The modules whose arguments held images.
        again: The modules whose forward began in a backward pass.
    """

    def __init__(self, network: nn.Module, flow: Flow) -> None:
        self.called: set[str] = set()
        self.reading: set[str] = set()
        self.again: set[str] = set()
        self._expected = _callable(network)
        self._flow = flow
        self._is_backward = False
        for name, module in network.named_modules():
            module.register_forward_pre_hook(
                lambda _, *arguments, name=name: self._enter(name, arguments), with_kwargs=True
            )
            module.register_forward_hook(lambda *_, name=name: self.called.add(name))

    def reach_all(self) -> bool:
        """Return whether all modules with a forward were called."""
        return self.called >= self._expected

    @contextlib.contextmanager
    def backward(self) -> Iterator[None]:
        """Count the modules that are called inside this context as called again."""
        self._is_backward = True
        try:
            yield
        finally:
            self._is_backward = False

    def _enter(self, name: str, arguments: Any) -> None:
        if self._is_backward:
            self.again.add(name)
        elif self._flow.holds_images(arguments):
            self.reading.add(name)


def _evaluate(network: nn.Module, inputs: Tensor) -> None:
    """Run a copy in evaluation mode, which may take another layout than training does."""
    with restored_globals(), torch.no_grad():
        seed_globals(0, "probe")
        copy.deepcopy(network).eval()(inputs.clone())


def _callable(network: nn.Module) -> set[str]:
    """Return the names of the modules whose forward may run; parts of attention are not called."""
    modules = dict(network.named_modules())
    return {
        name
        for name, module in modules.items()
        if not isinstance(module, HOLDERS)
        and not isinstance(modules[name.rpartition(".")[0]], nn.MultiheadAttention)
    }


def _of_layers(network: nn.Module) -> set[str]:
    """Return the names of the parameters of modules that multiply by them."""
    layers = [name for name, module in network.named_modules() if isinstance(module, LAYERS)]
    names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
    return {name for name in names if name.rpartition(".")[0] in layers}


class _Products(TorchDispatchMode):
    """Collect the names of the parameters that are factors of a product; views count too.

    If several operands are parameters, as in the product of a class token and a projection, only
    parameters of layers count, if there are any.
    """

    def __init__(self, parameters: Mapping[str, Tensor], of_layers: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: dict[int, set[str]] = {}
        self.shapes = {
            name: parameter.shape
            for name, parameter in parameters.items()
            if parameter.requires_grad
        }
        self.changes: dict[int, set[str]] = {}  # names of a tensor's sources with its shape
        self.alone: dict[int, set[str]] = {}  # names of its sources, if all are parameters
        self.mixed: set[int] = set()  # the tensors in `alone` that hold a product of parameters
        for name, parameter in parameters.items():
            self.names.setdefault(place_of(parameter), set()).add(name)
        self.of_layers = of_layers
        self.flow = Flow(parameters.values())
        self.made: list[Tensor] = []  # kept, so that no other tensor takes their place in memory
        self.factors: set[str] = set()
        self.changed: set[str] = set()
        self.mixtures: list[set[str]] = []  # the parameters of each product that was a weight

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        operation = func.overloadpacket.__name__
        is_product = not operation.startswith(RESIZING) and any(
            word in operation for word in PRODUCTS
        )
        operands = tensors_in((args, kwargs))
        factors: list[tuple[Tensor, set[str]]] = []
        if is_product:
            multiplied = args[1:] if operation in SUMMED else args
            self._look(multiplied)
            self._look_at_kernel(operation, args)
            factors = [(value, self._queries_in(value)) for value in tensors_in(multiplied)]
        result = func(*args, **(kwargs or {}))
        self.flow.note(operation, factors, operands, result)
        self._note_mixture(is_product, operands, result)
        if names := self._held(operation, args, result):
            self.names[place_of(result)] = names
            self.made.append(result)
        elif not is_product and isinstance(result, Tensor) and result.dim() > 1:
            self._note_change(args, result)
        return result

    def _held(self, operation: str, args: tuple[Any, ...], result: Any) -> set[str]:
        """Return the names of the parameters whose matrices a copy or a selection holds."""
        if operation in COPIES:
            return self.names.get(place_of(args[0]), set())
        if operation in SELECTIONS and args[0].dim() > 2:
            is_whole = result.shape[-2:] == args[0].shape[-2:]
            return self.names.get(place_of(args[0]), set()) if is_whole else set()
        if operation in JOINS:
            parts = [self.names.get(place_of(part), set()) for part in args[0]]
            return set[str]().union(*parts) if all(parts) else set()
        return set()

    def _note_change(self, operands: Iterable[Any], result: Tensor) -> None:
        """Note that a tensor was made of the parameters of its shape among the operands."""
        if place_of(result) in self.names:  # a view
            return
        places = [place_of(value) for value in tensors_in(operands)]
        sources = set[str]().union(
            *(self.names.get(place, set()) | self.changes.get(place, set()) for place in places)
        )
        if alike := {name for name in sources if self.shapes.get(name) == result.shape}:
            self.changes[place_of(result)] = alike
            self.made.append(result)

    def _note_mixture(self, is_product: bool, operands: Sequence[Tensor], result: Any) -> None:
        """Note a tensor that was made of parameters only, and whether they were multiplied."""
        places = [place_of(value) for value in operands]
        sources = [self.names.get(place) or self.alone.get(place, set()) for place in places]
        if not isinstance(result, Tensor) or not sources or not all(sources):
            return
        place = place_of(result)
        if place in places or place in self.names:  # a view, or a copy
            return
        self.alone[place] = set[str]().union(*sources)
        if (is_product and len(sources) > 1) or self.mixed.intersection(places):
            self.mixed.add(place)
        self.made.append(result)

    def _look_at_kernel(self, operation: str, args: tuple[Any, ...]) -> None:
        number = KERNELS.get(operation)
        if number is None:
            return
        place, given = place_of(args[number]), place_of(args[number - 1])
        self.changed |= self.changes.get(place, set())
        if place in self.mixed and not (given in self.names or given in self.alone):
            self.mixtures.append(self.alone[place])

    def _queries_in(self, value: Tensor) -> set[str]:
        """Return the names of parameters of no layer that a factor is or was made of."""
        place = place_of(value)
        kinds = (self.names, self.changes, self.alone)
        return set[str]().union(*(kind.get(place, set()) for kind in kinds)) - self.of_layers

    def _look(self, operands: Iterable[Any]) -> None:
        named = [self.names.get(place_of(value), set()) for value in tensors_in(operands)]
        of_parameters = [names for names in named if names]
        if len(of_parameters) > 1:
            of_layers = [names for names in of_parameters if names & self.of_layers]
            of_parameters = of_layers or of_parameters
        self.factors.update(*of_parameters)


class _GroupNorms(TorchDispatchMode):
    """Raise RuntimeError where torch 2.13 would end the process.

    It crashes in the backward pass of a group norm whose channels_last inputs need no gradient.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.overloadpacket.__name__ == "native_group_norm_backward":
            inputs, (needs_gradient, *_) = args[1], args[-1]
            if not needs_gradient and not inputs.is_contiguous():
                raise RuntimeError("group norm in channels_last layout of inputs without gradient")
        return func(*args, **(kwargs or {}))
