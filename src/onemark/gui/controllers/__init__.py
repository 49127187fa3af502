"""What the window does: open, train, review, export. Built on the session and the canvas; knows no widget."""
