"""Trained stages for programs that do not have onemark."""
