"""Check the layout: what may import what, who touches the disk, what a stage depends on."""

import ast
import functools
import graphlib
import re
import types
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from pipeline.config.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pipeline"
NOUNS = (  # imports point towards the front of this list, never towards its end
    *("runtime", "config", "records", "data", "models", "regularizers", "optimizers", "schedules"),
    *("prediction", "training", "planning", "execution", "evaluation", "comparison", "tracking"),
    *("reporting", "terminal"),
)
LIGHT = (
    "runtime",
    "config",
    "records",
    "evaluation",
    "comparison",
    "tracking",
    "reporting",
)  # without torch
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
VERBS = (
    "prepare",
    "train",
    "choose",
    "confirm",
    "predict",
    "evaluate",
    "compare",
    "report",
    "track",
)
FILES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text())
    for path in PACKAGE.rglob("*.py")
}
WRITERS = (
    *("runtime/", "config/", "data/", "records/", "training/checkpoints.py"),
    *("execution/dvc_lock.py", "terminal/doctor.py"),  # the lock file of DVC
    *("execution/inputs.py", "execution/verification.py"),  # what a report was made of
    *("execution/headlines.py", "execution/ledger_history.py", "execution/retraining.py"),
    "execution/chosen_protocols.py",  # params.yaml while DVC runs
    "execution/asked_looks.py",  # params.yaml, for a look
    "execution/experiments.py",  # the report of an experiment
    "execution/plans.py",
    "terminal/export.py",  # a report as one file
    "terminal/reference.py",  # tables of the docs
    "terminal/new.py",  # a protocol
    "terminal/judge.py",  # the report on results from elsewhere
    "execution/cluster.py",  # the address of the last cluster, the null device
    "execution/ray.py",  # looks into shared folders
    "execution/node_check.py",  # looks whether nodes share their folders
    "tracking/mirror.py",
    "tracking/sync.py",  # looks which offline runs are still there
)
DISK = {  # functions and methods, also of an object whose type is not seen
    *("open", "read_text", "write_text", "read_bytes", "write_bytes", "unlink", "touch"),
    *("mkdir", "rmdir", "rmtree", "iterdir", "glob", "rglob", "symlink_to", "hardlink_to"),
    *("to_csv", "read_csv", "to_parquet", "read_parquet", "savez", "savez_compressed", "tofile"),
    *("fromfile", "memmap", "loadtxt", "savetxt", "save_file", "load_file"),
    *(
        "np.save",
        "np.load",
        "os.replace",
        "os.rename",
        "os.remove",
        "os.listdir",
        "os.scandir",
        "os.walk",
    ),
    *("os.makedirs", "os.link", "os.symlink", "shutil.copy", "shutil.copy2", "shutil.copyfile"),
    *("shutil.copytree", "shutil.copyfileobj", "shutil.move"),
}


@functools.cache
def imported(file: str) -> tuple[str, ...]:
    """Return absolute names of the modules a file imports, `pipeline.a.b` or `torch.nn`."""
    names = []
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


@functools.cache
def entries(file: str) -> tuple[str, ...]:
    """Return names of functions that a file gives as text, such as "pipeline.choose:main"."""
    names = []
    for node in ast.walk(FILES[file]):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and re.fullmatch(r"pipeline(\.\w+)+:\w+", text):
            names.append(text.replace(":", "."))
    return tuple(names)


def nouns(file: str) -> set[str]:
    return {name.split(".")[1] for name in imported(file) if name.startswith("pipeline.")} & set(
        NOUNS
    )


def reached(file: str, later: bool = False) -> set[str]:
    """Return the files that importing `file` can run, with `later` also those named as entries.

    A folder imported as such finds its files by looking, so all of them.
    """
    files, queue = set(), [file]
    while queue:
        current = queue.pop()
        if current in files:
            continue
        files.add(current)
        for name in [*imported(current), *(entries(current) if later else ())]:
            queue += run_by(name)
    return files


@functools.cache
def run_by(name: str) -> tuple[str, ...]:
    """Return the files that importing an absolute name runs; none outside of the package."""
    if not name.startswith("pipeline."):
        return ()
    parts = name.split(".")[1:]
    path, folder = "/".join(parts), "/".join(parts[:-1])
    files = [file for file in (f"{path}.py", f"{folder}.py") if file in FILES]
    if len(parts) == 1:
        files += [file for file in FILES if file.startswith(f"{path}/")]
    if len(parts) > 2:
        files += [file for file in FILES if file.startswith(f"{folder}/")]
    return tuple(files)


def test_stages_are_the_verbs():
    assert tuple(STAGES) == VERBS
    top = {path.stem for path in PACKAGE.glob("*.py")}
    assert top == {*VERBS, "__init__", "__main__", "cli"}
    assert {
        path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"
    } == set(NOUNS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_stage_runs_its_verb_for_every_protocol(verb):
    assert STAGES[verb]["cmd"] == f"exec python -m pipeline.{verb} ${{item.protocol}}"
    assert STAGES[verb]["matrix"] == {"protocol": "${protocols}"}


@pytest.mark.parametrize("verb", VERBS)
def test_deps_are_what_the_verb_imports(verb):
    folders = {
        f"pipeline/{file.split('/')[0]}"
        for file in reached(f"{verb}.py", later=True)
        if "/" in file
    }
    stated = {dep for dep in STAGES[verb]["deps"] if dep.startswith("pipeline/")}
    assert stated == folders | {f"pipeline/{verb}.py"}


def test_no_stage_depends_on_execution_or_tracking_settings():
    assert not [
        verb for verb in VERBS if {"execution", "tracking"} & set(STAGES[verb].get("params", []))
    ]


@pytest.mark.parametrize("file", [file for file in FILES if "/" in file])
def test_nouns_import_only_nouns_above_them(file):
    noun = file.split("/")[0]
    assert not [name for name in nouns(file) if NOUNS.index(name) > NOUNS.index(noun)]
    assert not [
        name
        for name in imported(file)
        if name.startswith("pipeline.") and name.split(".")[1] in (*VERBS, "cli")
    ]


def file_of(name: str) -> str | None:
    """Return the file of an absolute name: a module, a folder, or what a module defines."""
    path = name.removeprefix("pipeline.").replace(".", "/")
    owner = path.rpartition("/")[0]
    files = (f"{path}.py", f"{path}/__init__.py", f"{owner}.py", f"{owner}/__init__.py")
    return next((file for file in files if file in FILES), None)


def test_no_file_imports_itself_by_way_of_others():
    graph = {
        file: {file_of(name) for name in imported(file) if name.startswith("pipeline.")}
        for file in FILES
    }
    assert None not in set().union(*graph.values())
    assert graph["train.py"] >= {"execution/stage.py"}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_import_no_verb(verb):
    assert not [
        name
        for name in imported(f"{verb}.py")
        if name.startswith("pipeline.") and name.split(".")[1] in (*VERBS, "cli")
    ]


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("wandb", "tracking/"),
        ("ray", "execution/cluster.py"),
        ("pickle", "data/sources/_cifar.py"),
        ("subprocess", ("records/", "execution/", "terminal/doctor.py")),
    ],
)
def test_modules_kept_to_their_place(module, allowed):
    users = [file for file in FILES if any(name.split(".")[0] == module for name in imported(file))]
    assert not [file for file in users if not file.startswith(allowed)]


@pytest.mark.parametrize("noun", LIGHT)
def test_no_torch_in_what_reads_and_judges(noun):
    in_a_run = "tracking/logger.py"
    starts = [file for file in FILES if file.startswith(f"{noun}/") and file != in_a_run]
    assert starts
    for start in starts:
        for file in reached(start):
            assert not [
                name
                for name in imported(file)
                if name.split(".")[0] in ("torch", "pytorch_lightning")
            ], (start, file)


@pytest.mark.parametrize(
    "file",
    [
        *("choose.py", "evaluate.py", "compare.py", "report.py", "track.py"),
        *("execution/verification.py", "terminal/status.py"),
    ],
)
def test_what_reads_results_starts_without_torch(file):
    for other in reached(file):
        assert not [
            name for name in imported(other) if name.split(".")[0] in ("torch", "pytorch_lightning")
        ], other


@pytest.mark.parametrize(
    "file", ["cli.py", "prepare.py", "train.py", "confirm.py", "predict.py", "planning/effects.py"]
)
def test_what_trains_nothing_starts_without_lightning(file):
    """Its import takes longer than torch's."""
    for other in reached(file):
        assert not [
            name for name in imported(other) if name.split(".")[0] == "pytorch_lightning"
        ], other


def called(call: ast.Call) -> tuple[str, str]:
    """Return what is called: the last name, and all of it, as in ("save", "np.save")."""
    written = ast.unparse(call.func)
    return written.rpartition(".")[2], written


def is_on_disk(call: ast.Call) -> bool:
    """Return whether a call reads or writes files.

    Those of texts and tables replace one part by another, or rename by keyword.
    """
    name, written = called(call)
    moves = name in ("replace", "rename") and len(call.args) == 1 and not call.keywords
    return moves or bool({name, written} & DISK)


def touches_disk(tree: ast.AST) -> bool:
    return any(is_on_disk(node) for node in ast.walk(tree) if isinstance(node, ast.Call))


@pytest.mark.parametrize(
    ("line", "on_disk"),
    [
        ("np.save(file, values)", True),
        ("staging.replace(path)", True),
        ("Path(name).rename(path)", True),
        ("os.replace(staging, path)", True),
        ("(folder / name).touch()", True),
        ("sorted(folder.iterdir())", True),
        ("link.symlink_to(path)", True),
        ("shutil.copytree(one, other)", True),
        ("table.to_parquet(path)", True),
        ("[path.stem for path in folder.rglob('*')]", True),
        ("open(path)", True),
        ("line.replace('a', 'b')", False),
        ("dataclasses.replace(arm, name='a')", False),
        ("table.rename(columns=names)", False),
        ("ast.walk(tree)", False),
        ("safetensors.torch.save(state)", False),
        ("values.copy()", False),
    ],
)
def test_calls_on_disk_are_recognized(line, on_disk):
    assert touches_disk(ast.parse(line)) == on_disk


def test_the_disk_is_touched_only_where_it_may_be():
    files = {file for file, tree in FILES.items() if "/" in file and touches_disk(tree)}
    assert not {file for file in files if not file.startswith(WRITERS)}
    assert {file for file in WRITERS if file.endswith(".py")} <= files


def test_test_labels_are_read_by_evaluate_alone():
    users = {
        file for file in FILES if any(name.endswith(".read_test_labels") for name in imported(file))
    }
    assert users == {"evaluate.py"}


def test_nothing_unsafe():
    for file, tree in FILES.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = (
                call.func.attr
                if isinstance(call.func, ast.Attribute)
                else getattr(call.func, "id", "")
            )
            keywords = {
                keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords
            }
            assert name not in ("eval", "exec", "extractall") or isinstance(
                call.func, ast.Attribute
            ), file
            assert not keywords.get("shell"), file
            assert keywords.get("weights_only") is not False, file
            assert keywords.get("allow_pickle") is not True, file


def test_no_module_shadows_the_standard_library():
    import sys

    assert not {Path(file).stem for file in FILES} & set(sys.stdlib_module_names) - {"__main__"}


PARTICIPLES = {"found", "own", "known", "told", "said"}  # these do not say what a value is


def identifiers(code: types.CodeType) -> set[str]:
    """Return the names of variables, arguments, attributes, functions and classes.

    Keyword arguments and keys of dictionaries are left out: they may be those of other programs.
    """
    names = {code.co_name, *code.co_names, *code.co_varnames, *code.co_cellvars}
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return names.union(*map(identifiers, inner))


def named_by_participles(folder: Path) -> dict[str, set[str]]:
    """Return the identifiers that are such words by file; files without the words are skipped."""
    words = re.compile(rf"\b({'|'.join(PARTICIPLES)})\b")
    texts = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")}
    names = {
        file: identifiers(compile(text, file, "exec")) & PARTICIPLES
        for file, text in texts.items()
        if words.search(text)
    }
    return {file: used for file, used in names.items() if used}


@pytest.mark.parametrize("folder", ["pipeline", "tests", "benchmarks", "docs"])
def test_names_are_nouns(folder):
    assert any((ROOT / folder).rglob("*.py"))
    assert named_by_participles(ROOT / folder) == {}


def test_an_identifier_that_is_no_noun_is_recognized(tmp_path):
    lines = ["own = 1", "def f(told): pass", "run.said()", "def found(): pass", "f(own=1)  # known"]
    for number, line in enumerate(lines):
        (tmp_path / f"{number}.py").write_text(line)
    expected = {"0.py": {"own"}, "1.py": {"told"}, "2.py": {"said"}, "3.py": {"found"}}
    assert named_by_participles(tmp_path) == expected


REPORTING = [file for file in FILES if file.startswith("reporting/")]
STATISTICS = {
    *("mean", "nanmean", "average", "median", "nanmedian", "mode", "quantile", "nanquantile"),
    *("percentile", "nanpercentile", "std", "nanstd", "var", "nanvar", "sem", "ptp", "mad", "skew"),
    *("kurt", "corr", "corrwith", "cov", "corrcoef", "autocorr", "describe", "agg", "aggregate"),
    *("sum", "fsum", "nansum", "cumsum", "prod", "cumprod", "dot", "count", "value_counts"),
    *("nunique", "size", "bincount", "crosstab", "pivot_table", "transform", "apply", "diff"),
    *("pct_change", "rank", "idxmax", "idxmin", "argmax", "argmin", "nlargest", "nsmallest"),
    *("rolling", "expanding", "ewm", "histogram", "cut", "qcut", "polyfit", "interp"),
    *("subtract", "div", "divide", "truediv", "mul", "multiply"),
}
LAYOUT = {  # file, function and call -> what is done there besides a statistic
    ("reporting/evidence.py", "decimals", "median"): "the number of decimals",
    ("reporting/judgement.py", "metric_of", "median"): "the number of decimals",
    ("reporting/labels.py", "setting_ticks", "sum"): "letters on an axis",
    ("reporting/verdict_sentences.py", "verdict_sentences", "idxmax"): "the row to name",
    ("reporting/pages/method.py", "_confirmed", "nunique"): "the number of planned seeds",
    ("reporting/pages/study.py", "_curves", "size"): "the number of done runs",
    ("reporting/pages/study.py", "rules_section", "transform"): "the rows to show",
    ("reporting/pages/study.py", "strength_table", "sum"): "the number of planned runs",
    ("reporting/pages/_recipe.py", "_more_seeds", "idxmax"): "the arm to name",
    ("reporting/plots/_names.py", "write_ends", "transform"): "places on the panel",
    ("reporting/plots/_names.py", "write_names", "transform"): "places on the panel",
    ("reporting/plots/forest.py", "_reach", "quantile"): "how far an axis goes",
    ("reporting/plots/claims.py", "_limits", "quantile"): "how far an axis goes",
    ("reporting/plots/forest.py", "largest", "nlargest"): "the rows to draw",
    ("reporting/plots/gap.py", "zoom", "quantile"): "how far an axis goes",
    ("reporting/plots/gap.py", "zoom", "sum"): "the number of runs outside the axes",
    ("reporting/style.py", "legend_columns", "sum"): "the width of a legend",
}
ARITHMETIC = {  # file and function -> what its arithmetic finds instead of a statistic
    ("reporting/pages/_gains.py", "disagreements"): "whether two signs differ",
    ("reporting/pages/_page.py", "incomplete_runs"): "the number of runs that are not done",
}


def places(files: Iterable[str]) -> Iterator[tuple[str, str, ast.AST]]:
    """Yield every node with its file and the function, class or statement that it is in."""
    for file in files:
        for part in FILES[file].body:
            yield from ((file, getattr(part, "name", ""), node) for node in ast.walk(part))


def statistics(files: Iterable[str]) -> set[tuple[str, str, str]]:
    """Return the file, the function and the name of every call of a statistic."""
    return {
        (file, place, called(node)[0])
        for file, place, node in places(files)
        if isinstance(node, ast.Call) and called(node)[0] in STATISTICS
    }


def is_constant(node: ast.AST) -> bool:
    """Return whether a value is a literal, or named as a constant or as an entry of one."""
    if isinstance(node, ast.Subscript):
        return is_constant(node.value)
    literal = isinstance(node, ast.Constant | ast.Set)
    return literal or (isinstance(node, ast.Name) and node.id.isupper())


def computes(node: ast.AST) -> bool:
    """Return whether a node divides, or multiplies or subtracts two values of tables."""
    if not isinstance(node, ast.BinOp | ast.AugAssign):
        return False
    if isinstance(node.op, ast.Div | ast.FloorDiv | ast.Pow):
        return True
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
    return isinstance(node.op, ast.Mult | ast.Sub) and not any(map(is_constant, sides))


def test_reports_compute_no_statistic():
    """They read the tables of `compare`, which `gapwise verify` recomputes."""
    assert statistics(REPORTING) == set(LAYOUT)


def test_pages_do_no_arithmetic_with_values_of_tables():
    pages = [file for file in REPORTING if file.startswith("reporting/pages/")]
    arithmetic = {(file, place) for file, place, node in places(pages) if computes(node)}
    assert arithmetic == set(ARITHMETIC)


@pytest.mark.parametrize(
    ("line", "is_arithmetic"),
    [
        ("row['updates'] / usual", True),
        ("100 * (after / before - 1)", True),
        ("passes * forward", True),
        ("row['mean'] - row['low']", True),
        ("frame['mean'] - start", True),
        ("total /= len(rows)", True),
        ("100 * row['mean']", False),
        ("GOOD[metric] * sign", False),
        ("len(rows) - FEW", False),
        ("sizes - {None}", False),
        ("start + text", False),
    ],
)
def test_arithmetic_is_recognized(line, is_arithmetic):
    assert any(map(computes, ast.walk(ast.parse(line)))) == is_arithmetic


@pytest.mark.parametrize(
    "line", ["np.percentile(values, 5)", "rows['n'].sum()", "sum(values)", "table.describe()"]
)
def test_a_call_of_a_statistic_is_recognized(line, monkeypatch):
    monkeypatch.setitem(FILES, "reporting/new.py", ast.parse(f"def page(rows):\n    {line}\n"))
    assert {place for _, place, _ in statistics(["reporting/new.py"])} == {"page"}


@pytest.mark.parametrize("file", REPORTING)
def test_reports_import_no_statistics(file):
    """Of `comparison` they know constants alone, and the words of its conclusions."""
    names = list(imported(file))
    assert not [name for name in names if name.split(".")[0] in ("scipy", "statsmodels")]
    assert not [name for name in names if name.startswith("pipeline.comparison.intervals")]
    used = [name.rpartition(".")[2] for name in names if name.startswith("pipeline.comparison.")]
    words = {"Verdict", "Outcome", "Check", "Judgement", "Direction", "Unit", "WrittenContrasts"}
    assert all(name.isupper() or name in words for name in used), used
