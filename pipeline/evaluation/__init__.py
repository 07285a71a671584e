"""Evaluation: from logits with a member axis to scores, in numpy alone."""
