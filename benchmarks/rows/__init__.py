"""One module per row: `ROW`, and `prepare(setting)`, which gives the work ready to be timed."""
