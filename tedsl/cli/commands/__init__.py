"""One file per command; `tedsl.cli` finds them by their names."""
