"""Lowered programs: the loop IR, its text, and what verifies it."""
