"""Runtime: errors, atomic files, locks, signals and progress. Imports no other folder."""
