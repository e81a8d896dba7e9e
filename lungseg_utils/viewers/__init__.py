"""Slice viewers for the book and for notebooks."""
