"""The system calls that no candidate may make: as a filter for the kernel (seccomp(2)), and as a profile for Docker."""

from __future__ import annotations

import errno
import json
import platform
import struct
from collections.abc import Iterator
from typing import Final

MACHINES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
NUMBERS: Final = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
# files, the server's own sockets, and what getifaddrs(3) asks; above all not AF_VSOCK, which no namespace closes
FAMILIES: Final = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
NAMESPACES: Final = 0x7E020000
_CLONE, _SOCKET, _CLONE3 = (56, 220), (41, 198), 435
_X32 = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000


def kernel_filter(machine: str = "") -> bytes:
    """The filter as classic BPF for a machine (this one by default), empty for one whose numbers are not known here."""
    known = MACHINES.get(machine or platform.machine())
    return b"".join(_instructions(*known)) if known else b""


def docker_profile() -> str:
    """The same rules as Docker reads them, JSON."""
    refused = [_rule(sorted(NUMBERS), errno.EPERM), _rule(["clone3"], errno.ENOSYS)]
    for bit in range(32):
        if NAMESPACES >> bit & 1:
            refused.append(_rule(["clone"], errno.EPERM, (0, 1 << bit, "SCMP_CMP_MASKED_EQ", 1 << bit)))
    allowed = sorted(FAMILIES.values())
    for family in (number for number in range(allowed[-1]) if number not in allowed):
        refused.append(_rule(["socket"], errno.EAFNOSUPPORT, (0, family, "SCMP_CMP_EQ", 0)))
    refused.append(_rule(["socket"], errno.EAFNOSUPPORT, (0, allowed[-1], "SCMP_CMP_GT", 0)))
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": refused})


def _rule(names: list[str], number: int, compared: tuple[int, int, str, int] | None = None) -> dict[str, object]:
    rule: dict[str, object] = {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number}
    if compared:
        index, value, operation, second = compared
        rule["args"] = [{"index": index, "value": value, "valueTwo": second, "op": operation}]
    return rule


def _instructions(architecture: int, column: int) -> Iterator[bytes]:
    yield _one(_LOAD, _ARCHITECTURE)
    yield _one(_EQUAL, architecture, 1, 0)
    yield _one(_RETURN, _KILL)
    yield _one(_LOAD, _NUMBER)
    yield from _refused(_AT_LEAST, _X32, errno.ENOSYS)
    for numbers in NUMBERS.values():
        yield from _refused(_EQUAL, numbers[column], errno.EPERM)
    # the C library then falls back to clone(2), whose flags can be looked at
    yield from _refused(_EQUAL, _CLONE3, errno.ENOSYS)
    yield _one(_EQUAL, _CLONE[column], 0, 4)
    yield _one(_LOAD, _FIRST_ARGUMENT)
    yield from _refused(_ANY_BIT, NAMESPACES, errno.EPERM)
    yield _one(_RETURN, _ALLOW)
    yield _one(_EQUAL, _SOCKET[column], 0, 2 + len(FAMILIES))
    yield _one(_LOAD, _FIRST_ARGUMENT)
    for left, family in zip(range(len(FAMILIES), 0, -1), FAMILIES.values(), strict=True):
        yield _one(_EQUAL, family, left, 0)
    yield _one(_RETURN, _REFUSE | errno.EAFNOSUPPORT)
    yield _one(_RETURN, _ALLOW)


def _refused(comparison: int, value: int, number: int) -> Iterator[bytes]:
    """Two instructions: answer with an error number when the comparison holds, else go on."""
    yield _one(comparison, value, 0, 1)
    yield _one(_RETURN, _REFUSE | number)


def _one(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    """One instruction, struct sock_filter of linux/filter.h."""
    return struct.pack("=HBBI", code, when_true, when_false, value)
