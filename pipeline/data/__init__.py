"""Read datasets: sources, splits, batches and checks."""
