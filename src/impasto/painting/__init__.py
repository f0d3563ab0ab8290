"""Painting by optimisation, step by step, from coarse to fine."""
