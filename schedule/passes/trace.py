"""The passes, run one after the other; at `TEDSL_DEBUG=5` with what each of them did."""

from __future__ import annotations

from tedsl.lang import debug
from tedsl.lang.expr import Expr
from tedsl.schedule.loops.ir import Stmt
from tedsl.schedule.loops.text import nest_text

from . import passes

SHOWN = 40  # rewritten expressions of a pass


def run_passes(stmt: Stmt) -> Stmt:
    """`stmt` after all passes."""
    if debug.level() < debug.HIGHEST:
        for _, rule in passes():
            stmt = rule(stmt)
        return stmt
    before = nest_text(stmt)
    debug.report(debug.HIGHEST, "before the passes", before)
    rules: dict[Expr, Expr] = {}
    for name, rule in passes(rules.__setitem__):
        rules.clear()
        stmt = rule(stmt)
        after = nest_text(stmt)
        debug.report(
            debug.HIGHEST, f"pass {name!r}{' changed nothing' * (after == before)}", after if after != before else ""
        )
        if rules:
            debug.report(debug.HIGHEST, f"rules, in {name!r}: {len(rules)} expressions rewritten", _rules(rules))
        before = after
    return stmt


def _rules(rules: dict[Expr, Expr]) -> str:
    lines = [f"{old!r}  ->  {new!r}" for old, new in list(rules.items())[:SHOWN]]
    return "\n".join([*lines, *([f"… and {len(rules) - SHOWN} more"] if len(rules) > SHOWN else [])])
