"""Define the levels at which everything is tested, estimated and planned."""

LEVEL = 0.05  # of every test; intervals are at 1 - LEVEL
POWER = 0.8  # of a detectable difference
