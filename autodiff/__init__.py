"""Gradients of index expressions, as index expressions."""
