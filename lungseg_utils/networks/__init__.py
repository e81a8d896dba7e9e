"""Network adapters that several models share; torch lives here."""

from .torchvision_cpu import ensure_torchvision

ensure_torchvision()
