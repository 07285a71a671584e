"""Which arms a value of params.yaml does not reach."""

from pipeline.planning.studies import read_experiment
from pipeline.planning.unreached import unreached_notes

STUDY = """question: Which?
arms:
  adam:
    - {protocol: {training.optimizer: adam, training.learning_rate: {log: [0.001, 0.1], points: 3}}}
  plain:
    - {protocol: {training.optimizer: {name: sgd, momentum: 0.0, nesterov: false}}}
  slow:
    - {protocol: {training.learning_rate: 0.001}}
  half:
    - {protocol: {training.learning_rate: x1/2}}
  dropout:
    - {name: dropout, rate: 0.3}
"""


def test_an_arm_with_a_value_of_its_own_is_named_with_the_key(project):
    (project / "experiments" / "which.yaml").write_text(STUDY)
    given = "training:\n  learning_rate: 0.03\n  epochs: 3\n"
    (project / "params.yaml").write_text(f"protocols: [tiny]\nstudies: [which]\n{given}")
    notes = unreached_notes(read_experiment("tiny"))
    assert [note.partition(", with")[0] for note in notes] == [
        "training.learning_rate of params.yaml does not reach which.adam, which.slow"
    ]
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [which]\n")
    assert unreached_notes(read_experiment("tiny")) == []
