"""Dense prediction: a class for every pixel."""
