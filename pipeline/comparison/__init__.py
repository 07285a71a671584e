"""Comparison: which strength, which difference, how sure. Frames and arrays in, values out."""
