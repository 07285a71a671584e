"""Planning: from settings files to the planned runs of a phase and their fingerprints."""
