"""`resolve`: the next declared look of inconclusive arms, and no other."""

import pytest
from report_data import planned

from pipeline.config.parameters import read_parameters
from pipeline.config.plan import PlannedLooks, Stop
from pipeline.execution.asked_looks import ask_for_looks
from pipeline.records.store import Store
from pipeline.runtime.errors import Refusal
from pipeline.terminal.resolve import further_looks, next_looks

HAD = {"good": 1, "unclear": 1, "alike": 2, "last": 3}
VERDICTS = {
    "good": "helps",
    "unclear": "inconclusive",
    "alike": "inconclusive",
    "last": "inconclusive",
}
ROWS = [{"study": "one", "arm": arm, "verdict": verdict} for arm, verdict in VERDICTS.items()]
LOOKS = PlannedLooks(
    seeds=(6, 12, 24),
    weights=(0.2, 0.3, 0.5),
    stops=tuple(
        Stop(study="one", arm=arm, look=look, reason="futile") for arm, look in HAD.items()
    ),
)


def test_inconclusive_arms_get_their_next_look():
    looks = further_looks(LOOKS, ROWS, [], "tiny")
    assert looks == {("one", "unclear"): 12, ("one", "alike"): 24}
    assert further_looks(LOOKS, ROWS, ["alike"], "tiny") == {("one", "alike"): 24}


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["good"], "resolve: good: the verdict is helps; expected an inconclusive arm"),
        (["last"], "resolve: last: has had the last look, of 24 seeds; expected a declared one"),
        (["unclaer"], "resolve: arm: unknown name 'unclaer'; expected one of"),
        (["unclear", "good"], "resolve: good: the verdict is helps"),
    ],
)
def test_other_arms_are_one_line(names, line):
    with pytest.raises(Refusal) as refused:
        further_looks(LOOKS, ROWS, names, "tiny")
    (message,) = refused.value.lines
    assert message.startswith(line)


def test_nothing_is_left_once_all_have_had_the_last_look():
    with pytest.raises(Refusal, match="tiny: no inconclusive arm has a look left"):
        further_looks(LOOKS, [ROWS[0], ROWS[3]], [], "tiny")


def test_an_arm_that_waits_is_no_finished_report():
    waiting = LOOKS.model_copy(update={"stops": LOOKS.stops[1:]})
    with pytest.raises(Refusal, match="tiny: arms wait for a look; run: gapwise run"):
        further_looks(waiting, ROWS, [], "tiny")


def test_looks_that_were_not_declared_are_one_line(project):
    folder = project / "artifacts" / "tiny"
    plan = planned("confirmation", {"one": {"unclear": "deterministic"}})
    Store(project / ".runs").assemble(plan, folder / "confirmation")
    (folder / "contrasts.csv").write_text("study,arm,metric,verdict,planned,repeats\n")
    with pytest.raises(Refusal) as refused:
        next_looks("tiny", [])
    (line,) = refused.value.lines
    start = "resolve: tiny: seeds.confirmation declares no looks; expected looks such as"
    assert line.startswith(start)


def test_what_is_asked_for_is_added_to_params_yaml_and_nothing_else_changes(project):
    path = project / "params.yaml"
    text = f"# mine\n{path.read_text()}resolve: null  # looks\n"
    path.write_text(text)
    ask_for_looks({"tiny": {("others", "shift"): 6}})
    ask_for_looks({"tiny": {("others", "shift"): 12, ("dropout", "dropout"): 6}})
    parameters = read_parameters()
    assert parameters.resolve == {"tiny": {"others": {"shift": 12}, "dropout": {"dropout": 6}}}
    kept = path.read_text().splitlines()
    assert kept[: len(text.splitlines()) - 1] == text.splitlines()[:-1]
