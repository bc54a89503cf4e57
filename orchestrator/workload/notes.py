"""What a reader left out, for the user to know."""

from __future__ import annotations

from collections import Counter


class Notes:
    """Counts things left out by their reason, as text that follows a number: "failed requests (0 response tokens)"."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    def leave_out(self, what: str, count: int = 1) -> None:
        """`count` more of `what` are left out."""
        if count:
            self.left_out[what] += count

    def lines(self) -> list[str]:
        """One sentence for each reason."""
        return [f"left out: {count:,} {what}" for what, count in self.left_out.items()]
