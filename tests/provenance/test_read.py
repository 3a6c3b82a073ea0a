import io
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.PngImagePlugin import PngInfo

from fakescan.provenance.read import read_provenance
from fakescan.provenance.vocabulary import is_generator
from provenances import IPTC, encoded, look

PARAMETERS = (
    "a cat on a roof, masterpiece\nNegative prompt: dog\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x48, Model: dreamer"
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["4", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a\ncat", "clip": ["4", 1]}},
}
WORKFLOW = {"nodes": [{"id": 1, "type": "KSampler"}, {"id": 2, "type": "VAEDecode"}], "links": []}
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
XAP = "http://ns.adobe.com/xap/1.0/"


def png(**texts):
    info = PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value) if not value.isascii() else info.add_text(key, value)
    return encoded("PNG", pnginfo=info)


def xmp(attributes="", body=""):
    return (
        f'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
        f'<rdf:Description rdf:about="" xmlns:e="{EXT}" xmlns:a="{XAP}" {attributes}>{body}'
        f'</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def exif(software=None, comment=None, gps=None):
    block = Image.Exif()
    if software:
        block[Base.Software] = software
    if comment:
        block.get_ifd(IFD.Exif)[Base.UserComment] = comment
    if gps:
        block.get_ifd(IFD.GPSInfo).update(gps)
    return block


def test_a_file_without_metadata_says_nothing():
    for format_ in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"):
        assert look(encoded(format_)) is None


def test_parameters_of_stable_diffusion():
    image = png(parameters=PARAMETERS)
    brief = "png: Stable Diffusion parameters, model dreamer"
    assert look(image) == ("generated", brief)
    full = f"{brief}; prompt: a cat on a roof, masterpiece"
    assert look(image, is_full=True) == ("generated", full)


def test_graphs_of_comfyui():
    image = png(prompt=json.dumps(GRAPH), workflow=json.dumps(WORKFLOW))
    assert look(image) == ("generated", "png: ComfyUI graph of 2 nodes")
    assert look(image, is_full=True)[1].endswith("; prompt: a cat")
    scaling = {"1": {"class_type": "LoadImage", "inputs": {}}}
    assert look(png(prompt=json.dumps(scaling)))[0] == "undecided"


@pytest.mark.parametrize(
    "texts",
    [
        {"parameters": "Steps: walk up to the roof"},
        {"parameters": "we tried Steps: 20, Sampler: Euler a, CFG scale: 7"},
        {"parameters": "Steps: 20, please"},
        {"prompt": "a cat"},
        {"prompt": "{}"},
        {"prompt": json.dumps({"a": {"class_type": "KSampler"}})},
        {"prompt": "[" * 100_000},
        {"workflow": json.dumps({"nodes": [], "links": []})},
        {"workflow": json.dumps({"nodes": [1], "links": []})},
        {"Comment": PARAMETERS},
        {"Description": "Midjourney, Stable Diffusion, ComfyUI and Adobe Firefly explained"},
        {"Software": "Photos of Midjourney"},
    ],
)
def test_words_without_the_structure_say_nothing(texts):
    assert look(png(**texts)) is None


def test_text_behind_the_pixels_counts_and_behind_the_end_does_not():
    image, said = encoded("PNG"), png(parameters=PARAMETERS)
    start = said.index(b"tEXt") - 4
    chunk = said[start : start + 12 + int.from_bytes(said[start : start + 4], "big")]
    end = image.index(b"IEND") - 4
    assert look(image[:end] + chunk + image[end:])[0] == "generated"
    assert look(image + chunk) is None
    assert look(image + said) is None


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_exif_names_the_program(format_):
    image = encoded(format_, exif=exif(software="Stable Diffusion 1.5"))
    assert look(image) == ("generated", "exif: made with Stable Diffusion 1.5")


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + PARAMETERS.encode("utf-16-be"),
        b"UNICODE\0" + PARAMETERS.encode("utf-16-le"),
        b"ASCII\0\0\0" + PARAMETERS.encode(),
    ],
)
def test_exif_comments_hold_parameters(format_, comment):
    image = encoded(format_, exif=exif(software="an editor", comment=comment))
    assert look(image) == ("generated", "exif: Stable Diffusion parameters, model dreamer")


def test_positions_are_named_only_when_asked_for():
    gps = {
        GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (48.0, 51.0, 30.0),
        GPS.GPSLongitudeRef: "W", GPS.GPSLongitude: (2.0, 17.0, 40.2),
    }  # fmt: skip
    image = encoded("JPEG", exif=exif(gps=gps))
    assert look(image) is None
    assert look(image, is_full=True) == (None, "gps: 48.85833, -2.29450")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_xmp_states_the_source_type(format_):
    packet = xmp(f'e:DigitalSourceType="{IPTC}trainedAlgorithmicMedia"')
    if format_ == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        image = encoded("PNG", pnginfo=info)
    elif format_ == "TIFF":
        image = encoded("TIFF", tiffinfo={700: packet})
    else:
        image = encoded(format_, xmp=packet)
    assert look(image) == ("generated", "xmp: trainedAlgorithmicMedia")


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (xmp(body=f"<e:DigitalSourceType>{IPTC}digitalCapture</e:DigitalSourceType>"), "captured"),
        (xmp(body=f'<e:DigitalSourceType rdf:resource="{IPTC}compositeSynthetic"/>'), "composite"),
        (xmp(f'e:DigitalSourceType="{IPTC}digitalArt"'), "undecided"),
        (xmp('a:CreatorTool="Adobe Firefly"'), "generated"),
        (xmp('a:CreatorTool="Adobe Photoshop 26.0 (with Adobe Firefly)"'), None),
        (xmp('e:DigitalSourceType="trainedAlgorithmicMedia"'), None),
        (xmp(f'DigitalSourceType="{IPTC}trainedAlgorithmicMedia"'), None),
        (xmp(body=f'<a:Part e:DigitalSourceType="{IPTC}trainedAlgorithmicMedia"/>'), None),
        (xmp()[:-60], None),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', None),
        (b"", None),
    ],
)
def test_xmp_counts_by_its_structure(packet, kind):
    found = look(encoded("JPEG", xmp=packet))
    assert (found and found[0]) == kind


def test_text_from_files_becomes_one_printable_line():
    text = "=cmd()\x1b[31m\u202e " + "x" * 9000 + "\n" + PARAMETERS
    _, detail = look(png(parameters=text), is_full=True)
    assert detail.isprintable()
    assert len(detail) < 2200


@pytest.mark.parametrize(
    ("software", "expected"),
    [
        ("Midjourney", True),
        ("stable-diffusion", True),
        ("ComfyUI v0.3.10", True),
        ("NovelAI\n", True),
        ("Midjourney Album Maker", False),
        ("", False),
    ],
)
def test_a_program_is_named_by_the_whole_field(software, expected):
    assert is_generator(software) is expected


@given(st.binary(max_size=300), st.sampled_from(["exif", "xmp"]))
@settings(deadline=None, max_examples=60)
def test_damaged_metadata_say_nothing_and_raise_nothing(data, key):
    image = Image.open(io.BytesIO(encoded("JPEG")))
    image.info[key] = b"Exif\0\0" + data if key == "exif" else data
    assert read_provenance(image, b"", is_full=True) is None


def test_an_endless_directory_says_nothing():
    entry = struct.pack("<HHII", Base.ExifOffset, 4, 1, 8)  # points to itself
    block = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\x08\0\0\0"
    assert look(encoded("JPEG", exif=block), is_full=True) is None
