"""Train one run from its identity to its weights, curve, audit and counted cost."""
