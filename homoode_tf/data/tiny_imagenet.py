# SPDX-License-Identifier: Apache-2.0
"""A TFDS builder that reads a user's own download of Tiny ImageNet."""

import collections
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import tensorflow_datasets as tfds
from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem

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
        source, files = _open_source(manual_dir)
        names = sorted(files.find(""))
        classes = sorted(files.cat_file("wnids.txt").decode().split())
        if len(classes) != _NUM_CLASSES:
            raise InvalidValueError(
                f"{source}: wnids.txt names {len(classes)} classes, not {_NUM_CLASSES}"
            )
        train = _train_labels(names, classes, source)
        annotations = files.cat_file("val/val_annotations.txt").decode()
        test = _test_labels(names, annotations, source)
        self.info.features["label"].names = classes
        return {
            "train": self._generate_examples(files, train),
            "test": self._generate_examples(files, test),
        }

    def _generate_examples(
        self, files: AbstractFileSystem, labels: dict[str, str]
    ) -> Iterator[tuple[str, dict]]:
        # An open file is stored as it is: the images are not compressed a second time.
        for name, label in labels.items():
            yield name, {"image": files.open(name), "label": label}


def _open_source(manual_dir: Path) -> tuple[str, AbstractFileSystem]:
    """The folder or the zip file, which is read in place: its path, and the files in it."""
    folder, archive = manual_dir / _FOLDER, manual_dir / _ARCHIVE
    if (folder / "wnids.txt").is_file():
        return str(folder), DirFileSystem(folder, fsspec.filesystem("file"))
    if not archive.is_file():
        raise FileNotFoundError(
            f"neither {_ARCHIVE} nor {_FOLDER}/wnids.txt is in {manual_dir}.\n"
            + TinyImagenet.MANUAL_DOWNLOAD_INSTRUCTIONS
        )
    try:
        return str(archive), DirFileSystem(_FOLDER, fsspec.filesystem("zip", fo=archive))
    except zipfile.BadZipFile as error:
        raise InvalidValueError(f"{archive} is no complete zip file; download it again") from error


def _train_labels(names: list[str], classes: list[str], source: str) -> dict[str, str]:
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


def _test_labels(names: list[str], annotations: str, source: str) -> dict[str, str]:
    """Maps the path of every image of the labelled `val` folder to its class."""
    labels = {}
    for line in annotations.splitlines():
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
