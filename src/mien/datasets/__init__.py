"""Readers and writers, one file a layout."""
