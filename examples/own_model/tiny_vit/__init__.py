"""A vision transformer for the built-in training loop."""
