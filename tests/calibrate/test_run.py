"""A detector calibrated on labelled images: real files, the real runtime, a tiny graph."""

import hashlib
import json

import numpy as np
import onnx
import pytest
from PIL import Image

from fakescan.calibrate.fit import Targets
from fakescan.calibrate.run import Request, calibrate, write
from fakescan.data.samples import read_samples
from fakescan.errors import ConfigError, DatasetError, WeightsError
from fakescan.session import OnnxSession
from tiny import METADATA, write_tiny


@pytest.fixture
def run(tiny, tmp_path):
    """Calibrate the tiny detector on a tree."""

    def run(root, out=tmp_path / "new.onnx", model=tiny, **request):
        return calibrate(read_samples(root), model, out, Request(**request))

    return run


def test_the_new_file_computes_the_same_and_decides_otherwise(run, labelled, tiny, tmp_path):
    before = tiny.read_bytes()
    result = run(labelled)
    assert tiny.read_bytes() == before
    old, new = OnnxSession(tiny), OnnxSession(tmp_path / "new.onnx")
    crops = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    assert np.array_equal(old.logits(crops), new.logits(crops))
    assert new.metadata == result.metadata
    assert new.metadata.band != METADATA.band
    protos = [onnx.load(tiny), onnx.load(tmp_path / "new.onnx")]
    for proto in protos:
        del proto.metadata_props[:]
    assert protos[0] == protos[1]


def test_the_targets_are_kept_on_the_images_that_were_fitted_on(run, labelled):
    for reals, fakes in ((0.02, 0.05), (0.2, 0.3), (0.0, 0.0)):
        targets = Targets(max_false_positives=reals, max_misses=fakes)
        result = run(labelled, targets=targets)
        assert result.fitted.called_fake.value <= reals
        assert result.fitted.missed.value <= fakes
    loose = run(labelled, targets=Targets(max_false_positives=0.2)).metadata.band
    strict = run(labelled, targets=Targets(max_false_positives=0.0)).metadata.band
    assert loose.t_fake < strict.t_fake


def test_calibration_makes_scores_into_probabilities(run, labelled):
    result = run(labelled)
    assert result.after.ece.value < result.before.ece.value / 2
    assert run(labelled, method="temperature").metadata.calibration.intercept == 0


def test_the_file_says_what_it_was_calibrated_on(run, labelled, tiny):
    record = run(labelled, name="ours").metadata.training["calibration"]
    assert record["images"]["real"] == dict.fromkeys(["reals0", "reals1", "reals2", "reals3"], 15)
    sums = sorted(
        f"{s.label} {hashlib.sha256(s.path.read_bytes()).hexdigest()}\n"
        for s in read_samples(labelled)
    )
    assert record["images_sha256"] == hashlib.sha256("".join(sums).encode()).hexdigest()
    assert record["from"] == {
        "name": "tiny",
        "sha256": hashlib.sha256(tiny.read_bytes()).hexdigest(),
    }
    assert run(labelled, name="ours").metadata.name == "ours"
    assert run(labelled).metadata.name == "tiny-calibrated"


def test_the_same_images_give_the_same_bytes(run, labelled, tmp_path):
    run(labelled, out=tmp_path / "a.onnx")
    run(labelled, out=tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_too_few_readable_images_are_refused_and_nothing_is_left(run, write_labelled, tmp_path):
    root = write_labelled(tmp_path / "few", per_class=50)
    next(root.glob("fakes0/1_fake/*.png")).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"50 real and 49 fake .* \(1 unreadable\).* 50 of each"):
        run(root)
    assert not (tmp_path / "new.onnx").exists()


def test_an_unreadable_image_is_listed(run, write_labelled, tmp_path):
    root = write_labelled(tmp_path / "enough")
    next(root.glob("fakes0/1_fake/*.png")).write_bytes(b"")
    (unreadable,) = run(root).unreadable
    assert unreadable[0].startswith("fakes0/1_fake/")


def test_a_file_that_fails_its_check_is_not_kept(tiny, tmp_path):
    def check(new):
        assert OnnxSession(new).metadata.name == "tiny"
        raise WeightsError("no")

    out = tmp_path / "new.onnx"
    out.write_text("earlier")
    with pytest.raises(WeightsError):
        write(tiny, out, METADATA, check)
    assert [p.name for p in tmp_path.iterdir()] == ["new.onnx"]
    assert out.read_text() == "earlier"


def test_a_folder_that_cannot_be_written_to_is_one_line(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"new\.onnx: cannot be written"):
        write(tiny, tmp_path / "gone" / "new.onnx", METADATA, lambda _: None)


def test_classes_that_are_copies_of_one_image_are_refused(run, tmp_path):
    for leaf, level in (("0_real", 40), ("1_fake", 200)):
        (tmp_path / leaf).mkdir()
        for i in range(50):
            Image.new("RGB", (20, 20), (level,) * 3).save(tmp_path / leaf / f"{i}.png")
    with pytest.raises(DatasetError, match="all real images are copies"):
        run(tmp_path)


# What may flatter ---------------------------------------------------------------------------


def test_clean_data_give_no_warning_but_of_the_resolution(run, labelled):
    assert run(labelled).warnings == ()
    (coarse,) = run(labelled, targets=Targets(max_false_positives=0.01)).warnings
    assert "60 reals cannot resolve --max-false-positives 0.01" in coarse
    assert "0.05" in coarse  # 3 / 60


def test_formats_that_tell_the_classes_apart_are_named(run, write_labelled, tmp_path):
    root = write_labelled(tmp_path / "formats")
    for path in root.glob("*/1_fake/*.png"):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    assert any("file properties alone" in w and "AUC 1.00" in w for w in run(root).warnings)


def test_a_source_that_the_detector_was_trained_on_is_named(run, labelled, tmp_path):
    record = {"images": {"train": {"real": {"reals1": 9}}, "validation": {"fake": {"fakes2": 9}}}}
    metadata = json.loads(METADATA.to_json()) | {"training": record}
    model = write_tiny(tmp_path / "trained.onnx", json.dumps(metadata))
    first, second = run(labelled, model=model).warnings
    assert "was trained on sources of these names: reals1;" in first
    assert "was first calibrated on sources of these names: fakes2;" in second
    again = run(labelled, model=tmp_path / "new.onnx", out=tmp_path / "newer.onnx").warnings
    assert any("calibrated before on sources" in w and "and 5 more" in w for w in again)


def test_the_same_file_in_both_classes_is_named_and_so_is_a_copy_that_looks_alike(
    run, write_labelled, tmp_path
):
    root = write_labelled(tmp_path / "copies")
    (root / "fakes0/1_fake/same.png").write_bytes((root / "reals0/0_real/0.png").read_bytes())
    with Image.open(root / "reals1/0_real/1.png") as image:
        image.resize((80, 72)).save(root / "fakes0/1_fake/like.png")
    found = run(root).warnings
    assert any(
        "2 files with the same bytes in both classes: fakes0/1_fake/same.png" in w for w in found
    )
    assert any("fakes0/1_fake/like.png of reals1/0_real/1.png" in w for w in found)


def test_aligned_pairs_are_kept_together_and_are_no_copies(run, labelled, manifest, tmp_path):
    rows = []
    for sample in read_samples(labelled):
        target = tmp_path / "pairs" / sample.key
        target.parent.mkdir(parents=True, exist_ok=True)
        number = int(target.stem)
        origin = labelled / f"reals{number % 4}/0_real/{number}.png"
        with Image.open(origin) as image:
            image.point(lambda v, up=60 * sample.label: min(255, v + up)).save(target)
        rows.append((sample.key, sample.label, sample.source, str(number)))
    manifest(tmp_path / "pairs", ("path", "label", "source", "pair"), rows)
    found = run(tmp_path / "pairs").warnings
    assert any("120 images share their content" in w for w in found)
    assert not any("like a copy" in w for w in found)


def test_data_without_sources_are_judged_by_near_copies_and_say_so(run, write_labelled, tmp_path):
    root = write_labelled(tmp_path / "plain", sources=1)
    result = run(root)
    assert result.grouping == "near-duplicates"
    assert any("no sources are named" in w for w in result.warnings)
    two = run(write_labelled(tmp_path / "two", sources=2))
    assert any("the reals come from 2 sources only" in w for w in two.warnings)


def test_a_detector_that_has_it_the_wrong_way_round_is_told(run, write_labelled, tmp_path):
    root = write_labelled(tmp_path / "inverted", apart=-40.0)
    assert "no threshold helps" in run(root).warnings[0]
