"""Sources of images: one module each."""
