"""Elementwise functions as C, for scalars and vectors."""
