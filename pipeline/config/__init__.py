"""Read settings: strict documents, the plan they resolve to, and the seeds of every run."""
