"""Columns of plain text and the ways that numbers are written in them."""

from __future__ import annotations

from collections.abc import Sequence

MB = 1024**2
"""Bytes of a MB, as torchsummary counts it."""


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = (), gap: str = "  ") -> list[str]:
    """The rows as lines of equal columns; the columns in `right` end where their widest cell ends.

    >>> aligned([["a", "10"], ["bcd", "5"]], right=[1])
    ['a    10', 'bcd   5']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        gap.join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), gap: str = "  "
) -> list[str]:
    """The rows under a header and a rule, as lines."""
    first, *lines = aligned([header, *rows], right, gap)
    rule = "-" * max(len(line) for line in (first, *lines))
    return [first, rule, *lines]


def megabytes(size_bytes: int) -> str:
    """Bytes in MB, with two decimals.

    >>> megabytes(64 * 784 * 4)
    '0.19'
    """
    return f"{size_bytes / MB:,.2f}"


def share_text(ratio: float) -> str:
    """An error as a share of what is granted, always in percent; far from it only on which side.

    >>> share_text(0), share_text(2e-4), share_text(0.344), share_text(6.45), share_text(2e4)
    ('0%', '<1%', '34%', '645%', '>999,999%')
    """
    if 0 < ratio < 0.005:
        return "<1%"
    return f"{ratio:,.0%}" if ratio < 9999.99 else ">999,999%"


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(0.42), duration(42), duration(75), duration(3725)
    ('0.4 s', '42 s', '1:15', '1:02:05')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
