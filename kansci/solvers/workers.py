"""Runs on one worker, on the processes of joblib or on a Dask cluster, none of which takes down another.

A worker process that is killed takes the runs along that it has at hand, and joblib's take each other along. Runs whose
results are lost are made again, one at a time; a run that loses its worker even then has failed.
"""

import logging
import math
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import Any

from kansci.errors import ConfigError, MissingDependencyError
from kansci.solvers.attempt import Outcome, attempt, failure

logger = logging.getLogger(__name__)

PAUSE = 0.02
LOOK = 5.0
PATIENCE = 300.0

Plan = Mapping[int, Mapping[str, Any]]
Outcomes = Generator[tuple[int, Outcome], None, None]
Call = Callable[[Mapping[str, Any]], Outcome]


def require(module: str, extra: str) -> Any:
    """Import an optional library.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"expected {module} to be installed, got {error}; install it with pip install 'kansci[{extra}]'"
        ) from error


def carry_out(run: Callable[..., Any], plan: Plan, *, threads: int, workers: int | None, backend: Any) -> Outcomes:
    """The outcome of each run of a plan, as they come in.

    Args:
        run: called with the settings of each.
        plan: settings by number.
        threads: of each run.
        workers: runs at a time, or None for what joblib's surrounding parallel_config says.
        backend: name of a backend of joblib, a Dask client, or None.

    Raises:
        ConfigError: there is no such backend, or no cluster.
        MissingDependencyError: joblib or Dask is not installed.
    """
    call = partial(attempt, run, threads=threads)
    is_plain = workers == 1 or (workers is None and sys.modules.get("joblib") is None)  # nobody has configured it
    if not plan or (backend is None and is_plain):
        return _one_by_one(call, plan)
    client = _find_client(backend)
    if client is not None:
        return _surviving(_Dask(call, client), plan)
    pool = _Pool(call, workers, backend)
    return _one_by_one(call, plan) if pool.size == 1 else _surviving(pool, plan)


def _one_by_one(call: Call, plan: Plan) -> Outcomes:
    for number, settings in plan.items():
        yield number, call(settings)


class Crew(ABC):
    """Workers, of which some may get lost.

    Attributes:
        size: runs at a time.
    """

    size: int

    @property
    def is_gone(self) -> bool:
        """Whether there are no workers any more, nor will be."""
        return False

    @abstractmethod
    def together(self, plan: Plan) -> Outcomes:
        """The outcome of each run, as they come in; raises an error if some are lost."""


def _surviving(crew: Crew, plan: Plan) -> Outcomes:
    """All runs together; where that fails, those that may be why in turn, each alone; then the others together."""
    left = dict(plan)
    while left:
        try:
            for number, outcome in crew.together(dict(left)):
                del left[number]
                yield number, outcome
        except Exception as error:  # noqa: BLE001
            logger.warning("runs were lost (%s: %s)", type(error).__name__, error)
            for number in list(left)[: crew.size]:
                outcome = _alone(crew, number, left[number])
                if outcome is None:
                    return
                del left[number]
                yield number, outcome


def _alone(crew: Crew, number: int, settings: Mapping[str, Any]) -> Outcome | None:
    """The outcome of a run while there is no other, None where there are no workers any more."""
    try:
        return None if crew.is_gone else dict(crew.together({number: settings}))[number]
    except Exception as error:  # noqa: BLE001
        return None if crew.is_gone else failure(error.with_traceback(None))


class _Pool(Crew):
    """The workers of a backend of joblib, which replaces those that are lost."""

    def __init__(self, call: Call, workers: int | None, backend: str | None) -> None:
        self._joblib, self._call = require("joblib", "sweep"), call
        self._options = {"n_jobs": workers, "backend": backend}
        try:
            with self._joblib.parallel_config(**self._options) if backend else nullcontext():
                self.size = self._joblib.effective_n_jobs(workers)
        except ValueError as error:
            raise ConfigError(
                f'expected backend to be "loky", "dask" or another one that joblib knows, got {backend!r} ({error})'
            ) from error

    def together(self, plan: Plan) -> Outcomes:
        """Raises as soon as a worker is lost, and with it all that are at work."""
        parallel = self._joblib.Parallel(
            **self._options, return_as="generator_unordered", batch_size=1, max_nbytes=None
        )
        jobs = parallel([self._joblib.delayed(_numbered)(self._call, *each) for each in plan.items()])
        try:
            yield from jobs
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of jobs that nobody waits for any more
                jobs.close()


def _numbered(call: Call, number: int, settings: Mapping[str, Any]) -> tuple[int, Outcome]:
    return number, call(settings)


class _Dask(Crew):
    """A Dask cluster. Not by way of joblib, which waits forever for what Dask has given up."""

    def __init__(self, call: Call, client: Any) -> None:
        self._distributed, self._call, self._client = require("distributed", "sweep"), call, client
        workers = client.nthreads()
        self._looked = time.perf_counter()
        self._seen = self._looked if workers else math.inf  # the first may have to wait in a queue
        self.size, self._given_up = max(1, sum(workers.values())), False

    def together(self, plan: Plan) -> Outcomes:
        """Raises at the end if runs have been lost."""
        futures = {self._client.submit(self._call, each, pure=False): number for number, each in plan.items()}
        lost: BaseException | None = None
        try:
            completed = self._distributed.as_completed(
                futures, loop=self._client.loop, with_results=True, raise_errors=False
            )
            while not completed.is_empty():
                for future, result in completed.next_batch(block=False):
                    number = futures.pop(future)  # which lets the cluster forget it
                    if future.status == "finished":
                        yield number, result
                    else:
                        lost = result[1] if isinstance(result, tuple) else RuntimeError(f"Dask dropped it: {result!r}")
                self._look()
        finally:
            self._client.cancel(list(futures))
        if lost is not None:
            raise lost

    @property
    def is_gone(self) -> bool:
        """Whether the cluster has been closed, or has had no workers for PATIENCE seconds."""
        return self._given_up or self._client.status in ("closing", "closed")

    def _look(self) -> None:
        """Wait a moment, and now and then see whether there are still workers."""
        time.sleep(PAUSE)
        now = time.perf_counter()
        if now - self._looked < LOOK:
            return
        self._looked = now
        if self._client.nthreads():
            self._seen = now
        elif now - self._seen > PATIENCE:
            self._given_up = True
            raise RuntimeError(f"the Dask cluster has had no workers for {PATIENCE:g} s")


def _find_client(backend: Any) -> Any:
    """The Dask client that is meant, or None."""
    if backend is None:
        return getattr(require("joblib", "sweep").parallel.get_active_backend()[0], "client", None)
    if backend == "dask":
        distributed = require("distributed", "sweep")
        try:
            return distributed.get_client()
        except ValueError as error:
            raise ConfigError(
                'expected a Dask cluster for backend="dask", got none; call client = distributed.Client(...) '
                "before, with the address of a scheduler or, for processes of this machine, n_workers=..."
            ) from error
    if isinstance(backend, str):
        return None
    distributed = require("distributed", "sweep")
    if not isinstance(backend, distributed.Client):
        raise ConfigError(f"expected backend to be a name or a Dask client, got {type(backend).__name__}")
    return backend
