"""Execution: the same runs on one machine or many, and how a stage starts and ends."""
