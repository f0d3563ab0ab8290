"""Many paintings in one go."""
