"""The passes, run one after the other; at `TEDSL_DEBUG=5` with what each of them did."""

from __future__ import annotations

from tedsl.lang import debug
from tedsl.lang.expr import Expr
from tedsl.schedule import passes
from tedsl.schedule.loops.ir import Stmt
from tedsl.schedule.text import lines_of

SHOWN = 40  # rewritten expressions of a pass


def run_passes(stmt: Stmt) -> Stmt:
    """`stmt` after all passes."""
    if debug.level() < debug.HIGHEST:
        for _, rule in passes.passes():
            stmt = rule(stmt)
        return stmt
    before = _text(stmt)
    debug.report(debug.HIGHEST, "before the passes", before)
    for name, rule in passes.passes():
        rules: dict[Expr, Expr] = {}
        passes.rewritten = rules
        try:
            stmt = rule(stmt)
        finally:
            passes.rewritten = None
        after = _text(stmt)
        debug.report(
            debug.HIGHEST, f"pass {name!r}{' changed nothing' * (after == before)}", after if after != before else ""
        )
        if rules:
            debug.report(debug.HIGHEST, f"rules, in {name!r}: {len(rules)} expressions rewritten", _rules(rules))
        before = after
    return stmt


def _text(stmt: Stmt) -> str:
    return "\n".join(map(str, lines_of(stmt)))


def _rules(rules: dict[Expr, Expr]) -> str:
    lines = [f"{old!r}  ->  {new!r}" for old, new in list(rules.items())[:SHOWN]]
    return "\n".join([*lines, *([f"… and {len(rules) - SHOWN} more"] if len(rules) > SHOWN else [])])
