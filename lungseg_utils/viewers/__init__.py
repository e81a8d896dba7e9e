"""Viewers: slices, the pages of cases and prompts, and with a kernel the playground."""
