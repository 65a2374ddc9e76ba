"""Data sets, one file each: real data first, verified before use, never silently replaced."""
