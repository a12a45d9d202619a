"""Which image has which class, by folders, class maps and truth files; and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from nfexport.errors import InputError
from nfexport.images.evaluate.classes import Classes
from nfexport.images.evaluate.dataset import DataSet, open_dataset
from nfexport.images.evaluate.truth import read_class_map

ONE_K = Classes(count=1000, labels="imagenet-1k")


def folders(root: Path, *names: str, images: int = 1) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(images):
            (root / name / f"{number}.jpg").touch()
    return root


def flat(root: Path, count: int) -> Path:
    root.mkdir()
    for number in range(1, count + 1):
        (root / f"ILSVRC2012_val_{number:08}.JPEG").touch()
    return root


def paths_listed(dataset: DataSet) -> dict[str, int]:
    return dict(zip(dataset.images, dataset.truth.tolist(), strict=True))


def test_synsets_have_their_place_in_timms_list(tmp_path: Path) -> None:
    dataset = open_dataset(folders(tmp_path, "n15075141", "n01440764", "n01443537"), ONE_K)
    assert paths_listed(dataset) == {"n01440764/0.jpg": 0, "n01443537/0.jpg": 1, "n15075141/0.jpg": 999}
    assert dataset.rule == "folders are synsets, in the order of timm's list of imagenet-1k"


def test_labels_in_the_file_have_their_own_order(tmp_path: Path) -> None:
    classes = Classes(count=3, labels=("zebra", "ape", "10"))
    dataset = open_dataset(folders(tmp_path, "ape", "zebra"), classes)
    assert paths_listed(dataset) == {"ape/0.jpg": 1, "zebra/0.jpg": 0}
    assert dataset.rule == "folders are the labels in the file"


def test_numbers_are_indices_whatever_their_order_as_text(tmp_path: Path) -> None:
    dataset = open_dataset(folders(tmp_path, "10", "9", "002"), Classes(count=11))
    assert paths_listed(dataset) == {"002/0.jpg": 2, "9/0.jpg": 9, "10/0.jpg": 10}
    assert dataset.rule == "folders are the numbers of their classes, from 0"


def test_other_names_count_in_their_order(tmp_path: Path) -> None:
    root = folders(tmp_path, "bee", "ant", "cat", images=2)
    (root / "ant" / "more").mkdir()
    (root / "ant" / "more" / "x.PNG").touch()
    (root / "ant" / "._0.jpg").touch()
    (root / "ant" / "notes.txt").touch()
    (root / ".cache").mkdir()
    dataset = open_dataset(root, Classes(count=3))
    assert list(paths_listed(dataset).items()) == [
        ("ant/0.jpg", 0),
        ("ant/1.jpg", 0),
        ("ant/more/x.PNG", 0),
        ("bee/0.jpg", 1),
        ("bee/1.jpg", 1),
        ("cat/0.jpg", 2),
        ("cat/1.jpg", 2),
    ]


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (
            ("n01440764", "n99999999"),
            ONE_K,
            r"2 class folders in .* the file's 1,000 classes: no class is called 'n99999999'",
        ),
        (("ant", "bee"), Classes(count=3), r"the 2 class folders .* file's 3 classes: the first are 'ant', 'bee'; "),
        (
            ("ape", "dodo", "emu"),
            Classes(count=3, labels=("zebra", "ape", "gnu")),
            r"3 class folders in .* are not the file's 3 classes: no class is called 'dodo', 'emu'; pass --class-map",
        ),
        (
            ("0", "7"),
            Classes(count=7),
            r"the folder '7' in '.*' has the class 7, but the 7 classes of the file end at 6",
        ),
        (("01", "1"), Classes(count=7), r"folders '01', '1' are all class 1"),
        (("class10", "class9"), Classes(count=2), r"no clear order: torchvision and timm differ from 'class10' on"),
        (("a", "b", "c", "d", "e"), Classes(count=9), r"the first are 'a', 'b', 'c' and 2 more"),
    ],
)
def test_folders_that_do_not_match_are_named(
    names: tuple[str, ...], classes: Classes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        open_dataset(folders(tmp_path, *names), classes)


def test_a_folder_without_images_or_classes_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the data '.*none' does not exist"):
        open_dataset(tmp_path / "none", ONE_K)
    with pytest.raises(InputError, match="there is no image in"):
        open_dataset(tmp_path, ONE_K)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InputError, match=r"has images, but not in a folder for each class; .*--truth"):
        open_dataset(tmp_path, ONE_K)
    root = folders(tmp_path / "some", "ant", "bee")
    (root / "cat").mkdir()
    with pytest.raises(InputError, match=r"the class folders 'cat' in .* are empty"):
        open_dataset(root, Classes(count=3))


def test_a_class_map_overrides_the_names(tmp_path: Path) -> None:
    root = folders(tmp_path / "data", "ant", "n01443537")
    (tmp_path / "map.txt").write_text("ant 7\nn01443537,3\n".replace(",", " "))
    given = read_class_map(tmp_path / "map.txt", ONE_K)
    dataset = open_dataset(root, Classes(count=1000, labels="imagenet-1k", class_map=given))
    assert paths_listed(dataset) == {"ant/0.jpg": 7, "n01443537/0.jpg": 3}
    (tmp_path / "list.txt").write_text("n01443537\nant\n")  # timm's form: the line is the index
    assert read_class_map(tmp_path / "list.txt", ONE_K) == {"n01443537": 0, "ant": 1}
    (tmp_path / "names.csv").write_text("name,class\nant,n01443537\n")
    assert read_class_map(tmp_path / "names.csv", ONE_K) == {"ant": 1}
    folders(root, "bee")
    with pytest.raises(InputError, match="the class map does not have 'bee'"):
        open_dataset(root, Classes(count=1000, class_map=given))


def test_caffes_list_counts_from_0(tmp_path: Path) -> None:
    root = flat(tmp_path / "val", 4)
    (tmp_path / "val.txt").write_text(
        "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000003.JPEG 0\nILSVRC2012_val_00000002.JPEG 970\n"
    )
    dataset = open_dataset(root, ONE_K, truth=tmp_path / "val.txt")
    assert dataset.truth.tolist() == [65, 970, 0]
    assert (dataset.left_out, dataset.rule) == (1, "a name and a class per line, classes from 0, because it has a 0")


def test_a_number_a_line_goes_by_the_names_of_the_images(tmp_path: Path) -> None:
    root = flat(tmp_path / "val", 3)
    (tmp_path / "truth.txt").write_text("5\n1\n2\n")
    dataset = open_dataset(root, Classes(count=5), truth=tmp_path / "truth.txt")
    assert dataset.truth.tolist() == [4, 0, 1]
    assert dataset.rule == "one class per line in the order of names, classes from 1, because it has a 5"


def test_where_a_list_counts_from_is_not_guessed(tmp_path: Path) -> None:
    root, truth = flat(tmp_path / "val", 2), tmp_path / "truth.txt"
    truth.write_text("3\n2\n")
    with pytest.raises(InputError, match=r"has the classes 2 to 3 of 5, which may start at 0 or at 1; .*-base"):
        open_dataset(root, Classes(count=5), truth=truth)
    assert open_dataset(root, Classes(count=5), truth=truth, truth_base=0).truth.tolist() == [3, 2]
    assert open_dataset(root, Classes(count=5), truth=truth, truth_base=1).truth.tolist() == [2, 1]


def test_the_development_kits_numbers_need_their_map(tmp_path: Path) -> None:
    """ILSVRC2012_ID 1 is the kit fox, n02119789, which is class 278 of every network."""
    root, truth = flat(tmp_path / "val", 2), tmp_path / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("1\n1000\n")
    for base in (None, 1):
        with pytest.raises(InputError, match=r"\(ILSVRC2012_ID\), not in that of the network; pass --class-map"):
            open_dataset(root, ONE_K, truth=truth, truth_base=base)
    (tmp_path / "map.txt").write_text("1 n02119789\n1000 n15075141\n")
    classes = Classes(count=1000, labels="imagenet-1k", class_map=read_class_map(tmp_path / "map.txt", ONE_K))
    assert open_dataset(root, classes, truth=truth).truth.tolist() == [278, 999]


def test_classes_may_be_names_and_names_may_lack_their_suffix(tmp_path: Path) -> None:
    root, truth = flat(tmp_path / "val", 2), tmp_path / "LOC_val_solution.csv"
    truth.write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000002,n02119789 85 1 499 2\n"
        "ILSVRC2012_val_00000001,n01440764 1 2 3 4 n01440764 5 6 7 8\n"
    )
    dataset = open_dataset(root, ONE_K, truth=truth)
    assert dataset.truth.tolist() == [0, 278]
    assert dataset.rule == "a name and a class with commas, classes by name"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 0\nb.jpg 1\nnone.jpg 0\n", "names images that do not exist: 'none.jpg'; "),
        ("a.jpg 0\nb.jpg 5\n", r"truth.txt' has the class 5, but the 5 classes of the file end at 4"),
        ("0\n1\n2\n", "has 3 lines for 2 images"),
        ("a.jpg 0\n1\n", "has another number of fields in line 2 than in line 1"),
        ("a.jpg 0\na.jpg 1\n", "has two classes for 'a.jpg'; remove line 2"),
        ("a.jpg dog\nb.jpg 0\n", "line 1, has 'dog', which is not a class of the file"),
        ("\n", "is empty"),
    ],
)
def test_a_truth_that_does_not_fit_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "val" / name).touch()
    (tmp_path / "truth.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        open_dataset(tmp_path / "val", Classes(count=5), truth=tmp_path / "truth.txt")


def test_a_limit_takes_images_of_all_classes(tmp_path: Path) -> None:
    dataset = open_dataset(folders(tmp_path, "ant", "bee", "cat", images=10), Classes(count=3)).limited(6)
    assert paths_listed(dataset) == {
        "ant/0.jpg": 0,
        "ant/5.jpg": 0,
        "bee/0.jpg": 1,
        "bee/5.jpg": 1,
        "cat/0.jpg": 2,
        "cat/5.jpg": 2,
    }
    assert dataset.left_out == 24


def test_the_digest_tells_other_images_and_classes(tmp_path: Path) -> None:
    root = folders(tmp_path, "ant", "bee", "cat")
    digests = [open_dataset(root, Classes(count=3)).digest]
    (root / "ant" / "0.jpg").write_bytes(b"x")
    digests.append(open_dataset(root, Classes(count=3)).digest)
    (root / "ant").rename(root / "axe")
    digests.append(open_dataset(root, Classes(count=3)).digest)
    assert len(set(digests)) == 3
