"""What retrains a run, and what does not."""

import ast
import shutil

import pytest

from pipeline.config import fingerprint as module
from pipeline.config.fingerprint import PACKAGE, SHARED_CODE, code_digest, config_of, fingerprint, identity

DROPOUT = {"name": "dropout", "rate": 0.5}


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A copy of the package whose files may be edited."""
    copy = tmp_path / "pipeline"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "PACKAGE", copy)
    clear()
    yield copy
    clear()


def clear():
    code_digest.cache_clear()
    module._used.cache_clear()
    module._files.cache_clear()
    module._code.cache_clear()


def names(configure, **changes):
    clear()
    return {
        kind: fingerprint(identity(configure(*items, **changes), "digest"))
        for kind, items in {"dropout": [DROPOUT], "none": []}.items()
    }


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_same_twice_and_readable_back(configure):
    assert names(configure) == names(configure)
    read = config_of(identity(configure(DROPOUT), "digest"))
    assert read.model_dump(mode="json") == configure(DROPOUT).model_dump(mode="json")


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"epochs": 3},
        {"learning_rate": 0.1},
        *({"streams": {name: 9}} for name in ("split", "init", "order", "augmentation", "noise")),
    ],
)
def test_settings_and_every_stream_count(configure, changes):
    before, after = names(configure), names(configure, **changes)
    assert before["none"] != after["none"]
    assert before["dropout"] != after["dropout"]


def test_data_and_versions_count(configure, monkeypatch):
    one = fingerprint(identity(configure(), "digest"))
    assert one != fingerprint(identity(configure(), "other"))
    monkeypatch.setattr(module, "versions", lambda: {"torch": "0"})
    assert one != fingerprint(identity(configure(), "digest"))


def test_comments_docstrings_and_layout_do_not_count(configure, code):
    before = names(configure)
    edit(code / "regularizers" / "dropout.py", '"""Nothing is ever dropped."""', '"""Other words."""  # and a comment\n')
    edit(code / "training" / "task.py", "class Task(", "# a comment\nclass Task(")
    assert names(configure) == before


def test_a_regularizers_code_retrains_its_own_runs_only(configure, code):
    before = names(configure)
    edit(code / "regularizers" / "dropout.py", ">= self.rate", "> self.rate")
    after = names(configure)
    assert after["dropout"] != before["dropout"]
    assert after["none"] == before["none"]


@pytest.mark.parametrize(
    "file", ["training/task.py", "data/loader.py", "models/resnet.py", "regularizers/base.py", "config/streams.py"]
)
def test_shared_code_retrains_all(configure, code, file):
    before = names(configure)
    (code / file).write_text((code / file).read_text() + "\nADDED = 1\n")
    after = names(configure)
    assert after["dropout"] != before["dropout"]
    assert after["none"] != before["none"]


def test_code_that_computes_nothing_of_a_run_does_not_count(configure, code):
    before = names(configure)
    for file in ("reporting/figures.py", "execution/scheduler.py", "regularizers/weight_decay.py", "data/digits.py"):
        path = code / file
        path.write_text(path.read_text() + "\nADDED = 1\n")
    assert names(configure) == before


def test_what_a_regularizer_imports_of_the_models_counts_for_its_runs(configure, code):
    pooling = {"name": "fractional_max_pooling", "ratio": 1.41}

    def both():
        clear()
        return [fingerprint(identity(configure(*items), "digest")) for items in ((pooling,), ())]

    before = both()
    (code / "models" / "regions.py").write_text((code / "models" / "regions.py").read_text() + "\nADDED = 1\n")
    after = both()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_everything_training_imports_is_covered():
    """The list of shared code is typed by hand; the imports of training say what it must hold."""
    covered = {path.relative_to(PACKAGE).as_posix() for pattern in SHARED_CODE for path in PACKAGE.glob(pattern)}
    settings_and_records = {
        "config/schema.py",
        "config/fingerprint.py",
        "config/errors.py",
        "records/store.py",
        "records/lock.py",
        "records/history.py",
    }
    found_by_name = {"models/__init__.py", "regularizers/__init__.py", "data/prepared.py", "data/arrays.py"}
    reached = closure({path.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("training/*.py")})
    assert {name for name in reached if not name.startswith("config/")} - settings_and_records - found_by_name <= covered


def closure(files):
    files, queue = set(files), list(files)
    while queue:
        for name in imports(queue.pop()):
            if name not in files:
                files.add(name)
                queue.append(name)
    return {
        name
        for name in files
        if not (name.endswith("__init__.py") and name not in ("models/__init__.py", "regularizers/__init__.py"))
    }


def imports(file):
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline"):
            base = (node.module or "").split(".")[1:]
            for parts in (base, *([*base, alias.name] for alias in node.names)):
                for candidate in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
                    if parts and (PACKAGE / candidate).is_file():
                        yield candidate
