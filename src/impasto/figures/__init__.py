"""Plots and contact sheets."""
