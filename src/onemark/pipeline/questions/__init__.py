"""Single landmarks to have a person place: which ones, how to ask, and what the answers showed."""
