"""Labelled sets of pictures, and painted copies of them."""
