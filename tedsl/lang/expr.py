"""Expressions: what a definition's right side, a shape and an index are made of.

    expr ::= Const(value, dtype)                a number; dtype "int" / "float" when it is a Python scalar (weak)
           | Axis(name, lo, extent)             an index over lo … lo + extent - 1; extent None: not resolved yet
           | Var(name, minimum, multiple_of)    a symbolic size
           | Access(tensor, indices)            one element of a tensor
           | Apply(function, operands)          an elementwise function of `tedsl.lang.functions`, by name
           | Cast(dtype, operand)
           | Reduce(reducer, values, axes, where, dtype, component)

Expressions are immutable and interned: two that are built alike are the same object, so equality of structure is
``is``, and they hash by identity. ``==`` builds a comparison, as in NumPy. For every node ``type(node)(*node.args) is
node``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from . import dtypes
from .errors import DefinitionError
from .functions import FUNCTIONS, operand_dtypes, shown

if TYPE_CHECKING:

    class Operators:
        """Python's operators, for type checkers; operators.py gives them to expressions and tensors."""

        def _binary(self, other: Any) -> Any: ...
        def _unary(self) -> Any: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _binary
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _binary
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _binary
        __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = _binary
        __neg__ = __pos__ = __abs__ = __invert__ = _unary

else:
    Operators = object

_E = TypeVar("_E", bound="Expr")
_interned: weakref.WeakValueDictionary[tuple[Any, ...], Expr] = weakref.WeakValueDictionary()


READS, SIZES, CHOICES = 1, 2, 4  # `Expr.has`: accesses; symbolic sizes; minimum, maximum or where


class Expr(Operators):
    """Base of all nodes. `args` rebuilds the node; `children` are its operands; `dtype` is its (perhaps weak) type."""

    __slots__ = ("__weakref__", "_compared", "_free", "_reads", "args", "children", "dtype", "has")
    args: tuple[Any, ...]
    children: tuple[Expr, ...]
    dtype: str
    _compared: Any  # see simplify.comparison
    _free: tuple[Axis, ...]  # see free_axes
    _reads: tuple[Access, ...]  # see accesses
    has: int  # what is in it: READS | SIZES | CHOICES

    def __new__(cls: type[_E], *args: Any) -> _E:
        key = (cls, *args)
        node = cast("_E | None", _interned.get(key))
        if node is None:
            node = object.__new__(cls)
            node.args = args
            node.children = node._children()
            has = node._is()
            for child in node.children:
                has |= child.has
            node.has = has
            node.dtype = node._infer_dtype()
            # setdefault: another thread may have made the same node meanwhile
            node = cast("_E", _interned.setdefault(key, node))
        return node

    def _infer_dtype(self) -> str:
        raise TypeError(f"{type(self).__name__} is abstract")

    def _children(self) -> tuple[Expr, ...]:
        return ()

    def _is(self) -> int:
        return 0

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        """The same node over other operands."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self.args)

    def __copy__(self) -> Expr:
        return self

    def __deepcopy__(self, memo: Any) -> Expr:
        return self

    __hash__ = object.__hash__

    if TYPE_CHECKING:

        def __eq__(self, other: object) -> Any: ...
        def __ne__(self, other: object) -> Any: ...

    def __bool__(self) -> bool:
        raise DefinitionError(
            f"the truth value of the expression `{self!r}` is not known until the kernel runs. Instead of `a if cond "
            "else b` write "
            "te.where(cond, a, b); instead of `p and q`, `p or q`, `not p` write p & q, p | q, ~p (with parentheses "
            "around comparisons); "
            "instead of min(a, b), max(a, b) write te.minimum(a, b), te.maximum(a, b)",
        )

    def __index__(self) -> int:
        raise DefinitionError(
            f"the expression `{self!r}` has no value until the kernel runs; a Python integer is needed here"
        )

    __int__ = __float__ = __index__

    def __iter__(self) -> Iterator[Any]:
        raise DefinitionError(f"the expression `{self!r}` is a single value; it cannot be iterated over")


class Const(Expr):
    """A number. `value` is a Python bool, int or float."""

    __slots__ = ()

    def __new__(cls, value: Any, dtype: str | None = None) -> Const:
        if isinstance(value, np.generic):
            dtype = dtype or dtypes.of_scalar(value)
            value = value.item()
        dtype = dtype or dtypes.of_scalar(value)
        if isinstance(value, str):  # as it stands in `args`
            value = float.fromhex(value)
        value = bool(value) if dtype == "bool" else float(value) if dtypes.is_float(dtype) else int(value)
        # 0.0 == -0.0, 1 == 1.0 == True and nan != nan as dictionary keys: the hexadecimal text tells floats apart
        return Expr.__new__(cls, value.hex() if isinstance(value, float) else value, dtype)

    def _infer_dtype(self) -> str:
        return cast(str, self.args[1])

    @property
    def value(self) -> bool | int | float:
        raw = self.args[0]
        return float.fromhex(raw) if isinstance(raw, str) else raw

    def __reduce__(self) -> tuple[Any, ...]:
        return (Const, (self.value, self.dtype))


class Axis(Expr):
    """An index. Unresolved (`extent` None) it is only a name, and equal to every other axis of that name; a resolved
    one knows its range.
    """

    __slots__ = ()

    def __new__(cls, name: str, lo: Any = 0, extent: Any = None) -> Axis:
        return Expr.__new__(cls, name, lo, extent)

    def _infer_dtype(self) -> str:
        return "int"

    name = property(lambda self: self.args[0])
    lo = property(lambda self: self.args[1])
    extent = property(lambda self: self.args[2])


class Var(Expr):
    """A symbolic size: a whole number of at least `minimum`, a multiple of `multiple_of`."""

    __slots__ = ()

    def __new__(cls, name: str, minimum: int = 0, multiple_of: int = 1) -> Var:
        return Expr.__new__(cls, name, minimum, multiple_of)

    def _infer_dtype(self) -> str:
        return "int"

    def _is(self) -> int:
        return SIZES

    name = property(lambda self: self.args[0])
    minimum = property(lambda self: self.args[1])
    multiple_of = property(lambda self: self.args[2])


class Access(Expr):
    """One element of a tensor: `tensor[indices]`. A third argument is the (weak) type of one whose tensor is so far
    defined by numbers alone.
    """

    __slots__ = ()

    def _infer_dtype(self) -> str:
        return self.args[2] if len(self.args) > 2 else cast(str, self.tensor.dtype)

    def _is(self) -> int:
        return READS

    tensor: Any = property(lambda self: self.args[0])  # a Tensor: tensors are made of expressions and come after them
    indices = cast("tuple[Expr, ...]", property(lambda self: self.args[1]))

    def _children(self) -> tuple[Expr, ...]:
        return self.indices

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return Access(self.tensor, children, *self.args[2:])


class Apply(Expr):
    """An elementwise function of its operands; `function` is a name in `tedsl.lang.functions.FUNCTIONS`."""

    __slots__ = ()

    def _infer_dtype(self) -> str:
        name, operands = self.args
        key = (name, *[e.dtype for e in operands])
        # whether a Python integer fits the type of the others is to be seen from its value
        if "int" in key and any(kind != "int" for kind in key[1:]):
            return operand_dtypes(name, operands)[1]
        found = _result_dtypes.get(key)
        if found is None:
            found = _result_dtypes[key] = operand_dtypes(name, operands)[1]
        return found

    def _is(self) -> int:
        return CHOICES if self.args[0] in ("minimum", "maximum", "where") else 0

    def __bool__(self) -> bool:
        # Sequences of axes and shapes compare as in plain Python (`C.shape == (n, 5)`, `s[C].axis == (i, j)`): by name.
        if self.function in ("equal", "not_equal"):
            a, b = self.operands
            if isinstance(a, Axis) and isinstance(b, Axis):
                return (a.name == b.name) == (self.function == "equal")
            if not any(isinstance(node, (Axis, Access)) for node in walk(self)):
                return (a is b or (isinstance(a, Var) and isinstance(b, Var) and a.name == b.name)) == (
                    self.function == "equal"
                )
        return super().__bool__()

    function = cast(str, property(lambda self: self.args[0]))
    operands = cast("tuple[Expr, ...]", property(lambda self: self.args[1]))

    def _children(self) -> tuple[Expr, ...]:
        return self.operands

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return Apply(self.function, children)


_result_dtypes: dict[tuple[str, ...], str] = {}


class Cast(Expr):
    """`operand` converted to `dtype`, as C and NumPy's astype do."""

    __slots__ = ()

    def _infer_dtype(self) -> str:
        return cast(str, self.args[0])

    operand = cast(Expr, property(lambda self: self.args[1]))

    def _children(self) -> tuple[Expr, ...]:
        return (self.operand,)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return Cast(self.dtype, children[0])


class Reduce(Expr):
    """`values` (one for each component of `reducer`) combined over all points of `axes` at which `where` holds; the
    result is one `component`.

    `axes` is None until the definition that the reduction stands in resolves it. `dtype` (the accumulator's) is None
    for the default.
    """

    __slots__ = ()

    def _infer_dtype(self) -> str:
        return self.reducer.result_dtypes(tuple(v.dtype for v in self.values), self.args[4])[self.component]

    reducer: Any = property(lambda self: self.args[0])  # a Reducer, which comes after expressions as well
    values = cast("tuple[Expr, ...]", property(lambda self: self.args[1]))
    axes = cast("tuple[Axis, ...] | None", property(lambda self: self.args[2]))
    where = cast("Expr | None", property(lambda self: self.args[3]))
    accumulator = cast("str | None", property(lambda self: self.args[4]))
    component = cast(int, property(lambda self: self.args[5]))

    def _children(self) -> tuple[Expr, ...]:
        return self.values if self.where is None else (*self.values, self.where)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        n = len(self.values)
        return Reduce(self.reducer, children[:n], self.axes, children[n] if len(children) > n else None, *self.args[4:])


# Walking --------------------------------------------------------------------------------------------------------------


def walk(*roots: Expr) -> Iterator[Expr]:
    """Every distinct node below `roots`, operands before the nodes that use them, left to right."""
    seen: set[Expr] = set()
    stack: list[Expr | None] = list(roots[::-1])
    while stack:
        node = stack.pop()
        if node is None:  # what lies below this one is done
            yield stack.pop()  # type: ignore[misc]
        elif node not in seen:
            seen.add(node)
            if node.children:
                stack += (node, None)
                stack += node.children[::-1]
            else:
                yield node


def rewrite(
    root: Expr,
    rule: Callable[[Expr], Expr | None],
    memo: dict[Expr, Expr] | None = None,
    whole: type[Expr] | tuple[()] = (),
) -> Expr:
    """`root` with `rule` applied to every node, operands first. A rule returns the replacement, or None to keep the
    node. Untouched subtrees are shared; each distinct node is visited once (also over several calls with the same
    `memo`). What is `whole` is not looked into.
    """
    memo = {} if memo is None else memo
    stack: list[Expr | None] = [root]
    while stack:
        node = stack.pop()
        if node is None:  # what lies below this one is done
            node = cast(Expr, stack.pop())
            children = node.children
            new = tuple([memo[child] for child in children])
            rebuilt = node if _all_same(children, new) else node.with_children(new)
        elif node in memo:
            continue
        elif node.children and not isinstance(node, whole):
            stack += (node, None)
            stack += node.children[::-1]
            continue
        else:
            rebuilt = node
        replaced = rule(rebuilt)
        memo[node] = rebuilt if replaced is None else replaced
    return memo[root]


def _all_same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two tuples of one length hold the very same objects."""
    for x, y in zip(a, b):
        if x is not y:
            return False
    return True


def substitute(root: Expr, mapping: Mapping[Expr, Expr]) -> Expr:
    """`root` with each key of `mapping` (axes, or whole nodes) replaced. Bound axes must not clash: in resolved
    definitions they never do.
    """
    return substitution(mapping)(root)


def substitution(mapping: Mapping[Expr, Expr]) -> Callable[[Expr], Expr]:
    """`substitute` by `mapping` for several expressions: what has been found for one is kept for the next."""
    memo = dict(mapping)
    if all(isinstance(key, Axis) for key in mapping):
        axes = set(mapping)
        return lambda root: _substitute(root, memo, axes)
    return lambda root: rewrite(root, mapping.get, memo)


def _substitute(node: Expr, memo: dict[Expr, Expr], axes: set[Expr]) -> Expr:
    """Substitution of axes: what does not mention them is not looked into."""
    found = memo.get(node)
    if found is None:
        found = node
        if not axes.isdisjoint(free_axes(node)):
            children = node.children
            new = tuple([_substitute(child, memo, axes) for child in children])
            if not _all_same(children, new):
                found = node.with_children(new)
        memo[node] = found
    return found


def free_axes(root: Expr) -> tuple[Axis, ...]:
    """The axes of `root` that no reduction inside it binds, in the order in which they are met."""
    try:
        return root._free
    except AttributeError:
        pass
    if not root.children and not isinstance(root, Axis):
        root._free = ()
        return ()
    for node in walk(root):
        if hasattr(node, "_free"):
            continue
        if isinstance(node, Axis):
            node._free = (node,)
            continue
        found = dict.fromkeys(axis for child in node.children for axis in free_axes(child))
        if isinstance(node, Reduce) and node.axes is not None:
            for axis in node.axes:
                found.pop(axis, None)
        node._free = tuple(found)
    return root._free


def accesses(root: Expr) -> tuple[Access, ...]:
    """The distinct accesses in `root`, those in the indices of another one before it."""
    if not root.has & READS:
        return ()
    if isinstance(root, Access):  # not kept: it would keep itself
        return (*dict.fromkeys(a for index in root.indices for a in accesses(index)), root)
    try:
        return root._reads
    except AttributeError:
        pass
    for node in walk(root):
        if node.has & READS and not isinstance(node, Access) and not hasattr(node, "_reads"):
            some = [accesses(child) for child in node.children if child.has & READS]
            node._reads = some[0] if len(some) == 1 else tuple(dict.fromkeys(a for found in some for a in found))
    return root._reads


def reads_tensors(root: Expr) -> bool:
    """Whether there is an access in `root`."""
    return bool(root.has & READS)


# Building -------------------------------------------------------------------------------------------------------------


def as_expr(value: Any) -> Expr:
    """`value` as an expression: an expression, a rank-0 tensor (its element) or a number. Raises DefinitionError for
    anything else.
    """
    if isinstance(value, Expr):
        return value
    if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        return Const(value)
    if hasattr(value, "__expr__"):  # a tensor
        return cast(Expr, value.__expr__())
    if isinstance(value, np.ndarray):
        raise DefinitionError(
            "a NumPy array is no part of an expression: declare an input with te.tensor(name, shape, dtype) and pass "
            "the array in the call",
        )
    raise DefinitionError(f"{value!r} ({type(value).__name__}) is neither a number nor an expression")


def apply(name: str, *values: Any) -> Any:
    """Function `name` of expressions and numbers. Raises DefinitionError for operands that do not fit the function."""
    function = FUNCTIONS[name]
    if len(values) != function.arity:
        raise DefinitionError(f"{name} takes {function.arity} operand{'s' * (function.arity > 1)}, got {len(values)}")
    operands = tuple([as_expr(v) for v in values])
    first = operands[0]
    if type(first) is Const:
        if name in _FOLDED and function.exact and all([isinstance(e, Const) and e.dtype == "int" for e in operands]):
            return Const(function.exact(*(cast(Const, e).value for e in operands)))
        if name == "negative" and first.dtype == "float":
            return Const(-first.value)
    if name == "power" and not dtypes.is_float(first.dtype):
        exponent = operands[1]
        if isinstance(exponent, Const) and not dtypes.is_float(exponent.dtype) and exponent.value < 0:
            raise DefinitionError(
                f"integers to negative integer powers are not allowed, as in NumPy: `{shown(name, operands)}`; cast "
                "the base to a float",
            )
    if function.kind == "select" and first.dtype != "bool":
        raise DefinitionError(
            f"the condition of where is of type {first.dtype}, not bool: write a comparison, e.g. te.where(x "
            "!= 0, a, b)",
        )
    return Apply(name, operands)


# Functions whose value of whole numbers is a whole number.
_FOLDED = ("add", "subtract", "multiply", "negative", "floor_divide", "remainder", "minimum", "maximum")
