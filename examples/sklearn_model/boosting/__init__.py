"""Gradient boosting with scikit-learn."""
