"""Scans of a bucket without the command line."""

from fakescan.places.access import Access
from fakescan.records import Summary
from fakescan.scan.pipeline import ScanSettings, scan

QUICK = Access(attempts=2, timeout_s=2.0)


def run(target, session, cache=None, **settings):
    summary = Summary()
    used = ScanSettings(**{"access": QUICK, "workers": 2} | settings)
    return list(scan([target], session, used, summary, cache=cache)), summary


def names(findings, bucket):
    return [f.path.removeprefix(f"s3://{bucket.name}/photos/") for f in findings]
