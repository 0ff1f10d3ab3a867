"""Hostile specs: bytes and trees of known specs, damaged at random, must give a spec or a SpecError, with bounded work;
so must folders of specs that are based on each other and include files, tangled at random.

`python -m tests.fuzz.hostile --count 2000 --seed 7` runs in one process, which the suite starts as its child: what
crashes the interpreter, or asks for more memory than the process may have, ends the child and is found there. Work is
counted in calls, not in seconds. While a text is read, an audit hook refuses everything that would run or write.
"""

from __future__ import annotations

import argparse
import posixpath
import re
import resource
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import yaml

from netspec.compile import compile_spec, expand
from netspec.compile.resolved import resolved_spec
from netspec.errors import SpecError
from netspec.layers import KINDS
from netspec.spec.format import format_spec
from netspec.spec.load import decode, load_spec, parse_spec
from netspec.spec.model import Spec
from netspec.spec.override import variant_names
from netspec.spec.write import write_yaml
from tests.fuzz.document import FILE
from tests.fuzz.generate import document

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 2**29
"""How much more memory than at its start the process may have."""
CALLS, CALLS_A_BYTE = 2_000_000, 4_000
"""How many calls of functions a text may cost."""
REFUSED = ("exec", "os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pty.", "import", "open")
TOKENS = (
    "&a ", "*a", "<<: *a", "!!python/object/apply:os.system [x]", "!t ", "\0", "\t", "\r", "\u2028", "\ufeff", "é",
    "\ud800",
    "9" * 400, "1e999", "-1", "0", "-0.0", ".nan", ".inf", "0x7fffffffffffffff", "1e308", "99999999999", "2147483647",
    "repeat=10000", "repeat=1000000000", "repeat=0", "when=1/0>1", "from=input", "from=[]", "from=[a,a,a,a,a,a,a,a]",
    "frozen=maybe", "{$include: ../x.yaml}", "{$include: /etc/passwd}", "base: {spec: /etc/passwd}",
    "base: {spec: fuzz.yaml}",
    "__import__('os').system('x')", "{0.__class__}", "%s%s%s%n", "${HOME}", "$(id)", "`id`", "'", '"', '"""', "\\",
    "\\N{DASH}",
    "[" * 70, "{a: " * 70, "- " * 70, "(" * 40, "1+" * 120 + "1", "2*" * 60 + "2", "7//0", "1e18*1e18", "x" * 300,
    "|" * 20,
    "padding=((9999999999,0),(0,0))", "kernel=1000000x1000000", "32768x32768x32768", "a.b.c", "..", "self", "class",
    "input",
    "---\n", "...\n", "? ", ": ", "- ", "#", "%YAML 9.9\n", "|\n", ">\n", "@", "layers: ", "blocks: ", "uses: ",
    "variables: ",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1e-320, 1e308, float("inf"), float("nan"),
    "", "-", "x", "conv", "input",
    "Conv | 3, 3", "pair | 1", "repeat=9", [], {}, [[]], {"": ""}, {"type": "Conv"}, {"type": None}, ["a", "a"],
    {"a": {"b": {"c": 1}}},
    "9" * 50, "1/0", "a" * 500, [1, 2, 3, 4, 5], {"$include": "x.yaml"}, {"parameters": {}, "layers": []},
    "((1,2),(3,4))",
)  # fmt: skip


REFERENCE = re.compile(rb"((?:spec|\$include): )([^,}\n]+)")
ELSEWHERE = (
    "fuzz.yaml", "../fuzz.yaml", "./x/../fuzz.yaml", ".", "..", "/", "", "/etc/passwd", "/dev/zero", "nowhere.yaml",
    "~", "fuzz.yaml/..", "a\\0b", "x" * 300, "[a]", "{$include: fuzz.yaml}", "link.yaml", "outside.yaml",
)  # fmt: skip
PATHS = (
    "base", "base.spec", "base.output", "base.freeze", "base.variant", "base.x", "variants", "variants.wide", "layers",
    "layers.0", "layers.99", "layers.0.from", "layers.0.type", "layers.0.repeat", "layers.0.when", "layers.conv_1.name",
    "layers.x.y.z", "blocks", "blocks.b", "blocks.b.layers", "blocks.b.layers.0", "blocks.b.layers.0.from",
    "blocks.b.parameters", "blocks.b.inputs", "variables", "variables.wide", "defaults", "defaults.Conv", "inputs",
    "input", "inputs.x", "outputs", "outputs.end", "name", "$include", "uses", "a..b", ".", "expect.shapes.x",
    "layers.0.0", "blocks.b.layers.0.0.0", "a" + ".a" * 3000,
)  # fmt: skip


class Work(Exception):
    """A text that costs more calls than it may."""


def corpus() -> list[bytes]:
    """The published specs, the bad ones, and random ones."""
    folders = (
        ROOT / "specs",
        ROOT / "tests" / "bad_specs",
        ROOT / "tests" / "golden",
        ROOT / "tests" / "fuzz" / "regressions",
    )
    texts = [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.yaml"))]
    return texts + [document(f"hostile:{number}").text().encode() for number in range(20)]


def mutated(r: Random, texts: Sequence[bytes]) -> bytes:
    """A text, damaged once or several times: as bytes, or as a tree."""
    text = r.choice(texts)
    if r.random() < 0.4:
        try:
            tree = yaml.safe_load(text.decode())
        except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
            tree = None
        if isinstance(tree, dict):
            for _ in range(r.randint(1, 4)):
                tree = _bent(r, tree)
            return yaml.safe_dump(
                tree, allow_unicode=True, sort_keys=False, default_flow_style=r.choice([None, True, False])
            ).encode()
    for _ in range(r.choice([1, 1, 2, 3, 8])):
        text = r.choice(DAMAGES)(r, text, texts)[:60_000]
    return text


def tangled(r: Random, folders: Sequence[Mapping[str, bytes]], texts: Sequence[bytes]) -> dict[str, bytes]:
    """The files of a spec: one is based on another than it was, includes itself, is gone, changes what nobody has."""
    files = dict(r.choice(folders))
    for _ in range(r.choice([1, 1, 2, 3, 5])):
        damage = r.choice((_elsewhere, _elsewhere, _elsewhere, _exchanged, _varied, _varied, _damaged))
        damage(r, files, texts)
    return files


def _elsewhere(r: Random, files: dict[str, bytes], _: Sequence[bytes]) -> None:
    """Another path in the place of one."""
    name = r.choice([name for name, text in files.items() if REFERENCE.search(text)] or [FILE])
    found = list(REFERENCE.finditer(files[name]))
    other = r.choice([*(posixpath.relpath(each, posixpath.dirname(name) or ".") for each in files), *ELSEWHERE])
    if found:
        match = r.choice(found)
        files[name] = files[name][: match.start(2)] + other.encode() + files[name][match.end(2) :]
    else:
        files[name] += f"base: {{spec: {other}}}\n".encode()


def _exchanged(r: Random, files: dict[str, bytes], _: Sequence[bytes]) -> None:
    """A file that holds what another one holds, or nothing, or is not there."""
    name, other = r.choice(list(files)), r.choice(list(files))
    if r.random() < 0.8:
        files[name] = r.choice([files[other], b"", b"[]", b"~"])
    elif name != FILE:
        del files[name]


def _varied(r: Random, files: dict[str, bytes], _: Sequence[bytes]) -> None:
    """Variants that change anything."""
    name = r.choice([name for name in files if b"\nlayers:" in files[name]] or [FILE])
    changes = {r.choice(PATHS): r.choice([*VALUES, *ELSEWHERE]) for _ in range(r.randint(1, 3))}
    text = re.sub(rb"(?m)^variants:.*\n(  .*\n)*", b"", files[name])
    files[name] = text + yaml.safe_dump({"variants": {r.choice(["wide", "a"]): changes}}, allow_unicode=True).encode()


def _damaged(r: Random, files: dict[str, bytes], texts: Sequence[bytes]) -> None:
    name = r.choice(list(files))
    files[name] = r.choice(DAMAGES)(r, files[name], texts)[:60_000]


def _flip(r: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    at = r.randrange(len(text) + 1)
    return text[:at] + bytes([r.randrange(256)]) + text[at + 1 :]


def _cut(r: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = sorted(r.randrange(len(text) + 1) for _ in range(2))
    return text[:begin] + text[min(end, begin + 40) :]


def _insert(r: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    at = r.randrange(len(text) + 1)
    return text[:at] + r.choice(TOKENS).encode("utf-8", "surrogatepass") + text[at:]


def _again(r: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    begin = r.randrange(len(text) + 1)
    piece = text[begin : begin + r.randint(1, 60)]
    return text[:begin] + piece * r.choice([2, 3, 50, 400]) + text[begin:]


def _spliced(r: Random, text: bytes, texts: Sequence[bytes]) -> bytes:
    other = r.choice(texts)
    return text[: r.randrange(len(text) + 1)] + other[r.randrange(len(other) + 1) :]


def _lines(r: Random, text: bytes, texts: Sequence[bytes]) -> bytes:
    lines, others = text.split(b"\n"), r.choice(texts).split(b"\n")
    for _ in range(r.randint(1, 3)):
        lines.insert(r.randrange(len(lines) + 1), r.choice([*lines, *others]))
    if r.random() < 0.5:
        lines.pop(r.randrange(len(lines)))
    return b"\n".join(lines)


def _replaced(r: Random, text: bytes, _: Sequence[bytes]) -> bytes:
    words = [word for word in text.replace(b"|", b" ").replace(b",", b" ").split() if word]
    return (
        text.replace(r.choice(words), r.choice([*words, b"0", b"-1", b"99999", b"(1,2,3)", b"input", b"repeat=3"]), 1)
        if words
        else text
    )


DAMAGES: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip, _cut, _insert, _insert, _again, _spliced, _lines, _replaced, _replaced,
)  # fmt: skip


def _bent(r: Random, tree: Any) -> Any:
    """The tree with one place changed: another value, one of its own subtrees, one key more or less."""
    places: list[tuple[Any, Any]] = []

    def visit(node: Any, depth: int) -> None:
        if depth > 12 or len(places) > 5000:
            return  # an anchor may stand inside of itself
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            visit(node[key], depth + 1)

    visit(tree, 0)
    if not places:
        return tree
    holder, key = r.choice(places)
    other, from_key = r.choice(places)
    choice = r.random()
    if choice < 0.4:
        holder[key] = deepcopy(r.choice(VALUES))
    elif choice < 0.6:
        holder[key] = other[from_key]
    elif choice < 0.75:
        del holder[key]
    elif isinstance(holder, list):
        holder.insert(key, deepcopy(r.choice([*VALUES, holder[key]])))
    else:
        holder[r.choice([*TOKENS[:40], "type", "from", "repeat", "when", "inputs", "outputs", "uses", "base"])] = (
            deepcopy(r.choice([holder[key], *VALUES]))
        )
    return tree


@contextmanager
def bounded(calls: int) -> Any:
    """Raise Work after so many calls."""
    left = calls

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal left
        if event in ("call", "c_call"):
            left -= 1
            if left < 0:
                sys.setprofile(None)
                raise Work(f"more than {calls:,} calls")

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)


class Watch:
    """An audit hook, which cannot be taken away: while it is on, it refuses what a reader has no business to do."""

    def __init__(self, folder: Path) -> None:
        self.on, self.folder, self.seen = False, str(folder), list[str]()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or not event.startswith(REFUSED) or event in ("os.listdir", "os.scandir"):
            return
        if event == "import" and str(arguments[0]).startswith("netspec."):
            return
        if event == "open" and isinstance(arguments[1], str) and not set(arguments[1]) & set("wxa+"):
            return
        self.on = False
        self.seen.append(f"{event} {str(arguments)[:200]}")
        raise AssertionError(self.seen[-1])


def laid(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files in a folder that has nothing else but links, to one of them and out of it; the path of the spec."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "link.yaml").symlink_to(FILE)
    (folder / "outside.yaml").symlink_to("/etc/passwd")
    return folder / FILE


def attempt_files(path: Path) -> str:
    """Read a spec and all of its variants to the end of the core; says and raises what `attempt` does."""
    try:
        spec = load_spec(path)
        compile_spec(spec)
    except SpecError as error:
        return "refused" if str(error).strip() else "refused without a word"
    for variant in variant_names(spec.root) if spec.root is not None else ():
        try:
            compile_spec(load_spec(path, variant=variant))
        except SpecError as error:
            if not str(error).strip():
                return "refused without a word"
    _hold_resolved(spec, str(path))
    return "a spec"


def _hold_resolved(spec: Spec, file: str) -> None:
    """Raise AssertionError where a spec means something else as it is resolved."""
    again = parse_spec(write_yaml(resolved_spec(spec)), file)
    assert compile_spec(again).digest == compile_spec(spec).digest, "resolved, it is another network"


def attempt(content: bytes, folder: Path) -> str:
    """Read a text to the end of the core; says whether it was a spec, and raises what is not a SpecError."""
    file = str(folder / "fuzz.yaml")
    try:
        text = decode(content, file)
        spec = parse_spec(text, file)
        compile_spec(spec)
    except SpecError as error:
        return "refused" if str(error).strip() else "refused without a word"
    _hold_resolved(spec, file)
    for style in ("pipes", "mapping", "table"):
        try:
            format_spec(text, file, style)
        except SpecError:
            continue
    return "a spec"


def main() -> int:
    """Run; 1 at the first text that does what none may, which is then in the folder: `hostile.yaml`, or `tangled/`."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.hostile", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the text that fails is left")
    options = parser.parse_args()
    # Counting calls takes time: what a spec may unroll to is a tenth here, and CALLS is what that costs at most.
    expand.MAX_ROWS //= 10
    expand.MAX_WALKED //= 10
    texts, found = corpus(), {"a spec": 0, "refused": 0}
    for kind in KINDS.values():
        kind.form()
    import_module("netspec.data.tables")
    for text in texts:  # load whatever is loaded late
        try:
            attempt(text, options.folder)
        except SpecError:
            continue
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY_BYTES,) * 2)
    watch, path = Watch(options.folder), options.folder / "hostile.yaml"
    folders = [files for number in range(120) if len(files := _files(number)) > 1]
    for number in range(options.count):
        r = Random(f"{options.seed}:{number}")
        tangle = r.random() < 0.3
        if tangle:
            files = tangled(r, folders, texts)
            path, size = laid(files, options.folder / "tangled"), sum(map(len, files.values()))
        else:
            content = mutated(r, texts)
            path, size = options.folder / "hostile.yaml", len(content)
            path.write_bytes(content)
        try:
            watch.on = True
            with bounded(CALLS + CALLS_A_BYTE * size):
                found[attempt_files(path) if tangle else attempt(content, options.folder)] += 1
        except BaseException:  # noqa: BLE001 - whatever it is, it is the finding
            watch.on = False
            traceback.print_exc()
            print(f"seed {options.seed}:{number}, left in {path}")
            return 1
        finally:
            watch.on = False
        if watch.seen:
            print(f"seed {options.seed}:{number}, left in {path}: {watch.seen}")
            return 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - used
    print(f"{options.count} texts of seed {options.seed}: {found}, {grown / 1e6:.0f} MB more at most")
    (options.folder / "hostile.yaml").unlink(missing_ok=True)
    shutil.rmtree(options.folder / "tangled", ignore_errors=True)
    return 0


def _files(number: int) -> dict[str, bytes]:
    return {name: text.encode() for name, text in document(f"hostile:{number}").files().items()}


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())
