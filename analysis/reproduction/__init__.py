"""Published results compared with ours."""
