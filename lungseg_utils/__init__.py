"""Executable benchmark of lung-tumor segmentation: the package behind the notebooks and the book."""

__version__ = "0.1.0"
