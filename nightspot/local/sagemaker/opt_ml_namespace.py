"""Runs a command that sees a folder of its own at /opt/ml, in a Linux mount namespace; see `main`.

Everybody else goes on seeing the machine's own /opt/ml, and nothing is written there. The command replaces the
process that calls `main`, so it keeps that process's number. Standard library alone, and little of it: each import
costs every training process its time.

https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
https://man7.org/linux/man-pages/man7/user_namespaces.7.html
"""

import ctypes
import os
import stat

OPT_ML = "/opt/ml"
# <sched.h> and <sys/mount.h>
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000
_BIND, _REC, _PRIVATE = 4096, 16384, 1 << 18

# Python ignores SIGPIPE and SIGXFSZ, and a program that is executed inherits that. The module `signal` costs 5 ms.
_IGNORED_SIGNALS = (13, 25)

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    path = ctypes.c_char_p(os.fsencode(target))
    _checked(
        _libc.mount(os.fsencode(source), path, kind.encode(), ctypes.c_ulong(flags), None),
    )


def own_mounts() -> None:
    """A mount namespace of this process's own: as it is where it may, else in a user namespace with the same user.

    Raises OSError where neither is allowed.
    """
    if _libc.unshare(_NEW_MOUNTS) != 0:
        user, group = os.geteuid(), os.getegid()
        _checked(_libc.unshare(_NEW_USERS | _NEW_MOUNTS))
        # Without this the kernel lets nobody but root name groups.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    # Else what is mounted here would show outside, where / is shared with other namespaces.
    _mount("none", "/", "", _REC | _PRIVATE)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs milliseconds
        file.write(text)


def show(folder: str) -> None:
    """Let /opt/ml be `folder`. Raises OSError."""
    if not os.path.isdir(OPT_ML):  # noqa: PTH112 - as above
        _make_room(os.path.dirname(OPT_ML))  # noqa: PTH120 - as above
    _mount(folder, OPT_ML, "", _BIND | _REC)


def _make_room(parent: str) -> None:
    """Cover `parent` with a copy in memory that shows the same entries, and make /opt/ml in that."""
    entries = {}
    for name in os.listdir(parent):  # noqa: PTH208 - as above
        path = f"{parent}/{name}"
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        entries[name] = os.readlink(path) if is_link else os.open(path, os.O_PATH)  # noqa: PTH115 - as above
    _mount("tmpfs", parent, "tmpfs", 0)
    os.mkdir(OPT_ML, 0o755)  # noqa: PTH102 - as above
    for name, entry in entries.items():
        path = f"{parent}/{name}"
        if isinstance(entry, str):
            if path != OPT_ML:
                os.symlink(entry, path)  # noqa: PTH211 - as above
            continue
        if stat.S_ISDIR(os.fstat(entry).st_mode):
            os.mkdir(path)  # noqa: PTH102 - as above
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        _mount(f"/proc/self/fd/{entry}", path, "", _BIND | _REC)
        os.close(entry)


def _environment() -> dict[bytes, bytes]:
    """As it was given: Python itself adds LC_CTYPE to its own where the locale is C."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - as above
        pairs = file.read().split(b"\0")
    return dict(pair.partition(b"=")[::2] for pair in pairs if b"=" in pair)


def main(folder: str, directory: str, errors: int, command: list[str]) -> int:
    """Execute `command` in `directory`, as that is called inside, with `folder` at /opt/ml.

    What goes wrong before it runs is written as an errno to the file descriptor `errors`, and the status is 1.
    Without a command this only tries, and the status is 0.
    """
    os.set_inheritable(errors, False)
    try:
        own_mounts()
        show(folder)
        if not command:
            return 0 if os.path.samefile(folder, OPT_ML) else 1  # noqa: PTH121 - as above
        os.chdir(directory)
        for number in _IGNORED_SIGNALS:
            _libc.signal(number, None)
        os.execvpe(command[0], command, _environment())  # noqa: S606 - what was asked for
    except OSError as error:
        os.write(errors, str(error.errno or 1).encode())
    return 1
