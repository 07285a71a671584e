"""Imports without garbage collection: what is there is exempt from it, what comes later is not."""

import gc
import weakref

from pipeline.runtime.imports import without_collection


class Cycle:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.self = self


def test_nothing_is_collected_meanwhile_and_cycles_are_freed_afterwards():
    exempt = gc.get_freeze_count()
    with without_collection():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= exempt + len(kept)
    later = weakref.ref(Cycle())
    gc.collect()
    assert later() is None


def test_where_collection_is_off_it_stays_off():
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
