"""Memory of temporaries, kept from one call to the next: fresh memory costs a page fault for every 4096 bytes, which is
often more than what is computed in them. Each place in the code that needs memory has a slot; a call takes what is in
it, or allocates when it is empty (another thread has it) or too small, and puts it back. What is larger than KEPT is
not kept. All of it goes when the kernel is unloaded.
"""

from __future__ import annotations

KEPT = 1 << 26  # bytes

SOURCE = """\
static void *te_kept[{slots}];

static void *te_take(int slot, size_t bytes)
{{
    char *memory = __atomic_exchange_n(&te_kept[slot], NULL, __ATOMIC_ACQUIRE);
    if (memory && *(size_t *)memory < bytes) {{ free(memory); memory = NULL; }}
    if (!memory && bytes < SIZE_MAX - 128 && (memory = aligned_alloc(64, (bytes + 127) & ~(size_t)63)) != NULL) \
*(size_t *)memory = bytes;
    return memory ? memory + 64 : NULL;
}}

static void te_give(int slot, void *taken)
{{
    char *memory = (char *)taken - 64;
    free(*(size_t *)memory > {kept} ? memory : __atomic_exchange_n(&te_kept[slot], memory, __ATOMIC_ACQ_REL));
}}

__attribute__((destructor)) static void te_drop(void)
{{
    for (int slot = 0; slot < {slots}; slot++) free(__atomic_exchange_n(&te_kept[slot], NULL, __ATOMIC_ACQUIRE));
}}
"""


def source(slots: int) -> str:
    """The C of so many slots."""
    return SOURCE.format(slots=slots, kept=KEPT)
