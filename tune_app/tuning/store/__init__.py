"""The results store's writer."""
