"""What people use: the `m6` command and its page."""
