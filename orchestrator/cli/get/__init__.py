"""`pdctl get`: one file per noun."""
