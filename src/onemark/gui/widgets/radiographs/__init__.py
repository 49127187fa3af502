"""The list of radiographs: its table and the panel around it."""
