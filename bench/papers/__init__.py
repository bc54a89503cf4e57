"""Results of papers, made again from their formulas and settings."""
