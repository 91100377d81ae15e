"""Which axes a reduction without `axis=` runs over.

It takes the axes of its argument that are not on the left side, not bound by a reduction inside it, and not free
elsewhere in an enclosing reduction's argument. Every reduction gets its own placeholder for each axis that it binds, so
that a sibling may use the name again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from .errors import DefinitionError, Location
from .expr import Axis, Expr, Reduce, free_axes, substitute
from .text import text

Fresh = Callable[[Axis], Axis]


def bind(expr: Expr, left: tuple[Axis, ...], fresh: Fresh, tensor: str, location: Location | None) -> Expr:
    """`expr` with the axes of all reductions settled and replaced by placeholders from `fresh`; free axes stay as they
    are.

    Raises DefinitionError where a reduction has nothing to run over, or a choice.
    """
    return _Binder({a.name for a in left}, fresh, tensor, location).visit(expr, frozenset(), ())


class _Binder:
    def __init__(self, left: set[str], fresh: Fresh, tensor: str, location: Location | None) -> None:
        self.left, self.fresh, self.tensor, self.location = left, fresh, tensor, location
        self.memo: dict[tuple[Expr, frozenset[str]], Expr] = {}

    def visit(self, node: Expr, elsewhere: frozenset[str], enclosing: tuple[Expr, ...]) -> Expr:
        """`elsewhere`: names that an enclosing reduction binds or uses outside of `node`. `enclosing`: the argument of
        the innermost one.
        """
        key = (node, elsewhere)
        if key not in self.memo:
            if isinstance(node, Reduce):
                self.memo[key] = self.reduction(node, elsewhere, enclosing)
            else:
                children = tuple(self.visit(c, elsewhere, enclosing) for c in node.children)
                same = all(a is b for a, b in zip(children, node.children, strict=True))
                self.memo[key] = node if same else node.with_children(children)
        return self.memo[key]

    def reduction(self, node: Reduce, elsewhere: frozenset[str], enclosing: tuple[Expr, ...]) -> Expr:
        if enclosing:
            outside, siblings = used_outside(enclosing, node)
            mine = {a.name for c in node.children for a in free_axes(c)}
            contested = sorted((mine & siblings) - outside - elsewhere - self.left)
            if node.axes is None and contested:
                raise DefinitionError(
                    f"`{text(node)}` in {self.tensor} stands in a reduction beside another that also uses "
                    f"{' and '.join(contested)}: either may run over it, or the "
                    f"outer one. Say which: {node.reducer.name}(…, axis={contested[0]})", self.location)  # fmt: skip
            elsewhere = elsewhere | outside
        explicit = frozenset(a.name for a in node.axes or ())
        children = tuple(self.visit(c, elsewhere | explicit, node.children) for c in node.children)
        rebuilt = cast(Reduce, node.with_children(children))
        free = list(dict.fromkeys(a for c in children for a in free_axes(c) if "\0" not in a.name))
        if node.axes is not None:
            clash = [a.name for a in node.axes if a.name in self.left or a.name in elsewhere]
            if clash:
                where = "on the left side" if clash[0] in self.left else "used outside of this reduction"
                raise DefinitionError(
                    f"`{text(node)}` in {self.tensor} runs over {clash[0]}, which is also {where}: give one of them "
                    "another name",
                    self.location,
                )
            axes = list(node.axes)
        else:
            names = {a.name for a in free} - self.left - elsewhere
            axes = list(
                {a.name: a for a in sorted(free, key=lambda a: a.extent is not None) if a.name in names}.values()
            )
            axes.sort(key=lambda a: [f.name for f in free].index(a.name))
            if not axes:
                used = ", ".join(a.name for a in free) or "none"
                raise DefinitionError(
                    f"`{text(node)}` in {self.tensor} has no axis to run over (its axes: {used}; on the left: "
                    f"{', '.join(sorted(self.left)) or 'none'}). Say which with "
                    f"axis=, or leave the {node.reducer.name} out", self.location)  # fmt: skip
        mapping: dict[Expr, Expr] = {}
        placeholders = []
        for axis in axes:
            placeholder = self.fresh(axis)
            placeholders.append(placeholder)
            mapping |= {a: placeholder for a in [*free, axis] if a.name == axis.name}
        memo = dict(mapping)
        values = tuple(substitute(c, memo) for c in rebuilt.children)
        rebuilt = cast(Reduce, rebuilt.with_children(values))
        return Reduce(rebuilt.reducer, rebuilt.values, tuple(placeholders), *rebuilt.args[3:])


def used_outside(roots: tuple[Expr, ...], inner: Reduce) -> tuple[frozenset[str], frozenset[str]]:
    """Names of axes below `roots` but not below `inner`: those used directly, and those used (only) in other reductions
    without `axis=`.
    """
    direct: set[str] = set()
    siblings: set[str] = set()
    stack: list[Expr] = list(roots)
    seen: set[Expr] = set()
    while stack:
        node = stack.pop()
        if node is inner or node in seen:
            continue
        seen.add(node)
        if isinstance(node, Axis):
            direct.add(node.name)
        elif isinstance(node, Reduce):
            names = {a.name for c in node.children for a in free_axes(c)} - {a.name for a in node.axes or ()}
            (siblings if node.axes is None else direct).update(names)
        else:
            stack.extend(node.children)
    return frozenset(direct), frozenset(siblings - direct)
