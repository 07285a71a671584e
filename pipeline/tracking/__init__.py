"""Tracking: a mirror of the records in Weights & Biases. The records are the truth."""
