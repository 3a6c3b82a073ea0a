"""Tar shards in the WebDataset convention, written member by member."""

import io
import json
import tarfile


def write_shard(path, members):
    """A tar of (name, bytes) pairs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def members_of(sample, data):
    """An image and its JSON, as a manifest or a folder described it."""
    base, dot, suffix = sample.key.rpartition(".")
    columns = ("source", "split", "generator", "pair", "derived_from")
    facts = {name: getattr(sample, name) for name in columns if getattr(sample, name)}
    facts["label"] = ("real", "fake")[sample.label]
    return [(f"{base}{dot}{suffix}", data), (f"{base}.json", json.dumps(facts).encode())]


def write_shards(folder, samples, count):
    """Samples with files of their own, in turn over so many shards."""
    for number in range(count):
        members = [
            member
            for sample in samples[number::count]
            for member in members_of(sample, sample.path.read_bytes())
        ]
        write_shard(folder / f"photos-{number:03}.tar", members)
    return folder / f"photos-{{000..{count - 1:03}}}.tar"
