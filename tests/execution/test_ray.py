"""Jobs on the nodes of a Ray cluster, all on one machine: every job ends once, whatever dies."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import node_jobs
import pytest
from tiny import trained
from waiting import PATIENCE, wait_until

from pipeline import choose, compare, confirm, evaluate, predict, prepare, train
from pipeline.config.parameters import Execution
from pipeline.execution import node_check
from pipeline.execution.cluster import ENVIRONMENT
from pipeline.execution.node_check import facts, hidden, problem
from pipeline.execution.ray import _collect, run_jobs
from pipeline.runtime.errors import Refusal

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
SOON_ENOUGH = 120  # seconds for an answer, on a machine with much other work
# a dead node is noticed in about a second instead of fifteen
SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_failure_threshold": 3,
}
DRIVER = """
import sys
from pathlib import Path
import node_jobs
from pipeline.config.parameters import Execution
from pipeline.execution.ray import run_jobs
from pipeline.execution.stage import report_errors

folder, address, *jobs = sys.argv[1:]
jobs = [{"id": str(number), "do": do, "log": f"{folder}/log"} for number, do in enumerate(jobs)]

def carry():
    settings = Execution(executor="cluster", address=address)
    for job, outcome in run_jobs(jobs, node_jobs.work, settings, [Path(folder)]):
        print(job["id"], outcome["state"], outcome["reason"], flush=True)

sys.exit(report_errors(carry))
"""


def small(name):
    return {"num_cpus": 1, "object_store_memory": 80 << 20, "env_vars": {"NODE": name}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Return a head and one more node, a processor each, that ask for a token."""
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text("0123456789abcdef" * 4)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, "RAY_AUTH_TOKEN_PATH": str(token)}.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}")
        for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN"):
            patch.delenv(name, raising=False)
        pytest.importorskip(
            "ray"
        )  # not earlier: it takes its settings from the environment when it is imported
        from ray.cluster_utils import Cluster

        with tempfile.TemporaryDirectory(
            prefix="ray", ignore_cleanup_errors=True
        ) as folder:  # its sockets need a short path
            patch.setenv(
                "RAY_TMPDIR", folder
            )  # for all that Ray writes, the address of its last cluster too
            Path(folder, "ray").mkdir()
            head = {**small("head"), "include_dashboard": False, "_system_config": SOON}
            started = Cluster(initialize_head=True, head_node_args=head)
            try:
                started.add_node(**small("other"))
                yield started
            finally:
                started.shutdown()


@pytest.fixture
def carry(cluster, tmp_path):
    """Return a function that carries jobs over the cluster and yields (id, outcome) as each ends.

    It is called as in `carry("run", {"do": "sleep", "seconds": 1})`.
    """

    def carried(*wanted, **settings):
        chosen = Execution(executor="cluster", address=cluster.address, **settings)
        jobs = [
            {"id": str(number), "log": str(tmp_path / "log"), **job}
            for number, job in enumerate(map(asked, wanted))
        ]
        return (
            (job["id"], outcome)
            for job, outcome in run_jobs(jobs, node_jobs.work, chosen, [tmp_path / "store"])
        )

    return carried


def asked(job):
    return {"do": job} if isinstance(job, str) else job


def begun(folder):
    """Return (id, process, node) of every try so far."""
    return (
        [tuple(line.split()) for line in (folder / "log").read_text().splitlines()]
        if (folder / "log").exists()
        else []
    )


def working():
    """Return the processes of this cluster that perform a job, by the place of its token."""
    mark = f"RAY_AUTH_TOKEN_PATH={os.environ['RAY_AUTH_TOKEN_PATH']}".encode()
    processes = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (
                b"ray::_work" in (place / "cmdline").read_bytes()
                and mark in (place / "environ").read_bytes()
            ):
                processes.append(int(place.name))
        except OSError:
            continue
    return processes


def alive(process):
    return Path(f"/proc/{process}").exists()


def driven(folder, address, *jobs, **environment):
    """Return the exit code, output, errors and seconds of a separate driver."""
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder), address, *jobs],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr, time.monotonic() - began


def test_every_job_ends_once_on_all_nodes(carry, tmp_path):
    results = list(carry(*[{"do": "sleep", "seconds": 0.1}] * 4, *["hash"] * 4))
    assert sorted(name for name, _ in results) == [str(number) for number in range(8)]
    assert {outcome["state"] for _, outcome in results} == {"done"}
    # in every process and on every node: the order of a set of names follows from it
    assert len({outcome["reason"] for name, outcome in results if int(name) > 3}) == 1
    assert len(begun(tmp_path)) == 8
    assert len({node for _, _, node in begun(tmp_path)}) == 2
    assert list((tmp_path / "store").iterdir()) == []  # the question has gone


def test_bad_jobs_fail_with_their_reasons_and_the_others_finish(carry, tmp_path):
    results = dict(carry("raise", "exit", "kill", "orphan", *["run"] * 4))
    assert [results[str(number)]["state"] for number in range(8)] == ["failed"] * 4 + ["done"] * 4
    assert "ValueError: no good" in results["0"]["reason"]
    assert results["1"]["reason"] == "its worker exited with code 7"
    assert results["2"]["reason"] == "its worker was ended by SIGKILL, often because memory ran out"
    assert "was lost" in results["3"]["reason"]
    tries = {
        name: [node for other, _, node in begun(tmp_path) if other == name] for name in results
    }
    assert [len(tries[str(number)]) for number in range(8)] == [1, 2, 2, 2, 1, 1, 1, 1]
    wait_until(
        lambda: not any(alive(process) for _, process, _ in begun(tmp_path))
    )  # nor does a process outlive its task


@pytest.mark.parametrize(
    ("job", "limit", "reason"),
    [
        (
            {"do": "sleep", "seconds": 30},
            {"time_limit": 1.0},
            "took longer than the time limit of 1 s (execution.time_limit)",
        ),
        pytest.param(
            {"do": "grow"},
            {"memory_limit": 600},
            "held more than 600 MB (execution.memory_limit)",
            marks=pytest.mark.torture,
        ),
    ],
)
def test_a_job_past_a_limit_fails_and_the_others_finish(carry, tmp_path, job, limit, reason):
    results = dict(carry(job, "run", "run", **limit))
    assert results["0"] == {"state": "failed", "reason": reason}
    assert results["1"]["state"] == results["2"]["state"] == "done"
    assert [name for name, _, _ in begun(tmp_path)].count("0") == 2


def test_gpus_raise(carry):
    with pytest.raises(
        Refusal,
        match=r'^params.yaml: execution.accelerator: invalid value "gpu"; expected cpu or auto',
    ):
        list(carry("run", accelerator="gpu"))


@pytest.mark.torture
def test_no_more_tasks_than_asked_for(carry, tmp_path):
    results = carry(*[{"do": "sleep", "seconds": 0.5}] * 3, workers=1)
    next(results)
    assert len(begun(tmp_path)) == 1
    results.close()


def test_nothing_outlives_the_grid(carry, tmp_path):
    results = carry("run", {"do": "sleep", "seconds": 60})
    next(results)
    wait_until(lambda: len(begun(tmp_path)) == 2)
    results.close()
    wait_until(lambda: not any(alive(process) for _, process, _ in begun(tmp_path)))


@pytest.mark.torture
def test_a_driver_asked_to_end_says_so_and_takes_its_jobs_along(cluster, project):
    """Exit code 143, as everywhere: Ray would have another one."""
    (project / "params.yaml").write_text(
        "protocols: [tiny]\nstudies: [dropout]\ntraining: {epochs: 1000}\n"
        f"execution: {{executor: cluster, address: '{cluster.address}'}}\n"
    )
    run(prepare)
    driver = subprocess.Popen(
        [sys.executable, "-m", "pipeline.train", "tiny"], stdout=subprocess.DEVNULL
    )
    wait_until(working)
    driver.terminate()
    assert driver.wait(PATIENCE) == 143
    wait_until(lambda: not working())


def test_a_node_lost_in_the_midst_changes_nothing(cluster, carry, tmp_path):
    lost = cluster.add_node(**small("lost"))
    results = carry(*[{"do": "sleep", "seconds": 0.4}] * 12)
    ended = [next(results)]
    wait_until(lambda: any(node == "lost" for _, _, node in begun(tmp_path)))
    cluster.remove_node(lost, allow_graceful=False)
    ended += results
    assert sorted(int(name) for name, _ in ended) == list(range(12))
    assert {outcome["state"] for _, outcome in ended} == {"done"}


@pytest.mark.parametrize(("error", "starts_again"), [("left", True), ("lost", False)])
def test_a_job_whose_nodes_have_all_left_starts_again(error, starts_again):
    """Ray's own retry keeps to the nodes that were named when the task was submitted."""
    lost = type("RayError", (Exception,), {})
    left = type("TaskUnschedulableError", (lost,), {})

    def answer(task):
        raise left if error == "left" else lost

    errors = SimpleNamespace(RayError=lost, TaskUnschedulableError=left)
    ray, nodes = SimpleNamespace(exceptions=errors), SimpleNamespace(answer=answer)
    problems, outcome = _collect(ray, nodes, None)
    assert problems == []
    assert (outcome is None) == starts_again
    assert starts_again or outcome["state"] == "failed"


@pytest.mark.torture
def test_a_node_that_joins_is_used_and_a_broken_one_gets_no_more_jobs(
    cluster, carry, tmp_path, capsys
):
    """The jobs that could not begin on it get a second try on a healthy node."""
    broken = {
        **small("broken"),
        "env_vars": {"NODE": "broken", "PYTHONPATH": f"{broken_module(tmp_path)}:{ROOT}"},
    }
    results = carry(*[{"do": "sleep", "seconds": 0.5}] * 16)
    ended = [next(results)]
    joined = [cluster.add_node(**broken), cluster.add_node(**small("joined"))]
    try:
        ended += results
    finally:
        for node in joined:
            cluster.remove_node(node)
    assert sorted(int(name) for name, _ in ended) == list(range(16))
    assert {outcome["state"] for _, outcome in ended} == {"done"}
    assert {node for _, _, node in begun(tmp_path)} == {"head", "other", "joined"}
    [line] = capsys.readouterr().err.splitlines()
    assert "cannot work (ImportError: no library)" in line
    assert line.endswith("it gets no jobs")


def broken_module(folder):
    """Return a folder in which the module of the jobs cannot be imported."""
    place = folder / "broken"
    place.mkdir()
    (place / "node_jobs.py").write_text("raise ImportError('no library')\n")
    return place


@pytest.mark.torture
def test_a_node_with_a_store_of_its_own_raises_one_line(cluster, carry, tmp_path):
    """A real node whose mount of the store is not ours."""
    (tmp_path / "store").mkdir()
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mount namespaces are not allowed here")
    ray = f"{sys.executable} -m ray.scripts.scripts"
    start = f"{ray} start --address={cluster.address} --num-cpus=1 --block"
    hidden = (
        f"mount -t tmpfs none {tmp_path / 'store'} && exec {start} --object-store-memory={80 << 20}"
    )
    log = tmp_path / "said"
    with log.open("w") as file:
        other = subprocess.Popen([*apart, "sh", "-c", hidden], stdout=file, stderr=file)
    try:
        wait_until(lambda: "Ray runtime started" in log.read_text())
        with pytest.raises(
            Refusal,
            match=r"^params.yaml: execution.executor: node \S+ does not see \S+/store; "
            r"expected one file system",
        ) as refused:
            list(carry("run"))
        assert len(refused.value.lines) == 1
        assert begun(tmp_path) == []
    finally:
        other.terminate()
        other.wait(PATIENCE)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RAY_AUTH_TOKEN": "another"}, "rejects the token"),
        ({"RAY_AUTH_TOKEN_PATH": "", "HOME": "/nowhere"}, "no token for the cluster here"),
    ],
)
def test_no_token_and_a_wrong_one_are_one_line_each(cluster, tmp_path, environment, words):
    code, output, errors, seconds = driven(tmp_path, cluster.address, "run", **environment)
    assert (code, output, len(errors.splitlines())) == (2, "", 1)
    assert words in errors
    assert "RAY_AUTH_TOKEN_PATH: another file" in errors
    assert "another" not in errors.replace(": another file", "")
    assert seconds < SOON_ENOUGH


def test_no_cluster_is_one_line(cluster, tmp_path):
    code, output, errors, seconds = driven(tmp_path, "127.0.0.1:1", "run")
    assert (code, output) == (2, "")
    assert re.fullmatch(
        r'error: params.yaml: execution.address: invalid value ".*"; '
        r"expected a running cluster .* \(nothing answers at \S+:1: .*\); run: ray start\n",
        errors,
    )
    assert seconds < SOON_ENOUGH


def test_a_node_that_requires_no_token_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    expected = "requires no token; expected RAY_AUTH_MODE=token where `ray start` is called"
    assert problem(facts(), [], "", "node") == expected


@pytest.mark.parametrize("fact", ["Python", "torch", "processor", "code of pipeline"])
def test_a_node_that_differs_is_named_with_the_difference(fact):
    line = problem(facts() | {fact: "other"}, [], "", "node")
    assert line == f"has {fact} {facts()[fact]}, this machine other; expected the same everywhere"


def test_a_node_must_see_every_folder_and_be_seen_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(node_check, "SHARE_SECONDS", 0.2)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    assert problem(facts(), [str(theirs)], "probe", "node").startswith(f"does not see {theirs};")
    for folder in (ours, theirs):
        (folder / "probe").mkdir(parents=True)
    assert problem(facts(), [str(theirs)], "probe", "node") == ""
    assert hidden([theirs], "probe", "node") == ""
    assert hidden([ours], "probe", "node").startswith(f"has another folder at the place of {ours};")
    (theirs / "probe" / "full").mkdir()
    line = problem(facts(), [str(theirs)], "probe", "full")
    assert line.startswith(f"cannot write to {theirs};")


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        Refusal,
        match=r"^params.yaml: execution.executor: Ray is not installed; "
        r"run: pip install '\.\[ray\]'$",
    ):
        list(run_jobs([{"id": "a"}], node_jobs.work, Execution(executor="cluster"), []))


@pytest.mark.torture
def test_a_killed_driver_and_a_lost_node_leave_the_same_tables(
    cluster, write_project, tmp_path, monkeypatch
):
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    write_project(alone)
    enter(monkeypatch, alone, "processes", cluster)
    run(prepare, train, choose)
    shutil.copytree(alone, spread)
    run(confirm, predict, evaluate, compare)
    enter(monkeypatch, spread, "cluster", cluster)
    before = set(trained(spread))
    driver = subprocess.Popen(
        [sys.executable, "-m", "pipeline.confirm", "tiny"], stdout=subprocess.DEVNULL
    )
    wait_until(lambda: set(trained(spread)) > before)
    driver.kill()
    driver.wait()
    wait_until(lambda: not working())
    kept = trained(spread)
    assert len(kept) < len(before) + 6
    enter(monkeypatch, spread, "processes", cluster)
    run(confirm)
    assert kept.items() < trained(spread).items()  # what was finished was not trained again
    enter(monkeypatch, spread, "cluster", cluster)
    lost = cluster.add_node(**small("lost"))
    remover = threading.Thread(target=remove_once, args=(cluster, lost, lambda: predicted(spread)))
    remover.start()
    run(predict)
    remover.join()
    run(evaluate, compare)
    assert tables(spread) == tables(alone)


def run(*stages):
    for stage in stages:
        stage.main("tiny")


def enter(monkeypatch, project, executor, cluster):
    monkeypatch.chdir(project)
    monkeypatch.setenv("GAPWISE_STORE", str(project / ".runs"))
    execution = f"execution: {{executor: {executor}, address: '{cluster.address}'}}"
    (project / "params.yaml").write_text(f"protocols: [tiny]\nstudies: [dropout]\n{execution}\n")


def remove_once(cluster, node, check):
    wait_until(check)
    cluster.remove_node(node, allow_graceful=False)


def predicted(project):
    """Return whether `predict` has written something."""
    return any((project / "artifacts" / "tiny").glob("*predictions*/*"))


def tables(project):
    return {
        name: (project / "artifacts" / "tiny" / name).read_bytes()
        for name in ("scores.csv", "contrasts.csv")
    }
