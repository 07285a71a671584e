"""Plain lines where nobody watches: a few, whatever the pieces in which work ends."""

import pytest

from pipeline.runtime.progress import STEPS, progress


@pytest.mark.parametrize("piece", [1, 7, 30, 100])
def test_a_few_lines_and_the_last_is_whole(capsys, piece):
    with progress("images", 100) as tally:
        for start in range(0, 100, piece):
            tally.add("done", min(piece, 100 - start))
    lines = capsys.readouterr().out.splitlines()
    assert 1 <= len(lines) <= STEPS
    assert lines[-1].startswith("images: 100/100 ended")


def test_of_no_job_nothing_is_drawn(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress("images", 0):
        pass
    assert capsys.readouterr() == ("", "")
