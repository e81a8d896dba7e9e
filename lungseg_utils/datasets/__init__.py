"""Data sets: one file each, with CARD, cases(root) and load(case)."""
