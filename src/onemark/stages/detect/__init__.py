"""Stage II: detectors trained on pseudo-labels that they know to be noisy."""
