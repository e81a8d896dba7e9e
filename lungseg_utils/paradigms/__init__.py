"""Paradigms (training regimes): one file each, with CARD and prepare()."""
