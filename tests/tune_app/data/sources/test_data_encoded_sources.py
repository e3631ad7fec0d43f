from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from search_spaces.config.trial import DataConfig
from search_spaces.errors import StudyError
from tune_app.data import ImageArrays, load_source
from tune_app.data.sources import parquet

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (4, 6, 6, 3), dtype=np.uint8)


def png(pixels: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).convert(mode).save(file, "PNG", **options)
    return file.getvalue()


PNGS = [png(pixels) for pixels in PIXELS]


def write_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    for split in ("train", "test"):
        for index, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            (root / split / name / "one.png").write_bytes(PNGS[index])
            (root / split / name / "two.PNG").write_bytes(PNGS[index + 2])
            (root / split / name / "notes.txt").write_text("left alone")
            (root / split / name / ".hidden.png").write_text("left alone")
    return root


def write_parquet(
    file: Path, contents: list[Any] | None = None, labels: Any = (0, 1, 0, 1), names: list[str] | None = None
) -> Path:
    contents = PNGS if contents is None else contents
    image = pa.array(
        [None if content is None else {"bytes": content, "path": "x.png"} for content in contents],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": image, "label": labels if isinstance(labels, pa.Array) else pa.array(labels)})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return file


def write_parquets(root: Path, **kind: Any) -> Path:
    write_parquet(root / "train.parquet", **kind)
    write_parquet(root / "test.parquet", **kind)
    return root


def load(source: Any, root: Path, tmp_path: Path, **fields: Any) -> ImageArrays:
    return load_source(DataConfig(source=source, path=str(root), **fields), tmp_path / "cache")


def test_a_folder_gives_its_images_in_order_of_class_and_name(tmp_path: Path) -> None:
    arrays = load("folder", write_folder(tmp_path / "data"), tmp_path)
    assert arrays.classes == ("cat", "dog")
    assert arrays.train_labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(arrays.train_images, PIXELS[[0, 2, 1, 3]])
    assert np.array_equal(arrays.test_images, PIXELS[[0, 2, 1, 3]])


def test_parquet_files_are_read_in_order_of_name(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_parquet(root / "train-00001.parquet", PNGS[2:], (0, 1))
    write_parquet(root / "train-00000.parquet", PNGS[:2], (1, 0))
    write_parquet(root / "test.parquet")
    arrays = load("parquet", root, tmp_path)
    assert np.array_equal(arrays.train_images, PIXELS)
    assert arrays.train_labels.tolist() == [1, 0, 0, 1]
    assert arrays.classes == ("0", "1")


def test_class_names_come_from_the_list_beside_the_files_or_else_their_metadata(tmp_path: Path) -> None:
    root = write_parquets(tmp_path / "data", names=["cat", "dog"])
    first = load("parquet", root, tmp_path)
    assert first.classes == ("cat", "dog")
    (root / "classes.txt").write_text("kitten\npuppy\n")
    second = load("parquet", root, tmp_path)
    assert second.classes == ("kitten", "puppy")
    assert first.fingerprint != second.fingerprint


def test_the_fingerprint_does_not_depend_on_the_location_or_format_of_the_images(tmp_path: Path) -> None:
    kind = {"contents": [PNGS[0], PNGS[2], PNGS[1], PNGS[3]], "labels": (0, 0, 1, 1), "names": ["cat", "dog"]}
    parquet = load("parquet", write_parquets(tmp_path / "a", **kind), tmp_path)
    folder = load("folder", write_folder(tmp_path / "b"), tmp_path)
    assert parquet.fingerprint == folder.fingerprint


def test_gray_images_keep_one_channel_unless_one_has_colour(tmp_path: Path) -> None:
    gray = [png(pixels, "L") for pixels in PIXELS]
    arrays = load("parquet", write_parquets(tmp_path / "a", contents=gray), tmp_path)
    assert arrays.train_images.shape == (4, 6, 6, 1)
    assert np.array_equal(arrays.train_images[1, :, :, 0], np.asarray(Image.fromarray(PIXELS[1]).convert("L")))
    mixed = load("parquet", write_parquets(tmp_path / "b", contents=[*gray[:3], PNGS[3]]), tmp_path)
    assert mixed.train_images.shape == (4, 6, 6, 3)
    assert np.array_equal(mixed.train_images[1], np.repeat(arrays.train_images[1], 3, axis=2))


def test_palettes_become_colours_and_transparency_is_dropped(tmp_path: Path) -> None:
    palette = png(PIXELS[0], "P", transparency=bytes([0, 100, 200]))
    transparent = png(PIXELS[1], "RGBA")
    contents = [palette, transparent, *PNGS[2:]]
    arrays = load("parquet", write_parquets(tmp_path / "a", contents=contents), tmp_path)
    expected = np.asarray(Image.fromarray(PIXELS[0]).convert("P").convert("RGB"))
    assert np.array_equal(arrays.train_images[0], expected)
    assert np.array_equal(arrays.train_images[1], PIXELS[1])


def test_a_resolution_resizes_the_central_square_as_it_decodes(tmp_path: Path) -> None:
    wide = RNG.integers(0, 256, (6, 10, 3), dtype=np.uint8)
    root = write_parquets(tmp_path / "a", contents=[png(wide), *PNGS[1:]])
    arrays = load("parquet", root, tmp_path, resolution=4)
    assert arrays.train_images.shape == (4, 4, 4, 3)
    middle = Image.fromarray(wide).resize((4, 4), Image.Resampling.BILINEAR, box=(2, 0, 8, 6))
    assert np.array_equal(arrays.train_images[0], np.asarray(middle))
    whole = Image.fromarray(PIXELS[1]).resize((4, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(arrays.train_images[1], np.asarray(whole))
    assert load("parquet", root, tmp_path, resolution=5).train_images.shape == (4, 5, 5, 3)


def test_images_that_differ_in_size_are_named_with_the_remedy(tmp_path: Path) -> None:
    root = write_parquets(tmp_path / "a", contents=[*PNGS[:3], png(PIXELS[0][:5])])
    with pytest.raises(
        StudyError, match=r"train.parquet, row 3: .* is 6 x 5 pixels, .*row 0 is 6 x 6.*`data.resolution`"
    ):
        load("parquet", root, tmp_path)


def test_decoding_happens_once_and_the_cache_is_mapped_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path / "data")
    first = load("folder", root, tmp_path)
    monkeypatch.setattr("tune_app.data.sources.labelled.decode_images", _refuse)
    again = load("folder", root, tmp_path)
    assert again.fingerprint == first.fingerprint
    assert type(again.train_images) is np.ndarray
    assert not again.train_images.flags.writeable
    copy = pickle.loads(pickle.dumps(again))
    assert np.array_equal(copy.train_images, first.train_images)
    (root / "train" / "cat" / "one.png").write_bytes(PNGS[3])
    with pytest.raises(AssertionError, match="decoded again"):
        load("folder", root, tmp_path)


def _refuse(*args: object) -> np.ndarray:
    raise AssertionError("decoded again")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train_images.npy", cut),
        ("train_images.npy", flip_a_bit),
        ("test_labels.npy", flip_a_bit),
        ("test_labels.npy", lambda file: file.write_bytes(b"")),
        ("train_labels.npy", Path.unlink),
        ("manifest.json", cut),
        ("manifest.json", Path.unlink),
        ("manifest.json", lambda file: file.write_text("{}")),
    ],
)
def test_damaged_files_are_detected_and_replaced(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    root = write_folder(tmp_path / "data")
    first = load("folder", root, tmp_path)
    images = first.train_images.copy()
    (file,) = (tmp_path / "cache").rglob(name)
    whole = file.read_bytes()
    damage(file)
    again = load("folder", root, tmp_path)
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.train_images, images)
    assert file.read_bytes() == whole
    assert not list((tmp_path / "cache").rglob(".*.npy.*"))


def test_a_crash_while_writing_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(file: Any, arr: np.ndarray) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    root = write_folder(tmp_path / "data")
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", save)
        with pytest.raises(StudyError, match=r"cannot be cached there \(No space left on device\): set TUNE_APP_DATA"):
            load("folder", root, tmp_path)
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] in ([], ["lock"])
    assert len(load("folder", root, tmp_path).train_images) == 4


@pytest.mark.parametrize("source", ["folder", "parquet"])
def test_the_error_for_a_missing_folder_gives_its_absolute_path(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=f"`data.path` is 'nowhere', but there is no folder {tmp_path}/nowhere"):
        load_source(DataConfig(source=source, path="nowhere"), tmp_path)
    with pytest.raises(StudyError, match=f"`data.path` is null, but a {source} source is read from a folder"):
        load_source(DataConfig(source=source), tmp_path)


def test_the_error_names_what_is_missing_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StudyError, match=r"there is no folder .*a/train"):
        load("folder", tmp_path / "a", tmp_path)
    (tmp_path / "a" / "train").mkdir()
    with pytest.raises(StudyError, match=r"a/train: there are no images"):
        load("folder", tmp_path / "a", tmp_path)
    root = write_folder(tmp_path / "b")
    (root / "test" / "emu").mkdir()
    with pytest.raises(
        StudyError, match=r"b/train: there is no folder for 'emu', but train and test must have the same"
    ):
        load("folder", root, tmp_path)
    (root / "train" / "emu").mkdir()
    with pytest.raises(StudyError, match=r"train/emu: the class has no images"):
        load("folder", root, tmp_path)
    (root / "train" / "emu" / "x.png").write_bytes(PNGS[0])
    with pytest.raises(StudyError, match=r"test/emu: the class has no images"):
        load("folder", root, tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"no image", PNGS[0][:60], PNGS[0][:25], PNGS[0][:50] + b"\0" + PNGS[0][51:]],
    ids=["text", "cut in the pixels", "cut in the header", "a byte changed"],
)
def test_a_corrupt_image_is_named(tmp_path: Path, content: bytes) -> None:
    root = write_folder(tmp_path / "a")
    (root / "train" / "dog" / "two.PNG").write_bytes(content)
    with pytest.raises(
        StudyError, match=r"train/dog/two.PNG: not an image that can be read \(.*\); it must be PNG, .*: convert it"
    ) as raised:
        load("folder", root, tmp_path)
    assert "0x" not in str(raised.value)
    table = write_parquets(tmp_path / "b", contents=[*PNGS[:2], content, PNGS[3]])
    with pytest.raises(StudyError, match=r"b/train.parquet, row 2: not an image that can be read"):
        load("parquet", table, tmp_path)


def test_deeper_pixels_than_eight_bits_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((6, 6), 40_000, np.uint16)).save(file, "PNG")
    root = write_parquets(tmp_path / "a", contents=[*PNGS[:3], file.getvalue()])
    with pytest.raises(
        StudyError, match=r"row 3: the image has the pixel type 'I;16', but must have 8 bits per channel"
    ):
        load("parquet", root, tmp_path)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ((0, 1, None, 1), None, r"row 2: the label is null, but labels are counted from 0"),
        ((0, -1, 0, 1), None, r"row 1: the label is -1, but labels are counted from 0"),
        ((0, 1, 0, 5), ["cat", "dog"], r"row 3: the label is 5, but there are 2 classes"),
        ((0.0, 1.0, 0.0, 1.0), None, r"the column `label` is double, but must be integers"),
        (("a", "b", "a", "b"), None, r"the column `label` is string, but must be integers"),
        ((0, 2, 0, 2), None, r"class '1' has no training images"),
        ((0, 0, 0, 0), ["cat", "dog"], r"class 'dog' has no training images"),
    ],
)
def test_labels_that_cannot_be_used_are_named(tmp_path: Path, labels: Any, names: Any, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load("parquet", write_parquets(tmp_path / "a", labels=labels, names=names), tmp_path)


def test_small_integer_labels_are_fine(tmp_path: Path) -> None:
    root = write_parquets(tmp_path / "a", labels=pa.array([0, 1, 0, 1], pa.uint8()))
    assert load("parquet", root, tmp_path).train_labels.dtype == np.int64


def test_train_and_test_files_must_have_the_same_classes(tmp_path: Path) -> None:
    root = write_parquets(tmp_path / "a")
    write_parquet(root / "test.parquet", labels=(0, 1, 2, 1))
    with pytest.raises(StudyError, match=r"test.parquet, row 2: the label is 2, but the training files go up to 1"):
        load("parquet", root, tmp_path)
    write_parquet(root / "test.parquet", labels=(0, 0, 0, 0))
    with pytest.raises(StudyError, match=r"class '1' has no test images"):
        load("parquet", root, tmp_path)


def test_the_error_names_what_is_missing_in_parquet_files(tmp_path: Path) -> None:
    root = write_parquets(tmp_path / "a")
    for table, message in (
        (pa.table({"img": [b""], "label": [0]}), r"train.parquet: there is no column `image`, only img, label"),
        (pa.table({"image": [{"bytes": b""}]}), r"train.parquet: there is no column `label`, only image"),
        (pa.table({"image": [b""], "label": [0]}), r"the column `image` is binary, but must be a struct"),
    ):
        pq.write_table(table, root / "train.parquet")
        with pytest.raises(StudyError, match=message):
            load("parquet", root, tmp_path)
    write_parquet(root / "train.parquet", [PNGS[0], None, PNGS[2], PNGS[3]])
    with pytest.raises(StudyError, match=r"train.parquet, row 1: the image has no bytes"):
        load("parquet", root, tmp_path)
    write_parquet(root / "train.parquet", [], pa.array([], pa.int64()))
    with pytest.raises(StudyError, match=r"train.parquet: there are no images"):
        load("parquet", root, tmp_path)
    (root / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(StudyError, match=r"train.parquet: not a Parquet file"):
        load("parquet", root, tmp_path)
    (root / "train.parquet").unlink()
    with pytest.raises(StudyError, match=r"there is no train\*.parquet"):
        load("parquet", root, tmp_path)


def test_a_parquet_file_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    root = write_parquets(tmp_path / "a")
    content = bytearray((root / "train.parquet").read_bytes())
    content[4:60] = b"\xff" * 56
    (root / "train.parquet").write_bytes(content)
    with pytest.raises(StudyError, match=r"train.parquet: damaged"):
        load("parquet", root, tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "a")
    (root / "train" / "cat" / "link.png").symlink_to(root / "gone.png")
    with pytest.raises(StudyError, match=r"link.png: cannot be read \(.*\): check that it exists"):
        load("folder", root, tmp_path)


def test_bytes_of_another_format_are_refused_whatever_they_are_named(tmp_path: Path) -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\nshowpage\n%%EOF\n"
    root = write_folder(tmp_path / "data")
    (root / "train" / "cat" / "one.png").write_bytes(eps)
    with pytest.raises(StudyError, match=r"one.png: not an image that can be read .*must be PNG, JPEG"):
        load("folder", root, tmp_path)
    with pytest.raises(StudyError, match=r"row 0: not an image that can be read"):
        load("parquet", write_parquets(tmp_path / "p", contents=[eps, *PNGS[1:]]), tmp_path)


def test_a_parquet_file_is_never_read_as_one_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow cannot hold more than 2 GiB of images in one array of structs."""
    rows, sizes = 300, []

    def record(file: Path, column: pa.ChunkedArray) -> list[Any]:
        sizes.extend(len(chunk) for chunk in column.chunks)
        return images(file, column)

    images = parquet._images
    monkeypatch.setattr(parquet, "_images", record)
    contents = [PNGS[row % 4] for row in range(rows)]
    root = tmp_path / "data"
    write_parquet(root / "train.parquet", contents, [row % 2 for row in range(rows)])
    write_parquet(root / "test.parquet", [*contents[:200], None], [row % 2 for row in range(201)])
    with pytest.raises(StudyError, match=r"test.parquet, row 200: the image has no bytes"):
        load("parquet", root, tmp_path)
    write_parquet(root / "test.parquet")
    arrays = load("parquet", root, tmp_path)
    assert max(sizes) <= 128
    assert np.array_equal(arrays.train_images, PIXELS[np.arange(rows) % 4])
