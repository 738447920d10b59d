# SPDX-License-Identifier: Apache-2.0
"""A TFDS builder that reads a user's own download of Tiny ImageNet."""

from __future__ import annotations

import collections
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from homoode_tf.errors import InvalidValueError

_DESCRIPTION = """\
Tiny ImageNet: 200 classes of ImageNet, images of 64x64 pixels, 500 a class for training. The
labels of its own `test` folder were never published: the labelled `val` folder (10,000 images, 50
a class) is the test split here.
"""

_CITATION = """\
@misc{le2015tiny,
  author = {Le, Ya and Yang, Xuan S.},
  title = {Tiny {ImageNet} Visual Recognition Challenge},
  year = {2015},
  howpublished = {Stanford CS 231N}
}
"""

_FOLDER = "tiny-imagenet-200"
_ARCHIVE = _FOLDER + ".zip"
_NUM_CLASSES = 200


class TinyImagenet(tfds.core.GeneratorBasedBuilder):
    """Tiny ImageNet as a TFDS data set, from `tiny-imagenet-200.zip` or the unpacked folder.

    The class names are WordNet identifiers in alphabetical order, as in TFDS's own ImageNet.
    Importing this module registers the builder, so that `tfds.load("tiny_imagenet")` works.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
Download {_ARCHIVE} (about 240 MB) from http://cs231n.stanford.edu/{_ARCHIVE} and put it into this
folder as it is, or put the unpacked folder {_FOLDER}/ there, the one that holds wnids.txt, train/
and val/.
"""

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(64, 64, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(num_classes=_NUM_CLASSES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://cs231n.stanford.edu/",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        try:
            manual_dir = Path(dl_manager.manual_dir)
        except AssertionError as error:  # TFDS's way to say that the folder is not there
            raise FileNotFoundError(str(error)) from None
        source = _open_source(manual_dir)
        names = source.names()
        classes = sorted(source.read("wnids.txt").decode().split())
        if len(classes) != _NUM_CLASSES:
            raise InvalidValueError(
                f"{source}: wnids.txt names {len(classes)} classes, not {_NUM_CLASSES}"
            )
        train = _train_labels(names, classes, source)
        test = _test_labels(names, source)
        self.info.features["label"].names = classes
        return {
            "train": self._generate_examples(source, train),
            "test": self._generate_examples(source, test),
        }

    def _generate_examples(
        self, source: _Folder | _Archive, labels: dict[str, str]
    ) -> Iterator[tuple[str, dict]]:
        # An open file is stored as it is: the images are not compressed a second time.
        for name, label in labels.items():
            yield name, {"image": source.open(name), "label": label}


class _Folder:
    """The unpacked folder."""

    def __init__(self, path: Path):
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        """Every file's path below the folder, with forward slashes, sorted."""
        found = []
        for folder, _, files in os.walk(self._path):
            prefix = Path(folder).relative_to(self._path).as_posix()
            found += [f"{prefix}/{file}" for file in files]
        return sorted(found)

    def open(self, name: str):
        return open(self._path / name, "rb")

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()


class _Archive:
    """The zip file, read in place; everything in it lies in one folder."""

    def __init__(self, path: Path):
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise InvalidValueError(f"{path} is no complete zip file; download it again") from error

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        """Every file's path below the archive's folder, with forward slashes, sorted."""
        prefix = _FOLDER + "/"
        inside = (name for name in self._zip.namelist() if name.startswith(prefix))
        return sorted(name.removeprefix(prefix) for name in inside if not name.endswith("/"))

    def open(self, name: str):
        return self._zip.open(f"{_FOLDER}/{name}")

    def read(self, name: str) -> bytes:
        return self._zip.read(f"{_FOLDER}/{name}")


def _open_source(manual_dir: Path) -> _Folder | _Archive:
    if (manual_dir / _FOLDER / "wnids.txt").is_file():
        return _Folder(manual_dir / _FOLDER)
    if (manual_dir / _ARCHIVE).is_file():
        return _Archive(manual_dir / _ARCHIVE)
    raise FileNotFoundError(
        f"neither {_ARCHIVE} nor {_FOLDER}/wnids.txt is in {manual_dir}.\n"
        + TinyImagenet.MANUAL_DOWNLOAD_INSTRUCTIONS
    )


def _train_labels(
    names: list[str], classes: list[str], source: _Folder | _Archive
) -> dict[str, str]:
    """Maps the path of every training image to its class."""
    labels = {}
    for name in names:
        parts = name.split("/")  # train/n01443537/images/n01443537_0.JPEG
        if len(parts) == 4 and parts[0] == "train" and parts[3].endswith(".JPEG"):
            labels[name] = parts[1]
    counts = collections.Counter(labels.values())
    # Every class has equally many images: a truncated copy is noticed here, not in the accuracy.
    if set(counts) != set(classes) or len(set(counts.values())) != 1:
        fewest = min(classes, key=lambda label: counts[label])
        raise InvalidValueError(
            f"{source} is incomplete: train/{fewest}/images holds {counts[fewest]} images, "
            f"another class {max(counts.values(), default=0)}"
        )
    return labels


def _test_labels(names: list[str], source: _Folder | _Archive) -> dict[str, str]:
    """Maps the path of every image of the labelled `val` folder to its class."""
    labels = {}
    for line in source.read("val/val_annotations.txt").decode().splitlines():
        if line.strip():
            file, label = line.split("\t")[:2]  # then the bounding box
            labels[f"val/images/{file}"] = label
    absent = sorted(labels.keys() - set(names))
    if absent or not labels:
        raise InvalidValueError(
            f"{source} is incomplete: {len(absent)} of the {len(labels)} images that "
            f"val/val_annotations.txt lists are missing{f', the first {absent[0]}' * bool(absent)}"
        )
    return labels
