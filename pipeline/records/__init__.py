"""The records of runs: the only truth about what was trained."""
