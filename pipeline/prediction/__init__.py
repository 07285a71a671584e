"""Predict with a trained network: its members, before anything is averaged or scored.

It is below training in the imports: curves and selection use the same members as the report.
"""
