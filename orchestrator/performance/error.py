"""What is wrong with a catalog, a name looked up in it, or what was asked of an entry."""

from __future__ import annotations


class CatalogError(Exception):
    """str() is one line: what is wrong, where, what to do."""

    def __init__(self, what: str, where: str, do: str) -> None:
        super().__init__(f"{what}; {where}; {do}")
        self.what = what
        self.where = where
        self.do = do
