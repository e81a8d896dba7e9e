"""What a segmenter is told about a lesion: boxes, lines, clicks, how people err in drawing them, and the ladder of all rungs."""
