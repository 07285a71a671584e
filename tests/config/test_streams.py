"""Seeds depend on every name, and on nothing else."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.streams import Streams, derive


def test_fixed_for_ever():
    """A change of this value would silently change every run."""
    assert derive(0, "noise", "dropout", "head.1", 3) == 4069179742352558269


@given(st.integers(0, 2**63 - 1), st.lists(st.text(max_size=5) | st.integers(0, 99), max_size=4))
def test_fits_a_generator(seed, names):
    assert 0 <= derive(seed, *names) < 2**63


def test_names_do_not_run_together():
    paths = [
        (1, "a", "b"),
        (1, "ab"),
        (1, "a", 1),
        (1, "a", "1"),
        (1, "a1"),
        (11, "a"),
        (1, 1, "a"),
        (1, "b", "a"),
    ]
    assert all(derive(*one) != derive(*other) for one, other in itertools.combinations(paths, 2))


def test_streams_of_one_seed():
    assert set(Streams.of(5).model_dump().values()) == {5}
    assert set(Streams.model_fields) == {"split", "init", "order", "augmentation", "noise"}
