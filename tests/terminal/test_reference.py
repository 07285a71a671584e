"""The tables of keys in the docs are those of the classes that check them."""

from pathlib import Path

import pytest

from pipeline.terminal.reference import names_in, tables, with_tables

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs").glob("*.md"))
NOT_SHOWN = {  # sources and networks without keys, or with those of another
    *("source digits", "source mnist_5k", "source mnist", "source fashion_mnist"),
    *("source cifar10", "source cifar100", "source breast_cancer", "model imported"),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_are_what_the_code_says(page):
    text = page.read_text()
    assert text == with_tables(text), "run: python -m pipeline.terminal.reference"


def test_every_table_is_on_one_page():
    shown = [name for page in PAGES for name in names_in(page.read_text())]
    assert sorted(shown) == sorted(set(tables()) - NOT_SHOWN)


def test_a_table_has_default_bounds_and_meaning_of_every_key():
    rows = dict(line.split(" | ", 1) for line in tables()["training"].splitlines())
    assert rows["| `epochs`"] == "required | an integer >= 1 | Passes over the training examples. |"
    assert rows["| `warm_up`"].startswith("`0.0` | a number >= 0 and < 1 | The share of ")
    assert "name" not in "".join(line.split("|")[1] for line in tables()["protocol"].splitlines())


def test_an_unknown_table_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        with_tables("<!-- keys of nothing -->\n<!-- end of keys -->")
