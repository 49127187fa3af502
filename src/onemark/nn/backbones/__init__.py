"""Networks that read a radiograph, and the weights they start from."""
