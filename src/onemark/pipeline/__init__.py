"""From a recipe to a fitted model: recipes, the trainer, run folders, suggestions."""
