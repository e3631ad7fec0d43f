"""The only rooms that know Ray: the Trainable, searchers, schedulers, the store's writer, the runner."""
