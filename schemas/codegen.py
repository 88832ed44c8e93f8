"""Python functions put together from fixed pieces and compiled once: a third of the cost of nested closures.

What comes from files (paths, texts, rules' values) is never written into source: it is a constant that the source
names, `c3`. So no file and no event can bring in code.
"""

from __future__ import annotations

from typing import Any


class Code:
    """The constants of one function, and the function made of them."""

    def __init__(self, **names: Any) -> None:
        self._names: dict[str, Any] = {"__builtins__": {}, "type": type, "str": str, **names}

    def constant(self, value: Any) -> str:
        """The name by which the source can use `value`."""
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    def function(self, arguments: str, expression: str) -> Any:
        """`lambda arguments: expression`. Raises ValueError where it is nested too deeply for Python."""
        source = f"lambda {arguments}: {expression}"
        try:
            return eval(source, dict(self._names))  # noqa: S307 - fixed pieces and names of constants only
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"too deeply nested to compile: {error}") from None
