"""Datasets: their layouts, one file each, and where their photographs are stored."""
