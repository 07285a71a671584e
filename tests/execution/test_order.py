"""The order of runs: the longest first, by what is known of each kind."""

import itertools

import pytest

from pipeline.execution.order import longest_first, timed
from pipeline.records.store import Store
from pipeline.runtime.files import to_json


def job(name, epochs=1, train_size=10, rate=0.0):
    identity = {
        "data": {"train_size": train_size},
        "model": {"name": "mlp"},
        "training": {"epochs": epochs},
        "regularizers": [{"name": "dropout", "rate": rate}] * (rate > 0),
    }
    return {"id": name, "identity": identity}


def names(jobs):
    return "".join(job["id"] for job in jobs)


def test_without_any_knowledge_by_the_images_looked_at():
    jobs = [job("a"), job("b", epochs=3), job("c", train_size=20), job("d")]
    assert names(longest_first(jobs, {})) == "bcad"


def test_by_what_runs_of_the_same_kind_took(tmp_path):
    store = Store(tmp_path)
    for name, rate, seconds in (("old", 0.5, 3.0), ("older", 0.25, 1.0), ("resumed", 0.1, None)):
        files = {"run.json": to_json(job(name, rate=rate)["identity"]).encode()}
        store.write(name, files, {"state": "done", "reason": ""}, {"seconds": seconds})
    times = timed(store, ["old", "older", "resumed", "missing"])
    assert sorted(times.values()) == [0.1, 0.3]
    jobs = [job("a", rate=0.25), job("b", rate=0.9), job("c", rate=0.5)]
    assert names(longest_first(jobs, times)) == "cba"  # one of an unknown kind takes the median


@pytest.mark.parametrize("lengths", list(itertools.product((1, 2, 5), repeat=4)))
def test_two_workers_end_within_four_thirds_of_the_best_order(lengths):
    """Graham's bound, against every order there is."""
    jobs = [job(str(number), epochs=length) for number, length in enumerate(lengths)]
    ours = wall([job["identity"]["training"]["epochs"] for job in longest_first(jobs, {})])
    best = min(wall(order) for order in itertools.permutations(lengths))
    assert ours <= 7 / 6 * best


def wall(lengths, workers=2):
    """Return when the last of the workers ends, each taking the next job as it is free."""
    free = [0] * workers
    for length in lengths:
        free[free.index(min(free))] += length
    return max(free)
