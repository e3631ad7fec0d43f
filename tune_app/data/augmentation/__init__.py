"""Augmentation of training images in batches."""
