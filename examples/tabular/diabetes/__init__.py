"""Regression on tabular data with torch."""
