import io

import pytest

from fakescan.image import Limits, Preprocess
from fakescan.scan.crop import Extras, crop_bytes
from provenances import IPTC, created, encoded, look

MIMES = {name: f"image/{name.lower()}" for name in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF")}
OPENED = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent"]}}


@pytest.mark.parametrize("format_", MIMES)
def test_a_signed_statement_is_read_from_every_format(sign, format_):
    signed = sign(encoded(format_), MIMES[format_], created("trainedAlgorithmicMedia"))
    assert look(signed) == (
        "generated",
        "c2pa: trainedAlgorithmicMedia, by Test Generator (signed: Test Signer); "
        "signature valid, signer not verified",
    )


@pytest.mark.parametrize("format_", MIMES)
def test_a_signed_image_behind_the_end_of_another_says_nothing(sign, format_):
    signed = sign(encoded(format_), MIMES[format_], created("trainedAlgorithmicMedia"))
    assert look(encoded(format_) + signed) is None


def test_a_camera_may_say_that_it_took_the_image(sign):
    kind, detail = look(sign(encoded("JPEG"), "image/jpeg", created("digitalCapture")))
    assert kind == "captured"
    assert "digitalCapture" in detail


def test_a_drawing_and_what_has_no_source_are_undecided(sign):
    kind, detail = look(sign(encoded("PNG"), "image/png", created("digitalArt")))
    assert kind == "undecided"
    assert "digitalArt" in detail
    kind, detail = look(sign(encoded("PNG"), "image/png", OPENED, parent=encoded("PNG")))
    assert kind == "undecided"
    assert "source not stated" in detail


def test_what_is_generated_into_a_photograph_makes_a_composite(sign):
    photo = sign(encoded("JPEG"), "image/jpeg", created("digitalCapture"))
    edit = {"action": "c2pa.edited", "digitalSourceType": IPTC + "trainedAlgorithmicMedia"}
    edited = sign(photo, "image/jpeg", OPENED, edit, parent=photo)
    assert look(edited)[0] == "composite"
    colour = {"action": "c2pa.color_adjustments"}
    coloured = sign(photo, "image/jpeg", OPENED, colour, parent=photo)
    assert look(coloured)[0] == "captured"


def test_a_manifest_on_other_pixels_decides_nothing(sign):
    signed = sign(encoded("PNG"), "image/png", created("digitalCapture"))
    start = signed.index(b"caBX") - 4
    chunk = signed[start : start + 12 + int.from_bytes(signed[start : start + 4], "big")]
    other = encoded("PNG")
    kind, detail = look(other[:33] + chunk + other[33:])  # behind the header
    assert kind == "undecided"
    assert "not valid for this file (assertion.dataHash.mismatch)" in detail


def test_a_manifest_elsewhere_is_not_fetched(sign):
    remote = sign(encoded("WEBP"), "image/webp", created("trainedAlgorithmicMedia"), embed=False)
    assert look(remote) == ("undecided", "c2pa: a manifest that cannot be read")


def test_a_broken_manifest_costs_neither_the_score_nor_the_scan(sign):
    signed = bytearray(sign(encoded("JPEG"), "image/jpeg", created("digitalCapture")))
    start = signed.index(b"c2pa.claim")
    signed[start - 100 : start + 100] = bytes(200)
    crop = crop_bytes(bytes(signed), Preprocess(image_px=16), Limits(), Extras(provenance="brief"))
    assert crop.pixels.shape == (1, 16, 16, 3)
    assert crop.provenance.kind == "undecided"


def test_a_file_on_disk_and_its_bytes_say_the_same(sign, tmp_path):
    signed = sign(encoded("JPEG"), "image/jpeg", created("trainedAlgorithmicMedia"))
    path = tmp_path / "wrong suffix é.png"
    path.write_bytes(signed)
    assert look(path) == look(signed)
    assert look(io.BytesIO(signed).getvalue())[0] == "generated"
