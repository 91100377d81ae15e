"""Print the gradient of an index expression as an index expression.

Shapes and extents may be given (A=4x3, an axis r=3); sizes that are not given are symbolic, named after the axes. What
is not a scalar is differentiated against an adjoint of its own, which is called d and its name. For example

  tedsl grad "C[i,j] = sum(A[i,k] * B[j,k])" --wrt A
  tedsl grad "Y[n,f,y,x] = sum(X[n,c,2*y+r,2*x+s] * W[f,c,r,s])" --wrt X,W X=1x3x9x9 W=8x3x3x3 --latex
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tedsl.terminal import InputError

if TYPE_CHECKING:
    from tedsl.lang.grammar import Equation, Node

_SHAPE = re.compile(r"\d+(x\d+)*\Z", re.ASCII)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("expression", help="the definition, such as 'C[i,j] = sum(A[i,k] * B[j,k])'")
    parser.add_argument("sizes", nargs="*", default=[], metavar="NAME=SIZE", help="a shape (A=4x3) or an extent (r=3)")
    parser.add_argument(
        "--wrt", action="append", required=True, metavar="A,B", help="differentiate with respect to these tensors"
    )
    parser.add_argument("--latex", action="store_true", help="print LaTeX")


def run(options: argparse.Namespace) -> int:
    sizes = read_sizes(options.sizes)

    import tedsl as te
    from tedsl.lang.grammar import parse

    equations = parse(options.expression)
    names = declarations(equations, sizes)
    result = te.define(options.expression, **names)
    outputs = result if isinstance(result, tuple) else (result,)
    wanted = [name for words in options.wrt for name in words.replace(",", " ").split()]
    tensors = {tensor.name: tensor for output in outputs for tensor in output.inputs}
    tensors |= {output.name: output for output in outputs}
    for name in wanted:
        if name not in tensors:
            raise InputError(f"--wrt {name}: the expression reads {', '.join(tensors)}")
    seeds = [te.tensor(f"d{output.name}", output.shape, dtype=output.dtype) for output in outputs]
    scalar = all(output.rank == 0 for output in outputs)
    gradients = te.vjp(list(outputs), [tensors[name] for name in wanted], None if scalar else seeds)
    print(te.show(gradients, latex=options.latex))
    return 0


def read_sizes(words: list[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of ``NAME=4x3`` words."""
    found: dict[str, tuple[int, ...]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier() or not _SHAPE.match(text):
            raise InputError(f"'{word}' is not of the form NAME=4x3 (a shape) or NAME=3 (an extent)")
        if name in found:
            raise InputError(f"'{name}' is given twice")
        found[name] = tuple(map(int, text.split("x")))
    return found


def declarations(equations: list[Equation], sizes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """The tensors and extents of a definition in text: as given, else of symbolic sizes."""
    import tedsl as te

    indexed = [node for equation in equations for node in _indexed(equation)]
    defined = {left.text for equation in equations for left in equation.left}
    inside = {n.text for node in indexed for index in node.children for n in _below(index) if n.kind == "index"}
    dims: dict[tuple[str, int], int] = {}  # dimension of a tensor -> number of its class
    classes: list[tuple[str, int | None]] = []  # the name of a size, or the number
    of_axis: dict[str, int] = {}
    for node in indexed:
        if node.text in defined and len(equations) == 1:
            continue  # its definition gives its shape
        shape = sizes.get(node.text)
        if shape is not None and len(shape) != len(node.children):
            raise InputError(
                f"{node.text}={'x'.join(map(str, shape))} has {len(shape)} dimensions, but the expression reads "
                f"{len(node.children)} of {node.text}"
            )
        for d, index in enumerate(node.children):
            axis = index.text if index.kind == "name" else None
            known = dims.get((node.text, d))
            if known is None:
                known = of_axis.get(axis) if axis and shape is None else None
            if known is None:
                classes.append((axis.upper() if axis else f"{node.text}{d}", None if shape is None else shape[d]))
                known = len(classes) - 1
            dims[node.text, d] = known
            if axis:
                other = of_axis.setdefault(axis, known)
                if other != known and shape is None and classes[known][1] is None:
                    dims = {k: other if c == known else c for k, c in dims.items()}
    extents: list[Any] = [n if n is not None else te.var(name, min=1) for name, n in classes]
    found: dict[str, Any] = {}
    for node in indexed:
        if (node.text not in found and (node.text, 0) in dims) or (not node.children and node.text not in defined):
            shape_ = tuple(extents[dims[node.text, d]] for d in range(len(node.children)))
            kind = "int64" if node.text in inside else "float32"
            found[node.text] = shape_ if node.text in defined else te.tensor(node.text, shape_, dtype=kind)
    for name, shape in sizes.items():
        if name not in found:
            if len(shape) > 1 and name not in defined:
                raise InputError(f"{name}={'x'.join(map(str, shape))}: the expression has no tensor {name}")
            found[name] = shape if name in defined else shape[0]
    return found


def _indexed(equation: Equation) -> Iterator[Node]:
    """What is indexed in an equation, in reading order, left side first."""
    for root in (*equation.left, *equation.right):
        for node in _below(root):
            if node.kind == "index":
                yield node


def _below(node: Node) -> Iterator[Node]:
    yield node
    for child in (*node.children, *(value for _, _, value in node.keywords)):
        yield from _below(child)
