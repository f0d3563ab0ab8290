"""Painting in one pass of a network, and training such networks."""
