"""One module per topic. Each row is a function under `@row` that returns the work ready to be timed; its name is the row's key."""
