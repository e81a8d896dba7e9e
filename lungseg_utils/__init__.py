"""Executable benchmark of lung-tumor segmentation on CT: the package used by the notebooks and the book."""

__version__ = "0.1.0"
