"""`python -m services.reporter.templating.child`: renders one template, within limits that it sets itself first.

In: one JSON object on stdin, {"name", "template", "variables", "cpu_seconds", "memory_bytes"}. Out: {"text"} or {"error", "line"}.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import traceback
from difflib import get_close_matches
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.reporter.escape import Trusted, markdown, visible

_QUOTED = re.compile(r"(“[^”]*”)")
_PLAIN = re.compile(r"[\w ,.;:()%'\"/+=“”\u2013-]+")
"""Without a character that Markdown could take for its own; underscores, links and what begins a block are looked at apart."""
_NOT_PLAIN = re.compile(r"(?<![^\W_])_|_(?![^\W_])|://|www\.|(?i:\bmailto:)")
_BLOCK = re.compile(r"[^\w“(\"]|\d+[.)]")


def prose(text: str) -> str:
    """A value in Markdown: as it is where nothing in it can be markup, HTML or a link; else as code spans."""
    parts = [part for part in _QUOTED.split(visible(text)) if part]
    plain = [_PLAIN.fullmatch(part) is not None and _NOT_PLAIN.search(part) is None for part in parts]
    if plain and _BLOCK.match(parts[0].lstrip(" ")):
        plain[0] = False
    return "".join(part if is_plain else _code(part) for part, is_plain in zip(parts, plain, strict=True))


def _code(part: str) -> str:
    """A code span; blanks around it stay outside."""
    inner = part.strip(" ")
    before = part[: len(part) - len(part.lstrip(" "))]
    after = part[len(part.rstrip(" ")) :] if inner else ""
    return f"{before}{markdown(inner)}{after}" if inner else part


def shown(value: Any) -> Any:
    """What `{{ value }}` prints: lists as "a, b", nothing for null, texts escaped."""
    if isinstance(value, Trusted):
        return value
    if isinstance(value, str):
        return prose(value)
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(str(shown(item)) for item in value)
    if isinstance(value, dict):
        return prose(json.dumps(value, ensure_ascii=False, sort_keys=True))
    return value


def render(name: str, template: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The text, or what is wrong and in which line."""
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        compiled = environment.compile(template, name, name)
        made = environment.template_class.from_code(environment, compiled, environment.make_globals(None))
        return {"text": made.render(variables)}
    except TemplateSyntaxError as error:
        return {"error": str(error.message), "line": error.lineno}
    except UndefinedError as error:
        return {"error": _undefined(str(error), variables), "line": _line(error, name)}
    except SecurityError as error:
        return {"error": f"not allowed in a template: {error}", "line": _line(error, name)}
    except MemoryError:
        return {"error": "the template needs more memory than a template may have", "line": None}
    except (TemplateError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"[:500], "line": _line(error, name)}


def _undefined(said: str, variables: dict[str, Any]) -> str:
    found = re.match(r"'([^']*)' is undefined", said)
    if found is None:
        return said
    near = get_close_matches(found[1], variables, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no variable {found[1]}{hint} (there are {', '.join(sorted(variables))})"


def _line(error: BaseException, name: str) -> int | None:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return lines[-1] if lines else None


def main() -> None:
    """Reads, limits itself, renders, answers."""
    said = json.load(sys.stdin)
    cpu, memory = said["cpu_seconds"], said["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # pipes are no files
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    json.dump(render(said["name"], said["template"], said["variables"]), sys.stdout)


if __name__ == "__main__":
    main()
