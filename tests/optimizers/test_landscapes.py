"""The page of landscapes: its numbers, pictures and sentences are what the optimizers do."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch

from pipeline import optimizers
from pipeline.optimizers.adam import Adam
from pipeline.optimizers.adamw import AdamW

ROOT = Path(__file__).resolve().parents[2]
NAMES = "valley", "turned_valley", "saddle", "plateau", "noise"
SLOW = "L-BFGS"  # many small steps in Python
OUTDATED = "run: python docs/landscapes.py"


@pytest.fixture(scope="module")
def page():
    """Return the module that makes the page."""
    spec = importlib.util.spec_from_file_location("landscapes", ROOT / "docs" / "landscapes.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "landscapes", module)  # for its dataclasses
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def text():
    return (ROOT / "docs" / "optimizers.md").read_text()


@pytest.fixture(scope="module")
def rows(text):
    """Return landscape -> optimizer -> rate, trials, starts, arrived, evaluations, as numbers."""
    read = {}
    for name, part in zip(NAMES, text.split("\n## ")[1:], strict=False):
        assert f"landscapes/{name}.png" in part
        lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line[:2] == "| "]
        read[name] = {cells[0]: [number(cell) for cell in cells[1:]] for cells in lines[2:]}
    return read


def number(cell):
    return math.inf if cell.startswith(">") else float(cell.replace(",", ""))


def settings_and_rate(page, rows, name, optimizer):
    """Return the settings of an optimizer, and the learning rate that the page rounds."""
    step = round(page.PER_DECADE * math.log10(rows[name][optimizer][0]))
    return optimizers.parse(page.OPTIMIZERS[optimizer]), page.rate_at(step)


def test_every_optimizer_is_on_the_page(page):
    shown = {given["name"] for given in page.OPTIMIZERS.values()}
    assert shown | {"adamw"} == set(optimizers.names()), "docs/landscapes.py: OPTIMIZERS"
    assert AdamW().effect() == Adam().effect()


def test_the_text_is_what_the_code_says(page, text):
    assert text.startswith(page.HEAD), OUTDATED
    assert text.endswith(page.TAIL), OUTDATED
    for name, landscape in page.LANDSCAPES.items():
        plain = " ".join(text.split("\n## ")[1 + NAMES.index(name)].split())
        assert plain.startswith(f"{landscape.title} {landscape.about} Target: "), OUTDATED
        assert landscape.seen in plain, OUTDATED


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_the_same_texts(page, rows, text, name):
    landscape = page.LANDSCAPES[name]
    for optimizer in page.OPTIMIZERS:
        if optimizer != SLOW or name == "plateau":
            settings, rate = settings_and_rate(page, rows, name, optimizer)
            result = page.count(settings, landscape, rate, int(rows[name][optimizer][1]))
            row = page.result_table({optimizer: result}).splitlines()[-1]
            assert row in text.split("\n## ")[1 + NAMES.index(name)], OUTDATED


@pytest.mark.parametrize("name", NAMES[:4])
def test_pictures_are_the_same_bytes(page, rows, name):
    """All but that with noise, whose draws are those of all paths."""
    landscape, results = page.LANDSCAPES[name], {}
    for optimizer in page.OPTIMIZERS:
        settings, rate = settings_and_rate(page, rows, name, optimizer)
        starts = page.draw_starts(settings, landscape)[1][: page.SHOWN]
        paths = page.follow_all(settings, [rate], starts, landscape)[:, 0]
        _, trials, number, share, evaluations = rows[name][optimizer]
        arrived = share * number / 100
        results[optimizer] = page.Result(rate, trials, number, arrived, evaluations, paths)
    picture = (ROOT / "docs" / "landscapes" / f"{name}.png").read_bytes()
    assert page.draw(landscape, results) == picture, OUTDATED


@pytest.mark.parametrize("optimizer", ["gradient descent", "AdaGrad", "Adam, AdamW"])
def test_the_rate_of_the_page_is_the_one_that_tuning_chooses(page, rows, optimizer):
    settings = optimizers.parse(page.OPTIMIZERS[optimizer])
    rate, trials = page.tune(settings, page.LANDSCAPES["turned_valley"])
    assert [pytest.approx(rate, rel=1e-2), trials] == rows["turned_valley"][optimizer][:2]


def test_a_range_is_widened_until_its_best_is_inside(page, monkeypatch):
    monkeypatch.setattr(page, "FIRST", -4)
    monkeypatch.setattr(page, "LAST", -3)
    settings = optimizers.parse({"name": "sgd"})
    rate, trials = page.tune(settings, page.LANDSCAPES["valley"])
    assert rate == pytest.approx(0.01)
    assert trials == 5 + 4 + 4


@pytest.mark.parametrize(
    ("optimizer", "turns"),
    [
        *((name, True) for name in ("gradient descent", "momentum", "Nesterov momentum")),
        *((name, False) for name in ("AdaGrad", "RMSProp", "Adam, AdamW")),
    ],
)
def test_which_paths_turn_with_the_landscape(page, optimizer, turns):
    settings = optimizers.parse(page.OPTIMIZERS[optimizer])
    starts = torch.tensor([[1.0, 0.5], [-2.0, 0.3]], dtype=torch.double)
    path = page.follow_all(settings, [0.01], starts, page.LANDSCAPES["valley"])
    turned = page.LANDSCAPES["turned_valley"]
    other = page.follow_all(settings, [0.01], page.turn(starts), turned)
    assert torch.allclose(page.turn(path), other, atol=1e-9) is turns


def test_what_the_sentences_say(rows):
    """Columns: rate, trials, starts, arrived, evaluations."""
    arrived = {name: {key: row[3] for key, row in part.items()} for name, part in rows.items()}
    needed = {name: {key: row[4] for key, row in part.items()} for name, part in rows.items()}
    rate = {name: {key: row[0] for key, row in part.items()} for name, part in rows.items()}
    by_axis = "AdaGrad", "RMSProp"
    along = "gradient descent", "momentum", "Nesterov momentum"

    assert arrived["valley"]["gradient descent"] < 50 < 100 == arrived["valley"]["momentum"]
    assert max(needed["valley"][name] for name in by_axis) < 10

    for name in along:
        assert rows["turned_valley"][name] == rows["valley"][name]
    for name in by_axis:
        assert arrived["turned_valley"][name] < 0.6 * arrived["valley"][name]
    adam = "Adam, AdamW"
    assert abs(arrived["turned_valley"][adam] - arrived["valley"][adam]) < 10
    assert rate["turned_valley"][adam] / rate["valley"][adam] == pytest.approx(3, abs=0.3)

    slow = needed["saddle"]["gradient descent"]
    assert max(needed["saddle"][name] for name in by_axis) < slow / 3
    assert slow < min(needed["saddle"][name] for name in ("momentum", adam))

    assert [name for name, share in arrived["plateau"].items() if share < 100] == [along[0]]
    assert 1 < rate["plateau"]["gradient descent"] < 2  # the limit at the minimum

    assert max(arrived["noise"].values()) < 80
    assert min(arrived["noise"], key=arrived["noise"].get) == "L-BFGS"
    assert all(rate["noise"][name] < rate["valley"][name] for name in rate["noise"])
