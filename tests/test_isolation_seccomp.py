"""The filter of system calls, run by a small interpreter of classic BPF, and its twin for Docker."""

from __future__ import annotations

import errno
import json
import re
import struct
from pathlib import Path

import pytest

from pytest_vibeserve.isolation.seccomp import FAMILIES, MACHINES, NAMESPACES, NUMBERS, docker_profile, kernel_filter

HEADERS = {
    "x86_64": [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    "aarch64": [Path("/usr/include/asm-generic/unistd.h")],
}
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKET = {"x86_64": 41, "aarch64": 198}
READ = {"x86_64": 0, "aarch64": 63}
ALLOWED, KILLED = "allowed", "killed"


def decision(machine: str, number: int, argument: int = 0, architecture: int | None = None) -> str | int:
    """What the filter says of a call: allowed, killed, or the error number."""
    program = list(struct.iter_unpack("=HBBI", kernel_filter(machine)))
    said = MACHINES[machine][0] if architecture is None else architecture
    data = struct.pack("=IIQQ", number, said, 0, argument)
    accumulator, place = 0, 0
    while True:
        code, when_true, when_false, value = program[place]
        place += 1
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return {0x7FFF0000: ALLOWED, 0x80000000: KILLED}.get(value, value & 0xFFFF)
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            place += when_true if holds else when_false


@pytest.mark.parametrize("machine", MACHINES)
def test_every_named_call_is_refused_and_others_are_not(machine: str) -> None:
    column = MACHINES[machine][1]
    assert {decision(machine, numbers[column]) for numbers in NUMBERS.values()} == {errno.EPERM}
    assert decision(machine, READ[machine]) == ALLOWED


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_are_made_and_namespaces_are_not(machine: str) -> None:
    thread = 0x3D0F00
    assert decision(machine, CLONE[machine], thread) == ALLOWED
    assert decision(machine, CLONE[machine], 17) == ALLOWED
    flags = [1 << bit for bit in range(32) if NAMESPACES >> bit & 1]
    assert len(flags) == 7
    assert {decision(machine, CLONE[machine], flag | 17) for flag in flags} == {errno.EPERM}
    assert decision(machine, 435, thread) == errno.ENOSYS, "so that the C library uses clone(2)"


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_of_other_families_are_not_made(machine: str) -> None:
    allowed = [family for family in range(64) if decision(machine, SOCKET[machine], family) == ALLOWED]
    assert allowed == sorted(FAMILIES.values())
    assert decision(machine, SOCKET[machine], 40) == errno.EAFNOSUPPORT


def test_calls_of_another_architecture_end_the_process() -> None:
    assert decision("x86_64", 0, architecture=0x40000003) == KILLED
    assert decision("x86_64", 0x40000000) == errno.ENOSYS


def test_a_machine_whose_numbers_are_unknown_gets_no_filter() -> None:
    assert kernel_filter("riscv64") == b""


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernels_own_headers(machine: str) -> None:
    header = next((path for path in HEADERS[machine] if path.is_file()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed here")
    told = dict(re.findall(r"#define __NR3?2?6?4?_?(\w+)\s+(\d+)", header.read_text()))
    assert len(told) > 200
    wrong = {
        name: (numbers[MACHINES[machine][1]], told[name])
        for name, numbers in {**NUMBERS, "clone3": (435, 435)}.items()
        if name in told and int(told[name]) != numbers[MACHINES[machine][1]]
    }
    assert wrong == {}
    assert len(set(NUMBERS) & set(told)) > len(NUMBERS) - 3


def test_docker_gets_the_same_rules() -> None:
    rules = json.loads(docker_profile())["syscalls"]
    plain = {name for rule in rules if "args" not in rule for name in rule["names"]}
    assert plain == {*NUMBERS, "clone3"}
    flags = sum(rule["args"][0]["value"] for rule in rules if rule["names"] == ["clone"])
    assert flags == NAMESPACES
    refused = {
        rule["args"][0]["value"]
        for rule in rules
        if rule["names"] == ["socket"] and rule["args"][0]["op"] != "SCMP_CMP_GT"
    }
    assert refused == set(range(max(FAMILIES.values()))) - set(FAMILIES.values())
