"""Trees: what a folder may hold to travel as an artifact. Its writer and its readers ask the same function, `trouble`.

So whatever a reader would refuse fails the task that leaves it. The function looks at one entry and at no other: the
links of an archive can be trusted whatever their order, and where some of their targets are not there yet.
"""

from __future__ import annotations

import os
import stat

from nexus.bootstrap.common import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator

# Bytes of a path within the folder. Linux takes 4,095 with the place of the folder, which is another for each reader.
LONGEST = 3000
FILE, FOLDER, LINK, HARD_LINK = "file", "folder", "link", "hard link"


def trouble(name: str, kind: str, target: str = "") -> str | None:
    """Return what keeps an entry from being read back, None where nothing does.

    `name`: its path within the folder; `target`: where a link leads, of a hard link the path within the folder.
    """
    size = len(os.fsencode(name))
    if size > LONGEST:
        return f"has a path of {size} bytes, and {LONGEST} is the limit: shorten its folders' names"
    if any(step in ("", ".", "..") for step in name.split("/")):
        return "is not a path within the folder"
    if kind == HARD_LINK:
        return trouble(target, FILE) and f"is a hard link to {target}, which is not in the folder"
    if kind == LINK:
        return link_trouble(name, target)
    if kind in (FILE, FOLDER):
        return None
    return f"is a {kind}, which has no data; remove it before the task ends"


def link_trouble(name: str, target: str) -> str | None:
    """Of a symbolic link. It may go up at its start and not later: what is behind a name may be a link itself."""
    advice = "copy what it leads to in its place (cp -RL), or link to a relative path within the folder"
    if target.startswith("/"):
        return f"is a link to the absolute path {target}: {advice}"
    steps = [step for step in target.split("/") if step not in ("", ".")]
    names = [step for step in steps if step != ".."]
    up = len(steps) - len(names)
    if up > name.count("/"):
        return f"is a link to {target}, which leads out of the folder: {advice}"
    if steps[up:] != names:
        return f"is a link to {target}, which goes up behind a name: link to the path without this detour"
    return None


def check_readable(path: str, what: str) -> None:
    """Refuse a file or folder that could not be stored or, once stored, not be read back."""
    to_read = [("", path, os.lstat(path))]
    while to_read:
        name, place, found = to_read.pop()
        kind = kind_of(found.st_mode)
        problem = trouble(name, kind, os.readlink(place) if kind == LINK else "") if name else None
        wanted = {FILE: os.R_OK, FOLDER: os.R_OK | os.X_OK}.get(kind, os.F_OK)
        if problem is None and kind in (FILE, FOLDER) and not os.access(place, wanted):
            problem = f"is a {kind} that its own user may not read: chmod u+rX"
        if problem is not None:
            raise Refusal("InvalidOutput", f"{what} could not be read back: {name or place} {problem}")
        if kind == FOLDER:
            inner = f"{name}/" if name else ""
            with os.scandir(place) as entries:
                to_read += [(inner + entry.name, entry.path, entry.stat(follow_symlinks=False)) for entry in entries]


def kind_of(mode: int) -> str:
    """Return the kind of an entry. Files and links to them are distinguished when packed: tar knows which it has
    had."""
    kinds = ((stat.S_ISREG, FILE), (stat.S_ISDIR, FOLDER), (stat.S_ISLNK, LINK), (stat.S_ISFIFO, "FIFO"))
    return next((kind for is_kind, kind in (*kinds, (stat.S_ISSOCK, "socket")) if is_kind(mode)), "device")


def harmless(archive: tarfile.TarFile, root: str) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive one by one, to be extracted below `root` before the next is asked for.

    Raises ValueError at the first that no writer stores. Owners and rights beyond one's own are left out, as Python's
    filter "data" does (PEP 706), which Python 3.11.2 of Debian 12 does not have.
    """
    folders = {""}
    for member in archive:
        kind = FILE if member.isreg() else FOLDER if member.isdir() else LINK if member.issym() else "device"
        kind = HARD_LINK if member.islnk() else kind
        problem = trouble(member.name, kind, member.linkname)
        place = os.path.join(root, member.name)
        # Not below a link, and over nothing: what is there is what was checked.
        if problem is None and (member.name.rpartition("/")[0] not in folders or os.path.lexists(place)):
            problem = "is a duplicate, or its folder is missing"
        if problem is None and kind == HARD_LINK:
            beside = member.linkname.rpartition("/")[0] in folders
            if not beside or not is_file(os.path.join(root, member.linkname)):
                problem = f"is a hard link to {member.linkname}, which is not a file of the archive"
        if problem is not None:
            raise ValueError(f"the archive holds {member.name}, which {problem}")
        if kind == FOLDER:
            folders.add(member.name)
            member.mode = 0o755
        else:
            member.mode = (member.mode & 0o755 if member.mode & 0o100 else member.mode & 0o644) | 0o600
        member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
        yield member


def is_file(path: str) -> bool:
    return os.path.lexists(path) and stat.S_ISREG(os.lstat(path).st_mode)
