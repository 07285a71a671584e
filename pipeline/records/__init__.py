"""Read and write the records of runs, which are the only truth about what was trained."""
