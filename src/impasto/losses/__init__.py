"""How far features are from those of a style or a photograph."""
