"""A mutant: the product with one known defect."""

from dataclasses import dataclass
from pathlib import Path

CORE = "layers/core/actions_cache"


class NoLongerApplies(Exception):
    """Raised when a file doesn't have the text that a mutant replaces, or has it more than once."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """Replaces one text of the product by another.

    Args:
        name: what the product does then, against one of its rules.
        file: the file's path in the checkout.
        old: the text that is replaced; it occurs once.
        new: the text instead.
        tests: files of tests, or single tests, of which one has to fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def text(self, root: Path) -> str:
        """Return the file's text with the defect.

        Args:
            root: a checkout, or a copy of one.

        Raises:
            NoLongerApplies: the table has to follow the product.
        """
        text = (root / self.file).read_text()
        found = text.count(self.old)
        if found != 1:
            raise NoLongerApplies(f"{self.name}: {self.file} has {found} times, and not once: {self.old!r}")
        return text.replace(self.old, self.new)
