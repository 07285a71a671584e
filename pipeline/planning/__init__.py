"""Plan the runs of a phase and their fingerprints from the settings files."""
