"""The pages of the five steps. Each shows the session and turns clicks into calls of the controllers, nothing else."""
