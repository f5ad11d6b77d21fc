"""Layers for the frameworks: thin fronts that translate names and layouts."""
