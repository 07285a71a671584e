"""Runtime: errors, atomic files, locks, signals and progress. Imports nothing else of this package."""
