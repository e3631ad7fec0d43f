"""A trial config: everything that determines one training run."""
