"""Preparation of images."""

from __future__ import annotations

from netspec.codegen.source import alike
from netspec.layers import Grayscale, Normalize, Rescale, Resize
from netspec.network import Node
from netspec.tensors import Order
from netspec_torch.line import Attribute, Line, call, either, literal, rules

LUMA = (0.2989, 0.587, 0.114)
"""ITU-R BT.601, as Keras rounds it."""


@rules(Rescale)
def rescale(layer: Rescale, node: Node) -> Line:
    """A factor, then an offset."""
    code = "{x}"
    if layer.scale != 1:
        code += scaled(layer.scale)
    if layer.offset:
        code += f" {'-' if layer.offset < 0 else '+'} {literal(abs(layer.offset))}"
    return either(code)


def scaled(scale: float) -> str:
    """A multiplication, or a division where that says it better: `x / 255`.

    >>> scaled(1 / 255), scaled(1 / 127.5), scaled(0.3)
    (' / 255', ' / 127.5', ' * 0.3')
    """
    divisor = round(1 / scale, 4) if 0 < abs(scale) < 1 else 0.0
    if not divisor or 1 / divisor != scale or len(repr(divisor)) >= len(repr(scale)):
        return f" * {literal(scale)}"
    return f" / {int(divisor) if divisor == int(divisor) else divisor}"


@rules(Normalize)
def normalize(layer: Normalize, node: Node) -> Line:
    """Constants a channel, kept as buffers that are neither counted nor saved; plain numbers when all are equal."""
    codes, attributes = [], []
    shape = literal((-1,) + (1,) * (node.input_type.rank - 1))[1:-1].rstrip(",")
    for name, values in (("mean", layer.mean), ("std", layer.std)):
        if len(set(values)) == 1:
            codes.append(literal(values[0]))
            continue
        constant = call("torch.tensor", f"[{', '.join(map(literal, values))}]")
        if node.input_type.rank > 1:
            constant += f".view({shape})"
        attributes.append(Attribute(constant, suffix=f"_{name}", constant=True))
        codes.append(f"{{self}}_{name}")
    code = f"({{x}} - {codes[0]}) / {codes[1]}"
    orders: tuple[Order, ...] = ("first",) if attributes else ("first", "last")
    return Line(dict.fromkeys(orders, code), attributes=tuple(attributes))


@rules(Grayscale)
def grayscale(layer: Grayscale, node: Node) -> Line:
    """A weighted sum of the channels."""
    red, green, blue = LUMA
    code = f"{red} * {{x}}[:, 0:1] + {green} * {{x}}[:, 1:2] + {blue} * {{x}}[:, 2:3]"
    return Line({"first": code}, comment="luma, ITU-R BT.601")


@rules(Resize)
def resize(layer: Resize, node: Node) -> Line:
    """Interpolation at pixel centres, or the pixel whose centre is nearest."""
    if layer.mode == "bilinear":
        return Line({"first": call("F.interpolate", "{x}", alike(layer.size), mode='"bilinear"')})
    given = node.input_type.spatial
    if not any(touches(size, wanted) for size, wanted in zip(given, layer.size, strict=True)):
        return Line({"first": call("F.interpolate", "{x}", alike(layer.size), mode='"nearest-exact"')})
    # Where a centre falls on the border of two pixels torch's float32 scale may take the wrong one; integers do not.
    rows, columns = (
        f"(2 * torch.arange({wanted}, device={{x}}.device) + 1) * {size} // {2 * wanted}"
        for size, wanted in zip(given, layer.size, strict=True)
    )
    before = (f"rows = {rows}", f"columns = {columns}")
    return Line({"first": "{x}[:, :, rows[:, None], columns]"}, before=before, comment="the nearest centres")


def touches(size: int, wanted: int) -> bool:
    """Whether a centre of the result falls on the border of two pixels, by a scale that float32 cannot hold.

    >>> touches(10, 3), touches(8, 4), touches(7, 5)
    (True, False, False)
    """
    ties = any((2 * index + 1) * size % (2 * wanted) == 0 for index in range(wanted))
    return ties and bool(size % wanted)
