"""`te.define`: definitions from a string in index notation.

The string is parsed (`tedsl.lang.grammar`), never evaluated; here its names get their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NoReturn

import numpy as np

from . import dtypes
from .definition import define as define_tensors
from .errors import DefinitionError, here
from .expr import Axis, Const, Expr, Var, apply, as_expr, walk
from .functions import FUNCTIONS
from .grammar import Equation, Node, parse, refuse
from .reductions import REDUCERS, Reducer, reduce_expr
from .tensor import Dim, Tensor, as_dim, tensor
from .typed import cast

ALIASES = {
    "abs": "absolute",
    "pow": "power",
    "round": "rint",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "mod": "remainder",
}
CONSTANTS: Mapping[str, bool | float] = {"inf": float("inf"), "nan": float("nan"), "True": True, "False": False}
_REDUCTION_KEYWORDS = ("axis", "where", "dtype")


def define(text: str, /, **names: Any) -> Any:
    """The tensor that `text` defines in index notation; a tuple of them when it defines several.

    text: equations such as ``C[i,j] = sum(A[i,k] * B[j,k])``, separated by ``;`` or newlines. All functions and
    reductions of the language are known by their names (``exp``, ``where``, ``sum``, ``argmax`` …), with Python's
    operators; ``L[] = …`` has no dimensions; ``M[i], N[i] = …, …`` defines two tensors together.

    names: what the names in the text mean. For the name of a tensor that is read: a tensor, or a shape, which makes an
    input of float32; for one on a left side: its shape, or a tensor of `te.tensor` to define. For an axis: its extent.
    For anything else: a number, a size (`te.var`), a reducer (`te.reducer`) or a function of expressions. Names of
    sizes in the shapes may be used as they are. Kernels take the inputs in the order in which they are met in the text.

    Raises DefinitionError, with a caret under the place, for text that cannot be read, names that are not known or not
    used, and for definitions without a meaning.

    >>> import tedsl as te
    >>> te.define("C[i,j] = sum(A[i,k] * B[j,k])", A=(4, 6), B=(5, 6))
    <tensor C(4, 5) float32>
    >>> te.define("Y[y] = max(X[2*y+r])", X=(8,), r=2)
    <tensor Y(4,) float32>
    >>> print(te.define("S[0,j] = X[0,j]; S[t,j] = 0.5*S[t-1,j] + X[t,j]", X=(7, 3), S=(7, 3)))
    S[0, j] = X[0, j]; S[t, j] = 0.5 * S[t - 1, j] + X[t, j]
    """
    if not isinstance(text, str):
        raise DefinitionError(
            f"te.define takes a string such as 'C[i,j] = sum(A[i,k] * B[j,k])', not {type(text).__name__}"
        )
    try:
        made = _Names(text, parse(text), names).define()
    except RecursionError:
        raise DefinitionError(
            "cannot read the definition: it is nested too deeply; define a part of it as a tensor of its own"
        ) from None
    return made[0] if len(made) == 1 else made


class _Names:
    """What the names in one text stand for."""

    def __init__(self, text: str, equations: list[Equation], given: dict[str, Any]) -> None:
        self.text, self.equations, self.given = text, equations, given
        self.left = list(dict.fromkeys(node.text for e in equations for node in e.left))
        self.used: set[str] = set()
        self.axes = self.find_axes()
        self.tensors: dict[str, Tensor] = {}  # those of the text, by name
        self.sizes: dict[str, Var] = {}
        self.later: dict[str, int] = {}  # where a tensor of a left side is first defined
        for equation in equations:
            for node in equation.left:
                self.later.setdefault(node.text, node.start)

    def define(self) -> tuple[Tensor, ...]:
        self.declare()
        extents = self.extents()
        location = here()
        defined: dict[str, Tensor] = {}
        for equation in self.equations:
            targets = tuple(self.target(node) for node in equation.left)
            index = self.left_side(equation)
            values = self.right_side(equation)
            for target in targets:
                target.extents |= extents
            define_tensors(targets, index, values, location)
            for node, target in zip(equation.left, targets, strict=True):
                self.tensors[node.text] = defined[node.text] = target
        unused = [name for name in self.given if name not in self.used]
        if unused:
            raise DefinitionError(
                f"te.define was given {', '.join(f'{n}=' for n in unused)}, but there is no {' and no '.join(unused)} "
                f"in `{self.text.strip()}`",
            )
        return tuple(defined.values())

    # Names ------------------------------------------------------------------------------------------------------------

    def find_axes(self) -> set[str]:
        """Names that can only be axes: those on a left side, alone as an index, or in ``axis=``."""
        found: set[str] = set()
        for node in nodes(self.equations):
            if node.kind == "index":
                found |= {child.text for child in node.children if child.kind == "name"}
            for keyword, _, value in node.keywords:
                if keyword == "axis":
                    found |= {
                        n.text
                        for n in (value.children if value.kind == "tuple" else (value,))
                        if n.kind in ("name", "string")
                    }
        return found

    def declare(self) -> None:
        """Make the tensors of the keywords, left to right as they are met, and note the sizes in their shapes."""
        indexed: dict[str, int] = {}
        bare: dict[str, int] = {}
        for node in nodes(self.equations):
            if node.kind == "index":
                indexed.setdefault(node.text, node.start)
            elif node.kind == "name":
                bare.setdefault(node.text, node.start)
        for name, value in self.given.items():
            if name in indexed or (name in bare and isinstance(value, (tuple, list, Tensor))):
                self.used.add(name)
                self.tensors[name] = self.as_tensor(name, value, indexed.get(name, bare.get(name, 0)))
        for made in self.tensors.values():
            for dim in made.known_shape or ():
                for size in walk(dim) if isinstance(dim, Expr) else ():
                    if isinstance(size, Var):
                        self.sizes[size.name] = size

    def as_tensor(self, name: str, value: Any, start: int) -> Tensor:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, np.ndarray):
            shown = value.dtype.name
            self.refuse(
                start,
                f"{name} is a NumPy array; declare {name}=te.tensor('{name}', {value.shape}, '{shown}') and pass the "
                f"array to the kernel",
            )
        if isinstance(value, (tuple, list, int, np.integer)) or (
            isinstance(value, Expr) and not isinstance(value, Axis)
        ):
            return self.at(start, lambda: tensor(name, value))
        self.refuse(start, f"{name} is used as a tensor, but {name}={value!r} is neither a tensor nor a shape")

    def extents(self) -> dict[str, Dim]:
        """Extents that keywords give to axes by name."""
        found: dict[str, Dim] = {}
        bare = {node.text: node.start for node in reversed(list(nodes(self.equations))) if node.kind == "name"}
        for name, value in self.given.items():
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))
            size = (
                isinstance(value, Expr)
                and not isinstance(value, (Axis, Const))
                and (name in self.axes or not (isinstance(value, Var) and value.name == name))
            )
            if name in bare and name not in self.tensors and (whole or size):
                self.used.add(name)
                found[name] = self.at(bare[name], partial(as_dim, value, f"the extent of {name}"))
        return found

    def refuse(self, start: int, message: str) -> NoReturn:
        refuse(self.text, start, message)

    def at(self, start: int, make: Callable[[], Any]) -> Any:
        """The result of `make`; what it refuses is shown at its place in the text."""
        try:
            return make()
        except DefinitionError as error:
            if error.message.startswith("cannot read"):
                raise
            self.refuse(start, error.message)

    # Sides of an equation ---------------------------------------------------------------------------------------------

    def target(self, node: Node) -> Tensor:
        if node.text not in self.tensors:
            if node.text in CONSTANTS:
                self.refuse(node.start, f"{node.text} is a constant; give the tensor another name")
            return tensor(node.text)
        return self.tensors[node.text]

    def left_side(self, equation: Equation) -> tuple[Any, ...]:
        first, *others = equation.left
        for other in others:
            if [(n.kind, n.text) for n in other.children] != [(n.kind, n.text) for n in first.children]:
                self.refuse(
                    other.start, f"tensors that are defined together have the same left side; {first.text} has another"
                )
        found: list[Any] = []
        for node in first.children:
            if node.kind == "number" and node.text.isdigit():
                found.append(Const(int(node.text)))
            elif node.kind == "name" and node.text not in CONSTANTS:
                found.append(self.axis(node.text))
            else:
                self.refuse(
                    node.start,
                    f"the left side of {first.text} holds axes and whole numbers; put the arithmetic on the right side",
                )
        return tuple(found)

    def right_side(self, equation: Equation) -> tuple[Any, ...]:
        values: list[Any] = []
        for node in equation.right:
            value = self.build(node, whole=len(equation.left) > 1)
            values += value if isinstance(value, tuple) else [value]
        count = len(values)
        if count != len(equation.left):
            sides = f"is {count} right side" if count == 1 else f"are {count} right sides"
            self.refuse(equation.right[-1].start, f"there {sides} for {len(equation.left)} left")
        return tuple(values)

    def axis(self, name: str) -> Expr:
        value = self.given.get(name)
        if isinstance(value, Axis):
            self.used.add(name)
            return value
        return Axis(name)

    # Expressions ------------------------------------------------------------------------------------------------------

    def build(self, node: Node, whole: bool = False) -> Any:
        """The expression that `node` is; with `whole`, a tuple of them is accepted."""
        kind = node.kind
        if kind == "number":
            return self.number(node)
        if kind == "name":
            return self.name(node)
        if kind == "apply":
            operands = tuple(self.build(child) for child in node.children)
            return self.at(node.start, lambda: apply(node.text, *operands))
        if kind == "index":
            found = self.tensor(node)
            indices = tuple(self.build(child) for child in node.children)
            return self.at(node.start, lambda: found.element(indices))
        if kind == "call":
            value = self.call(node)
        elif kind == "component":
            value = self.build(node.children[0], whole=True)
            if not isinstance(value, tuple):
                self.refuse(node.start, f"{node.children[0].text}(…) is a single value, without components")
            if int(node.text) >= len(value):
                self.refuse(node.start, f"{node.children[0].text}(…) has components 0 to {len(value) - 1}")
            return value[int(node.text)]
        elif kind == "tuple":
            if not whole:
                self.refuse(node.start, "a tuple has no place here; parentheses hold one expression")
            return tuple(self.build(child) for child in node.children)
        else:
            self.refuse(node.start, f"the text '{node.text}' has no place here")
        if isinstance(value, tuple) and not whole:
            self.refuse(node.start, f"{node.text}(…) is a tuple of {len(value)}; take a component, {node.text}(…)[0]")
        return value

    def number(self, node: Node) -> Expr:
        if len(node.text) > 400:
            self.refuse(node.start, f"a number of {len(node.text)} digits")
        if node.text.isdigit():
            return Const(int(node.text))
        value = float(node.text)
        if value in (float("inf"), 0.0) and any(c in "123456789" for c in node.text.lower().partition("e")[0]):
            self.refuse(node.start, f"the number {node.text} is out of the range of float64")
        return Const(value)

    def name(self, node: Node) -> Expr:
        name = node.text
        if name in self.tensors:
            return self.at(node.start, lambda: as_expr(self.tensors[name]))
        if name in self.given:
            value = self.given[name]
            self.used.add(name)
            if isinstance(value, (float, bool, np.floating, np.bool_)):
                return Const(value)
            if isinstance(value, Axis) or (isinstance(value, Var) and value.name == name and name not in self.axes):
                return value
            if isinstance(value, np.ndarray):
                self.as_tensor(name, value, node.start)
            if isinstance(value, (Expr, int, np.integer)):
                return Axis(name)
            self.refuse(node.start, f"{name}={value!r} is neither an extent, a number, a size nor a tensor")
        if name in self.sizes and name not in self.axes:
            return self.sizes[name]
        if name in CONSTANTS:
            return Const(CONSTANTS[name])
        if name in self.left:
            self.refuse(node.start, f"{name} is a tensor that is defined here; give its indices, {name}[…]")
        if name not in self.axes and (name in FUNCTIONS or name in REDUCERS or name in ALIASES):
            self.refuse(node.start, f"{name} is a function; it takes parentheses, {name}(…)")
        return Axis(name)

    def tensor(self, node: Node) -> Tensor:
        name = node.text
        if name in self.tensors:
            found = self.tensors[name]
            if found.known_shape is None:
                self.refuse(node.start, f"{name} is read here before it has a shape; give it one, {name}=(…)")
            return found
        if name in self.later:
            reads_itself = any(
                n.text == name for e in self.equations for n in e.left if any(m is node for m in nodes([e]))
            )
            why = "reads its own earlier steps, so its shape is needed" if reads_itself else "is defined further down"
            self.refuse(node.start, f"{name} {why}: pass its shape, {name}={_shape_like(node)}")
        if name in FUNCTIONS or name in REDUCERS or name in ALIASES:
            self.refuse(node.start, f"{name} is a function; it takes parentheses, {name}(…)")
        ways = f"its shape, {name}={_shape_like(node)}, or a tensor, {name}=te.tensor(…)"
        self.refuse(node.start, f"the tensor {name} is not known; pass {ways}")

    def call(self, node: Node) -> Any:
        name = node.text
        given = self.given.get(name)
        if isinstance(given, Reducer):
            self.used.add(name)
            values = tuple(self.build(child, whole=True) for child in node.children)
            options = self.options(node, _REDUCTION_KEYWORDS)
            return self.at(node.start, lambda: given(*values, **options))
        if callable(given) and not isinstance(given, (Tensor, Expr)):
            self.used.add(name)
            arguments = tuple(self.build(child) for child in node.children)
            if node.keywords:
                self.refuse(node.keywords[0][1], f"the function {name} takes arguments without names here")
            return self.result_of(node, given, arguments)
        if name in self.tensors or isinstance(given, (Tensor, tuple, list)):
            self.refuse(node.start, f"{name} is a tensor; its indices stand in brackets, {name}[…]")
        name = ALIASES.get(name, name)
        if name in REDUCERS:
            return self.reduction(node, name)
        if node.keywords and (name in FUNCTIONS or name == "cast"):
            self.refuse(node.keywords[0][1], f"{node.text} is elementwise and takes no {node.keywords[0][0]}=")
        if name == "cast":
            if len(node.children) != 2:
                self.refuse(node.start, "cast takes an expression and a dtype: cast(x, float64)")
            x, dtype = self.build(node.children[0]), self.word(node.children[1], "a dtype such as float64")
            return self.at(node.children[1].start, lambda: cast(x, dtype))
        if name in FUNCTIONS:
            operands = tuple(self.build(child) for child in node.children)
            return self.at(node.start, lambda: apply(name, *operands))
        import difflib

        known = [*FUNCTIONS, *REDUCERS, *ALIASES, "cast", *(n for n, v in self.given.items() if callable(v))]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else f"pass it as a keyword, {name}=…, a function of expressions"
        )
        self.refuse(node.start, f"the function {name} is not known; {hint}")

    def result_of(self, node: Node, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        value = self.at(node.start, lambda: function(*arguments))
        if isinstance(value, tuple):
            return tuple(self.at(node.start, lambda v=v: as_expr(v)) for v in value)  # type: ignore[misc]
        return self.at(node.start, lambda: as_expr(value))

    def reduction(self, node: Node, name: str) -> Any:
        if len(node.children) != 1:
            hint = "the axes are given by name, axis=k"
            if name in ("min", "max"):
                hint = f"the {'smaller' if name == 'min' else 'larger'} of two values is {name}imum(a, b); " + hint
            self.refuse(
                node.children[1].start if node.children else node.start,
                f"{name} takes one expression and runs over axes; {hint}",
            )
        more = ("nan", "initial") if name in ("min", "max") else ("initial",) if REDUCERS[name].checked else ()
        allowed = (*_REDUCTION_KEYWORDS, *more)
        value = self.build(node.children[0])
        options = self.options(node, allowed)
        if (nan := options.pop("nan", "propagate")) != "propagate":
            if nan != "unspecified":
                self.refuse(node.start, f"nan={nan} of {name}: propagate or unspecified")
            name = f"machine_{name}"
        return self.at(node.start, lambda: reduce_expr(REDUCERS[name], (value,), **options))

    def options(self, node: Node, allowed: tuple[str, ...]) -> dict[str, Any]:
        """The keyword arguments of a reduction."""
        found: dict[str, Any] = {}
        for keyword, start, value in node.keywords:
            if keyword not in allowed:
                self.refuse(
                    start, f"{node.text} takes {', '.join(f'{k}=' for k in allowed)}; {keyword}= is none of them"
                )
            if keyword in ("where", "initial"):
                found[keyword] = self.build(value)
            elif keyword == "axis":
                items = value.children if value.kind == "tuple" else (value,)
                found[keyword] = tuple(self.axis(self.word(item, "an axis")) for item in items)
            else:
                found[keyword] = self.word(
                    value, "a dtype such as float64" if keyword == "dtype" else "propagate or unspecified"
                )
        if "dtype" in found:
            try:
                dtypes.canonical(found["dtype"])
            except ValueError as error:
                self.refuse(node.start, str(error))
        return found

    def word(self, node: Node, what: str) -> str:
        if node.kind not in ("name", "string"):
            self.refuse(node.start, f"expected {what}")
        return node.text


def nodes(equations: list[Equation]) -> Iterator[Node]:
    """All nodes of `equations`, in reading order."""
    stack = [node for e in reversed(equations) for node in reversed((*e.left, *e.right))]
    while stack:
        node = stack.pop()
        yield node
        stack += [value for _, _, value in reversed(node.keywords)]
        stack += reversed(node.children)


def _shape_like(node: Node) -> str:
    """A shape of as many dimensions as the element `node` has indices, as an example."""
    return f"({', '.join('nmklpq'[: len(node.children)])}{',' * (len(node.children) == 1)})"
