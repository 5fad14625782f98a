"""System call numbers of the two machines that we know, from the kernel's own headers (x86_64 table, asm-generic for aarch64).

It refuses to be: a guess. On any other machine `numbers()` raises, and so nothing generated runs there.
"""

from __future__ import annotations

import platform
from functools import cache

from app.core.errors import Unavailable

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The value of seccomp_data.arch per machine (linux/audit.h)."""

# name:x86_64:aarch64, with - where the machine has no such call
_TABLE = """
_sysctl:156:- access:21:- acct:163:89 add_key:248:217 adjtimex:159:171 bpf:321:280 brk:12:214 capget:125:90 chroot:161:51
clock_adjtime:305:266 clock_getres:229:114 clock_gettime:228:113 clock_nanosleep:230:115 clock_settime:227:112 clone:56:220
clone3:435:435 close:3:57 create_module:174:- delete_module:176:106 dup:32:23 exit:60:93 exit_group:231:94 faccessat:269:48
faccessat2:439:439 fanotify_init:300:262 fcntl:72:25 finit_module:313:273 fsconfig:431:431 fsmount:432:432 fsopen:430:430 fspick:433:433
fstat:5:80 futex:202:98 get_mempolicy:239:236 getcwd:79:17 getdents64:217:61 getegid:108:177 geteuid:107:175 getgid:104:176
getpid:39:172 getppid:110:173 getrandom:318:278 getrlimit:97:163 getrusage:98:165 gettid:186:178 gettimeofday:96:169 getuid:102:174
init_module:175:105 inotify_init:253:- inotify_init1:294:26 io_uring_enter:426:426 io_uring_register:427:427 io_uring_setup:425:425
ioctl:16:29 ioperm:173:- iopl:172:- kcmp:312:272 kexec_file_load:320:294 kexec_load:246:104 keyctl:250:219 lookup_dcookie:212:18
lseek:8:62 lstat:6:- madvise:28:233 mbind:237:235 membarrier:324:283 memfd_create:319:279 memfd_secret:447:447 migrate_pages:256:238
mknod:133:- mknodat:259:33 mmap:9:222 mount:165:40 mount_setattr:442:442 move_mount:429:429 move_pages:279:239 mprotect:10:226
mq_open:240:180 mq_unlink:241:181 mremap:25:216 msgget:68:186 munmap:11:215 name_to_handle_at:303:264 nanosleep:35:101 newfstatat:262:79
nfsservctl:180:42 open_by_handle_at:304:265 open_tree:428:428 openat:257:56 perf_event_open:298:241 personality:135:92
pidfd_getfd:438:438 pivot_root:155:41 poll:7:- ppoll:271:73 prctl:157:167 pread64:17:67 prlimit64:302:261 process_madvise:440:440
process_vm_readv:310:270 process_vm_writev:311:271 pselect6:270:72 ptrace:101:117 query_module:178:- quotactl:179:60 quotactl_fd:443:443
read:0:63 readlink:89:- readlinkat:267:78 readv:19:65 reboot:169:142 request_key:249:218 restart_syscall:219:128 rseq:334:293
rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 sched_getaffinity:204:123 sched_yield:24:124 select:23:- semget:64:190
set_mempolicy:238:237 set_mempolicy_home_node:450:450 set_robust_list:273:99 set_tid_address:218:96 setdomainname:171:162
sethostname:170:161 setns:308:268 settimeofday:164:170 shmget:29:194 sigaltstack:131:132 socket:41:198 socketpair:53:199 stat:4:-
statx:332:291 swapoff:168:225 swapon:167:224 sysfs:139:- syslog:103:116 time:201:- times:100:153 umount2:166:39 uname:63:160
unshare:272:97 uselib:134:- userfaultfd:323:282 ustat:136:- vhangup:153:58 write:1:64 writev:20:66
"""


@cache
def numbers(machine: str | None = None) -> dict[str, int]:
    """Number by name for this machine. Raises Unavailable `machine_unsupported` elsewhere."""
    machine = machine or platform.machine()
    if machine not in AUDIT_ARCH:
        raise Unavailable(
            "machine_unsupported",
            f"no system call filter is known for {machine or 'this machine'}",
            fix="run the service on Linux on x86_64 or aarch64",
            retryable=False,
        )
    column = 1 + list(AUDIT_ARCH).index(machine)
    rows = [entry.split(":") for entry in _TABLE.split()]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}
