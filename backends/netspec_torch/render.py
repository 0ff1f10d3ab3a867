"""Network -> source: one self-contained Python file with an `nn.Module` for the whole and one for each block."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from netspec.codegen.outline import Scope, outline
from netspec.codegen.source import (
    class_name,
    classes_line,
    file_docstring,
    flow_docstring,
    format_source,
    head,
    module_name,
)
from netspec.codegen.template import settled
from netspec.network import Network
from netspec.tensors import Order, Placement
from netspec_torch.blocks import Blocks
from netspec_torch.body import Body
from netspec_torch.plan import Plan

IMPORTED = frozenset({"F", "Tensor", "Callable"})
"""Names that mean something else in the emitted file."""

USAGE = """\
With the weights that lie beside this file:

    model = {name}()
    model.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
    model.eval()"""


@dataclass(frozen=True)
class Rendering:
    """The source, and how the names in it relate to the network's."""

    module: str
    """The name of the module, and of its file without `.py`."""
    class_name: str
    source: str
    placements: Mapping[str, Placement]
    """Where each canonical weight stands in the state dict."""
    counters: tuple[str, ...]
    """Names in the state dict of integers that torch keeps for itself."""
    attributes: Mapping[str, str]
    """The row of each attribute, by its path from the module (`fire2.squeeze`)."""
    orders: Mapping[str, Order]
    """How the axes of every row's value are ordered, when every row is tapped."""


def render(network: Network, *, taps: bool = False) -> Rendering:
    """Write a network as PyTorch; raises UnsupportedError for what has no rule.

    With `taps`, `forward` takes a function that every row's value goes through, by the row's name, and whose result
    the rows after it read; there the blocks' rows stand in one method, under the same names in the state dict.
    """
    name = class_name(network.name)
    name = f"{name}Net" if name in IMPORTED else name
    whole = outline(network)
    plan = Plan(network, whole)
    blocks = Blocks(plan, whole, taken={name, *IMPORTED}) if not taps else None
    scope = Scope(items=list(network.rows)) if taps else whole
    final = None if taps else head(network)
    body = Body(plan, scope, taps=taps, head=final, borders=blocks.borders if blocks else {})
    source = settled(_file(network, name, plan, blocks, body))
    return Rendering(
        module=module_name(network.name),
        class_name=name,
        source=source if taps else format_source(source),
        placements=plan.placements,
        counters=plan.counters,
        attributes=plan.owners,
        orders=body.row_orders,
    )


def _file(network: Network, name: str, plan: Plan, blocks: Blocks | None, body: Body) -> str:
    methods = body.methods()
    statements = plan.statements(body.scope, blocks.made if blocks else None)
    frozen = plan.frozen_statements()
    inside = "".join(f"        {statement}\n" for statement in (*statements, *frozen))
    constants = "".join(f"    {name}: Tensor\n" for name in plan.constants(body.scope))
    classes = blocks.classes if blocks else []
    code = re.sub(r"#.*", "", settled(inside + methods + "".join(classes)))
    imports = ["from collections.abc import Callable\n"] if body.taps else []
    if re.search(r"\btorch\.", code):
        imports.append("import torch")
    imports.append("from torch import Tensor, nn")
    if re.search(r"\bF\.", code):
        imports.append("from torch.nn import functional as F")
    parts = [
        file_docstring(network, "PyTorch", USAGE.format(name=name)),
        "\n".join(imports),
        classes_line(network),
        *classes,
        f"""class {name}(nn.Module):
    {flow_docstring(network, "first")}

{constants}
    def __init__(self) -> None:
        super().__init__()
{inside}
{plan.train_method()}
{methods}""",
    ]
    return "\n\n".join(part for part in parts if part)
