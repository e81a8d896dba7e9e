"""Prompts: boxes, lines, clicks, errors in drawing them, and the ladder of all prompt settings."""
