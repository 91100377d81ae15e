"""Targets: what turns lowered loops into something that runs."""
