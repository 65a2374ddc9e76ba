"""Style transfer: statistics of a network's features, and pictures that have them."""
