"""Reducers: those of `te.sum` … `te.argmin`, and your own over one value or a tuple."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from . import dtypes
from .errors import DefinitionError
from .expr import Axis, Const, Expr, Reduce, apply, as_expr, rewrite
from .tensor import scalars
from .typed import typed

Values = tuple[Expr, ...]
Combine = Callable[[Values, Values], Values]


class Reducer:
    """How the values of a reduction are combined: a name, an identity for each component, and `combine(p, q)`.

    `indexed` reducers (argmax, argmin) get the flat position over the reduced axes as a further value. `checked` ones
    have no result for no values, as in NumPy. A reducer must be associative and commutative with its identity; tedsl
    reorders it when a schedule says so.
    """

    def __init__(
        self, name: str, arity: int, identity: Callable[[str], Any] | tuple[Any, ...], combine: Combine, *,
        indexed: bool = False, checked: bool = False, widen: bool = False, no_better: str = "",
    ) -> None:  # fmt: skip
        self.name, self.arity, self.indexed, self.checked, self.widen = name, arity, indexed, checked, widen
        self._identity, self._combine = identity, combine
        self.no_better = (
            no_better  # of an indexed reducer: the comparison that holds for a value that does not replace another one
        )
        self._traced: dict[tuple[str, ...], tuple[Values, Values, Values]] = {}
        self._fixed: dict[tuple[str, ...], tuple[str, ...]] = {}

    @property
    def components(self) -> int:
        """How many values are carried: those of the user, and the position for an indexed reducer."""
        return self.arity + self.indexed

    @property
    def chooses(self) -> str:
        """The function that takes one of two values as the reducer does: of max, maximum."""
        return self.name.replace("max", "maximum").replace("min", "minimum")

    @property
    def builtin(self) -> bool:
        """Whether this is one of tedsl's own reducers, known by name."""
        return REDUCERS.get(self.name) is self

    def result_dtypes(self, given: tuple[str, ...], accumulator: str | None = None) -> tuple[str, ...]:
        """The types of the components for values of types `given`: the fixpoint of `combine` for a reducer of the
        user's.
        """
        if self.builtin:
            first = accumulator or (dtypes.accumulator(given[0]) if self.widen else dtypes.strong(given[0]))
            if self.indexed:  # a position is of 64 bits, unless who made it (rfactor) said that fewer do
                return first, "int32" if given[1:] == ("int32",) else "int64"
            return (first,)
        if accumulator:
            given = tuple(dtypes.promote(accumulator, g) for g in given)
        if given not in self._fixed:
            assert isinstance(self._identity, tuple)
            now = tuple(dtypes.promote(g, dtypes.of_scalar(e)) for g, e in zip(given, self._identity, strict=True))
            now = self._fixpoint(now)
            # a component of Python numbers alone is as wide as the real numbers beside it; with it the others may be
            # wider again
            real = dtypes.promote("float", *(n for n in now if dtypes.is_float(n)))
            self._fixed[given] = self._fixpoint(tuple(dtypes.strong(real if n == "float" else n) for n in now))
        return self._fixed[given]

    def _fixpoint(self, kinds: tuple[str, ...]) -> tuple[str, ...]:
        """The types that `combine` leaves as they are, from those of the values on."""
        for _ in range(8):
            p, q = scalars("p", kinds), scalars("q", kinds)
            then = tuple(dtypes.promote(n, e.dtype) for n, e in zip(kinds, self._call(p, q), strict=True))
            if then == kinds:
                break
            kinds = then
        return kinds

    def identity(self, kinds: tuple[str, ...]) -> Values:
        """The identity of each component, as constants of types `kinds`."""
        if callable(self._identity):
            values: tuple[Any, ...] = (self._identity(kinds[0]),) + (
                (dtypes.highest(kinds[1]),) if self.indexed else ()
            )
        else:
            values = self._identity
        return tuple(typed(Const(v), k) for v, k in zip(values, kinds, strict=True))

    def combine(self, p: Values, q: Values) -> Values:
        """The combination of two tuples of typed expressions, typed alike."""
        return self._put(self._trace(tuple(e.dtype for e in p)), p, q)

    def combine_in_order(self, p: Values, q: Values) -> Values:
        """`combine` for an indexed reducer when `q` stands behind all of `p`: a tie is settled without comparing
        positions.
        """
        return self._put(self._trace(tuple(e.dtype for e in p), True), p, q)

    @staticmethod
    def _put(traced: tuple[Values, Values, Values], p: Values, q: Values) -> Values:
        ps, qs, results = traced
        mapping = dict(zip((*ps, *qs), (*p, *q), strict=True))
        return tuple(rewrite(r, mapping.get, dict(mapping)) for r in results)

    def _trace(self, kinds: tuple[str, ...], in_order: bool = False) -> tuple[Values, Values, Values]:
        key = (*kinds, "in order") if in_order else kinds
        if key not in self._traced:
            p, q = scalars("p", kinds), scalars("q", kinds)
            made = _in_order(self.no_better, p, q) if in_order else self._call(p, q)
            self._traced[key] = p, q, tuple(typed(e, k) for e, k in zip(made, kinds, strict=True))
        return self._traced[key]

    def _call(self, p: Values, q: Values) -> Values:
        if self.arity == 1 and not self.indexed and not self.builtin:
            result: Any = self._combine(p[0], q[0])  # type: ignore[arg-type]
        else:
            result = self._combine(p, q)
        result = result if isinstance(result, tuple) else (result,)
        if len(result) != self.components:
            raise DefinitionError(
                f"the combine function of the reducer {self.name} returned {len(result)} values for a tuple of "
                f"{self.components}",
            )
        return tuple(as_expr(e) for e in result)

    def __call__(self, *values: Any, axis: Any = None, where: Any = None, dtype: Any = None) -> Any:
        """The reduction of `values` (or of one tuple of them); a tuple of expressions when the reducer has several
        components.
        """
        if len(values) == 1 and isinstance(values[0], tuple):
            values = values[0]
        if len(values) != self.arity:
            raise DefinitionError(
                f"the reducer {self.name} takes {self.arity} value{'s' * (self.arity > 1)}, got {len(values)}"
            )
        results = tuple(reduce_expr(self, values, axis, where, dtype, c) for c in range(self.arity))
        return results if self.arity > 1 else results[0]

    def __reduce__(self) -> Any:
        if self.builtin:
            return (_builtin, (self.name,))
        # A user's function may not pickle (a lambda): what travels is what it returned for the types in use.
        return (_restore, (self.name, self.arity, self._identity, dict(self._traced), dict(self._fixed)))

    def __repr__(self) -> str:
        return f"<reducer {self.name}>"


def _builtin(name: str) -> Reducer:
    return REDUCERS[name]


def _restore(name: str, arity: int, identity: Any, traced: Any, fixed: Any) -> Reducer:
    def gone(p: Values, q: Values) -> Values:
        raise DefinitionError(
            f"the reducer {name} came from another process, where it was used with other types; define it here again",
        )

    reducer = Reducer(name, arity, identity, gone)
    reducer._traced.update(traced)
    reducer._fixed.update(fixed)
    return reducer


def reducer(identity: Any, combine: Callable[..., Any], name: str | None = None) -> Reducer:
    """A reducer of your own. `identity`: a number, or a tuple of them; `combine(p, q)`: the combination of two values
    (two tuples), associative and commutative, with `combine(identity, q) == q`. The types of the components are the
    fixpoint of `combine`.

    Raises DefinitionError when the parts do not fit together.

    >>> import tedsl as te
    >>> i, k = te.axes("i k")
    >>> X = te.tensor("X", (4, 9))
    >>> hypot2 = te.reducer(0.0, lambda p, q: p + q)
    >>> Y = te.tensor("Y"); Y[i] = hypot2(X[i, k] ** 2)
    """
    values = identity if isinstance(identity, tuple) else (identity,)
    if not values or not callable(combine):
        raise DefinitionError(
            "te.reducer(identity, combine): identity is a number or a non-empty tuple of numbers, combine a function "
            "of two values",
        )
    for v in values:
        if not isinstance(v, (bool, int, float)):
            raise DefinitionError(f"te.reducer: the identity {v!r} is no number")
    label = name or str(getattr(combine, "__name__", "reduce"))
    return Reducer(label if label.isidentifier() else "reduce", len(values), values, combine)


def _arg(no_better: str) -> Combine:
    def combine(p: Values, q: Values) -> Values:
        (pv, pi), (qv, qi) = p, q
        if dtypes.is_float(pv.dtype):  # the first NaN wins, as in NumPy
            qn, pn = apply("isnan", qv), apply("isnan", pv)
            take = (~apply(no_better, qv, pv) & ~pn) | ((qi < pi) & ((qv == pv) | (qn & pn)))
        else:
            take = ~apply(no_better, qv, pv) | ((qi < pi) & (qv == pv))
        return apply("where", take, qv, pv), apply("where", take, qi, pi)

    return combine


def _in_order(no_better: str, p: Values, q: Values) -> Values:
    """What `_arg` makes where the positions of `q` are greater than those of `p`."""
    (pv, pi), (qv, qi) = p, q
    take = ~apply(no_better, qv, pv)
    if dtypes.is_float(pv.dtype):  # the first NaN wins
        take = take & ~apply("isnan", pv)
    return apply("where", take, qv, pv), apply("where", take, qi, pi)


def _fold(function: str) -> Combine:
    return lambda p, q: (apply(function, p[0], q[0]),)


REDUCERS: dict[str, Reducer] = {}
REDUCERS |= {
    r.name: r
    for r in [
        Reducer("sum", 1, lambda dtype: 0, _fold("add"), widen=True),
        Reducer("prod", 1, lambda dtype: 1, _fold("multiply"), widen=True),
        Reducer("min", 1, dtypes.highest, _fold("minimum"), checked=True),
        Reducer("max", 1, dtypes.lowest, _fold("maximum"), checked=True),
        Reducer("machine_min", 1, dtypes.highest, _fold("machine_minimum"), checked=True),
        Reducer("machine_max", 1, dtypes.lowest, _fold("machine_maximum"), checked=True),
        Reducer("any", 1, lambda dtype: False, _fold("bitwise_or")),
        Reducer("all", 1, lambda dtype: True, _fold("bitwise_and")),
        Reducer(
            "argmin", 1, dtypes.highest, _arg("greater_equal"), indexed=True, checked=True, no_better="greater_equal"
        ),
        Reducer("argmax", 1, dtypes.lowest, _arg("less_equal"), indexed=True, checked=True, no_better="less_equal"),
    ]
}


def as_axes(axis: Any) -> tuple[Axis, ...] | None:
    """What a user gives as `axis=`: an axis, a name, names in one string, or a sequence of these."""
    if axis is None:
        return None
    if isinstance(axis, str):
        axis = axis.replace(",", " ").split()
    items = axis if isinstance(axis, (tuple, list)) else (axis,)
    found: tuple[Any, ...] = tuple(Axis(a) if isinstance(a, str) else a for a in items)
    for a in found:
        if not isinstance(a, Axis):
            raise DefinitionError(
                f"axis={a!r}: a reduction over an expression runs over axes, such as axis=k or axis='k'"
            )
    if not found or len({a.name for a in found}) != len(found):
        raise DefinitionError(f"axis={axis!r}: give at least one axis, each once")
    return found


def reduce_expr(
    kind: Reducer,
    values: tuple[Any, ...],
    axis: Any = None,
    where: Any = None,
    dtype: Any = None,
    component: int | None = None,
    initial: Any = None,
) -> Expr:
    """What a user gives as a Reduce node; of argmax and argmin, the position. initial: a value to begin with; of argmax
    and argmin, the index of nothing.
    """
    exprs = tuple(as_expr(v) for v in values)
    if kind.name in ("any", "all"):
        exprs = tuple(e if e.dtype == "bool" else e != 0 for e in exprs)
    if where is None and initial is not None:
        where = True  # nothing is allowed: no extent of 0 is refused
    if where is not None:
        where = as_expr(where)
        if where.dtype != "bool":
            raise DefinitionError(f"where= of {kind.name} is of type {where.dtype}, not bool: write a comparison")
    try:
        accumulator = None if dtype is None else dtypes.canonical(dtype)
    except ValueError as e:
        raise DefinitionError(f"{kind.name}(…, dtype=): {e}") from None
    node = Reduce(kind, exprs, as_axes(axis), where, accumulator, int(kind.indexed) if component is None else component)
    return node if initial is None else _beginning(kind, node, as_expr(initial))


def _beginning(kind: Reducer, node: Reduce, first: Expr) -> Expr:
    """A reduction with `first` before everything else; of argmax and argmin, for nothing at all."""
    if kind.indexed:
        if not dtypes.is_integer(first.dtype):
            raise DefinitionError(f"{kind.name}(…, initial={first!r}): the index of nothing is a whole number")
        return cast(Expr, apply("where", apply("less", node, dtypes.highest("int64")), node, first))
    if dtypes.promote(node.dtype, first.dtype) != node.dtype:
        raise DefinitionError(
            f"{kind.name}(…, initial={first!r}): it is {dtypes.strong(first.dtype)}, and the values are {node.dtype}"
        )
    return cast(Expr, apply(kind.chooses, node, first))
