"""What retrains a run, and what does not."""

import ast
import shutil
import sys

import pytest

from pipeline.config import fingerprint as module
from pipeline.config.fingerprint import PACKAGE, SHARED_CODE, code_digest, config_of, fingerprint, identity, imported_code

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
    imported_code.cache_clear()


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


OWN = {
    "mynet.py": "import torch\nfrom blocks import Head\nfrom experiments.deep.parts import *\nfrom pipeline.models.resnet import Block\n",
    "blocks.py": "import heads.linear\n\nHead = heads.linear.Linear\n",
    "heads/__init__.py": "WIDTH = 3\n",
    "heads/linear.py": "from torch import nn\nfrom .more import bias\n\nclass Linear(nn.Linear):\n    pass\n",
    "heads/more.py": "bias = True\n",
    "heads/unused.py": "raise RuntimeError('nobody runs this')\n",
    "experiments/deep/parts.py": "import aside\nimport installed\nimport cloned\n\nDEPTH = 2\n",
    "aside.py": "from ..nowhere import anything\n",
    "env/pyvenv.cfg": "",
    "env/src/cloned.py": "",
    "lib/site-packages/installed.py": "",
}


@pytest.fixture
def own(project, monkeypatch):
    """A folder with a network whose code is scattered, and with what is installed in it."""
    for name, content in OWN.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    for place in ("env/src", "lib/site-packages", "."):
        monkeypatch.syspath_prepend(str(project / place))
    known = set(sys.modules)
    yield project
    assert not {"blocks", "heads", "aside", "installed", "cloned", "experiments"} & (set(sys.modules) - known)
    clear()


def test_all_of_this_folder_that_an_imported_network_runs_is_found(own):
    clear()
    mine = {"mynet", "blocks", "heads", "heads.linear", "heads.more", "experiments.deep.parts", "aside"}
    assert set(imported_code("mynet")) == {*mine, "pipeline.models.resnet", "pipeline.models.initialization"}


@pytest.mark.parametrize("file", ["blocks.py", "heads/__init__.py", "heads/more.py", "experiments/deep/parts.py"])
def test_what_an_imported_network_takes_from_this_folder_retrains_its_runs(configure, own, file):
    model = {"name": "imported", "import": "mynet:Net", "arguments": {}}

    def both():
        clear()
        config = configure()
        return [fingerprint(identity(given, "digest")) for given in (config.model_copy(update={"model": model}), config)]

    before = both()
    (own / file).write_text((own / file).read_text() + "# a comment\n")
    assert both() == before
    (own / file).write_text((own / file).read_text() + "ADDED = 1\n")
    after = both()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_what_an_imported_network_takes_from_this_package_retrains_its_runs(configure, own, code):
    def name():
        clear()
        config = configure().model_copy(update={"model": {"name": "imported", "import": "mynet:Net", "arguments": {}}})
        return fingerprint(identity(config, "digest"))

    before = name()
    (code / "config" / "schema.py").write_text((code / "config" / "schema.py").read_text() + "\nADDED = 1\n")
    assert name() == before
    (code / "models" / "resnet.py").write_text((code / "models" / "resnet.py").read_text() + "\nADDED = 1\n")
    assert name() != before


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
