"""Data: sources, splits, loader, checks."""
