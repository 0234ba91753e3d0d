"""What a child gives up before it opens a file that anybody may have made.

Resource limits (``setrlimit(2)``) hold everywhere. Linux adds: the child dies with its parent, gains no privileges
(``prctl(2)``), and a seccomp filter (``seccomp(2)``) refuses it the network, other programs, other processes and every change of
the file system. Where a kernel has no seccomp the limits remain.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
import sys

_SET_PDEATHSIG, _SET_SECCOMP, _SET_NO_NEW_PRIVS = 1, 22, 38
_MODE_FILTER = 2
_OPEN_FILES = 64

# Classic BPF, linux/filter.h: load a word of seccomp_data, jump, return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_REFUSED = {
    "x86_64": {
        # socket, connect, bind, listen, accept, accept4, sendto, sendmsg, sendmmsg, socketpair
        "network": (41, 42, 49, 50, 43, 288, 44, 46, 307, 53),
        # fork, vfork, execve, execveat, ptrace, kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, process_vm_readv, process_vm_writev,
        # pidfd_open, pidfd_send_signal, pidfd_getfd; a thread may still be made, and abort() signals by tgkill
        "processes": (57, 58, 59, 322, 101, 62, 200, 129, 297, 310, 311, 434, 424, 438),
        # truncate, ftruncate, rename, mkdir, rmdir, creat, link, unlink, symlink, chmod, fchmod, chown, fchown, lchown, mknod, utimes,
        # setxattr (3), removexattr (3), and the …at forms
        "files": (76, 77, *range(82, 89), *range(90, 95), 132, 133, 188, 189, 190, 197, 198, 199, 235, *range(258, 262), *range(263, 267)),
        "metadata": (268, 280, 316, 452),  # fchmodat, utimensat, renameat2, fchmodat2
        # mount, umount2, unshare, setns, bpf, io_uring_setup, add_key, keyctl, perf_event_open, userfaultfd, openat2, (f)init_module
        "system": (165, 166, 272, 308, 321, 425, 248, 250, 298, 323, 437, 175, 313),
    },
    "aarch64": {
        "network": (198, 203, 200, 201, 202, 242, 206, 211, 269, 199),
        "processes": (221, 281, 117, 129, 130, 138, 240, 270, 271, 434, 424, 438),
        "files": (45, 46, 38, 34, 35, 36, 37, 52, 53, 54, 55, 33, 5, 6, 7, 14, 15, 16, 88, 276, 452),
        "system": (40, 39, 97, 268, 280, 425, 217, 219, 241, 282, 437, 105, 273),
    },
}
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OPEN = {"x86_64": ((2, 1), (257, 2)), "aarch64": ((56, 2),)}
"""``open`` and ``openat`` with the place of their flags among the arguments."""
_LIMIT = {"x86_64": 302, "aarch64": 261}
"""``prlimit64``: of this process only."""


def end_with_parent(parent: int) -> None:
    """Die when the parent does, whatever a decoder is doing then."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that
        os._exit(1)


def confine(memory: int, resident: int, mapped: int) -> None:
    """Give up what measuring a file does not need.

    Args:
        memory: Most bytes that may be resident.
        resident: Bytes that are.
        mapped: Bytes of address space in use; what is left of ``memory`` may be added to them.
    """
    silence = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # decoders write what they find wrong, in a file's own words
        os.dup2(silence, number)
    os.close(silence)
    for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, _OPEN_FILES)):
        resource.setrlimit(what, (most, most))
    if mapped:
        most = mapped + max(memory - resident, 0)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if _prctl(_SET_NO_NEW_PRIVS, 1):
        _filter_calls()


def limit_cpu(seconds: int) -> None:
    """Let the kernel end this process after some more seconds of processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


def _prctl(*arguments: int) -> bool:
    """Whether the call exists and was granted."""
    if sys.platform != "linux":
        return False
    return ctypes.CDLL(None, use_errno=True).prctl(*(ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0)[:5])) == 0


def _filter_calls() -> bool:
    """Install the filter; whether that was possible."""
    program = _compile(platform.machine())
    if not program:
        return False
    code = ctypes.create_string_buffer(program)
    # struct sock_fprog: a count of instructions and their address.
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    return (
        ctypes.CDLL(None, use_errno=True).prctl(
            ctypes.c_ulong(_SET_SECCOMP), ctypes.c_ulong(_MODE_FILTER), ctypes.c_void_p(ctypes.addressof(head))
        )
        == 0
    )


def _compile(machine: str) -> bytes:
    """The filter for a processor, 8 bytes an instruction; empty for one that is not known."""
    if machine not in _AUDIT:
        return b""
    refuse, allow = _step(_RETURN, _REFUSE), _step(_RETURN, _ALLOW)
    # A call of another architecture's numbers, or of x32's, is refused: its number would mean something else here.
    steps = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, _AUDIT[machine], 1, 0), refuse, _step(_LOAD, _NUMBER)]
    steps += [_step(_AT_LEAST, 0x40000000, 0, 1), refuse]
    for number in sorted({each for group in _REFUSED[machine].values() for each in group}):
        steps += [_step(_EQUAL, number, 0, 1), refuse]
    # Not this call: over the next four. An argument with any of these bits: refused, else allowed.
    for number, place, bits in (*((*each, _WRITING) for each in _OPEN[machine]), (_LIMIT[machine], 0, 0xFFFFFFFF)):
        steps += [_step(_EQUAL, number, 0, 4), _step(_LOAD, _ARGUMENTS + 8 * place), _step(_ANY_BIT, bits, 0, 1), refuse, allow]
    return b"".join([*steps, allow])


def _step(code: int, value: int, when: int = 0, otherwise: int = 0) -> bytes:
    """One instruction: struct sock_filter."""
    return struct.pack("=HBBI", code, when, otherwise, value)
