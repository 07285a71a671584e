"""Mirror the records in Weights & Biases; the records are the truth."""
