"""Photographs that stay photographs: colours move, by regions, and details do not."""
