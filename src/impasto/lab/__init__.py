"""The laboratory: what networks see, and which options are best."""
