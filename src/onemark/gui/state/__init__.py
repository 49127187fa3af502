"""What the window knows and keeps. Nothing in this room imports Qt or napari, or any other room of the window."""
