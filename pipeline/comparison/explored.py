"""Define the tables of exploration: the settings tried, and whether each search was a fair one."""

from pipeline.records.runs import STATES

FEWEST = 4  # seeds of an interval that is shown; with two or three it fills the figure
VALIDATION = (
    *("validation_accuracy", "validation_accuracy_low", "validation_accuracy_high"),
    *("validation_nll", "fitted"),
)
TRIED = (
    *("study", "arm", "setting", "budget", "n", *VALIDATION, "chosen", "collapsed"),
    *("scores", "changes", "change", *STATES),
)
GAIN = ("gain", "gain_low", "gain_high")
SEARCHES = (
    *("study", "arm", "trials", "whole_trials", "first_trials", "seeds"),
    *("ordered", "edge", "at_bound", "place"),
    *("exhausted", "widened", *GAIN, "chosen"),
)
