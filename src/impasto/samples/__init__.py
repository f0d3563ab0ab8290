"""Pictures to begin with."""
