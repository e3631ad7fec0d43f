"""Statistics over the tables of a results store."""
