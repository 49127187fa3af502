"""How wrong each landmark may be: expected errors, learned without labels and recalibrated with every correction."""
