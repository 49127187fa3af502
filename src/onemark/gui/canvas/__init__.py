"""The layers of the radiograph in view."""
