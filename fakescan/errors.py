"""Every error that fakescan raises on purpose.

    FakescanError                exit 2
    ├── ConfigError              exit 2   a setting, an option or a path is wrong
    ├── DatasetError             exit 2   a training or evaluation folder cannot be used
    ├── WeightsError             exit 3   a model or weight file cannot be used
    │   └── ChecksumError        exit 3   its sha256 is not the expected one
    ├── AttributorError          exit 3   a folder or file that knows generators cannot be used
    ├── OutputError              exit 2   a report cannot be written; the others still are
    ├── ReportError          exit 2   stored reports cannot be read, or do not belong together
    ├── PlaceError           exit 2   a store, or a list of places, cannot be used
    ├── CacheError               exit 2   the cache of scores cannot be used; a scan does without
    ├── LoraError                exit 3   a LoRA file cannot be used: damaged, unsafe, or no LoRA
    │   └── LoraUnsupported      exit 3   an adapter of a type that is not compared
    ├── LoraIndexError           exit 2   an index of LoRA files cannot be used
    ├── ExportError              exit 4   a detector cannot be exported
    │   └── ParityError          exit 4   the exported graph disagrees with torch
    └── ImageError               exit 2   one image cannot be scored; a scan makes a row of it
        ├── ImageUnreadable      exit 2   damaged, truncated, empty, or gone
        ├── ImageUnsupported     exit 2   a format or pixel type that is not read
        └── ImageTooLarge        exit 2   more pixels or bytes than the limit

A message says where, what, and what would be right. Wrong calls (shapes, contradictory
arguments) are `ValueError` or `TypeError`.
"""


class FakescanError(Exception):
    """Root of the errors that the command line turns into one line and an exit code."""

    exit_code = 2


class ConfigError(FakescanError):
    """A setting, an option or a path is wrong."""


class DatasetError(FakescanError):
    """A folder of labelled images cannot be used."""


class WeightsError(FakescanError):
    """A model or weight file cannot be used."""

    exit_code = 3


class ChecksumError(WeightsError):
    """The sha256 of a file is not the expected one."""


class AttributorError(FakescanError):
    """A folder or file that knows generators cannot be used."""

    exit_code = 3


class OutputError(FakescanError):
    """A report cannot be written; others of the same scan still are."""


class ReportError(FakescanError):
    """Stored reports cannot be read, or do not belong together."""


class PlaceError(FakescanError):
    """A store, or a list of places, cannot be used."""


class CacheError(FakescanError):
    """The cache of scores cannot be used; a scan warns and does without it."""


class LoraError(FakescanError):
    """A LoRA file cannot be used: it is damaged, unsafe, or holds no LoRA."""

    exit_code = 3


class LoraUnsupported(LoraError):  # noqa: N818
    """The adapter is of a type that is not compared."""


class LoraIndexError(FakescanError):
    """An index of LoRA files cannot be used."""


class ExportError(FakescanError):
    """A detector cannot be exported."""

    exit_code = 4


class ParityError(ExportError):
    """The exported graph does not compute what the torch model computes."""


class ImageError(FakescanError):
    """One image cannot be scored; a scan turns it into a finding with verdict `error`."""

    sha256: str | None = None
    """Of the file's bytes, when that was asked for and they could be read."""


class ImageUnreadable(ImageError):  # noqa: N818
    """The file is damaged, truncated, empty, or gone."""


class ImageUnsupported(ImageError):  # noqa: N818
    """The format or the pixel type is one that fakescan does not read."""


class ImageTooLarge(ImageError):  # noqa: N818
    """The image has more pixels, or the file more bytes, than the limit."""
