"""The primitives of a schedule: arguments, rewrite and legality of each."""
