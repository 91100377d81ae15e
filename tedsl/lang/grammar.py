"""Index notation as text: from characters to a tree of what was written. Nothing is evaluated here, and no name is
looked up.

    program  ::= equation { (";" | newline) equation }
    equation ::= left { "," left } "=" expr { "," expr }
    left     ::= NAME "[" [ expr { "," expr } ] "]"
    expr     ::= the operators of Python that compute something, with Python's precedence, over
                 NUMBER | NAME | NAME "[" … "]" | NAME "(" arguments ")" | "(" expr ")" | "(" expr "," … ")"

A newline ends an equation except inside brackets and where an operand is still missing; ``#`` begins a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from .errors import DefinitionError
from .functions import FUNCTIONS

# Deeper trees would exhaust Python's stack in whatever walks them; longer texts are no formula any more.
MAX_NESTING = 50
MAX_DEPTH = 150
MAX_LENGTH = 50_000

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<string>'[^'\n]*'|"[^"\n]*")
      | (?P<symbol>\*\*|//|<<|>>|<=|>=|==|!=|[-+*/%&|^]=|[-+*/%&|^~<>=,;()\[\]])
    """,
    re.VERBOSE,
)
_CLOSE = {"(": ")", "[": "]"}
_HINTS = {
    "and": "write & (with parentheses around comparisons)",
    "or": "write | (with parentheses around comparisons)",
    "not": "write ~ (with parentheses around comparisons)",
    "if": "write where(condition, a, b)",
    "else": "write where(condition, a, b)",
    "lambda": "pass the function as a keyword and call it by name",
    "@": "write the product as a sum over an axis: sum(A[i,k] * B[k,j])",
    ".": "a definition holds numbers, names, indexed tensors, operators and functions",
    ":": "slices are for tensors in Python; here every index is an expression in axes",
    "!": "write ~ for not, != for a comparison",
    "{": "write parentheses",
}
_BINARY = {f.symbol: f for f in FUNCTIONS.values() if f.symbol and f.arity == 2}
_UNARY = {"-": "negative", "~": "invert", "+": ""}
_UNARY_PRECEDENCE = FUNCTIONS["negative"].precedence


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # number, name, string, symbol, newline, end
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Node:
    """What was written.

    `kind`: number, string, name, index (of `text`), call (of `text`), apply (function `text`), tuple, component.
    """

    kind: str
    text: str
    start: int
    children: tuple[Node, ...] = ()
    keywords: tuple[tuple[str, int, Node], ...] = ()  # of a call: name, place, value
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Equation:
    """``left, … = right, …``; `left` are index nodes."""

    left: tuple[Node, ...]
    right: tuple[Node, ...]


def refuse(source: str, start: int, message: str) -> NoReturn:
    """Raise a DefinitionError that shows the line of `source` with a caret under the offending place."""
    first = source.rfind("\n", 0, start) + 1
    last = source.find("\n", first)
    line = source[first : last if last >= 0 else len(source)]
    column = start - first
    # a window on a long line
    left, right = max(column - 60, 0), column + 60
    shown = ("…" if left else "") + line[left:right] + ("…" if right < len(line) else "")
    # a tab stays a tab, so that the caret stands below what it means
    gap = re.sub(r"[^\t]", " ", ("…" if left else "") + line[left:column])
    raise DefinitionError(f"cannot read the definition: {message}\n  {shown}\n  {gap}^")


def tokens(source: str) -> list[Token]:
    """The tokens of `source`, without space and without newlines inside brackets, ended by one of kind ``end``."""
    found: list[Token] = []
    open_brackets: list[Token] = []
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            character = source[position]
            what = (
                f"the text that begins with {character} does not end"
                if character in "'\""
                else f"unexpected {character!r}"
            )
            refuse(source, position, f"{what}; {_HINTS.get(character, _HINTS['.'])}")
        kind, text = str(match.lastgroup), match.group()
        if kind == "name" and not text.isascii():
            from unicodedata import normalize

            text = normalize("NFKC", text)  # as Python does with the keywords that it is matched to
        token = Token(kind, text, position)
        position = match.end()
        if text in ("(", "["):
            open_brackets.append(token)
        elif text in (")", "]") and kind == "symbol":
            if not open_brackets:
                refuse(source, token.start, f"this {text} closes nothing")
            if _CLOSE[open_brackets[-1].text] != text:
                refuse(
                    source,
                    token.start,
                    f"expected {_CLOSE[open_brackets[-1].text]} to close the {open_brackets[-1].text}, found {text}",
                )
            open_brackets.pop()
        if kind != "space" and not (kind == "newline" and open_brackets):
            found.append(token)
    if open_brackets:
        refuse(
            source,
            len(source.rstrip()),
            f"expected {_CLOSE[open_brackets[-1].text]} to close the {open_brackets[-1].text}, found the end",
        )
    found.append(Token("end", "", len(source)))
    return found


def parse(source: str) -> list[Equation]:
    """The equations of `source`. Raises DefinitionError, with a caret under the place, for what is none."""
    if len(source) > MAX_LENGTH:
        raise DefinitionError(
            f"cannot read the definition: it has {len(source)} characters; at most {MAX_LENGTH} are read. Split "
            f"it into several tensors",
        )
    return _Parser(source).program()


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokens(source)
        self.position = 0
        self.nesting = 0

    @property
    def now(self) -> Token:
        return self.tokens[self.position]

    def take(self) -> Token:
        token = self.now
        self.position += 1
        return token

    def at(self, *symbols: str) -> bool:
        return self.now.kind == "symbol" and self.now.text in symbols

    def expect(self, symbol: str, after: str) -> Token:
        if not self.at(symbol):
            self.unexpected(f"{symbol} {after}")
        return self.take()

    def unexpected(self, wanted: str) -> NoReturn:
        token = self.now
        what = {"end": "the end", "newline": "the end of the line"}.get(token.kind, token.text)
        hint = f"; {_HINTS[token.text]}" if token.text in _HINTS else ""
        refuse(self.source, token.start, f"expected {wanted}, found {what}{hint}")

    def program(self) -> list[Equation]:
        equations: list[Equation] = []
        while True:
            while self.at(";") or self.now.kind == "newline":
                self.take()
            if self.now.kind == "end":
                break
            equations.append(self.equation())
            if not (self.at(";") or self.now.kind in ("newline", "end")):
                self.unexpected("an operator, or the end of the equation")
        if not equations:
            refuse(self.source, 0, "it is empty; write an equation such as C[i,j] = sum(A[i,k] * B[j,k])")
        return equations

    def equation(self) -> Equation:
        left = [self.left()]
        while self.at(","):
            self.take()
            left.append(self.left())
        if self.at("=="):
            self.unexpected("= after the left side")
        if self.now.text in ("+=", "-=", "*="):
            self.unexpected("= after the left side (what is summed stands in sum(…) on the right)")
        if not self.at("="):
            self.unexpected("= after the left side")
        self.take()
        right = [self.expression()]
        while self.at(","):
            self.take()
            right.append(self.expression())
        if self.at("="):
            self.unexpected(
                "an operator, or the end of the equation (a comparison is ==, equations are separated by ;)"
            )
        return Equation(tuple(left), tuple(right))

    def left(self) -> Node:
        name = self.now
        if name.kind != "name":
            self.unexpected("the name of the tensor that is defined, as in C[i,j] = …")
        self.take()
        if not self.at("["):
            self.unexpected(f"[ after {name.text} (a tensor without dimensions is {name.text}[])")
        return self.index(name)

    def index(self, name: Token) -> Node:
        self.take()
        items: list[Node] = []
        if self.at("(") and self.tokens[self.position + 1].text == ")" and self.tokens[self.position + 2].text == "]":
            self.position += 2  # L[()], as in Python
        while not self.at("]"):
            items.append(self.expression())
            if not self.at("]"):
                self.expect(",", f"or ] after an index of {name.text}")
        self.take()
        return Node("index", name.text, name.start, tuple(items), depth=_depth(items))

    def deeper(self, start: int) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            refuse(
                self.source,
                start,
                f"it is nested more than {MAX_NESTING} deep here; define a part of it as a tensor of its own",
            )

    def expression(self, minimum: int = 0) -> Node:
        """Operators of at least precedence `minimum`, by precedence climbing."""
        self.deeper(self.now.start)
        node = self.operand()
        while self.now.kind == "symbol" and self.now.text in _BINARY:
            function = _BINARY[self.now.text]
            if function.precedence < minimum:
                break
            token = self.take()
            # ** groups to the right, everything else to the left
            right = self.expression(function.precedence + (function.symbol != "**"))
            if (
                function.kind == "compare"
                and self.now.kind == "symbol"
                and self.now.text in _BINARY
                and _BINARY[self.now.text].kind == "compare"
            ):
                refuse(self.source, self.now.start, "comparisons do not chain; write (a < b) & (b < c)")
            depth = 1 + max(node.depth, right.depth)
            if depth > MAX_DEPTH:
                refuse(
                    self.source,
                    token.start,
                    f"more than {MAX_DEPTH} operators hang together here; define a part of it as a tensor of its own",
                )
            node = Node("apply", function.name, token.start, (node, right), depth=depth)
        self.nesting -= 1
        return node

    def operand(self) -> Node:
        while self.now.kind == "newline":
            self.take()
        token = self.now
        if token.kind == "symbol" and token.text in _UNARY:
            self.take()
            operand = self.expression(_UNARY_PRECEDENCE)
            return (
                Node("apply", _UNARY[token.text], token.start, (operand,), depth=operand.depth + 1)
                if _UNARY[token.text]
                else operand
            )
        if token.kind in ("number", "string"):
            self.take()
            return Node(token.kind, token.text if token.kind == "number" else token.text[1:-1], token.start)
        if token.kind == "name" and token.text not in _HINTS:
            self.take()
            if self.at("["):
                return self.index(token)
            if self.at("("):
                return self.component(self.call(token))
            return Node("name", token.text, token.start)
        if self.at("("):
            return self.parenthesis()
        self.unexpected("a number, a tensor's element, an axis or a function")

    def parenthesis(self) -> Node:
        start = self.take().start
        items = []
        is_tuple = False
        while not self.at(")"):
            items.append(self.expression())
            if not self.at(")"):
                self.expect(",", "or ) here")
                is_tuple = True
        self.take()
        if is_tuple or not items:
            return Node("tuple", "", start, tuple(items), depth=_depth(items))
        return items[0]

    def call(self, name: Token) -> Node:
        self.take()
        arguments: list[Node] = []
        keywords: list[tuple[str, int, Node]] = []
        while not self.at(")"):
            after = self.tokens[self.position + 1]
            if self.now.kind == "name" and after.kind == "symbol" and after.text == "=":
                keyword = self.take()
                self.take()
                if keyword.text in [k for k, _, _ in keywords]:
                    refuse(self.source, keyword.start, f"{keyword.text}= is given twice")
                keywords.append((keyword.text, keyword.start, self.expression()))
            elif keywords:
                refuse(
                    self.source,
                    self.now.start,
                    f"an argument without a name stands before those with one in {name.text}(…)",
                )
            else:
                arguments.append(self.expression())
            if not self.at(")"):
                self.expect(",", f"or ) in the arguments of {name.text}")
        self.take()
        return Node(
            "call",
            name.text,
            name.start,
            tuple(arguments),
            tuple(keywords),
            _depth([*arguments, *(v for _, _, v in keywords)]),
        )

    def component(self, node: Node) -> Node:
        """``f(…)[0]``: a component of a reduction over a tuple."""
        if not self.at("["):
            return node
        start = self.take().start
        number = self.now
        if number.kind != "number" or not number.text.isdigit():
            self.unexpected(f"a whole number: only a component of {node.text}(…) can be taken")
        self.take()
        self.expect("]", "after the component")
        return Node("component", number.text, start, (node,), depth=node.depth + 1)


def _depth(nodes: list[Node]) -> int:
    return 1 + max((node.depth for node in nodes), default=0)
