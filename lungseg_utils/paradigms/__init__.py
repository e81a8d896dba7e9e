"""Paradigms: one file each, with CARD and prepare()."""
