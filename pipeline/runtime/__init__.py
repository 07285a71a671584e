"""Provide errors, atomic files, locks, signals and progress; import no other folder."""
