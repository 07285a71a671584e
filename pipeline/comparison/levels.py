"""Define what verdicts are about, and the levels at which everything is tested and planned."""

PRIMARY = "test_accuracy"  # the metric of the verdicts
LEVEL = 0.05  # of every test; intervals are at 1 - LEVEL
POWER = 0.8  # of a detectable difference
