"""How a radiograph is shown: decoding, contrast, evidence, and predictions while a training runs."""
