"""One text of an ONNX file replaced; the package onnx reads what comes out."""

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.metadata import KEY
from fakescan.protobuf import replace_property
from tiny import METADATA, write_tiny


def props(model: bytes) -> list[tuple[str, str]]:
    return [(p.key, p.value) for p in onnx.load_from_string(model).metadata_props]


def stripped(model: bytes) -> bytes:
    proto = onnx.load_from_string(model)
    del proto.metadata_props[:]
    return proto.SerializeToString(deterministic=True)


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.read_bytes()


@given(text=st.text(max_size=300))
def test_the_text_changes_and_nothing_else(model, text):
    new = replace_property(model, KEY, text)
    assert props(new) == [(KEY, text)]
    assert stripped(new) == stripped(model)


def test_the_same_text_gives_the_same_bytes(model):
    assert replace_property(model, KEY, METADATA.to_json()) == model


def test_other_texts_stay_where_they_are(model):
    more = replace_property(replace_property(model, "one", "1"), "two", "2")
    new = replace_property(more, KEY, "x" * 1000)
    assert props(new) == [(KEY, "x" * 1000), ("one", "1"), ("two", "2")]
    assert replace_property(new, KEY, METADATA.to_json()) == more


def test_a_key_that_is_there_twice_is_there_once_afterwards(tmp_path):
    proto = onnx.load(write_tiny(tmp_path / "tiny.onnx"))
    proto.metadata_props.add(key="other", value="o")
    proto.metadata_props.add(key=KEY, value="again")
    assert props(replace_property(proto.SerializeToString(), KEY, "new")) == [
        (KEY, "new"),
        ("other", "o"),
    ]


def test_a_file_without_metadata_gets_some(tmp_path):
    model = write_tiny(tmp_path / "bare.onnx", metadata=None).read_bytes()
    assert replace_property(model, KEY, "text").startswith(model)


def test_a_file_that_is_cut_off_is_refused(model):
    for size in range(1, 40):  # the metadata stand last, as one field
        with pytest.raises(ValueError, match="no protobuf message"):
            replace_property(model[:-size], KEY, "text")


@pytest.mark.parametrize("junk", [b"\x89PNG\r\n\x1a\n", b"\xff" * 20, b"\x00\x00", b"\x0b\x0b"])
def test_other_files_are_refused(junk):
    with pytest.raises(ValueError, match="no protobuf message"):
        replace_property(junk, KEY, "text")
