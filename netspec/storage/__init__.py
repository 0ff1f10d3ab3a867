"""Files that are there whole or not at all, and the build folder made of them."""
