"""From a schedule to loops."""
