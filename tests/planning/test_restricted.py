"""Studies that are made for other protocols: which `all` leaves out, and what is said of them."""

import pytest

from pipeline.config.parameters import read_parameters
from pipeline.planning.protocols import read_protocol
from pipeline.planning.restricted import NAMED, left_out_by_all, restriction_note


@pytest.mark.parametrize(
    ("protocols", "studies", "expected"),
    [
        ("[elsewhere]", "all", ["others"]),
        ("[elsewhere, tiny]", "all", []),
        ("[elsewhere]", "[dropout]", []),
        ("[elsewhere]", "null", []),
    ],
)
def test_only_all_leaves_studies_of_other_protocols_out(project, protocols, studies, expected):
    path = project / "experiments" / "others.yaml"
    path.write_text(f"protocols: {protocols}\n{path.read_text()}")
    (project / "params.yaml").write_text(f"protocols: [tiny]\nstudies: {studies}\n")
    protocol, _ = read_protocol("tiny")
    assert left_out_by_all(protocol, read_parameters()) == expected


@pytest.mark.parametrize("count", [0, 1, NAMED, NAMED + 2])
def test_one_line_names_the_first_and_the_file_to_change(count):
    names = [f"study{number}" for number in range(count)]
    note = restriction_note("mine", names)
    assert sum(f" {name}" in note for name in names) == min(count, NAMED)
    assert ("2 more" in note) == (count == NAMED + 2)
    assert ("add mine to" in note) == ("experiments/study0.yaml" in note) == (count > 0)
