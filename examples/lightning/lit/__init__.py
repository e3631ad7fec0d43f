"""A lightning module and an adapter for its Trainer."""
