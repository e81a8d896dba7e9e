"""One module per row: `ROW`, and `prepare(setting)`, which returns the work ready to be timed."""
