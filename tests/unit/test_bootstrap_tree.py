"""Artifacts that are folders: what can be stored can be read back, and what cannot fails the task that leaves it."""

from __future__ import annotations

import io
import os
import random
import socket
import stat
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus.bootstrap.common import Refusal
from nexus.bootstrap.transfer import packed, unpack
from nexus.bootstrap.tree import LONGEST, check_readable

LONG = os.environ.get("NEXUS_LONG") == "1"
SEEDS = range(3_000 if LONG else 150)
NAMES = [
    b"a",
    b"B",
    b"b",
    b"c d",
    b"-x",
    b"\xff\xfe",
    "é".encode(),
    "漢🙂".encode(),
    b"n\nl",
    b"l" * 250,
    b".h",
    b"$(id)",
]
TARGETS = [
    b"a",
    b".",
    b"..",
    b"../..",
    b"../a",
    b"a/b",
    b"./b",
    b"b//",
    b"a/../b",
    b"/",
    b"/etc/passwd",
    b"self",
    b"\xff\xfe",
]
TARGETS += [b"../" * 5 + b"a", b"B/..", b"c d", b"nowhere", b"../../../../x"]


def tree(root: Path, dice: random.Random, depth: int = 0) -> None:
    """A folder with some of everything that a folder can hold."""
    root.mkdir()
    files: list[bytes] = []
    here = os.fsencode(root) + b"/"
    for name in dice.sample(NAMES, dice.randint(0, 6)):
        place = here + name
        kind = dice.choice(["file", "file", "folder", "folder", "link", "link", "hard", "odd"])
        if kind == "folder" and depth < 3:
            tree(Path(os.fsdecode(place)), dice, depth + 1)
        elif kind == "link":
            os.symlink(dice.choice(TARGETS), place)  # noqa: PTH211 - a Path would tidy the target up
        elif kind == "hard" and files:
            os.link(dice.choice(files), place)
        elif kind == "odd" and dice.random() < 0.2:
            os.mkfifo(place)
        else:
            Path(os.fsdecode(place)).write_bytes(dice.randbytes(dice.choice([0, 1, 511, 512, 70_000])))
            Path(os.fsdecode(place)).chmod(dice.choice([0o600, 0o644, 0o755, 0o444, 0o400]))
            files.append(place)


def seen(root: Path) -> dict[str, Any]:
    """What a reader can tell of a folder."""
    found: dict[str, Any] = {}
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place, name)
            what = path.lstat()
            key = str(path.relative_to(root))
            if path.is_symlink():
                found[key] = ("link", os.readlink(path))  # noqa: PTH115 - the same
            elif path.is_dir():
                found[key] = "folder"
            else:
                found[key] = (path.read_bytes(), bool(what.st_mode & 0o100), int(what.st_mtime), what.st_nlink)
    return found


def stored(root: Path) -> bytes:
    """The archive of a folder, as its writer stores it. Raises Refusal."""
    check_readable(str(root), "the artifact x")
    return b"".join(packed(str(root)))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_stored_comes_back_the_same_and_all_else_is_refused_before(tmp_path: Path, seed: int) -> None:
    tree(tmp_path / "x", random.Random(seed))
    try:
        archive = stored(tmp_path / "x")
    except Refusal:
        return  # its reader refuses it as well, see below
    unpack([archive], str(tmp_path / "copy"))
    assert seen(tmp_path / "copy") == seen(tmp_path / "x")


def test_both_answers_come_up_among_the_random_folders(tmp_path: Path) -> None:
    answers = set()
    for seed in range(40):
        tree(tmp_path / str(seed), random.Random(seed))
        try:
            answers.add(bool(stored(tmp_path / str(seed))))
        except Refusal:
            answers.add(False)
    assert answers == {True, False}


def test_a_refused_folder_is_refused_by_its_reader_too(tmp_path: Path) -> None:
    """The reader trusts no store: it asks the same function."""
    refused = 0
    for seed in range(60):
        root = tmp_path / str(seed)
        tree(root, random.Random(seed))
        try:
            stored(root)
        except Refusal:
            refused += 1
            with pytest.raises(ValueError, match="the archive holds"):
                unpack([b"".join(packed(str(root)))], str(tmp_path / f"copy-{seed}"))
    assert refused > 5


def test_links_that_stay_within_are_kept_whatever_they_lead_to(tmp_path: Path) -> None:
    root = tmp_path / "x"
    (root / "bin").mkdir(parents=True)
    for name, target in {
        "lib64": "lib",
        "bin/up": "../lib/y",
        "bin/top": "..",
        "self": "self",
        "gone": "no/where",
    }.items():
        (root / name).symlink_to(target)
    unpack([stored(root)], str(tmp_path / "copy"))
    assert seen(tmp_path / "copy") == seen(root)


def make_socket(path: Path) -> None:
    home = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(home)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at: at.symlink_to("/usr/bin/python3"), "is a link to the absolute path /usr/bin/python3: copy"),
        (lambda at: at.symlink_to("../../x"), "is a link to ../../x, which leads out of the folder: copy"),
        (lambda at: at.symlink_to("../.."), "is a link to ../.., which leads out of the folder: copy"),
        (lambda at: at.symlink_to("y/../z"), "is a link to y/../z, which goes up behind a name"),
        (os.mkfifo, "is a FIFO, which has no data; remove it"),
        (make_socket, "is a socket, which has no data; remove it"),
    ],
)
def test_the_path_and_what_to_do_are_told(tmp_path: Path, make: Any, words: str) -> None:
    (tmp_path / "x" / "bin").mkdir(parents=True)
    (tmp_path / "x" / "a-file").write_text("fine")
    make(tmp_path / "x" / "bin" / "python")
    with pytest.raises(Refusal) as refused:
        stored(tmp_path / "x")
    assert refused.value.reason == "InvalidOutput"
    assert str(refused.value).startswith(f"the artifact x could not be read back: bin/python {words}")


def test_a_path_that_is_too_long_for_a_reader_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / "x" / Path(*["d" * 200] * (LONGEST // 201 + 1))
    deep.mkdir(parents=True)
    with pytest.raises(Refusal, match=f"{LONGEST} is the limit"):
        stored(tmp_path / "x")


@pytest.mark.parametrize("mode", [0o000, 0o200])
@pytest.mark.parametrize("name", ["secret", "locked/in", "x"])
def test_what_its_own_user_may_not_read_is_refused(mode: int, name: str) -> None:
    with tempfile.TemporaryDirectory() as place:  # tmp_path is below folders of root's own
        assert as_somebody(Path(place), lambda: answer_to_mode(Path(place), mode, name)) == "InvalidOutput"


def answer_to_mode(place: Path, mode: int, name: str) -> str:
    root = place / "x"
    if name == "x":
        root.write_text("one file")
    else:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text")
    locked = root if name == "x" else root / name.partition("/")[0]
    locked.chmod(mode)
    try:
        check_readable(str(root), "it")
    except Refusal as refusal:
        return refusal.reason
    finally:
        locked.chmod(0o700)
    return "stored"


def as_somebody(place: Path, act: Callable[[], str]) -> str:
    """The answer of `act` in a process without root's rights, to whom modes are nothing."""
    if os.geteuid() != 0:
        return act()
    os.chown(place, 65532, 65532)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgid(65532)
        os.setuid(65532)
        os.write(theirs, act().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)
    with os.fdopen(ours) as told:
        return told.read()


# -- archives that no writer makes ------------------------------------------------------------------------------------


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, link, mode
    return entry


SYM, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "members",
    [
        [member("../a")],
        [member("/etc/passwd")],
        [member("a/../../b")],
        [member("a//b")],
        [member("a/b")],
        [member("a", DIR), member("a")],
        [member("a"), member("a")],
        [member("a", SYM, "b"), member("a")],
        [member("a", SYM, "."), member("a/b")],
        [member("d", DIR), member("d/a", SYM, "../..")],
        [member("a", SYM, "/etc")],
        [member("a", SYM, "x/../../y"), member("x", SYM, ".")],
        [member("d", DIR), member("d/a", SYM, "b/../.."), member("d/b", SYM, "..")],
        [member("a", HARD, "/etc/passwd")],
        [member("a", HARD, "../b")],
        [member("a", HARD, "b")],
        [member("a", SYM, "b"), member("c", HARD, "a")],
        [member("a", SYM, "."), member("b"), member("c", HARD, "a/b")],
        [member("a", tarfile.FIFOTYPE)],
        [member("a", tarfile.CHRTYPE)],
    ],
    ids=lambda members: ", ".join(f"{one.name} {one.linkname}".strip() for one in members),
)
def test_an_archive_that_reaches_out_or_hides_something_is_refused(
    tmp_path: Path, members: list[tarfile.TarInfo]
) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for one in members:
            archive.addfile(one)
    with pytest.raises(ValueError, match="the archive holds"):
        unpack([made.getvalue()], str(tmp_path / "copy"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]


def test_rights_beyond_ones_own_and_owners_are_left_out(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, mode in {"suid": 0o4777, "plain": 0o666, "none": 0o000}.items():
            one = member(name, mode=mode)
            one.uid = one.gid = 12345
            archive.addfile(one)
    unpack([made.getvalue()], str(tmp_path / "copy"))
    found = {path.name: path.stat() for path in (tmp_path / "copy").iterdir()}
    assert {name: stat.S_IMODE(what.st_mode) for name, what in found.items()} == {
        "suid": 0o755,
        "plain": 0o644,
        "none": 0o600,
    }
    assert {(what.st_uid, what.st_gid) for what in found.values()} == {(os.geteuid(), os.getegid())}
