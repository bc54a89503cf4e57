"""`pdctl describe`: one file per noun."""
