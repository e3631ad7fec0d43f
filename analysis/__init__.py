"""Reads a results store and says what it shows: effects, plots, a report."""
