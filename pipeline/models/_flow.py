"""Follow the images, and the scores of learned queries, through the operations of a pass."""

from collections.abc import Iterable, Sequence, Set
from typing import Any

import torch
from torch import Tensor

IMAGES, UNITS, WEIGHTS = "images", "units", "weights"
DATA = {IMAGES, UNITS}
JOINS = ("cat", "stack")
SAMPLER = "grid_sampler"  # samples its first operand, at places from the second
# of scores: they stay scores; views share their memory
SCALINGS = {
    *("mul", "div", "add", "sub", "masked_fill", "where", "native_dropout"),
    *("clone", "to_copy", "unsafe_view"),
}
NOTHING: frozenset[str] = frozenset()


class Flow:
    """The kinds of values in the tensors of a pass, by their places in memory.

    A tensor holds images until parameters multiply them in a product, units from then on, and both
    if they are joined.

    Attributes:
        queries: Names of the parameters whose products with data become, by a softmax, the weights
            of a sum; by a sigmoid too if a product of data takes that sum.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.queries: set[str] = set()
        self._marks = {place_of(parameter): frozenset({WEIGHTS}) for parameter in parameters}
        self._scores: dict[int, frozenset[str]] = {}  # names of queries
        self._softmaxes: dict[int, frozenset[str]] = {}
        self._gates: dict[int, frozenset[str]] = {}

    def begin(self, images: Tensor) -> None:
        """Note the images that the pass reads."""
        self._marks[place_of(images)] = frozenset({IMAGES})

    def holds_images(self, values: Any) -> bool:
        """Return whether a tensor among these holds images."""
        return any(IMAGES in self._of(self._marks, value) for value in tensors_in(values))

    def note(
        self,
        operation: str,
        factors: Sequence[tuple[Tensor, Set[str]]],
        operands: Sequence[Tensor],
        result: Any,
    ) -> None:
        """Note the kinds of values in the result of an operation.

        Args:
            operation: Its name.
            factors: Those of a product, each with the names of queries it may be; [] if it is none.
            operands: All its tensors.
            result: What it returned.
        """
        self._note_sums(operation, factors, operands)
        marks = self._marks_of_result(operation, bool(factors), operands)
        scores, softmaxes, gates = self._queries_of_result(operation, factors, operands)
        for value in _results(operation, operands, result):
            place = place_of(value)
            is_number = value.is_floating_point() or value.is_complex()
            self._marks[place] = marks if is_number else NOTHING
            self._scores[place] = scores
            self._softmaxes[place] = softmaxes
            self._gates[place] = gates

    def _queries_of_result(
        self, operation: str, factors: Sequence[tuple[Tensor, Set[str]]], operands: Sequence[Tensor]
    ) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """Return the queries whose scores, softmaxes of scores and gates the result holds."""
        if factors:
            return self._scores_of(factors), NOTHING, NOTHING
        scores = self._of_any(self._scores, operands)
        name = operation.strip("_")
        if name in ("softmax", "safe_softmax"):
            return NOTHING, scores, NOTHING
        if name == "sigmoid":
            return NOTHING, NOTHING, scores
        if name in SCALINGS:
            return (
                scores,
                self._of_any(self._softmaxes, operands),
                self._of_any(self._gates, operands),
            )
        return NOTHING, NOTHING, NOTHING

    def _of_any(self, kind: dict[int, frozenset[str]], values: Sequence[Tensor]) -> frozenset[str]:
        return frozenset[str]().union(*(self._of(kind, value) for value in values))

    def _of(self, kind: dict[int, frozenset[str]], value: Tensor) -> frozenset[str]:
        return kind.get(place_of(value), NOTHING)

    def _marks_of_result(
        self, operation: str, is_product: bool, operands: Sequence[Tensor]
    ) -> frozenset[str]:
        each = [self._of(self._marks, value) for value in operands]
        together = self._of_any(self._marks, operands)
        if is_product and WEIGHTS in together:
            return frozenset({UNITS})
        if operation in JOINS:
            return together
        if operation.startswith(SAMPLER):
            return each[0]
        if any(UNITS in marks and IMAGES not in marks for marks in each):
            return frozenset({UNITS})
        return together

    def _scores_of(self, factors: Sequence[tuple[Tensor, Set[str]]]) -> frozenset[str]:
        """Return the names of the queries in a product with data."""
        if not any(self._of(self._marks, value) & DATA for value, _ in factors):
            return NOTHING
        return frozenset[str]().union(*(names for _, names in factors))

    def _note_sums(
        self, operation: str, factors: Sequence[tuple[Tensor, Set[str]]], operands: Sequence[Tensor]
    ) -> None:
        """Note the queries whose scores weight the other operands of a product."""
        if not factors and operation.strip("_") != "mul":
            return
        for value in operands:
            others = [other for other in operands if other is not value]
            marks = self._of_any(self._marks, others)
            if marks & DATA or (factors and marks):
                self.queries |= self._of(self._softmaxes, value)
            if marks & DATA and factors:
                self.queries |= self._of(self._gates, value)


def _results(operation: str, operands: Sequence[Tensor], result: Any) -> list[Tensor]:
    """Return the tensors that an operation made or changed; views of its operands are neither."""
    results = [value for value in tensors_in(result) if place_of(value)]
    if operation.endswith("_"):
        return results
    places = {place_of(value) for value in operands}
    return [value for value in results if place_of(value) not in places]


def place_of(tensor: Tensor) -> int:
    """Return where a tensor lies in memory, which its views share."""
    return tensor.untyped_storage().data_ptr()


def tensors_in(values: Any) -> list[Tensor]:
    """Return the tensors in nested sequences and dicts."""
    leaves = torch.utils._pytree.tree_leaves(values)
    return [value for value in leaves if isinstance(value, Tensor)]
