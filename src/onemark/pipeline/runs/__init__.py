"""A run on the disk: its folder, its configuration and life, who holds it, and runs at an address."""
