"""Agreement of observers: people who annotated the same radiographs, and the model as one more of them."""
