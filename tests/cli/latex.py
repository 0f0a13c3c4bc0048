"""LaTeX read by a parser of LaTeX: what a document that takes it in would stumble over."""

from __future__ import annotations

from collections.abc import Iterator

# What a document with booktabs, tabularx and hyperref, which the first line asks for, knows.
MACROS = {
    *(
        "caption",
        "centering",
        "toprule",
        "midrule",
        "bottomrule",
        "raggedright",
        "arraybackslash",
        "linewidth",
    ),
    *("smallskip", "parbox", "footnotesize", "url", "textbackslash", "textasciitilde", "textasciicircum"),
    *("ldots", "\\", "_", "%", "&", "#", "$", "{", "}"),
}
IN_MATHS = {"times", "cdot", "to", "approx", "le", "ge", "lfloor", "rfloor"}
ENVIRONMENTS = {"table", "tabularx"}


def faults(text: str) -> list[str]:
    """Return what is wrong with LaTeX: nothing that is open, unknown, or a special character of LaTeX as text.

    Raises:
        LatexWalkerParseError: braces, environments or maths that are not closed.
    """
    from pylatexenc.latexwalker import LatexWalker

    nodes, _, _ = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    return list(_faults(nodes, in_maths=False))


def _faults(nodes, *, in_maths: bool) -> Iterator[str]:
    from pylatexenc import latexwalker as kinds

    for node in nodes or ():
        inside = in_maths or isinstance(node, kinds.LatexMathNode)
        if isinstance(node, kinds.LatexCharsNode):
            yield from (
                f"{each!r} as it is" for each in ("#%$\\~" if in_maths else "#^_%$\\~") if each in node.chars
            )
            # Letters of Latin scripts are set as they are, other characters have no command of their own.
            yield from (
                f"{each!r} has no font" for each in node.chars if not (each.isascii() or "À" <= each <= "ɏ")
            )
        elif isinstance(node, kinds.LatexMacroNode):
            if node.macroname not in (IN_MATHS if in_maths else MACROS):
                yield f"\\{node.macroname} {'in maths' if in_maths else ''}"
            if node.macroname == "url":
                continue  # an address is taken as it is
        elif isinstance(node, kinds.LatexSpecialsNode) and node.specials_chars not in (
            "&",
            "--",
            "---",
            "``",
            "''",
        ):
            yield f"{node.specials_chars!r} as it is"
        elif isinstance(node, kinds.LatexEnvironmentNode):
            if node.environmentname not in ENVIRONMENTS:
                yield f"environment {node.environmentname}"
            if node.environmentname == "tabularx":
                yield from _uneven(node)
        arguments = getattr(node, "nodeargd", None)
        given = [each for each in (arguments.argnlist if arguments else ()) if each is not None]
        yield from _faults([*(getattr(node, "nodelist", None) or ()), *given], in_maths=inside)


def _uneven(table) -> Iterator[str]:
    """Rows with more or fewer cells than the first."""
    from pylatexenc import latexwalker as kinds

    cells = [0]
    for node in table.nodelist:
        if isinstance(node, kinds.LatexSpecialsNode) and node.specials_chars == "&":
            cells[-1] += 1
        elif isinstance(node, kinds.LatexMacroNode) and node.macroname == "\\":
            cells.append(0)
    if len(set(cells[:-1])) > 1 or cells[-1]:
        yield f"rows of {sorted(set(cells[:-1]))} cells, and {cells[-1]} after the last"
