"""Search for the fastest schedule by measuring, and look at what was found.

  tedsl tune matmul --n 1024                    tune a template of the package (--list shows them)
  tedsl tune my_module:template --args 64 8     tune a template of your own
  tedsl tune show                               the trials in the store, the fastest first
  tedsl tune export -o fast.py                  the best schedule as Python source
  tedsl tune merge a.db b.db --into all.db      put the rows of several stores together

Every trial is written to the store (--store, tuning.db) as it is finished; run again, the search goes on. Ctrl-C ends
it with the results so far.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from tedsl.terminal import InputError, duration, say, table

ACTIONS = ("show", "export", "merge")


def configure(parser: argparse.ArgumentParser) -> None:
    from tedsl.tune.search import KINDS

    add = parser.add_argument
    add("what", nargs="?", help="a template, or show, export, merge")
    add("files", nargs="*", help="merge: the stores; show, export: a template's name")
    add("--list", action="store_true", help="the templates of the package, and what is in the store")
    add("--n", type=int, metavar="N", help="the template's size (default: 1024)")
    add("--args", nargs="+", metavar="A", help="the template's arguments, in place of --n")
    add("--trials", type=int, default=100, metavar="N", help="how many, those in the store included (default: 100)")
    add("--store", default="tuning.db", metavar="FILE", help="where the trials are kept (default: tuning.db)")
    add("--search", default="tpe", choices=KINDS, help="default: tpe")
    seconds = "seconds for the template, the compiler and the kernel, each (default: 20)"
    add("--timeout", type=float, default=20.0, metavar="S", help=seconds)
    add("--threads", type=int, metavar="N", help="threads of parallel loops (default: all cores)")
    add("--seed", type=int, metavar="N", help="of the search")
    add("--measure-all", action="store_true", help="also what the cost model predicts to be slow")
    add("--dask", metavar="ADDRESS", help="measure on the workers of a Dask scheduler")
    add("--machine", default="this", metavar="KEY", help="show, export: trials of another one, or any (default: this)")
    add("--limit", type=int, default=20, metavar="N", help="show: at most N trials (default: 20)")
    add("--png", metavar="FILE", help="draw the search")
    add("-o", "--output", metavar="FILE", help="export: the file to write (default: print it)")
    add("--into", metavar="FILE", help="merge: the store to write to (default: --store)")


def run(options: argparse.Namespace) -> int:
    if options.list:
        return _list(options)
    if options.what is None:
        raise InputError("what is to be tuned? 'tedsl tune --list' shows the templates; or show, export, merge")
    if options.what == "merge":
        return _merge(options)
    if options.what not in ACTIONS and options.files:
        raise InputError(f"{' '.join(options.files)}: only one template at a time; its arguments are given with --args")
    if len(options.files) > 1:
        raise InputError(f"{options.what} takes one template's name, not {len(options.files)}")
    if options.what == "show":
        return _show(options)
    if options.what == "export":
        return _export(options)
    return _tune(options)


def _template(name: str) -> Any:
    from tedsl.tune.template import as_template
    from tedsl.tune.templates import TEMPLATES

    if name in TEMPLATES:
        return TEMPLATES[name]
    if ":" not in name:
        raise InputError(
            f"there is no template '{name}'; there are {', '.join(TEMPLATES)}, and your own as module:name"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # where a user's own templates are
    return as_template(name)


def _arguments(options: argparse.Namespace) -> tuple[Any, ...]:
    if options.args is None:
        return (1024 if options.n is None else options.n,)
    if options.n is not None:
        raise InputError("--n is short for --args N; give one of them")
    return tuple(_number(a) for a in options.args)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _tune(options: argparse.Namespace) -> int:
    from tedsl.tune.store import this_machine
    from tedsl.tune.tuner import tune

    template, args = _template(options.what), _arguments(options)
    if any(isinstance(a, int) and a < 1 for a in args):
        raise InputError(f"a size is at least 1, not {min(a for a in args if isinstance(a, int))}")
    if options.png and not os.path.isdir(os.path.dirname(options.png) or "."):
        raise InputError(f"{options.png} cannot be written: there is no folder {os.path.dirname(options.png)}")
    executor = _dask(options.dask) if options.dask else None
    result = tune(template, args, trials=options.trials, store=options.store, search=options.search,
                  timeout=options.timeout, seed=options.seed, threads=options.threads, rank=not options.measure_all,
                  executor=executor, progress=True)  # fmt: skip
    say(str(result))
    good = [t for t in result.trials if t.seconds is not None]
    rival = result.numpy_seconds() if good and result.best.machine == this_machine()[0] else None
    if rival is not None:
        threads = max(result.best.threads, 1)
        times = rival / (result.best.seconds or rival)
        say(f"NumPy with {threads} thread{'s' * (threads > 1)}: {duration(rival)}, {times:.2f} times as long")
    if options.png and good:
        result.plot(options.png)
        say(f"The search is drawn in {options.png}.")
    if result.interrupted:
        return 130
    return 0 if good else 1


def _dask(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as e:
        raise InputError(f"--dask needs Dask, which cannot be imported ({e}): pip install 'tedsl[dask]'") from None
    try:
        return Client(address, timeout=10).get_executor()
    except (OSError, ValueError) as e:
        raise InputError(f"there is no Dask scheduler at {address}: {e}") from None


def _list(options: argparse.Namespace) -> int:
    from tedsl.tune.report import best_by_subject, load_results
    from tedsl.tune.templates import TEMPLATES

    rows = [(name, (t.__doc__ or "").split("\n\n")[0].replace("\n    ", " ").strip()) for name, t in TEMPLATES.items()]
    table(rows, ("template", "what it is"))
    if os.path.exists(options.store):
        result = load_results(options.store, machine="any")
        cells = []
        for _, t in sorted(best_by_subject(result.trials).items()):
            trials = sum(other.place == t.place for other in result.trials)
            cells.append((t.template, t.subject.removeprefix(t.template), trials, duration(t.seconds or 0.0), t.cpu))
        say("")
        table(cells, ("in the store", "arguments", "trials", "best", "machine"), right=(2, 3))
    return 0


def _results(options: argparse.Namespace) -> Any:
    from tedsl.tune.report import load_results

    name = options.files[0] if options.files else None
    args = None if options.n is None and options.args is None else _arguments(options)
    result = load_results(options.store, template=name, args=args, machine=options.machine)
    if not result.trials:
        machine = "this machine" if options.machine == "this" else f"the machine {options.machine}"
        others = "" if options.machine == "any" else f" of {machine}; --machine any shows those of others"
        raise InputError(f"{options.store} has no trials" + f" of {name}" * bool(name) + others)
    return result


def _show(options: argparse.Namespace) -> int:
    if options.limit < 1:
        raise InputError(f"--limit must be at least 1, not {options.limit}")
    result = _results(options)
    ordered = sorted(result.trials, key=lambda t: t.seconds if t.seconds is not None else float("inf"))
    knobs = list(dict.fromkeys(k for t in ordered for k in t.config))
    cells, styles = [], []
    for t in ordered[: options.limit]:
        time = duration(t.seconds) if t.seconds is not None else "failed"
        predicted = duration(t.predicted) if t.predicted else ""
        values = (_shown(t.config[k]) if k in t.config else "" for k in knobs)
        cells.append((time, predicted, *values, (t.error or "").split("\n")[0][:60]))
        styles.append("red" if t.seconds is None else "")
    table(cells, ("time", "predicted", *knobs, "error"), right=(0, 1), styles=styles)
    if len(ordered) > options.limit:
        say(f"... and {len(ordered) - options.limit} more; --limit shows them.")
    say("")
    say(str(result))
    if options.png:
        result.plot(options.png)
    return 0


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _export(options: argparse.Namespace) -> int:
    from tedsl.tune.report import python_source

    text = python_source(_results(options).best)
    if options.output is None:
        print(text, end="")
        return 0
    try:
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as e:
        raise InputError(f"{options.output} cannot be written: {e.strerror}") from None
    say(f"The schedule is in {options.output}.")
    return 0


def _merge(options: argparse.Namespace) -> int:
    from tedsl.tune.store import merge

    if not options.files:
        raise InputError("merge takes the stores whose rows are wanted: tedsl tune merge a.db b.db --into all.db")
    into = options.into or options.store
    written, there = merge(options.files, into)
    say(f"{written} row{'s' * (written != 1)} written to {into}; {there} {'were' if there != 1 else 'was'} there.")
    return 0
