"""Files: what people write is read with its place in errors; what is written is written whole."""
