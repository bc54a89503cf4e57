"""The demo model: a small Llama that does tasks whose answers can be checked."""

from pathlib import Path

MODEL_DIR: Path = Path(__file__).parent / "model"
