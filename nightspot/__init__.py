"""Nightly SageMaker training on managed Spot that is ready by the deadline."""

__version__ = "0.1.0"

# `from nightspot import Client, Job` loads boto3 and pydantic at that moment and not before: this file is read in
# training containers, too, where nightspot.checkpoint must bring nothing with it.
TYPE_CHECKING = False  # typing's own takes milliseconds to import
if TYPE_CHECKING:
    from .client.client import Client as Client
    from .client.job import Job as Job
    from .client.run import Run as Run
    from .client.run import RunFailedError as RunFailedError
    from .job.errors import InvalidJobError as InvalidJobError

_LAZY = {
    "Client": "nightspot.client.client",
    "InvalidJobError": "nightspot.job.errors",
    "Job": "nightspot.client.job",
    "Run": "nightspot.client.run",
    "RunFailedError": "nightspot.client.run",
}
__all__ = ["Client", "InvalidJobError", "Job", "Run", "RunFailedError"]


def __getattr__(name: str) -> object:
    """PEP 562. Raises ModuleNotFoundError, naming the extra, where what the name needs is not installed."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - most who import nightspot need it for nothing

    try:
        found = getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == __name__:
            raise
        said = f"nightspot.{name} needs the package {error.name}: pip install 'nightspot[local]'"
        raise ModuleNotFoundError(said, name=error.name) from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
