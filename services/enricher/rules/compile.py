"""A Sigma condition as one Python function, and what an event must equal for it to be true at all.

The function's source is put together from fixed pieces and the names of constants, and compiled once per rule and log
source; values of rules never become source text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import (
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaType,
)

from schemas.codegen import Code
from schemas.events import Event
from services.enricher.rules.fields import WORDS, Access, Fields
from services.enricher.rules.texts import RuleError, TextCheck, keyword_check, search_any, text_check
from services.enricher.rules.values import HAYSTACK, compares, loose, same

Predicate = Callable[[dict[str, Any], Event], bool]
Needed = dict[str, frozenset[str]]
"""By field, the texts (in lower case) of which an event must have one; without an entry, anything may match."""

_MANY, _SHORT = 6, 200
"""From so many texts on, what a short value holds is remembered: reasons and names come again and again."""
_NESTED = 60
_OPERATORS = {"LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}


class Compiled(NamedTuple):
    """A rule's conditions, compiled for one log source. `keys`: of these keys at the top of its data an event must have
    one; None where it may have any."""

    predicate: Predicate
    needed: Needed
    keys: frozenset[str] | None


def compile_conditions(conditions: Iterable[Any], fields: Fields, known: Needed | None = None) -> Compiled:
    """The predicate of a rule: true where one of its conditions is. `known` is what the index has already made sure
    of, and so is not looked at again. Raises RuleError."""
    compiler = _Compiler(fields, known or {})
    joined = compiler.joined(conditions)
    return Compiled(compiler.function("d, e", joined.source), joined.needed, joined.keys)


def check_conditions(conditions: Iterable[Any], fields: Fields) -> Needed:
    """What an event must have for a rule's conditions, which can be compiled: nothing is, unless it is nested so deeply
    that Python may not take it. Raises RuleError."""
    compiler = _Checker(fields, {})
    joined = compiler.joined(conditions)
    compiler.function("d, e", joined.source)
    return joined.needed


class _Piece(NamedTuple):
    source: str
    needed: Needed
    keys: frozenset[str] | None = None


class _Compiler:
    def __init__(self, fields: Fields, known: Needed) -> None:
        self._fields = fields
        self._known = known
        self._code = Code(loose=loose, bool=bool, int=int, len=len)
        self._constant = self._code.constant

    def function(self, arguments: str, expression: str) -> Any:
        try:
            return self._code.function(arguments, expression)
        except ValueError as error:
            raise RuleError(str(error)) from None

    def joined(self, conditions: Iterable[Any]) -> _Piece:
        """All conditions as one: true where one of them is."""
        pieces = [self.condition(condition) for condition in conditions]
        if not pieces:
            raise RuleError("no condition")
        either = _either(pieces)
        return either._replace(source=f"bool({either.source})")

    def condition(self, node: Any) -> _Piece:
        if isinstance(node, ConditionAND):
            return _both([self.condition(child) for child in node.args])
        if isinstance(node, ConditionOR):
            return self._or(node.args)
        if isinstance(node, ConditionNOT):
            return _Piece(f"(not {self.condition(node.args[0]).source})", {})
        if isinstance(node, ConditionFieldEqualsValueExpression):
            return self._field(node.field, [node.value])
        if isinstance(node, ConditionValueExpression):
            return self._keyword(node.value)
        raise RuleError(f"a condition of type {type(node).__name__} is not known")

    def _or(self, nodes: list[Any]) -> _Piece:
        """Values of one field that are linked by `or` are tested together."""
        grouped: dict[str, list[SigmaType]] = {}
        pieces = []
        for node in nodes:
            if isinstance(node, ConditionFieldEqualsValueExpression):
                grouped.setdefault(node.field, []).append(node.value)
            else:
                pieces.append(self.condition(node))
        pieces += [self._field(field, values) for field, values in grouped.items()]
        return _either(pieces)

    def _field(self, field: str, values: list[SigmaType]) -> _Piece:
        """One field against several values, of which one must fit."""
        checks: list[TextCheck] = []
        pieces: list[_Piece] = []
        for value in _expanded(values):
            if isinstance(value, SigmaNull):
                pieces.append(_Piece(f"({self._access(field)} is None)", {}))
            elif isinstance(value, SigmaExists):
                found = self._expression(self._fields.presence(field))
                source, keys = (found, self._fields.keys(field)) if value.exists else (f"(not {found})", None)
                pieces.append(_Piece(source, {}, keys))
            elif isinstance(value, SigmaCompareExpression):
                pieces.append(self._comparison(field, _OPERATORS[value.op.name], value.number.number))
            elif isinstance(value, SigmaFieldReference):
                test_pair = self._constant(same(starts=value.starts_with, ends=value.ends_with))
                pair = f"{test_pair}({self._access(field)}, {self._access(value.field)})"
                pieces.append(_Piece(pair, {}, self._fields.keys(field)))
            else:
                checks.append(text_check(value))
        if checks:
            pieces.append(self._text_checks(field, checks))
        return _either(pieces)

    def _comparison(self, field: str, operator: str, limit: float) -> _Piece:
        number, test = self._constant(limit), self._constant(compares(operator, limit))
        source = f"((v {operator} {number}) if type(v := {self._access(field)}) is int else v is not None and {test}(v))"
        return _Piece(source, {}, self._fields.keys(field))

    def _text_checks(self, field: str, checks: list[TextCheck]) -> _Piece:
        keys = self._fields.keys(field)
        if any(check.kind == "any" for check in checks):
            return _Piece(f"({self._access(field)} is not None)", {}, keys)
        plain = all(check.kind == "equals" for check in checks)
        texts = frozenset(check.text.lower() for check in checks)
        if (
            plain
            and field in self._known
            and self._known[field] <= texts
            and not any(check.cased for check in checks)
        ):
            return _Piece(self._constant(True), {field: texts}, keys)
        if plain and field == WORDS:
            return _Piece(f"(not {self._constant(texts)}.isdisjoint({self._access(field)}))", {field: texts})
        expression = self._text_expression("v", checks)
        other = self._constant(self.function("v", expression))
        access = self._access(field)
        source = f"({expression} if type(v := {access}) is str else v is not None and loose(v, {other}))"
        return _Piece(source, {field: texts} if plain else {}, keys)

    def _text_expression(self, variable: str, checks: list[TextCheck]) -> str:
        """An expression over a string variable: true where one of the checks is."""
        pieces = []
        for cased in (False, True):
            subject = variable if cased else f"{variable}.lower()"
            chosen = [
                check for check in checks if check.cased is cased and check.kind not in ("call", "pattern")
            ]
            for kind in ("equals", "starts", "ends", "contains"):
                texts = tuple(dict.fromkeys(check.text for check in chosen if check.kind == kind))
                if texts:
                    pieces.append(self._compare(kind, subject, texts))
        pieces += [f"{self._constant(check.test)}({variable})" for check in checks if check.kind == "call"]
        patterns = [check.text for check in checks if check.kind == "pattern"]
        if patterns:
            pieces.append(f"{self._constant(search_any(patterns))}({variable})")
        return pieces[0] if len(pieces) == 1 else f"({' or '.join(pieces)})"

    def _compare(self, kind: str, subject: str, texts: tuple[str, ...]) -> str:
        if len(texts) == 1 and kind in ("equals", "contains"):
            constant = self._constant(texts[0])
            return f"({subject} == {constant})" if kind == "equals" else f"({constant} in {subject})"
        if kind == "equals":
            return f"({subject} in {self._constant(frozenset(texts))})"
        if kind == "contains":
            test = self._constant(_contains_any(texts))
            if len(texts) < _MANY:
                return f"{test}({subject})"
            remembered = self._constant(lru_cache(maxsize=1024)(_contains_any(texts)))
            return f"({remembered}(t) if len(t := {subject}) <= {self._constant(_SHORT)} else {test}(t))"
        return f"{subject}.{kind}with({self._constant(texts)})"

    def _keyword(self, value: SigmaType) -> _Piece:
        """A value without a field is looked for anywhere in the event."""
        if isinstance(value, SigmaExpansion):
            return _either([self._keyword(item) for item in value.values])
        check = keyword_check(value)
        if check.kind in ("call", "pattern"):
            test = check.test if check.kind == "call" else search_any([check.text])
            return _Piece(f"{self._constant(test)}({self._constant(HAYSTACK.raw)}(e))", {})
        where = HAYSTACK.raw if check.cased else HAYSTACK.lower
        return _Piece(f"({self._constant(check.text)} in {self._constant(where)}(e))", {})

    def _access(self, field: str) -> str:
        return self._expression(self._fields.access(field))

    def _expression(self, access: Access) -> str:
        if access.constant is None:
            return access.expression
        return access.expression.format(self._constant(access.constant))


class _Checker(_Compiler):
    """Compiles only what may be nested too deeply: Python takes 200 parentheses within each other."""

    def function(self, arguments: str, expression: str) -> Any:
        return super().function(arguments, expression) if expression.count("(") > _NESTED else None


def _contains_any(texts: tuple[str, ...]) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        for wanted in texts:  # noqa: SIM110 - a generator would cost as much as the search
            if wanted in text:
                return True
        return False

    return test


def _expanded(values: Iterable[SigmaType]) -> Iterable[SigmaType]:
    for value in values:
        if isinstance(value, SigmaExpansion):
            yield from _expanded(value.values)
        else:
            yield value


def _both(pieces: list[_Piece]) -> _Piece:
    needed: Needed = {}
    for piece in pieces:
        for field, texts in piece.needed.items():
            # Not both sets cut with each other: one item of a list may be in the one, another in the other.
            needed[field] = min(texts, needed[field], key=len) if field in needed else texts
    keys = min((piece.keys for piece in pieces if piece.keys is not None), key=len, default=None)
    return _Piece(f"({' and '.join(piece.source for piece in pieces)})", needed, keys)


def _either(pieces: list[_Piece]) -> _Piece:
    if len(pieces) == 1:
        return pieces[0]
    fields = set.intersection(*(set(piece.needed) for piece in pieces))
    needed = {field: frozenset().union(*(piece.needed[field] for piece in pieces)) for field in fields}
    keys: frozenset[str] | None = frozenset()
    for piece in pieces:
        keys = None if keys is None or piece.keys is None else keys | piece.keys
    return _Piece(f"({' or '.join(piece.source for piece in pieces)})", needed, keys)
