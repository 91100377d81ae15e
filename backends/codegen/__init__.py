"""What the printers of all targets share."""
