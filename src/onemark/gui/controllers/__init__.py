"""What the window does: open, train, review, export."""
