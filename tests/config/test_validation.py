"""Lines of error: items of lists, values of a rule, and names of which there are many."""

from typing import Annotated, Any

import pytest
from pydantic import Field

from pipeline.config.claims import Claim
from pipeline.config.settings import Settings
from pipeline.config.validation import CLOSEST, LONGEST, MOST_NAMES, checked, invalid, unknown_name
from pipeline.runtime.errors import Refusal

CLAIM = {"id": "mine", "source": "A paper", "by": "paper", "says": "It helps.", "expect": "lower"}


class Numbers(Settings):
    """Lists in the forms that settings have."""

    plain: tuple[int, ...] | None = None
    bounded: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=2)] | None = None


def line_of(model: type[Settings], values: dict[str, Any]) -> str:
    with pytest.raises(Refusal) as refused:
        checked(model, values, "a.yaml")
    (line,) = refused.value.lines
    return line


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"plain": [1, "x"]}, 'a.yaml: plain.1: invalid value "x"; expected an integer'),
        ({"bounded": [1, -1]}, "a.yaml: bounded.1: invalid value -1; expected an integer >= 0"),
        (
            {"bounded": [1, 2, 3]},
            "a.yaml: bounded: invalid value [1, 2, 3]; expected a list of length <= 2",
        ),
    ],
)
def test_an_item_of_a_list_is_named_with_its_bounds(values, line):
    assert line_of(Numbers, values) == line


def test_too_many_passes_are_named_with_their_bounds():
    line = line_of(Claim, CLAIM | {"contrast": {"arm": "dropout", "passes": [1, 50]}})
    assert line.endswith("contrast.passes.1: invalid value 50; expected an integer >= 0 and <= 20")


def test_a_mistake_between_keys_names_one_of_them_and_its_value():
    line = line_of(Claim, CLAIM | {"contrast": {"arm": "dropout"}, "rule": "equivalence"})
    assert line.startswith('a.yaml: expect: invalid value "lower" with rule equivalence;')


@pytest.mark.parametrize("value", [{"x": 1}, [0] * LONGEST, "x" * 2 * LONGEST])
def test_other_values_are_shown_as_far_as_a_line_has_room(value):
    line = invalid("a", value, "b")
    assert line.startswith("a: invalid value ")
    assert len(line) <= len("a: invalid value ; expected b") + LONGEST


@pytest.mark.parametrize("count", [3, MOST_NAMES, MOST_NAMES + 1, 200])
def test_of_many_names_the_closest_are_listed(count):
    names = [f"name_{number}" for number in range(count)]
    line = unknown_name("a", "name_1x", names)
    listed = line.partition(": name_")[2].partition(";")[0].split(", ")
    assert len(listed) == (count if count <= MOST_NAMES else CLOSEST)
    assert "name_1" in line.replace(",", " ").split()
