"""One scan from the command line: check, load, scan, report, say how it went."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

import fakescan
from fakescan import runtime, weights
from fakescan.cli.choosing import gather_flagged, remember_flagged
from fakescan.cli.interrupt import Interrupt
from fakescan.cli.output import drop_stdout, write_report
from fakescan.cli.progress import (
    fetch_progress,
    print_summary,
    remember_errors,
    scan_progress,
)
from fakescan.cli.reports import check_reports, format_of, report_output
from fakescan.errors import CacheError, ConfigError, OutputError
from fakescan.explain.folder import FigureFolder
from fakescan.records import Finding, Summary, Verdict
from fakescan.report import FORMATS, Report
from fakescan.scan.baseline import read_baseline
from fakescan.scan.cache import ScoreCache, default_path
from fakescan.scan.gather import Gathering
from fakescan.scan.judge import band_at
from fakescan.scan.pipeline import EXPLAINED, Name, ScanSettings, scan
from fakescan.scan.recall import scorer_of
from fakescan.scan.sources import Target
from fakescan.session import Arithmetic, Device, OnnxSession

FAILED_ON, NOT_GATHERED, NOTHING_SCORED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes that are no error's; docs/reference/exit-codes.md lists all."""
SIGNALLED = 128
"""Plus the number of the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the options ask for besides the scan's own settings."""

    files: tuple[str, ...]
    """Reports to write; the format of each follows from its suffix."""
    stdout_format: str | None
    """None: a table on a terminal, CSV elsewhere, nothing when there are files."""
    fail_on: frozenset[str]
    """Verdicts that make the exit code 1."""
    max_fake: int | None
    """More fakes than that make the exit code 1; None for any number."""
    flagged: frozenset[Verdict]
    """Verdicts of flagged images."""
    is_only_flagged: bool
    """Reports leave out what is neither flagged nor an error."""
    model: str | None
    """File or name of the detector; None takes the default."""
    device: Device
    is_offline: bool
    is_quiet: bool
    has_progress: bool
    has_color: bool
    arithmetic: Arithmetic = "stored"
    threads: int | None = None
    """That score on the CPU; None takes one per core that may be used."""
    engine: str = "local"
    """What runs the scan: local or ray."""
    actors: int | None = None
    """Copies of the detector that Ray runs; None lets it choose."""
    has_cache: bool = True
    """Scores are kept, and taken from earlier scans."""
    baseline: Path | None = None
    """Report of what is known, and not reported again."""
    gathering: Gathering | None = None
    """What becomes of flagged images; None: nothing."""
    figures: FigureFolder | None = None
    """Where figures that explain scores go; None: nothing is explained."""
    attributor: Path | None = None
    """What names generators; None: nothing does."""


def run_scan(paths: Sequence[Target], settings: ScanSettings, wanted: Wanted) -> int:
    """Scan, write the reports, print the summary; gives the exit code.

    Raises:
        FakescanError: a path, an output or the detector cannot be used; nothing was scanned.
    """
    check_reports(wanted.files, settings.access)
    baseline = read_baseline(wanted.baseline) if wanted.baseline else None
    stdout, stderr = (_console(wanted, is_stderr=is_stderr) for is_stderr in (False, True))
    stdout_format = _stdout_format(wanted, stdout.is_terminal)
    settings = _with_extras(settings, wanted, {stdout_format, *map(format_of, wanted.files)})
    has_progress = wanted.has_progress and stderr.is_terminal
    with fetch_progress(stderr, is_shown=has_progress) as progress:
        model = weights.resolve(wanted.model, offline=wanted.is_offline, progress=progress)
    session = OnnxSession(
        model, device=wanted.device, threads=wanted.threads, arithmetic=wanted.arithmetic
    )
    if wanted.attributor:
        settings = replace(settings, attribute=_naming(wanted.attributor, wanted, session))
    run = _engine(wanted, model, settings)
    summary, errors, flagged = Summary(), list[Finding](), list[str]()
    summary.warnings += session.warnings
    with ExitStack() as stack:
        cache = _cache(session, settings, summary, stack) if wanted.has_cache else None
        findings = stack.enter_context(
            closing(run(paths, session, settings, summary, baseline, cache))
        )
        interrupt = stack.enter_context(Interrupt())
        if has_progress:
            # One live display per terminal: rows that go there must pass through the same console.
            live = stdout if stdout.is_terminal and stdout_format else stderr
            stack.enter_context(scan_progress(paths, live, settings.selection, summary))
        seen = _seen(interrupt.until(findings), errors, flagged, wanted)
        report = _report(seen, summary, session, settings, wanted)
        try:
            opening = [partial(report_output, file, settings.access) for file in wanted.files]
            failed = write_report(report, opening, stdout_format, stdout)
        except BrokenPipeError:  # `| head` has seen enough: an interruption without words
            drop_stdout()
            return INTERRUPTED
    if not wanted.is_quiet:
        has_rows = stdout.is_terminal and stdout_format is not None
        print_summary(summary, errors, stderr, has_rows=has_rows)
    if failed:
        raise OutputError("; ".join(failed))
    is_gathered = True
    if wanted.gathering is not None and summary.is_complete:
        is_gathered = gather_flagged(
            flagged,
            [p for p in paths if isinstance(p, str)],
            wanted.gathering,
            stderr,
            is_quiet=wanted.is_quiet,
        )
    if interrupt.signal is not None and not summary.is_complete:
        return SIGNALLED + interrupt.signal
    return exit_code(summary, wanted.fail_on, wanted.max_fake) if is_gathered else NOT_GATHERED


def _naming(attributor: Path, wanted: Wanted, session: OnnxSession) -> Name:
    from fakescan.attribute.scanned import naming
    from fakescan.attribute.session import open_namer

    namer = open_namer(attributor, device=wanted.device)
    return naming(namer, session.metadata.preprocess)


def _engine(
    wanted: Wanted, model: Path, settings: ScanSettings
) -> Callable[..., Generator[Finding, None, None]]:
    """What runs the scan.

    Raises:
        ConfigError: it does not do what the settings ask for, or is not installed.
    """
    if wanted.engine == "local":
        return scan
    if wanted.threads is not None:
        raise ConfigError("--threads: Ray shares out the cores; choose --actors instead")
    from fakescan.engines.ray import RayEngine, check_settings

    check_settings(settings)
    return RayEngine(model=model, actors=wanted.actors).scan


def _seen(
    findings: Iterator[Finding], errors: list[Finding], flagged: list[str], wanted: Wanted
) -> Iterator[Finding]:
    """What reports get of the findings; what is needed when the scan is over is remembered."""
    seen = remember_errors(findings, errors)
    if wanted.gathering is not None:
        seen = remember_flagged(seen, wanted.flagged, flagged)
    if wanted.is_only_flagged:
        shown = {*wanted.flagged, Verdict.ERROR}
        seen = (finding for finding in seen if finding.verdict in shown)
    return seen


def exit_code(summary: Summary, fail_on: frozenset[str], max_fake: int | None = None) -> int:
    """The exit code of a scan that ran."""
    if not summary.is_complete:
        return INTERRUPTED
    if summary.images and not summary.scored:
        return NOTHING_SCORED
    has_too_many = max_fake is not None and summary.verdicts[Verdict.FAKE] > max_fake
    is_failed = has_too_many or any(summary.verdicts[Verdict(v)] for v in fail_on)
    return FAILED_ON if is_failed else 0


def _cache(
    session: OnnxSession, settings: ScanSettings, summary: Summary, stack: ExitStack
) -> ScoreCache | None:
    scorer = scorer_of(session, settings.decoding)
    try:
        return stack.enter_context(ScoreCache(default_path(), scorer))
    except CacheError as e:
        summary.warnings.append(str(e))
        return None


def _console(wanted: Wanted, *, is_stderr: bool) -> Console:
    return Console(
        stderr=is_stderr,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        no_color=None if wanted.has_color else True,  # None: as NO_COLOR says
    )


def _with_extras(
    settings: ScanSettings, wanted: Wanted, formats: Collection[str | None]
) -> ScanSettings:
    """Settings that also make what these report formats, and figures for their rows, need."""
    used = [FORMATS[name] for name in formats if name is not None]
    shown = (v for v in EXPLAINED if not wanted.is_only_flagged or v in wanted.flagged)
    return replace(
        settings,
        hashes=settings.hashes or any(format_.hashes for format_ in used),
        thumbnails=settings.thumbnails or any(format_.thumbnails for format_ in used),
        explain=tuple(shown) if wanted.figures else (),
    )


def _stdout_format(wanted: Wanted, is_terminal: bool) -> str | None:
    if wanted.stdout_format or wanted.files:
        return wanted.stdout_format
    return "table" if is_terminal else "csv"


def _report(
    findings: Iterator[Finding],
    summary: Summary,
    session: OnnxSession,
    settings: ScanSettings,
    wanted: Wanted,
) -> Report:
    metadata = session.metadata
    band = metadata.band if settings.threshold is None else band_at(settings.threshold)
    detector = {
        "name": metadata.name,
        "sha256": session.sha256,
        "precision": metadata.precision,
        "arithmetic": session.arithmetic,
        "t_fake": band.t_fake,
        "t_real": band.t_real,
    }
    used = {
        **asdict(settings),
        "flagged": sorted(wanted.flagged),
        "only_flagged": wanted.is_only_flagged,
        "cache": wanted.has_cache,
        "attribute": str(wanted.attributor) if wanted.attributor else None,
        "device": session.device,
        "engine": wanted.engine,
        "runtime": runtime.described(),
    }
    return Report(
        findings=wanted.figures.stored(findings, summary.warnings) if wanted.figures else findings,
        summary=summary,
        detector=detector,
        settings=used,
        version=fakescan.__version__,
        root=str(Path.cwd()),
        flagged=wanted.flagged,
        is_only_flagged=wanted.is_only_flagged,
    )
