"""Compute the statistics of a report from the scores of its runs."""
