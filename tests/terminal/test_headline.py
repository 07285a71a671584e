"""`run` ends with a table of arms that stays readable in 80 columns."""

import csv

from pipeline.terminal import headline

LOST = {"lost": 1, "ended": 10, "reference_lost": 0, "reference_ended": 10}


def contrast(arm, **changed):
    """Return the columns of a contrast that the table reads."""
    return {
        "arm": arm,
        "metric": "test_accuracy",
        "repeats": False,
        "setting": '{"stochastic_depth": {"survival": 0.8}}',
        "baseline_mean": 0.931,
        "arm_mean": 0.956,
        "difference": 0.025,
        "low": 0.014,
        "high": 0.036,
        "verdict": "inconclusive",
        "below_margin": False,
        "withheld": True,
        **LOST,
        **changed,
    }


def test_a_long_verdict_leaves_the_names_of_arms_whole(tmp_path, monkeypatch, capsys):
    rows = [contrast("dropout_and_augmentation"), contrast("dropout", withheld=False)]
    (tmp_path / "tiny").mkdir()
    with (tmp_path / "tiny/contrasts.csv").open("w", newline="") as file:
        written = csv.DictWriter(file, rows[0])
        written.writeheader()
        written.writerows(rows)
    monkeypatch.setattr(headline, "ARTIFACTS", tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    headline.show_headline("tiny")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines if "95.6 %" in line]
    assert names == ["dropout_and_augmentation", "dropout"]
