"""One run on other hardware: another device, lower precision, several devices.

`meta` stands in for a device that is not here: a tensor on it has a place and a shape and no
values; what mixes it with one on the processor fails, as with a GPU.
"""

import contextlib
import shutil
import subprocess

import pytest
import torch
from declarations import cases, item
from stages import run_stages
from tiny import trained
from torch.overrides import TorchFunctionMode

from pipeline import train as train_stage
from pipeline.config.run import Hardware, read_config
from pipeline.data.arrays import Arrays
from pipeline.data.prepared import read_development, read_summary, write_prepared
from pipeline.execution.devices import SYNCHRONIZED, train_on_devices
from pipeline.execution.jobs import run_guarded
from pipeline.execution.stage import ARTIFACTS
from pipeline.prediction.network import assemble
from pipeline.records.runs import read_history, read_record
from pipeline.regularizers import build
from pipeline.regularizers._noise import mode
from pipeline.regularizers._regularizer import batch_generator
from pipeline.runtime.errors import Refusal
from pipeline.training.trainer import PROCESSOR, train

ELSEWHERE = torch.device("meta")
TWO_DEVICES = """
protocols: [tiny]
studies: [others]
execution: {workers: 2, accelerator: cpu, devices: 2, strategy: ddp}
"""


class Values(TorchFunctionMode):
    """Gives a value where one is asked of a tensor that has none, as the audit does."""

    ASKED = (torch.equal, torch.Tensor.equal, torch.Tensor.__float__)

    def __torch_function__(self, function, types, arguments=(), named=None):
        if function in self.ASKED and arguments[0].device == ELSEWHERE:
            return 0.0
        return function(*arguments, **(named or {}))


def runs_on_meta(name, settings):
    """Return whether it runs on `meta`: torch.cov asks for values, which a tensor there has not."""
    return "pca_jitter" not in settings


@pytest.mark.parametrize(("name", "settings"), cases(runs_on_meta))
def test_no_regularizer_mixes_devices(configure, pool, name, settings, monkeypatch):
    """A step, forward and backward, with everything on another device that a trainer puts there."""
    monkeypatch.setattr(
        torch, "autocast", lambda *device, enabled: contextlib.nullcontext()
    )  # which knows no meta
    (chosen,) = build([item(name, settings)])
    network = assemble(configure(), [chosen], pool.shape, pool.classes).to(ELSEWHERE)
    images, targets = (
        torch.rand(10, *pool.shape, device=ELSEWHERE),
        torch.rand(10, 10, device=ELSEWHERE),
    )
    with Values(), mode(network, training=True, sampling=True):
        images, targets = chosen.modify_batch(images, targets, batch_generator(name, 0))
        torch.nn.functional.cross_entropy(network(images), targets).backward()
    assert {
        parameter.grad.device for parameter in network.parameters() if parameter.grad is not None
    } == {ELSEWHERE}


def test_a_device_that_is_mixed_up_is_seen(pool, configure):
    """The planted fault: a mask left where it was drawn."""
    network = assemble(configure(), [], pool.shape, pool.classes).to(ELSEWHERE)
    network.register_forward_hook(lambda module, inputs, output: output * torch.rand(10, 10))
    with pytest.raises(RuntimeError, match="device"):
        network(torch.rand(10, *pool.shape, device=ELSEWHERE))


@pytest.mark.parametrize(("name", "settings"), cases())
def test_every_regularizer_trains_in_mixed_precision(configure, pool, name, settings):
    trained = train(configure(item(name, settings), precision="bf16-mixed"), pool)
    assert not trained.diverged
    assert {tensor.dtype for tensor in trained.weights.values()} == {torch.float32, torch.int64}


def test_precision_is_part_of_a_run_and_changes_it(configure, pool):
    plain, mixed = (
        train(configure(precision=precision), pool) for precision in ("32-true", "bf16-mixed")
    )
    assert plain.history != mixed.history
    assert plain.history[-1]["loss"] == pytest.approx(mixed.history[-1]["loss"], rel=0.05)


def job(pool: Arrays, configure, project, **hardware):
    """Return a run on these devices, as the scheduler gives it to an executor."""
    folder = project / ARTIFACTS / "tiny" / "data"
    write_prepared(folder, "digits", pool, pool, False)
    identity = configure({"name": "dropout"}).model_dump(mode="json") | {
        "data_digest": read_summary(folder)["digest"]
    }
    places = {"data": str(folder), "store": str(project / ".runs")}
    return {
        "id": "run",
        "identity": identity,
        **places,
        "hardware": Hardware(**hardware).model_dump(),
    }


def test_a_strategy_that_does_not_exist_fails_with_its_reason(configure, pool, project):
    given = job(pool, configure, project, accelerator="cpu", strategy="no_such")
    outcome = run_guarded(train_on_devices, given)
    assert outcome["state"] == "failed"
    assert "no_such" in outcome["reason"]


@pytest.mark.long
def test_a_stage_trains_a_run_on_two_devices(finished, project, capfd):
    """As set in `params.yaml`, with the processes that Lightning starts by running a program.

    Each device takes half of every batch; both have as many updates and images as one. Runs that
    one device has finished are kept.
    """
    for name in (".runs", "artifacts/tiny/data"):
        shutil.copytree(finished / name, project / name)
    before = trained(project)
    (project / "params.yaml").write_text(TWO_DEVICES)
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("exploration: 2", "exploration: 1"))
    study = "question: One?\narms: {one: [{name: dropout, rate: [0.1, 0.25]}]}\n"
    (project / "experiments" / "others.yaml").write_text(study)
    run_stages(train_stage)
    assert "Traceback" not in capfd.readouterr().err
    (run,) = (project / ".runs" / name for name in trained(project).keys() - before.keys())
    record = read_record(run)
    assert record["state"] == "done"
    assert record["machine"]["device"] == "2 x cpu, DDPStrategy"
    images = read_development(project / ARTIFACTS / "tiny" / "data")
    alone = train(read_config(run / "run.json"), images, None, PROCESSOR)
    together = read_history(run)
    assert record["cost"] == alone.cost
    assert [row["epoch"] for row in together] == [row["epoch"] for row in alone.history]
    assert together[-1]["loss"] == pytest.approx(alone.history[-1]["loss"], rel=0.2)
    assert together != alone.history


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.torture)])
def test_a_damaged_data_file_raises_on_any_number_of_devices(configure, pool, project, devices):
    given = job(
        pool,
        configure,
        project,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
    )
    images = project / ARTIFACTS / "tiny" / "data" / "development_images.npy"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(Refusal, match="development_images.npy: missing or corrupted"):
        train_on_devices(given)


def test_data_prepared_anew_meanwhile_are_never_trained_on_under_the_old_name(
    configure, pool, project
):
    given = job(pool, configure, project, accelerator="cpu")
    write_prepared(
        project / ARTIFACTS / "tiny" / "data", "digits", pool.take(range(100)), pool, False
    )
    with pytest.raises(Refusal, match="changed after these runs were planned; run: gapwise run"):
        train_on_devices(given)


def test_a_precision_that_the_hardware_lacks_raises(configure, pool, project):
    given = job(pool, configure, project, accelerator="cpu")
    given["identity"]["training"]["precision"] = "16-mixed"
    with pytest.raises(
        Refusal,
        match="^params.yaml or the protocol: training.precision: .* expected 32-true or bf16-mixed",
    ):
        train_on_devices(given)


@pytest.mark.parametrize("error", SYNCHRONIZED)
def test_synchronized_batch_norm_between_processes_on_a_processor_is_one_line(
    configure, pool, project, monkeypatch, error
):
    ended = subprocess.CompletedProcess([], 1, stdout="", stderr=f"Traceback\n{error}\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    given = job(pool, configure, project, accelerator="cpu", devices=2, strategy="ddp")
    with pytest.raises(
        Refusal, match=r"model.import: has nn.SyncBatchNorm.*devices: 1$"
    ) as refused:
        train_on_devices(given)
    assert len(refused.value.lines) == 1
