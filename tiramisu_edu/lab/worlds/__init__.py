"""The embedded data sets, and pictures of one's own."""
