"""The five steps' pages. Each shows the session and turns presses into calls of the controllers, nothing else."""
