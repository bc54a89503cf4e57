"""Small data files that ship with the package."""

from pathlib import Path

AZURE_CONV_SAMPLE = Path(__file__).parent / "azure_conv_sample.csv.gz"
