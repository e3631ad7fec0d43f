"""Reading a results store."""
