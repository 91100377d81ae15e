"""Names in generated C: legal, unique, and as close to the user's as C allows."""

from __future__ import annotations

import re
import unicodedata

RESERVED = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return short
    signed sizeof static struct switch typedef union unsigned void volatile while asm typeof bool true false main
    y0 y1 yn j0 j1 jn gamma abs exp log sin cos tan pow sqrt floor ceil round trunc rint fabs fmod erf malloc free signal index
    I complex imaginary NAN INFINITY NULL linux unix i386 errno stdin stdout stderr""".split()
) | {f"{u}int{n}_t" for u in ("", "u") for n in (8, 16, 32, 64)}  # fmt: skip


def legal(name: str) -> str:
    """`name` as a C identifier: accents dropped, everything else that C does not take replaced by an underscore."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"\W", "_", plain.replace(".", "_").replace("'", "_"))
    if not plain.strip("_"):
        plain = "t"
    if plain[0].isdigit() or plain[0] == "_" or plain.startswith("te_"):
        plain = "t" + plain
    return plain[:60] + ("_" if plain in RESERVED else "")


class Names:
    """A scope of C names: the same object always gets the same name, two objects never do."""

    def __init__(self) -> None:
        self.taken: set[str] = set(RESERVED)
        self.given: dict[object, str] = {}

    def of(self, key: object, wanted: str) -> str:
        if key not in self.given:
            base = name = legal(wanted)
            serial = 0
            while name in self.taken:
                serial += 1
                name = f"{base}_{serial}"
            self.taken.add(name)
            self.given[key] = name
        return self.given[key]


def comment(text: str) -> str:
    """`text` as the contents of a one-line C comment: printable ASCII, nothing that ends the comment or continues its line."""
    plain = text.encode("ascii", "replace").decode()
    return re.sub(r"[^ -~]", " ", plain).replace("\\", "/").replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
