"""Trains image classifiers and runs studies of them on Ray."""
