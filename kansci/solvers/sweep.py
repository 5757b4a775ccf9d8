"""sweep: many runs, in parallel and resumable."""

import inspect
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

import torch
from tqdm import tqdm

from kansci.errors import ConfigError, SweepWarning
from kansci.solvers.attempt import Outcome
from kansci.solvers.data import Dataset
from kansci.solvers.filing import Folder, describe, plain
from kansci.solvers.fit import fit
from kansci.solvers.runs import Run, Sweep
from kansci.solvers.solution import Solution
from kansci.solvers.workers import Outcomes, carry_out


def sweep(
    run: Callable[..., Any],
    settings: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    *,
    data: Dataset | None = None,
    workers: int | None = None,
    threads: int = 1,
    folder: str | os.PathLike[str] | None = None,
    version: str = "",
    progress: bool = True,
    backend: Any = None,
) -> Sweep:
    """Call a function with every combination of settings.

    The runs are independent of each other and of where they are made: on any number of workers they give, with the
    same `threads` on the same kind of machine, the same numbers and models to the bit, as long as `run` draws its
    random numbers from a seed among its settings. A run that raises an error does not stop the others.

    Args:
        run: called with settings by keyword; returns a `Solution`, a model, a mapping of numbers (or `Estimate`,
            text, None), or a pair of the first or second and the third: (solution, {"test_error": ...}).
        settings: the values of each setting, all combinations of which are run, the last one varying fastest; what is
            not iterable, text and dicts count as one value. Or an iterable of dicts, one a run.
        data: if given, `run` is what makes a model, such as MultKAN, and each run fits one to the data. Settings go to
            `run` and to `fit` as their parameters are named, those of both, such as the seed, to both; models get the
            domain of the data unless another is set.
        workers: runs at a time, -1 for as many as there are cores; by default what joblib's surrounding
            ``parallel_config`` says, else 1, in this process. A Dask cluster has as many as it has.
        threads: of torch in each run; where workers times threads exceeds the cores, runs slow each other down.
        folder: where each run is filed as soon as it is finished. The same call makes only the runs that are not there
            yet, and those that failed. A run is known by its settings, the name of the function, what is bound to it
            by ``functools.partial``, the data and the version.
        version: any text; change it when the function has changed but not its name.
        progress: whether to show a progress bar.
        backend: of joblib: "loky" (processes, the default), "threading" or another; "dask" for the cluster of the
            active ``distributed.Client``; or such a client. A worker that is killed costs nothing but time.

    Returns:
        The runs in the order of the settings. Ctrl-C ends the sweep and returns those that are finished.

    Raises:
        CheckpointError: the folder cannot be written.
        ConfigError: settings that `run` does not take, that are empty, or by which runs cannot be filed; a backend
            that there is not.
        MissingDependencyError: joblib or Dask is needed and not installed.

    Warns:
        SweepWarning: runs failed or are missing; files were damaged and set aside.

    Example:
        >>> from kansci.nn.multkan import MultKAN
        >>> data = Dataset.from_function(lambda x: x[:, 0] * x[:, 1], [(-1, 1), (-1, 1)], 100)
        >>> choices = {"width": [[2, 1], [2, 2, 1]], "seed": range(2), "steps": 5}
        >>> runs = sweep(MultKAN, choices, data=data, progress=False)
        >>> [run.settings["width"] for run in runs]
        [[2, 1], [2, 1], [2, 2, 1], [2, 2, 1]]
        >>> runs.best("loss").settings["width"]
        [2, 2, 1]
    """
    plan = _read_settings(settings)
    _check_counts(workers, threads)
    place = None if folder is None else Folder(folder, _identity(run, data, version))
    run = run if data is None else _Fit(run, data)
    _check_signature(run, plan)
    runs = {} if place is None else _read_runs(place, plan)
    left = {number: each for number, each in enumerate(plan) if number not in runs}
    threads_before = torch.get_num_threads()
    try:
        outcomes = carry_out(run, left, threads=threads, workers=workers, backend=backend)
        _gather(outcomes, runs, plan, place, progress)
    finally:
        torch.set_num_threads(threads_before)
    result = Sweep(tuple(runs.get(number, Run(each, {"status": "missing"})) for number, each in enumerate(plan)))
    _warn(result, [] if place is None else place.complaints)
    return result


def _gather(
    outcomes: Outcomes, runs: dict[int, Run], plan: list[dict[str, Any]], place: Folder | None, progress: bool
) -> None:
    """Add the runs as they come in, until all are there or Ctrl-C is pressed."""
    bar = tqdm(total=len(plan), initial=len(runs), desc="sweep", disable=None if progress else True)
    with bar, suppress(KeyboardInterrupt), closing(outcomes):
        for number, outcome in outcomes:
            runs[number] = _keep(plan[number], outcome, place)
            bar.update()
            if outcome.is_cut_short:
                break


def _read_settings(settings: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings of each run."""
    if isinstance(settings, Mapping):
        values = [_values(each) for each in settings.values()]
        plan: list[Any] = [dict(zip(settings, each, strict=True)) for each in itertools.product(*values)]
    else:
        plan = list(settings)
    if not plan or not all(isinstance(each, Mapping) and all(isinstance(name, str) for name in each) for each in plan):
        raise ConfigError(
            f"expected settings as a dict of names and their values, none of them empty, or as dicts, one a run, "
            f'got {settings!r}; write e.g. {{"seed": range(5), "width": [[2, 5, 1], [2, 8, 1]]}}'
        )
    return [dict(each) for each in plan]


def _values(given: Any) -> list[Any]:
    is_one = isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable)
    return [given] if is_one or getattr(given, "ndim", 1) == 0 else list(given)


def _check_counts(workers: int | None, threads: int) -> None:
    if threads < 1 or workers == 0:
        raise ConfigError(
            f"expected one thread or more, and one worker or more or -1 for all cores, "
            f"got threads={threads}, workers={workers}"
        )


def _check_signature(run: Callable[..., Any], plan: list[dict[str, Any]]) -> None:
    try:
        signature = inspect.signature(run)
    except ValueError:  # some functions written in C have none
        return
    for settings in plan:
        try:
            signature.bind(**settings)
        except TypeError as error:
            raise ConfigError(
                f"expected settings that run takes, which has the parameters {signature}, got {settings} ({error})"
            ) from error


def _identity(run: Callable[..., Any], data: Dataset | None, version: str) -> dict[str, Any]:
    return {"function": describe(run), "data": plain(data), "version": version}


def _read_runs(place: Folder, plan: list[dict[str, Any]]) -> dict[int, Run]:
    """The runs that need not be made."""
    filed = {number: place.read(settings) for number, settings in enumerate(plan)}
    return {
        number: Run(plan[number], found.results, found.model)
        for number, found in filed.items()
        if found is not None and found.results["status"] != "failed"
    }


def _keep(settings: dict[str, Any], outcome: Outcome, place: Folder | None) -> Run:
    """File a run that is finished, and hold on to what cannot be filed."""
    model = outcome.model
    if place is not None and not outcome.is_cut_short:
        model = place.write(settings, outcome) or model
    return Run(settings, outcome.results, model)


def _warn(result: Sweep, complaints: list[str]) -> None:
    failed, missing = ([run for run in result if run.status == status] for status in ("failed", "missing"))
    texts = [*dict.fromkeys(complaints)]
    if failed:
        texts.append(
            f"{len(failed)} of {len(result)} failed, the first {failed[0].settings}: {failed[0].results.get('error')}"
        )
    if missing:
        texts.append(f"{len(missing)} of {len(result)} are missing; with a folder, the same call makes them")
    if texts:
        warnings.warn(f"of the runs of this sweep, {'; '.join(texts)}", SweepWarning, stacklevel=3)


class _Fit:
    """Makes a model and fits it to data; settings go where they are known."""

    def __init__(self, factory: Callable[..., Any], data: Dataset) -> None:
        self._factory, self._data = factory, data

    @property
    def __signature__(self) -> inspect.Signature:
        """What `inspect.signature` shows: the parameters of both, each once."""
        both = {**_fit_keywords(), **_keywords(self._factory)}
        return inspect.Signature(sorted(both.values(), key=lambda each: each.kind))

    def __call__(self, **settings: Any) -> Solution:
        to_model, to_fit = _keywords(self._factory), _fit_keywords()
        made = {name: value for name, value in settings.items() if name in to_model or name not in to_fit}
        if "domain" in to_model.keys() - getattr(self._factory, "keywords", {}).keys():
            made = {"domain": self._data.domain, **made}
        rest = {name: value for name, value in settings.items() if name in to_fit}
        return fit(self._factory(**made), self._data, progress=False, **rest)


def _fit_keywords() -> dict[str, inspect.Parameter]:
    return _keywords(fit, without=("model", "data", "progress"))


def _keywords(function: Callable[..., Any], without: Sequence[str] = ()) -> dict[str, inspect.Parameter]:
    """The parameters of a function that can be given by keyword."""
    kinds = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return {
        name: each.replace(kind=inspect.Parameter.KEYWORD_ONLY) if each.kind in kinds else each
        for name, each in inspect.signature(function).parameters.items()
        if name not in without and each.kind is not inspect.Parameter.VAR_POSITIONAL
    }
