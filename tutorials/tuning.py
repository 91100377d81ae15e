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
# # Letting the machine choose
#
# The tiles of a matrix product are a compromise: larger register tiles load less, until the registers run out; larger
# cache tiles are read more often, until the cache is full. The formulas say what to try, and measuring says what is
# best here. This tutorial writes a *template*, searches its knobs, looks at what came out, and uses it.
#
# Set `TEDSL_TUTORIAL_N` for another size, and `TEDSL_TUTORIAL_TRIALS` for a longer search.

# %%
import os

import numpy as np

import tedsl as te

n = int(os.environ.get("TEDSL_TUTORIAL_N", "512"))
trials = int(os.environ.get("TEDSL_TUTORIAL_TRIALS", "32" if n > 100 else "6"))

# %% [markdown]
# ## A template
#
# It is an ordinary function. Where a schedule would have a number, it asks `cfg` for one. `cfg.require` turns down what
# cannot be: here, tiles that need more vector registers than a core has.

# %%
i, j, k = te.axes("i j k")
vectors = te.machine().vector_bytes // 4  # floats in a vector register


@te.template
def matmul(cfg, n):
    A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    v1 = cfg.choice("v1", [1, 2, 4, 6, 8, 12])
    v2 = cfg.choice("v2", [vectors, 2 * vectors, 4 * vectors])
    cfg.require(v1 * v2 <= 28 * vectors, "registers")

    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    io, jo, ii, ji = s[C].tile(i, j, v1, v2)
    if cfg.boolean("columns_first"):
        s[C].reorder(jo, io, ii, ji)
        inner = io
    else:
        inner = jo
    s[C].unroll(ii)
    s[C].vectorize(ji)
    s[Cr].compute_at(s[C], inner)
    s[Cr].reorder(k, i, j)
    s[Cr].unroll(i)
    s[Cr].vectorize(j)
    if cfg.boolean("packed"):  # B as panels [n / v2][k][v2], each read from one end to the other
        Bp = s.cache_read(B, "global", Cr)
        panel, lane = s[Bp].split("j", v2)
        s[Bp].layout(panel, "k", lane)
        s[Bp].vectorize(lane)
    return s, [A, B, C]


# %% [markdown]
# ## The search
#
# Each candidate is built and measured in processes of its own and checked against the reference. What the model of the
# machine predicts to be far off is not measured at all.

# %%
result = te.tune(matmul, (n,), trials=trials, store="tuning.db", seed=0)
print(result)

# %% [markdown]
# The picture shows how the search went, how good the predictions were, and which knobs matter.

# %%
result.plot("tuning.png")

# %% [markdown]
# Run it again, and nothing is measured: what is in the store is known.

# %%
again = te.tune(matmul, (n,), trials=trials, store="tuning.db", seed=0)
print(f"measured again: {again.measured}")

# %% [markdown]
# ## Using it
#
# The best configuration gives a schedule and the kernel's arguments. Or leave the template out altogether: whatever
# computes the same finds its schedule in the store, whatever its names.

# %%
rng = np.random.default_rng(0)
a, b = (rng.standard_normal((n, n), dtype=np.float32) for _ in range(2))
kernel = te.build(*result.best.apply())
np.testing.assert_allclose(kernel(a, b), a @ b.T, rtol=1e-3, atol=1e-3)

X, Y, Z = te.tensor("X", (n, n)), te.tensor("Y", (n, n)), te.tensor("Z")
p, q, r = te.axes("p q r")
Z[p, q] = te.sum(X[p, r] * Y[q, r])
found = te.build(Z, tuned="tuning.db")
np.testing.assert_allclose(found(a, b), a @ b.T, rtol=1e-3, atol=1e-3)

seconds = kernel.time(a, b).median
peak = te.machine().peak_gflops["float32"]
print(f"{2 * n**3 / seconds / 1e9:.0f} GFLOP/s of {peak:.0f}")
