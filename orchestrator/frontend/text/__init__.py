"""Text to tokens and tokens to text: chat template, tokenizer, incremental detokenizer, stop strings."""

from orchestrator.frontend.text.assembler import Assembler, Piece, TextToken
from orchestrator.frontend.text.generation import GenerationCancelled, failure_of, generate
from orchestrator.frontend.text.model import TextModel
from orchestrator.frontend.text.problem import InvalidRequest
from orchestrator.frontend.text.stop import StopStrings

__all__ = [
    "Assembler",
    "GenerationCancelled",
    "InvalidRequest",
    "Piece",
    "StopStrings",
    "TextModel",
    "TextToken",
    "failure_of",
    "generate",
]
