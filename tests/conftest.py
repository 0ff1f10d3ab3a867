"""What every test shares: the backends as worker processes, and which of them must be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from netspec.backend import find_backend, installed_backends
from netspec.backend.worker import Worker
from netspec.errors import BackendError

TRAINERS = ("torch", "keras")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own: what they decode is nobody else's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETSPEC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", default="", help="only these backends, separated by commas")
    parser.addoption("--require-backends", action="store_true", help="fail, not skip, where a backend is missing")


class Workers(Mapping[str, Worker]):
    """One process a backend, started when it is first asked for and kept for the whole run."""

    def __init__(self) -> None:
        self.started: dict[str, Worker] = {}

    def __getitem__(self, name: str) -> Worker:
        if name not in self.started:
            self.started[name] = Worker(name)
        return self.started[name]

    def __iter__(self) -> Iterator[str]:
        return iter(installed_backends())

    def __len__(self) -> int:
        return len(installed_backends())


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    found = Workers()
    yield found
    for worker in found.started.values():
        worker.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = [name for name in metafunc.config.getoption("--backends").split(",") if name] or installed_backends()
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", chosen, indirect=True, scope="session")
    if "learner" in metafunc.fixturenames:
        learners = [name for name in chosen if name in TRAINERS]
        metafunc.parametrize("learner", learners, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend; tests that ask for it run once for each."""
    return _required(request, request.param)


@pytest.fixture(scope="session")
def learner(request: pytest.FixtureRequest, workers: Workers) -> Worker:
    """The worker of a backend that trains; tests that ask for it run once for each."""
    return workers[_required(request, request.param)]


@pytest.fixture(scope="session")
def learners(request: pytest.FixtureRequest, workers: Workers) -> dict[str, Worker]:
    """The workers of all backends that train."""
    return {name: workers[_required(request, name)] for name in TRAINERS}


def _required(request: pytest.FixtureRequest, name: str) -> str:
    try:
        find_backend(name)
    except BackendError as error:
        if request.config.getoption("--require-backends"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    return name
