"""Planning: from settings files to the planned runs of a phase, and the fingerprint that names each run."""
