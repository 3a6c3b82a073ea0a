import io
import os
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.errors import ConfigError
from fakescan.scan.listing import read_list


def test_lines_are_names_and_empty_ones_are_none(tmp_path):
    (tmp_path / "list").write_bytes(b"a.png\n\nsp ace.png\r\ncaf\xe9.png")
    names = read_list(str(tmp_path / "list"), is_null=False)
    assert [os.fsencode(n) for n in names] == [b"a.png", b"sp ace.png", b"caf\xe9.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="names are not bytes there")
@given(st.lists(st.binary(min_size=1).filter(lambda n: b"\0" not in n)))
def test_any_name_can_be_listed_with_null_characters(names):
    stdin = SimpleNamespace(buffer=io.BytesIO(b"\0".join([*names, b""])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        assert [os.fsencode(n) for n in read_list("-", is_null=True)] == names


def test_a_list_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match=r"none: cannot be read \(No such file"):
        read_list(str(tmp_path / "none"), is_null=False)
