"""Neural networks in PyTorch, enough for this book."""
