"""The four kinds of stages, their contract, and one folder for each method."""
