"""Networks and their training, shared by several models; torch is imported here."""

from .torchvision_cpu import ensure_torchvision

ensure_torchvision()
