"""The grammar of formulas: text -> tree, with the column of every part. Nothing is ever evaluated as code.

    sum     = product { ("+" | "-") product }
    product = factor { ("*" | "/") factor }
    factor  = "-" factor | number | name | name "(" sum { "," sum } ")" | "(" sum ")"

A name is a letter, then letters, digits, `_`, and a prime at the end (`Pog'`); any other name stands in single
quotes (`'soft-tissue pogonion'`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_TOKENS, MOST_DEPTH = 500, 50

_TOKEN = re.compile(
    r"(?P<number>(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*'?)|'(?P<quoted>[^']+)'|(?P<mark>[-+*/(),])"
)


class FormulaError(ValueError):
    """A formula is wrong; `at` is the place in its text, counted from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True)
class Number:
    """A plain number."""

    value: float
    at: int


@dataclass(frozen=True)
class Name:
    """A landmark, a named point or line, or a measurement; the place in the formula decides which."""

    text: str
    at: int


@dataclass(frozen=True)
class Negative:
    """Minus something."""

    inner: Node
    at: int


@dataclass(frozen=True)
class Operation:
    """Two numbers joined by `+`, `-`, `*` or `/`; `at` is the place of the sign."""

    sign: str
    left: Node
    right: Node
    at: int


@dataclass(frozen=True)
class Call:
    """A function of its arguments."""

    function: str
    arguments: tuple[Node, ...]
    at: int


Node = Number | Name | Negative | Operation | Call


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_formula(text: str) -> Node:
    """The tree of a formula.

    Raises:
        FormulaError: the text does not follow the grammar, or is too long.
    """
    tokens = list(_tokens(text))
    if len(tokens) > MOST_TOKENS:
        raise FormulaError(f"a formula may have {MOST_TOKENS} parts, this one has more; split it in two", 0)
    return _Parser(tokens, len(text)).whole()


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise FormulaError(f"{text[at]!r} has no meaning in a formula", at)
        kind = next(name for name in ("number", "name", "quoted", "mark") if found[name] is not None)
        yield _Token(kind, found[kind], at)
        at = found.end()


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[_Token], end: int) -> None:
        self.tokens = [*tokens, _Token("end", "", end)]
        self.place = self.depth = 0

    def whole(self) -> Node:
        node = self.sum()
        if self.now.kind != "end":
            raise FormulaError(f"{self.now.text!r} was not expected here", self.now.at)
        return node

    @property
    def now(self) -> _Token:
        return self.tokens[self.place]

    def take(self, *marks: str) -> _Token | None:
        """The present token when it is one of these marks; it is then behind us."""
        token = self.now
        if token.kind != "mark" or token.text not in marks:
            return None
        self.place += 1
        return token

    def need(self, mark: str) -> None:
        if self.take(mark) is None:
            found = repr(self.now.text) if self.now.text else "the end"
            raise FormulaError(f"{mark!r} is missing before {found}", self.now.at)

    def sum(self) -> Node:
        node = self.product()
        while sign := self.take("+", "-"):
            node = Operation(sign.text, node, self.product(), sign.at)
        return node

    def product(self) -> Node:
        node = self.factor()
        while sign := self.take("*", "/"):
            node = Operation(sign.text, node, self.factor(), sign.at)
        return node

    def factor(self) -> Node:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise FormulaError(f"more than {MOST_DEPTH} levels of brackets", self.now.at)
        try:
            return self.inner_factor()
        finally:
            self.depth -= 1

    def inner_factor(self) -> Node:
        if minus := self.take("-"):
            return Negative(self.factor(), minus.at)
        if self.take("("):
            node = self.sum()
            self.need(")")
            return node
        token = self.now
        if token.kind in ("mark", "end"):
            found = repr(token.text) if token.text else "the end"
            raise FormulaError(f"a number, a name or a bracket is missing before {found}", token.at)
        self.place += 1
        if token.kind == "number":
            return Number(_finite(token), token.at)
        if token.kind == "name" and self.take("("):
            return Call(token.text, self.arguments(), token.at)
        return Name(token.text, token.at)

    def arguments(self) -> tuple[Node, ...]:
        found = [self.sum()]
        while self.take(","):
            found.append(self.sum())
        self.need(")")
        return tuple(found)


def _finite(token: _Token) -> float:
    value = float(token.text)
    if not math.isfinite(value):
        raise FormulaError(f"{token.text[:20]!r} is too large a number", token.at)
    return value
