"""Models: one file each, with CARD and build(); torch is imported inside build."""
