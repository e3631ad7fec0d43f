"""The vocabulary: trial configs, search spaces, designs, studies and the results store's schema."""
