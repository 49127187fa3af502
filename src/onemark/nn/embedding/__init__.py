"""Dense embeddings: learning them, and finding a point again by them."""
