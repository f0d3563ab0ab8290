"""Pictures: read, written, resized, recoloured, masked, cut into tiles."""
