"""Gapwise: which regularizers close the train/validation gap, by how much, and at what cost."""
