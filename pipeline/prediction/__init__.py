"""Prediction: the members of a trained network, before anything is averaged or scored.

Stands above training because curves and selection look at the same members as the report.
"""
