"""What `convscape check` looks for: the table of rules, and the function that applies them.

Each rule is one small function from a network to its findings. docs/findings.md documents every
row of the table; a test compares the two.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.findings import fields, norms, pairs, windows
from convscape.arithmetic.findings.rule import Finding, Rule
from convscape.arithmetic.network import Network

__all__ = ["RULES", "Finding", "Rule", "check", "compare"]

RULES: tuple[Rule, ...] = (
    Rule("CS001", "not-understood", "a layer that could not be traced", windows.not_understood),
    Rule("CS101", "unread-border", "cells at the border that no window reads", windows.border),
    Rule("CS102", "skipped-cells", "a stride that skips cells", windows.skipped),
    Rule("CS103", "same-stride", "`same` with a stride, placed differently elsewhere",
         windows.same_stride),
    Rule("CS104", "checkerboard", "a transposed kernel that the stride does not divide",
         windows.checkerboard),
    Rule("CS105", "padding-only-taps", "kernel cells that only ever see padding",
         windows.padding_only),
    Rule("CS106", "even-kernel-shift", "an even kernel that shifts its map by half a cell",
         windows.half_cell),
    Rule("CS201", "gridding", "dilations that leave holes in the receptive field", fields.gridding),
    Rule("CS202", "field-too-small", "a receptive field smaller than the input", fields.too_small),
    Rule("CS203", "field-too-large", "a receptive field far larger than the input",
         fields.too_large),
    Rule("CS204", "misaligned-branches", "branches that meet with different centres or paces",
         fields.misaligned),
    Rule("CS301", "bias-before-norm", "a bias that batch normalization takes away again",
         norms.bias),
    Rule("CS302", "dropout-before-norm", "dropout that shifts the variance batch normalization "
         "has learnt", norms.dropout),
    Rule("CS303", "single-value-norm", "batch normalization over one value a channel",
         norms.single_value),
    Rule("CS304", "foreign-momentum", "a momentum in the other framework's convention",
         norms.momentum),
    Rule("CS305", "ported-norm", "batch normalization that differs from the model it was ported "
         "from", None),
)  # fmt: skip
"""Every rule, in order; codes are never used again for something else."""


def check(
    network: Network, select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> list[Finding]:
    """The findings on a network, in the order of its layers.

    Args:
        network: The network.
        select: Codes, or beginnings of codes, to look for; all if empty.
        ignore: Codes, or beginnings of codes, to leave out.

    Raises:
        InputError: A code that no rule has.

    Example:
        >>> from convscape.arithmetic.builder import Builder
        >>> from convscape.arithmetic.window import Window
        >>> b = Builder("net")
        >>> x = b.input("x", (1, 1, 6))
        >>> y = b.pool("pool", "max_pool", x, (Window(3, stride=2),), axes=(2,))
        >>> [(f.code, f.layer) for f in check(b.network([y]), select=["CS1"])]
        [('CS101', 'pool')]
    """
    found = [f for rule in _chosen(select, ignore) if rule.find for f in rule.find(network)]
    return sorted(found, key=lambda f: f.index)


def compare(
    network: Network, original: Network, select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> list[Finding]:
    """The findings on a network that was ported from another: CS305.

    Raises:
        InputError: The two have different numbers of batch normalizations.
    """
    if not any(rule.code == "CS305" for rule in _chosen(select, ignore)):
        return []
    return list(pairs.ported(network, original))


def _chosen(select: Sequence[str], ignore: Sequence[str]) -> list[Rule]:
    for code in (*select, *ignore):
        if not code or not any(rule.code.startswith(code) for rule in RULES):
            raise InputError(
                "a code must be one of the rules, or the beginning of one",
                repr(code),
                f"known: {', '.join(rule.code for rule in RULES)}",
            )
    return [
        rule
        for rule in RULES
        if (not select or rule.code.startswith(tuple(select)))
        and not (ignore and rule.code.startswith(tuple(ignore)))
    ]


def counted(findings: Iterable[Finding]) -> str:
    """How many of each code, as text.

    Example:
        >>> counted([])
        'no findings'
    """
    counts = Counter(f.code for f in findings)
    total = sum(counts.values())
    each = ", ".join(f"{code} {n}" for code, n in sorted(counts.items()))
    return f"{total} finding{'s' * (total != 1)}: {each}" if total else "no findings"
