"""Loss landscapes on Ray."""
