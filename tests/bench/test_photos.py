from pathlib import Path

from PIL import Image

from fakescan.bench.photos import choose_photos, make_photos


def test_made_photographs_are_like_real_ones_in_size_and_the_same_every_time(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (make_photos(tmp_path / name, 3) for name in "ab")
    contents = [Path(path).read_bytes() for path in first]
    assert contents == [Path(path).read_bytes() for path in second]
    assert len(set(contents)) == 3
    for path in first:
        assert 60_000 < Path(path).stat().st_size < 140_000
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (500, 375))


def test_chosen_photographs_are_the_first_that_a_scan_meets(photos):
    assert choose_photos([str(photos)], 3) == [
        str(photos / name) for name in ("broken.png", "dark.jpg", "grey.png")
    ]
    assert len(choose_photos([str(photos)], 99)) == 4
