"""`pdctl restart`: one file per noun, and the rolling restart that they share."""
