"""What retrains a run, and what does not."""

import shutil
import sys

import pytest
from code_caches import forget_code

from pipeline.config.run import config_of
from pipeline.planning import fingerprint as module
from pipeline.planning.fingerprint import fingerprint, identity
from pipeline.runtime import behaviour
from pipeline.runtime.behaviour import PACKAGE, code_digest, modules

DROPOUT = {"name": "dropout", "rate": 0.5}


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Return a copy of the package whose files may be edited."""
    copy = tmp_path / "pipeline"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(behaviour, "PACKAGE", copy)
    forget_code()
    yield copy
    forget_code()


def names(configure, **changes):
    forget_code()
    return {
        kind: fingerprint(identity(configure(*items, **changes), "digest"))
        for kind, items in {"dropout": [DROPOUT], "none": []}.items()
    }


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_order_of_keys_does_not_count():
    one = {"data": {"size": 1, "noise": 0}, "code": "x"}
    other = {"code": "x", "data": {"noise": 0, "size": 1}}
    assert fingerprint(one) == fingerprint(other)


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
    monkeypatch.setattr(module, "versions", lambda *modules: {"torch": "0"})
    assert one != fingerprint(identity(configure(), "digest"))


IGNORED = {  # what is done to dropout.py, as (old, new)
    "a docstring": (
        '"""Return whether every rate is 0, wherever it applies."""',
        '"""Other words."""',
    ),
    "a comment": ("class DropoutLayer", "# a comment\nclass DropoutLayer"),
    "layout": (") -> Self:", ")    ->    Self:"),
    "an annotation": ("rate: float, number: int = 0)", "rate, number=0)"),
    "an import that nothing uses": ("import torch\n", "import torch\nimport csv\n"),
    "the text of an error": (" rates; ", " of them; "),
}


@pytest.mark.parametrize("change", IGNORED)
def test_what_does_nothing_does_not_count(configure, code, change):
    before = names(configure)
    edit(code / "regularizers" / "dropout.py", *IGNORED[change])
    assert names(configure) == before


def test_how_values_are_checked_does_not_count(configure, code):
    before = names(configure)
    edit(code / "config" / "validation.py", "LONGEST = 80", "LONGEST = 90")
    assert names(configure) == before
    edit(code / "config" / "settings.py", "frozen=True", "frozen=False")
    assert names(configure) != before


def test_a_file_that_moves_does_not_count(configure, code):
    before = names(configure)
    (code / "models" / "_sites.py").rename(code / "models" / "_places.py")
    for path in code.rglob("*.py"):
        path.write_text(path.read_text().replace("models._sites", "models._places"))
    assert names(configure) == before


def test_another_function_behind_the_same_name_counts(configure, code):
    before = names(configure)
    file = code / "regularizers" / "dropout.py"
    edit(file, "import Site, hidden_layers", "import Site, linear_layers as hidden_layers")
    after = names(configure)
    assert after["dropout"] != before["dropout"]
    assert after["none"] == before["none"]


def test_another_function_of_a_library_counts(configure, code):
    file = code / "regularizers" / "dropout.py"
    edit(file, "import torch\n", "import torch\nfrom math import floor as rounded\n")
    edit(file, "return inputs * kept", "rounded(0.5)\n    return inputs * kept")
    before = names(configure)
    edit(file, "from math import floor as rounded", "from math import ceil as rounded")
    assert names(configure)["dropout"] != before["dropout"]


def digest(tmp_path, monkeypatch, text):
    """Return the digest of a user's module with this text and write it."""
    (tmp_path / "users_net.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget_code()
    return code_digest("users_net")


DIFFERENT = {  # pairs of modules that do different things
    "imports inside two functions change places": (
        "def a():\n    from math import floor as f\n    return f(.5)\n"
        "def b():\n    from math import ceil as f\n    return f(.5)\n",
        "def a():\n    from math import ceil as f\n    return f(.5)\n"
        "def b():\n    from math import floor as f\n    return f(.5)\n",
    ),
    "an import moves from one function to another": (
        "from math import ceil as f\ndef a():\n    from math import floor as f\n    return f(.5)\n"
        "def b():\n    return f(.5)\n",
        "from math import ceil as f\ndef a():\n    return f(.5)\n"
        "def b():\n    from math import floor as f\n    return f(.5)\n",
    ),
    "the branches of a condition change places": (
        "if FAST:\n    from math import floor as f\nelse:\n    from math import ceil as f\n",
        "if FAST:\n    from math import ceil as f\nelse:\n    from math import floor as f\n",
    ),
    "a later import of the same name changes places with the first": (
        "from math import floor as f\nfrom math import ceil as f\n",
        "from math import ceil as f\nfrom math import floor as f\n",
    ),
    "an error is made with another value": (
        "raise Stop(LEVELS['low'])",
        "raise Stop(LEVELS['up'])",
    ),
    "an error is made with the result of another call": (
        "raise Stop(level('low'))",
        "raise Stop(level('up'))",
    ),
    "a decorator reads another annotation": (
        "@register\ndef forward(x: 'small'): ...\n",
        "@register\ndef forward(x: 'large'): ...\n",
    ),
    "a field has another range": ("x: Annotated[int, 1] = 0", "x: Annotated[int, 2] = 0"),
    "a module is imported for what it does": ("import math", "import cmath"),
}


def test_modules_of_equal_text_that_import_different_ones_count(tmp_path, monkeypatch):
    """`low.layer` and `high.layer` have the same text and import another `f`."""
    monkeypatch.chdir(tmp_path)
    for name, function in {"low": "floor", "high": "ceil"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / "layer.py").write_text("from .rounding import f\ng = f\n")
        (tmp_path / name / "rounding.py").write_text(f"from math import {function} as f\n")
    text = "from {}.layer import g as first\nfrom {}.layer import g as second\nx = first, second\n"
    before, after = (
        digest(tmp_path, monkeypatch, text.format(*order))
        for order in (("low", "high"), ("high", "low"))
    )
    assert before != after


@pytest.mark.parametrize("change", DIFFERENT)
def test_what_a_users_module_does_counts(tmp_path, monkeypatch, change):
    before, after = (digest(tmp_path, monkeypatch, text) for text in DIFFERENT[change])
    assert before != after


def test_the_text_of_a_users_error_does_not_count(tmp_path, monkeypatch):
    texts = ("'low'", "f'{1} low'")
    digests = {digest(tmp_path, monkeypatch, f"raise Stop({text})") for text in texts}
    assert len(digests) == 1


def test_the_libraries_of_a_users_module_count(tmp_path, monkeypatch, configure):
    digest(tmp_path, monkeypatch, "import numpy\nimport scipy.linalg\nfrom ruamel import yaml\n")
    model = {"name": "imported", "import": "users_net:Net", "arguments": {}}
    config = configure()
    imported = config.model_copy(update={"model": model})
    always, with_imported = (set(identity(given, "d")["versions"]) for given in (config, imported))
    assert always == {"torch", "numpy", "pytorch-lightning", "scikit-learn"}
    assert with_imported - always == {"scipy", "ruamel.yaml", "ruamel.yaml.clib"}


def test_a_regularizers_code_retrains_its_own_runs_only(configure, code):
    before = names(configure)
    edit(code / "regularizers" / "dropout.py", "1 / (1 - rate)", "1 / (1 - rate / 2)")
    after = names(configure)
    assert after["dropout"] != before["dropout"]
    assert after["none"] == before["none"]


SHARED = ("training/task.py", "data/loader.py", "models/resnet.py", "config/streams.py")


@pytest.mark.parametrize("file", SHARED)
def test_shared_code_retrains_all(configure, code, file):
    before = names(configure)
    (code / file).write_text((code / file).read_text() + "\nADDED = 1\n")
    after = names(configure)
    assert after["dropout"] != before["dropout"]
    assert after["none"] != before["none"]


UNUSED = (
    "execution/scheduler.py",
    "regularizers/weight_decay.py",
    "data/sources/digits.py",
    "config/parameters.py",
    "config/plan.py",
    "records/store.py",
)


@pytest.mark.parametrize("file", UNUSED)
def test_code_that_computes_nothing_of_a_run_does_not_count(configure, code, file):
    before = names(configure)
    (code / file).write_text((code / file).read_text() + "\nADDED = 1\n")
    assert names(configure) == before


def test_what_a_regularizer_imports_counts_for_its_runs(configure, code):
    pooling = {"name": "fractional_max_pooling", "ratio": 1.41}

    def both():
        forget_code()
        return [fingerprint(identity(configure(*items), "digest")) for items in ((pooling,), ())]

    before = both()
    regions = code / "regularizers" / "_regions.py"
    regions.write_text(regions.read_text() + "\nADDED = 1\n")
    after = both()
    assert after[0] != before[0]
    assert after[1] == before[1]


OWN = {
    "mynet.py": "import torch\nimport patches\nfrom blocks import Head\n"
    "from experiments.deep.parts import *\n"
    "from pipeline.models.resnet import Block\n\nclass Net(Block):\n    head = Head\n",
    "blocks.py": "import heads.linear\nfrom layers import Activation\n\n"
    "Head = heads.linear.Linear\n",
    "heads/__init__.py": "WIDTH = 3\n",
    "heads/linear.py": "from torch import nn\nfrom .more import bias\n\n"
    "class Linear(nn.Linear):\n    bias = bias\n",
    "heads/more.py": "bias = True\n",
    "heads/unused.py": "raise RuntimeError('nobody runs this')\n",
    "layers/__init__.py": "from .activation import Activation\n",
    "layers/activation.py": "class Activation:\n    slope = 0.1\n",
    "patches.py": "import torch\n\ntorch.nn.ReLU.slope = 1\n",
    "experiments/deep/parts.py": "import aside\nimport installed\nimport cloned\n\n"
    "DEPTH = aside, installed, cloned\n",
    "aside.py": "from ..nowhere import anything\n",
    "env/pyvenv.cfg": "",
    "env/src/cloned.py": "",
    "lib/site-packages/installed.py": "",
}


@pytest.fixture
def scattered(project, monkeypatch):
    """Return a folder with a network whose code is scattered, and with what is installed in it."""
    for name, content in OWN.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    for place in ("env/src", "lib/site-packages", "."):
        monkeypatch.syspath_prepend(str(project / place))
    before = set(sys.modules)
    forget_code()
    yield project
    mine = {"blocks", "heads", "aside", "installed", "cloned", "experiments", "layers", "patches"}
    assert not mine & (set(sys.modules) - before)
    forget_code()


def test_all_of_this_folder_that_an_imported_network_runs_is_found(scattered):
    names = set(modules("mynet"))
    mine = {name for name in names if not name.startswith("pipeline.")}
    assert mine == {
        *("mynet", "blocks", "heads", "heads.linear", "heads.more"),
        *("experiments.deep.parts", "aside", "patches", "layers", "layers.activation"),
    }
    assert {"pipeline.models.resnet", "pipeline.models._initialization"} <= names


@pytest.mark.parametrize(
    "file",
    [
        *("blocks.py", "heads/__init__.py", "heads/more.py", "experiments/deep/parts.py"),
        *("layers/activation.py", "patches.py"),
    ],
)
def test_what_an_imported_network_takes_from_this_folder_retrains_its_runs(
    configure, scattered, file
):
    model = {"name": "imported", "import": "mynet:Net", "arguments": {}}

    def both():
        forget_code()
        config = configure()
        return [
            fingerprint(identity(given, "digest"))
            for given in (config.model_copy(update={"model": model}), config)
        ]

    before = both()
    (scattered / file).write_text((scattered / file).read_text() + "# a comment\n")
    assert both() == before
    (scattered / file).write_text((scattered / file).read_text() + "ADDED = 1\n")
    after = both()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_the_code_of_a_run_is_what_training_imports(configure):
    """Nothing that stores, schedules or reports; all that computes."""
    forget_code()
    names = {name.removeprefix("pipeline.") for name in modules(module.TRAINER)}
    folders = {name.partition(".")[0] for name in names}
    assert folders <= {
        *("config", "data", "models", "optimizers", "prediction", "records", "regularizers"),
        *("runtime", "schedules", "training"),
    }
    assert {"training.task", "data.loader", "prediction.members", "models._sites"} <= names
    assert not {"config.plan", "config.parameters", "records.store"} & names


def test_equal_code_has_equal_digests_whatever_the_process():
    forget_code()
    first = code_digest("pipeline.models.mlp")
    forget_code()
    assert code_digest("pipeline.models.mlp") == first
