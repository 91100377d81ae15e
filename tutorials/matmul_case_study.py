# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A matrix product, from three loops to the machine's limit
#
# `C = A·Bᵀ` is one line of mathematics, and a processor can do it a hundred times slower or faster depending on the
# order in which it visits the numbers. What is computed stays the same all the way; only the *schedule* changes. Each
# rung of this ladder is a schedule of at most a dozen lines, and for each we look at
#
# - the idea,
# - the loop nest that it makes,
# - the C of its innermost loop,
# - how often it loads A and B, by the formulas of the lecture,
# - the time it takes here, next to NumPy's and to the machine's limits.
#
# The same rungs run as `tedsl casestudy`. Set `TEDSL_TUTORIAL_N` for another size.

# %%
import inspect
import os
import textwrap

import numpy as np

import tedsl as te
from tedsl.casestudy import LADDER, Rung, Tiles, choose, ladder, problem, study

n = int(os.environ.get("TEDSL_TUTORIAL_N", "512"))
rungs = {rung.name: rung for rung in LADDER}

# %% [markdown]
# ## The operator and the machine
#
# k is not on the left, so the sum runs over it. A and B are read along their rows.

# %%
i, j, k = te.axes("i j k")
A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
C[i, j] = te.sum(A[i, k] * B[j, k])
print(C[i, j], "=", "sum over k of A[i, k] * B[j, k]")

# %% [markdown]
# The limits are measured, not looked up: multiply-adds that wait for nothing, and reads of each level of memory.

# %%
machine = te.machine()
print(machine)

# %% [markdown]
# Which loads can be saved? An access that does not depend on an axis gives the same element all along it. A does not
# depend on j: if v2 neighbours in j are computed together, one load of A serves all of them.

# %%
for tensor, axes in te.reuse(C).items():
    print(f"{tensor} is the same along {', '.join(sorted(axes))}")

# %% [markdown]
# All rungs are measured first, each in turn with NumPy on one thread; the rows are shown where the rungs are explained.

# %%
rows = {row.step: row for row in study(n, threads=1)}


# %%
def inner_loop(source: str, lines: int = 8) -> str:
    """The innermost loop over k in which C is computed, in a C source: the first lines of its body."""
    text = source.splitlines()
    heads = [at for at, line in enumerate(text) if line.lstrip().startswith("for (int64_t k") and "/* C." in line]
    depth = {at: len(text[at]) - len(text[at].lstrip()) for at in heads}
    head = max(heads, key=lambda at: (depth[at], -at))
    end = next(at for at in range(head + 1, len(text)) if text[at].strip() == "}" and len(text[at]) - 1 == depth[head])
    shown = text[head : min(head + lines, end)]
    more = [f"{' ' * depth[head]}    ... {end - head - lines} lines more"] if end - head > lines else []
    return textwrap.dedent("\n".join([*shown, *more, text[end]]))


def explain(name: str, tiles: Tiles | None = None) -> None:
    """A rung: its schedule, its nest, its inner loop, its loads, its time."""
    rung: Rung = rungs[name]
    tiles = tiles or choose(rung, n, machine)
    s = rung.schedule(n, tiles)
    row = rows[name]
    print(f"{rung.name}: {rung.idea}\n")
    print(inspect.getsource(rung.schedule))
    if row.tiles:
        print("with", ", ".join(f"{size} = {value}" for size, value in row.tiles.items()))
    if row.note:
        print(row.note)
    print("\nThe nest:\n")
    print(s)
    print("\nThe innermost loop over k, in C:\n")
    print(inner_loop(te.emit(s)))
    print("\nLoads:")
    for what, load in row.loads.items():
        print(f"  {what}: {load['formula']} = {load['elements']:.3g}")
    print(
        f"\n{row.seconds * 1e3:.3g} ms, {row.gflops:.3g} GFLOP/s, {row.of_peak:.1%} of the FMA peak, "
        f"{row.of_numpy:.2f} times as fast as NumPy"
    )


# %% [markdown]
# ## 1. Three plain loops
#
# For every product both factors are loaded: n³ loads of A and n³ of B. And each sum waits for the one before: an
# addition takes three or four cycles until the next can use its result, while the core could start two vectors of them
# in every cycle.

# %%
explain("vanilla")

# %% [markdown]
# ## 2. An accumulator
#
# `cache_write` says that the sum is made in a register and stored when it is complete. (The plain loops above are
# compiled that way already: nothing between two additions can see C, so tedsl keeps their sum in a local variable. Said
# as a stage of its own, the sum can be tiled in the next step.)

# %%
explain("register accumulator")

# %% [markdown]
# The rungs to come share a few steps, which have names:

# %%
for step in (ladder.unroll, ladder.tiles_in_tiles, ladder.vectorize, ladder.pack):
    print(inspect.getsource(step))

# %% [markdown]
# ## 3. A register tile
#
# v1 x v2 sums at once. An element of A that is in a register serves v2 of them, one of B serves v1: A is loaded n³/v2
# times, B n³/v1 times. The sums do not wait for each other either. A third tile size, v3 steps of k at once, would
# change nothing about the loads, only take v1·v3 + v2·v3 registers instead of v1 + v2: so v3 = 1.

# %%
explain("register tile")

# %% [markdown]
# ## 4. A cache tile
#
# b1 rows of A and b2 rows of B are copied to where they stay in a cache while b1 x b2 results are computed: A comes
# from DRAM n² times, B n³/b1 times. Both have to fit: (b1 + b2)·n floats in L1. For large n they do not; then the tiles
# are made for L2, and a line under the tile sizes says so.
#
# Time follows the slowest of all things that have to happen, and here that is still the sum that waits for the one
# before: rows that are read from end to end are fetched ahead. So by themselves these tiles bring little or nothing.
# They will when the arithmetic has become fast enough to wait for memory, in the rungs from 6 on.

# %%
explain("cache tile")

# %% [markdown]
# ## 5. Both
#
# Register tiles inside of cache tiles. What a load costs depends on where it comes from: with l1 and dram for the cost
# of a load, all loads take l1·(n³/v2 + n³/v1) + dram·(n² + n³/b1). (The time is about that of the register tile, whose
# arithmetic is what takes it: one number at a time.)

# %%
explain("both")

# %% [markdown]
# The cost model finds the same from the schedule, with sizes for tiles in place of numbers:

# %%
sizes = {name: te.var(name) for name in ("n", "v1", "v2", "b1", "b2")}
symbolic = ladder.both(sizes["n"], Tiles(sizes["v1"], sizes["v2"], sizes["b1"], sizes["b2"]))
print(te.cost(symbolic).time)

# %% [markdown]
# ## 6. Vectors
#
# A vector register holds several floats, and an instruction works on all of them. A row of the register tile becomes a
# vector along j. For its loads to be contiguous, B's neighbours in j have to be neighbours in memory, which they are
# not: `layout` stores the cached rows of B turned.

# %%
explain("vectorised")

# %% [markdown]
# ## 7. Packing
#
# All of B is stored once, as panels that are as wide as a register tile, each read from one end to the other: no
# turning of the same rows again and again, no lines of cache that are used in part. A is read where it lies: an element
# is broadcast to all lanes as it is loaded, once for the two multiply-adds of its row.

# %%
explain("packed")

# %% [markdown]
# ## 8. Threads
#
# Tiles of different rows have nothing to do with each other, so threads share them, and the packing. With one thread,
# as here, this is the previous rung; `tedsl casestudy --threads 2` shows the difference. The same bits come out
# whatever the number of threads: no sum is cut.

# %%
explain("parallel")

# %% [markdown]
# ## 9. The best
#
# Threads get equal shares of the tiles. The loops are ordered so that a block of A's rows stays in L2 while the panels
# of B pass by, and each panel serves the whole block. Unrolling k saves the loop's own instructions.

# %%
explain("best")

# %% [markdown]
# ## All of it

# %%
print(f"{'step':<22}{'ms':>9}{'GFLOP/s':>9}{'of peak':>9}{'NumPy':>8}")
for row in rows.values():
    print(f"{row.step:<22}{row.seconds * 1e3:>9.3g}{row.gflops:>9.3g}{row.of_peak:>9.1%}{row.of_numpy:>7.2f}x")

# %% [markdown]
# Every rung computes the same. Here are all of them, against the reference, at a size that no tile divides:

# %%
odd = 45
rng = np.random.default_rng(0)
a, b = (rng.standard_normal((odd, odd), dtype="float32") for _ in range(2))
inputs = problem(odd)
want = te.evaluate(inputs[2], {inputs[0]: a, inputs[1]: b})
for rung in LADDER:
    got = te.build(rung.schedule(odd, choose(rung, odd, machine)))(a, b)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
print(f"{len(LADDER)} schedules, one meaning")
