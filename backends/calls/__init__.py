"""What a call checks before a kernel runs."""
