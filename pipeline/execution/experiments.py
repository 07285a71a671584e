"""Run only some studies, and return to the committed results; code and settings stay.

Studies run as an experiment of DVC in a temporary copy of the project. Their report is written
beside the protocol's report, which is unchanged, as are the artifacts and `dvc.lock`.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.parameters import EXPERIMENTS, PARAMETERS, PROTOCOLS
from pipeline.config.validation import unknown_name
from pipeline.config.yaml_files import yaml_names
from pipeline.execution import dvc
from pipeline.execution.dvc_lock import DVC_LOCK, keep_dvc_lock, release_dead_locks
from pipeline.execution.git import git, is_shallow, names
from pipeline.execution.plans import forget_current_plans
from pipeline.execution.stage import ALONE, KEEP_GOING, Incomplete
from pipeline.records.store import open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import new_folder
from pipeline.runtime.locks import exclusive_lock
from pipeline.runtime.stage_times import clear_stage_times, read_stage_times

REPORTS = Path("reports")
REFERENCES = "refs/exps/*/*/"  # in which DVC keeps its experiments
CODE = ("*.py", "*.yaml")  # files not tracked by git that an experiment needs


def run_studies(
    protocols: Sequence[str], studies: Sequence[str], keep_going: bool, label: str = ""
) -> tuple[dict[str, float], dict[Path, str]]:
    """Run only these studies for every protocol.

    Args:
        protocols: Names of protocols, which `params.yaml` need not have.
        studies: Names of studies.
        keep_going: Whether failed runs leave the report without them.
        label: What the report is called after its protocol; "" for the names of the studies.

    Returns:
        The seconds of each stage that ran, and the text of each report by its file.

    Raises:
        Refusal: A study does not exist, there is no commit, DVC cannot copy the project, or
            another run is in progress.
        Incomplete: A stage failed.
        KeyboardInterrupt: Control-C was pressed; DVC has ended.
    """
    require_studies(studies)
    if problem := copy_problem():
        raise Refusal(f"run: {', '.join(studies)} alone: {problem}")
    parts = [label] if label else [*studies]
    name = _free_name(parts)
    overrides = {"protocols": protocols, "studies": studies}
    words = ["exp", "run", "--temp", "-n", name]
    for key, names_given in overrides.items():
        words += ["-S", f"{key}=[{','.join(names_given)}]"]
    store = open_store()
    if store.has_failures() and not keep_going:
        words.append("--force")  # DVC's cache may hold results without the runs that failed
    for path in names("ls-files", "-z", "--others", "--exclude-standard", "--", *CODE):
        words += ["-C", path]
    with exclusive_lock():
        environment = os.environ | clear_stage_times() | {ALONE: "+".join(parts)}
        environment |= {KEEP_GOING: "1"} if keep_going else {}
        release_dead_locks()
        store.restore(dvc.phase_folders(protocols))
        dvc.run_dvc(words, environment)
        reports = [_fetch_report(name, protocol, parts) for protocol in protocols]
        texts = {path: path.read_text(encoding="utf-8") for path in reports}
        return read_stage_times(), texts


def restore_results() -> list[str]:
    """Restore `reports/`, `dvc.lock` and DVC's outputs from the last commit.

    Reports that are not committed are kept.

    Returns:
        Lines that say what is restored, and what is left.

    Raises:
        Refusal: There is no commit, it holds no results, or another run is in progress.
    """
    results = str(REPORTS), str(DVC_LOCK)
    with exclusive_lock():
        committed = names("ls-tree", "-z", "--name-only", "HEAD", *results)
        reports = names("ls-tree", "-z", "-d", "--name-only", "HEAD", f"{REPORTS}/")
        if not committed:
            raise Refusal(
                "restore: the last commit holds neither reports nor dvc.lock, and nothing was "
                "changed; keep results by git add reports dvc.lock && git commit"
            )
        git("restore", "--source=HEAD", "--staged", "--worktree", "--", *committed)
        if reports:
            git("clean", "-fdq", "--", *reports)
        absent = [name for name in results if name not in committed]
        unrestored = [f"{name}: not in the last commit, and left as it was" for name in absent]
        restored = [*committed, "artifacts"]
        try:
            dvc.run_dvc(["checkout", "--force", "--quiet"], os.environ)
        except Incomplete:
            restored.remove("artifacts")
            unrestored.insert(
                0, "some outputs are not in DVC's cache; run: gapwise run, or dvc pull"
            )
        keep_dvc_lock()
        forget_current_plans(open_store())
        if git("diff", "HEAD", "--name-only", "--", str(PARAMETERS)):
            cure = f"git restore {PARAMETERS} undoes it"
            unrestored.append(f"{PARAMETERS}: differs from the last commit and was left; {cure}")
        return [f"restored from the last commit: {', '.join(restored)}", *unrestored]


def copy_problem() -> str:
    """Return why DVC cannot run studies in a copy of the project, with the cure; "" if it can."""
    if is_shallow():
        return "a shallow clone, whose copies DVC cannot read back; run: git fetch --unshallow"
    if not str(Path.cwd()).isascii():  # DVC writes it to the settings of the copy
        return f"{Path.cwd()}: DVC cannot copy a project below such a name; expected ASCII letters"
    return ""


def require_studies(studies: Sequence[str]) -> None:
    """Check that the studies exist.

    Args:
        studies: Names that a user has given.

    Raises:
        Refusal: A study does not exist.
    """
    existing, protocols = yaml_names(EXPERIMENTS), yaml_names(PROTOCOLS)
    lines = [
        f"run: studies: {study} is a protocol, not a study; run: gapwise run --protocol {study}"
        if study in protocols
        else unknown_name("run: studies", study, existing)
        for study in studies
        if study not in existing
    ]
    if lines:
        raise Refusal(*lines)


def _free_name(parts: Sequence[str]) -> str:
    """Return a name for an experiment that no other has: dropout-mixup, dropout-mixup-2, ..."""
    listed = git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps")
    names = set(listed.decode().split())
    name, number = "-".join(parts), 1
    while name in names:
        number += 1
        name = f"{'-'.join(parts)}-{number}"
    return name


def _fetch_report(experiment: str, protocol: str, parts: Sequence[str]) -> Path:
    """Write the report of an experiment beside its protocol's report and return its file."""
    commit = git("for-each-ref", "--format=%(objectname)", REFERENCES + experiment)
    revision = commit.decode().strip()
    source = REPORTS / protocol
    target = REPORTS / "+".join([protocol, *parts])
    with new_folder(target) as staging:
        for name in names("ls-tree", "-r", "-z", "--name-only", revision, f"{source}/"):
            file = staging / Path(name).relative_to(source)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(git("show", f"{revision}:./{name}"))
    return target / "report.md"
