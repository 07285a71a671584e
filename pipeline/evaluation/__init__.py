"""Score predictions: from logits with a member axis to metrics, in numpy alone."""
