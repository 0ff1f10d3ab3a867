"""Specs as tests: `pytest --netspec specs/`. It imports nothing heavy until there is a spec to test."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from netspec.spec.model import Spec
    from netspec.testing import Prover
    from netspec.verify.result import BackendVerdict, Verdict

SUFFIXES = (".yaml", ".yml")
CHECK = "check"
"""The test that a spec is valid, for which its others wait."""
ASPECTS = ("counts", "outputs", "gradients", "artefacts")
"""What each backend is tested for; gradients where it derives."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options and the settings."""
    group = parser.getgroup("netspec")
    group.addoption(
        "--netspec",
        metavar="PATH",
        action="append",
        default=[],
        help="a spec, or a folder of specs, to test; repeatable",
    )
    group.addoption(
        "--netspec-backends", metavar="NAMES", default=None, help="only these backends, separated by commas"
    )
    parser.addini("netspec_specs", "specs, or folders of specs, that are tests", type="paths", default=[])
    parser.addini("netspec_backends", "the backends to test; all that are installed", type="args", default=[])


class _Settings:
    """What is asked for, and the processes that answer, which start with the first test that needs them."""

    def __init__(self, config: pytest.Config) -> None:
        asked = [Path(config.invocation_params.dir, path).resolve() for path in config.getoption("--netspec")]
        self.asked = asked
        self.paths = [*asked, *(path.resolve() for path in config.getini("netspec_specs"))]
        named = config.getoption("--netspec-backends")
        self.named = named.split(",") if named else list(config.getini("netspec_backends"))
        self._prover: Prover | None = None
        self._verdicts: dict[tuple[str, str | None, str], Verdict] = {}

    def covers(self, path: Path) -> bool:
        return any(path == each or each in path.parents for each in self.paths)

    @property
    def backends(self) -> list[str]:
        from netspec.backend import installed_backends

        return self.named or installed_backends()

    def verdict(self, spec: Spec, variant: str | None, backend: str) -> BackendVerdict:
        """The verdict on a backend, found out when the first of its tests asks."""
        from netspec.testing import Prover

        key = (spec.file, variant, backend)
        if key not in self._verdicts:
            if self._prover is None:
                self._prover = Prover()
            self._verdicts[key] = self._prover.prove(spec, [backend])
        return self._verdicts[key].backends[0]

    def close(self) -> None:
        if self._prover is not None:
            self._prover.close()


SETTINGS = pytest.StashKey[_Settings]()


def pytest_configure(config: pytest.Config) -> None:
    """Collect what `--netspec` names, and what the settings name where no other paths are given."""
    settings = config.stash[SETTINGS] = _Settings(config)
    if not settings.paths:
        return
    config.addinivalue_line("markers", "netspec: a test of a spec")
    all_asked = config.args_source is not pytest.Config.ArgsSource.ARGS
    for path in settings.paths if all_asked else settings.asked:
        within = [Path(config.invocation_params.dir, each.split("::")[0]).resolve() for each in config.args]
        if not any(path == each or each in path.parents for each in within):
            config.args.append(str(path))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the backends' processes."""
    settings = config.stash.get(SETTINGS, None)
    if settings is not None:
        settings.close()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SpecFile | None:
    """A spec file that is asked for."""
    settings = parent.config.stash[SETTINGS]
    if file_path.suffix not in SUFFIXES or not settings.paths or not settings.covers(file_path.resolve()):
        return None
    return SpecFile.from_parent(parent, path=file_path)


class SpecFile(pytest.File):
    """A spec; its tests are `check`, `golden` where it pins a bundle, and for each backend its aspects."""

    def collect(self) -> Iterator[pytest.Item]:
        """The tests of the spec and of each of its variants."""
        from netspec.errors import NetspecError
        from netspec.spec.override import variant_names

        try:
            root = self.spec(None).root
            variants: list[str | None] = [None, *(variant_names(root) if root else ())]
        except NetspecError:
            variants = [None]  # its check says what is wrong
        for variant in variants:
            yield from self._of(variant)

    def spec(self, variant: str | None) -> Spec:
        """The spec, read once more for each test: reading it is cheap, and nothing is shared between tests."""
        from netspec.spec.load import load_spec

        return load_spec(self._shown(), variant=variant)

    def _shown(self) -> Path:
        """The path as messages show it."""
        try:
            return self.path.relative_to(self.config.invocation_params.dir)
        except ValueError:
            return self.path

    def _of(self, variant: str | None) -> Iterator[pytest.Item]:
        from netspec.errors import NetspecError

        def item(name: str, test: Callable[[Spec], None], *parts: str) -> pytest.Item:
            told = "-".join(part for part in (variant or "", *parts) if part)
            full = f"{name}[{told}]" if told else name
            made: pytest.Item = SpecItem.from_parent(self, name=full, variant=variant, test=test)
            return made

        yield item(CHECK, lambda _: None)
        try:
            expect = self.spec(variant).expect
        except NetspecError:
            return
        if expect is not None and expect.golden is not None:
            yield item("golden", _golden)
        from netspec.backend import differentiable_backends

        for backend in self.config.stash[SETTINGS].backends:
            for aspect in ASPECTS:
                if aspect == "gradients" and backend not in differentiable_backends():
                    continue
                yield item(aspect, self._aspect(aspect, variant, backend), backend)

    def _aspect(self, aspect: str, variant: str | None, backend: str) -> Callable[[Spec], None]:
        def test(spec: Spec) -> None:
            from netspec.backend import find_backend
            from netspec.errors import BackendError
            from netspec.report.verdict import failure_lines

            settings = self.config.stash[SETTINGS]
            try:
                find_backend(backend)
            except BackendError as error:
                if settings.named:
                    raise
                pytest.skip(str(error).splitlines()[0])
            verdict = settings.verdict(spec, variant, backend)
            failures = tuple(failure for failure in verdict.failures if aspect_of(failure, verdict) == aspect)
            if failures:
                again = shlex.join(["netspec", "verify", spec.file, *(["--variant", variant] if variant else [])])
                wrong = verdict.model_copy(update={"failures": failures})
                raise AssertionError("\n".join(failure_lines(wrong, again)))

        return test


def _golden(spec: Spec) -> None:
    from netspec.compile import compile_spec
    from netspec.verify.golden import check_golden

    check_golden(spec, compile_spec(spec))


def aspect_of(failure: Any, verdict: BackendVerdict) -> str:
    """Which of the tests of a backend a failure belongs to."""
    if failure.symptom == "count":
        return "counts"
    if failure.symptom == "gradient":
        return "gradients"
    if failure.symptom == "file" or failure.stage == "build":
        return "artefacts"
    if failure.row is None:
        # What was compared is a file; what was not run, or has no rule, gave no outputs.
        return "artefacts" if failure.stage == "compare" else "outputs"
    rows = [row for row in verdict.rows if row.row == failure.row]
    measures = [measure for row in rows for measure in (row.float64, row.float32)]
    agrees = measures and all(measure is not None and (measure.ratio or 0.0) <= 1.0 for measure in measures)
    # Where the values of the row agree, it is its weights in the files that do not.
    return "artefacts" if agrees and failure.symptom == "value" else "outputs"


class SpecItem(pytest.Item):
    """One test of a spec: that it compiles, and what `test` finds out."""

    def __init__(self, *, variant: str | None, test: Callable[[Spec], None], **keywords: Any) -> None:
        super().__init__(**keywords)
        self.variant, self.test = variant, test
        self.checks = self.name.split("[")[0] == CHECK
        self.add_marker("netspec")

    def runtest(self) -> None:
        """Compile the spec, then test it."""
        from netspec.compile import compile_spec
        from netspec.errors import SpecError

        assert isinstance(self.parent, SpecFile)
        try:
            spec = self.parent.spec(self.variant)
            compile_spec(spec)
        except SpecError:
            if any(self._waits_for(item) for item in self.session.items):
                pytest.skip("the spec is not valid: its check says why")
            raise
        self.test(spec)

    def _waits_for(self, item: pytest.Item) -> bool:
        """Whether an item is the check of the same spec and variant, which fails where that is not valid."""
        return (
            item is not self
            and isinstance(item, SpecItem)
            and (item.path, item.variant, item.checks) == (self.path, self.variant, True)
        )

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong in words; a traceback only where netspec itself is."""
        from netspec.errors import NetspecError

        if isinstance(excinfo.value, (NetspecError, AssertionError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the test stands."""
        return self.path, 0, f"{self.path.name}: {self.name}"
