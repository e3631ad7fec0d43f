"""One file for each picture: computed tables in, a picture with its words out. Nothing here computes a verdict."""
