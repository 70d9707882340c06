"""Programs that attack the host, the run, or the grader. They run only inside the sandbox.

Each is graded against ``assert solve() == 42`` and must not pass. ``{file}``, ``{port}`` and
``{parent}`` are a file, a listening port and a process of the host.
"""

from __future__ import annotations

# While the definitions run.
AT_ONCE = {
    "exit 0": "import os; os._exit(0)",
    "exit by exception": "raise SystemExit(0)",
    "print success": "print('!passed'); print('ready'); print('passed')",
    "write success everywhere": (
        "import os\nfor fd in range(64):\n"
        "    try: os.write(fd, b\"'ready'\\n!passed\\n('value', ('i', '0x2a'))\\n\")\n"
        "    except OSError: pass\nos._exit(0)"
    ),
    "patch the asserts": (
        "import builtins\nbuiltins.AssertionError = Exception\n"
        "builtins.exec = builtins.eval = builtins.compile = lambda *a, **k: None"
    ),
    "patch os": "import os\nos.write = lambda fd, data: len(data)\nos._exit = lambda code: None",
    "fork bomb": "import os\nwhile True: os.fork()",
    "fork bomb by subprocess": "import subprocess\nwhile True: subprocess.Popen(['sleep', '9'])",
    "multiprocessing": "import multiprocessing as m\n[m.Process(target=print).start() for _ in '12']",
    "replace the process": "import os; os.execv('/bin/sh', ['sh', '-c', 'echo !passed'])",
    "threads left behind": (
        "import threading, time\n"
        "[threading.Thread(target=time.sleep, args=(99,)).start() for _ in range(50)]\n"
        "def solve(): raise SystemExit(0)"
    ),
    "thread bomb": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()",
    "memory bomb": "x = ' ' * 10**10",
    "memory bomb by growth": "x = []\nwhile True: x.append('y' * 10**6)",
    "recursion": "def f(): f()\nf()",
    "stack overflow": "import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "huge integer": "10 ** 10 ** 8",
    "infinite loop": "while True: pass",
    "sleep past the limit": "import time; time.sleep(1000)",
    "infinite output": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "infinite output everywhere": (
        "import os\nwhile True:\n    for fd in range(9):\n"
        "        try: os.write(fd, b'x' * 65536)\n        except OSError: pass"
    ),
    "fill the disk": "open('big', 'w').write('x' * 10**9)",
    "fill the disk with files": (
        "n = 0\nwhile True:\n    open(f'/tmp/{n}', 'w').write('x' * 10**6); n += 1"
    ),
    "exhaust descriptors": "files = [open('/dev/null') for _ in range(10**5)]",
    "connect to the host": (
        "import socket\ns = socket.create_connection(('127.0.0.1', {port}), 1)\n"
        "s.sendall(b'owned')\ndef solve(): return 42"
    ),
    "connect out": "import socket; socket.create_connection(('1.1.1.1', 53), 2)\ndef solve(): return 42",
    "send a datagram": (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.sendto(b'owned', ('127.0.0.1', {port}))\nassert False"
    ),
    "abstract socket": (
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0/tmp/.X11-unix/X0')\n"
        "def solve(): return 42"
    ),
    "read the host's file": "open({file!r}).read()\ndef solve(): return 42",
    "read passwords": "open('/etc/shadow').read()\ndef solve(): return 42",
    "read the home folder": (
        "import os, pwd\nos.listdir(pwd.getpwuid(os.getuid()).pw_dir)\ndef solve(): return 42"
    ),
    "read the environment": (
        "import os\nassert 'PBIAS_CANARY' in os.environ\ndef solve(): return 42"
    ),
    "read the parent's environment": (
        "import os\nfor n in ({parent}, os.getppid(), 1):\n"
        "    if b'PBIAS_CANARY' in open(f'/proc/{{n}}/environ', 'rb').read(): break\n"
        "else: raise OSError\ndef solve(): return 42"
    ),
    "write the host's file": "open({file!r}, 'w').write('owned')\ndef solve(): return 42",
    "delete the host's file": "import os; os.unlink({file!r})\ndef solve(): return 42",
    "make the host's file public": "import os; os.chmod({file!r}, 0o777)\ndef solve(): return 42",
    "rename the host's file": "import os; os.rename({file!r}, {file!r} + 'x')\ndef solve(): return 42",
    "write into the system": "open('/usr/planted', 'w').write('x')\ndef solve(): return 42",
    "delete everything": (
        "import shutil\nshutil.rmtree('/', ignore_errors=True)\nraise SystemExit(0)"
    ),
    "symlink escape": (
        "import os\nos.symlink('/', 'root')\nopen('root' + {file!r}).read()\ndef solve(): return 42"
    ),
    "walk out by /proc": "open('/proc/1/root' + {file!r}).read()\ndef solve(): return 42",
    "write its own memory": (
        "import os\nfd = os.open('/proc/self/mem', os.O_RDWR)\nos.lseek(fd, 4096, 0)\n"
        "os.write(fd, b'x')\nraise SystemExit(0)"
    ),
    "kill the parent": "import os, signal; os.kill(os.getppid(), signal.SIGKILL)\nassert False",
    "kill the host's process": "import os; os.kill({parent}, 9)\nassert False",
    "kill everything": "import os, signal; os.kill(-1, signal.SIGKILL)\nassert False",
    "limit the parent": (
        "import resource\nresource.prlimit({parent}, resource.RLIMIT_NOFILE, (4, 4))\nassert False"
    ),
    "raise its limits": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nx = ' ' * 10**10"
    ),
    "ignore signals": (
        "import signal\nfor n in range(1, 65):\n"
        "    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "while True: pass"
    ),
    "ptrace": "import ctypes; assert ctypes.CDLL(None).ptrace(16, {parent}, 0, 0) == 0\ndef solve(): return 42",
    "new namespaces": "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0\ndef solve(): return 42",
    "mount": (
        "import ctypes\nassert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, 0) == 0\n"
        "def solve(): return 42"
    ),
    "shared memory of the host": (
        "import ctypes\nassert ctypes.CDLL(None).syscall(425, 8, 0) >= 0\ndef solve(): return 42"
    ),
    "crash the interpreter": "import ctypes; ctypes.string_at(0)",
    "close the channel": "import os\nfor fd in range(64):\n    try: os.close(fd)\n    except OSError: pass",
    "syntax error": "def solve(:\n    return 42",
    "null bytes": "def solve(): return 42\x00",
    "lone surrogate": "x = '\udce9'\ndef solve(): return 41",
}

# When the tests call.
WHEN_CALLED = {
    "equal to everything": "class Any:\n    def __eq__(self, other): return True\nsolve = Any",
    "an integer equal to everything": (
        "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def solve(): return Any(7)"
    ),
    "exit when compared": "class Any:\n    def __eq__(self, other): raise SystemExit(0)\nsolve = Any",
    "exit when called": "import os\ndef solve(): os._exit(0)",
    "print when called": "def solve():\n    print('!passed', flush=True)\n    raise SystemExit(0)",
    "forge a verdict": (
        "import os\ndef solve():\n    for fd in range(16):\n"
        "        try: os.write(fd, b'!passed\\n')\n        except OSError: pass\n    os._exit(0)"
    ),
    "walk the frames": (
        "import sys, os\ndef solve():\n    frame = sys._getframe()\n    while frame:\n"
        "        for name, value in {**frame.f_globals, **frame.f_locals}.items():\n"
        "            if isinstance(value, str) and len(value) == 32: os.write(4, value.encode())\n"
        "        if 'tests' in frame.f_locals: frame.f_locals['tests'].clear()\n"
        "        frame = frame.f_back\n    return 41"
    ),
    "search the heap for the answer": (
        "import gc\ndef solve():\n"
        "    for thing in gc.get_objects():\n"
        "        if isinstance(thing, str) and 'solve() ==' in thing: return eval(thing[-2:])\n"
    ),
    "an endless iterator": "import itertools\nsolve = itertools.count",
    "an endless structure": "def solve():\n    x = []\n    x.append(x)\n    return x",
    "a deep structure": "def solve():\n    x = 42\n    for _ in range(10**5): x = [x]\n    return x",
    "a huge result": "def solve(): return 'x' * 10**8",
    "a huge number": "def solve(): return 1 << 10**9",
    "never return": "def solve():\n    while True: pass",
    "sleep when called": "import time\ndef solve(): time.sleep(1000)",
    "no such function": "def answer(): return 42",
    "not a function": "solve = 42",
    "code as a result": (
        "class Evil(str): pass\ndef solve():\n    return Evil(\"__import__('os')._exit(0)\")"
    ),
    "raise when called": "def solve(): raise AssertionError",
    "stop when called": "def solve(): raise StopIteration",
    "a lying module": "import math\nmath.isclose = lambda *a: True\ndef solve(): return math",
}

# Ways out of a sandbox and beyond its limits: ``solve()`` is 42 only where the attempt worked. What
# there is to reach is in ``HOST``; each is bounded and harmless, so that it may work somewhere.
_TRY = """
import ctypes, os, socket
LIBC = ctypes.CDLL(None, use_errno=True)
def works(attempt, *things):
    for thing in things:
        try:
            attempt(thing)
            return 42
        except (OSError, ValueError, MemoryError):
            pass
    return 0
def opens(flags):
    return lambda path: os.close(os.open(path, flags))
def solve(): return found()
"""
_ESCAPES = {
    "write the kernel's settings": (
        "def found(): return works(opens(os.O_WRONLY), '/proc/sys/kernel/core_pattern',"
        " '/proc/sys/vm/overcommit_memory', '/proc/sys/kernel/panic', '/proc/sys/vm/drop_caches',"
        " '/proc/sys/kernel/pid_max', '/proc/sys/kernel/threads-max', '/proc/sysrq-trigger',"
        " '/proc/irq/default_smp_affinity', '/sys/kernel/uevent_helper')"
    ),
    "write the kernel's settings by its own root": (
        "def found(): return works(opens(os.O_WRONLY), '/proc/self/root/proc/sys/kernel/panic',"
        " '/proc/thread-self/root/proc/sys/kernel/panic', '/dev/../proc/sys/kernel/panic')"
    ),
    "read the kernel's settings": (
        "def found(): return works(opens(os.O_RDONLY), '/proc/sys/kernel/core_pattern',"
        " '/proc/kcore', '/proc/kmsg', '/proc/keys', '/proc/cmdline', '/sys/kernel/notes')"
    ),
    "be root": "def found(): return 42 if 0 in (os.getuid(), os.geteuid()) else 0",
    "become root": "def found(): return works(os.setuid, 0) or works(os.seteuid, 0)",
    "join root's group": "def found(): return works(os.setgid, 0)",
    "be root's nobody": (
        "def found(): return 42 if HOST['user'] == 0 and os.getuid() != 65534 else 0"
    ),
    "have capabilities": (
        "def found():\n    data = ctypes.create_string_buffer(24)\n"
        "    LIBC.capget((ctypes.c_uint32 * 2)(0x20080522, 0), data)\n"
        "    return 42 if any(data.raw) else 0"
    ),
    "live longer than others": (
        "def found(): return works(opens(os.O_WRONLY), '/proc/self/oom_score_adj',"
        " '/proc/self/oom_adj', '/proc/1/oom_score_adj')"
    ),
    "list the host's folders": (
        "def found(): return works(os.listdir, HOST['folder'], '/home', '/root', '/etc',"
        " '/proc', '/var', '/usr', '/lib', '/dev')"
    ),
    "list installed packages": (
        "def found():\n    base = os.path.dirname(os.__file__)\n"
        "    def some(name):\n"
        "        folder = os.path.join(base, name)\n"
        "        for entry in os.listdir(folder):\n"
        "            opens(os.O_RDONLY)(os.path.join(folder, entry))\n"
        "            return\n"
        "        raise OSError\n"
        "    return works(some, 'site-packages', 'dist-packages')"
    ),
    "read anyone's file": "def found(): return works(opens(os.O_RDONLY), HOST['file'])",
    "write anyone's file": "def found(): return works(opens(os.O_RDWR), HOST['file'])",
    "read the system": (
        "def found(): return works(opens(os.O_RDONLY), '/etc/passwd', '/etc/hostname', '/bin/sh',"
        " '/usr/bin/env', '/etc/ld.so.cache', '/usr/share/doc')"
    ),
    "use other devices": (
        "def found(): return works(opens(os.O_RDONLY), *('/dev/' + n for n in ('full', 'random',"
        " 'tty', 'ptmx', 'pts', 'shm', 'fd', 'console', 'kmsg', 'mem', 'vsock', 'kvm', 'fuse')))"
    ),
    "make a device": (
        "def found(): return works(lambda p: os.mknod(p, 0o20600, os.makedev(1, 1)), '/tmp/m', 'm')"
    ),
    "open a vsock": (
        "def found(): return works(lambda kind: socket.socket(40, kind).close(), 1, 2, 5)"
    ),
    "open any socket": (
        "def found(): return works(lambda f: socket.socket(*f).close(), (2, 1), (2, 2), (10, 1),"
        " (1, 1), (1, 2), (1, 5), (16, 3), (17, 3), (38, 5), (15, 3))"
    ),
    "pair datagram sockets": (
        "def found(): return works(lambda k: [s.close() for s in socket.socketpair(1, k)], 2, 5)"
    ),
    "connect by an abstract name": (
        "def found(): return works(lambda a: socket.socket(1).connect(a), HOST['abstract'])"
    ),
    "share System V memory": (
        "def found():\n    made = LIBC.shmget(0, ctypes.c_size_t(4096), 0o600)\n"
        "    LIBC.shmctl(made, 0, None)\n    return 42 if made >= 0 else 0"
    ),
    "queue System V messages": (
        "def found():\n    made = LIBC.msgget(0, 0o600)\n"
        "    LIBC.msgctl(made, 0, None)\n    return 42 if made >= 0 else 0"
    ),
    "make System V semaphores": (
        "def found():\n    made = LIBC.semget(0, 1, 0o600)\n"
        "    LIBC.semctl(made, 0, 0, None)\n    return 42 if made >= 0 else 0"
    ),
    "queue POSIX messages": (
        "def found():\n    made = LIBC.mq_open(b'/attempt', os.O_CREAT | os.O_RDWR, 0o600, None)\n"
        "    LIBC.mq_unlink(b'/attempt')\n    return 42 if made >= 0 else 0"
    ),
    "keep files in memory": (
        "def found(): return works(lambda name: os.close(os.memfd_create(name)), 'attempt')"
    ),
    "keep keys in the kernel": (
        "def found():\n    n = {'x86_64': 248, 'aarch64': 217}[os.uname().machine]\n"
        "    made = LIBC.syscall(n, b'user', b'attempt', b'x', ctypes.c_size_t(1), -1)\n"
        "    return 42 if made >= 0 else 0"
    ),
    "fill shared memory": (
        "def found():\n    made = []\n"
        "    try:\n        while len(made) < 64:\n"
        "            with open(f'/dev/shm/attempt-{os.getpid()}-{len(made)}', 'wb') as file:\n"
        "                made.append(file.name)\n                file.write(bytes(10**6))\n"
        "    except OSError: pass\n"
        "    for path in made: os.unlink(path)\n    return 42 if len(made) > 20 else 0"
    ),
    "fill every folder": (
        "def found():\n    made, size = [], 0\n"
        "    for place in ('/', '/dev', '/run', '/usr', '/var/tmp', '/tmp', '.', '/root', '/home',"
        " os.path.dirname(os.__file__)):\n"
        "        try:\n            while size < 64 * 10**6:\n"
        "                made.append(f'{place}/attempt-{os.getpid()}-{len(made)}')\n"
        "                with open(made[-1], 'wb', 0) as file: size += file.write(bytes(10**6))\n"
        "        except OSError: pass\n"
        "    for path in made:\n"
        "        try: os.unlink(path)\n        except OSError: pass\n"
        "    return 42 if size > 17 * 2**20 else 0"
    ),
    "fill folders with empty files": (
        "def found():\n    made = []\n"
        "    try:\n        while len(made) < 3000:\n"
        "            made.append(f'/tmp/attempt-{os.getpid()}-{len(made)}')\n"
        "            os.close(os.open(made[-1], os.O_CREAT | os.O_EXCL))\n"
        "    except OSError: made.pop()\n"
        "    for path in made: os.unlink(path)\n    return 42 if len(made) > 1100 else 0"
    ),
    "take more memory in pieces": (
        "import mmap\ndef found():\n    kept = []\n"
        "    try:\n        for _ in range(20): kept.append(mmap.mmap(-1, 32 * 2**20))\n"
        "    except OSError: pass\n    return 42 if len(kept) > 16 else 0"
    ),
    # The kernel counts the threads of a user, so that one attempt beside another may have the room
    # of both.
    "start threads without end": (
        "import threading\ndef found():\n    threading.stack_size(32768)\n"
        "    done, started = threading.Event(), []\n"
        "    try:\n        while len(started) < 500:\n"
        "            thread = threading.Thread(target=done.wait, args=(9,))\n"
        "            thread.start()\n            started.append(thread)\n"
        "    except RuntimeError: pass\n"
        "    done.set()\n    return 42 if len(started) > 250 else 0"
    ),
    # Each waits until the last one cannot be started: on a slow machine, too, all are there at once.
    "start threads from threads": (
        "import threading\ndef found():\n    threading.stack_size(32768)\n"
        "    done, started = threading.Event(), [0]\n"
        "    def more():\n"
        "        if started[0] >= 500: return done.set()\n        started[0] += 1\n"
        "        try: threading.Thread(target=more).start()\n        except RuntimeError:\n"
        "            started[0] -= 1\n            done.set()\n"
        "        done.wait(25)\n"
        "    more()\n    return 42 if started[0] > 250 else 0"
    ),
    "raise its limits again": (
        "import resource as r\ndef found(): return works(lambda w: r.setrlimit(w, (-1, -1)),"
        " r.RLIMIT_NPROC, r.RLIMIT_AS, r.RLIMIT_NOFILE, r.RLIMIT_CPU, r.RLIMIT_FSIZE)"
    ),
    "make namespaces": (
        "def found(): return 42 if any(LIBC.unshare(n) == 0 for n in"
        " (0x10000000, 0x20000, 0x40000000, 0x20000000)) else 0"
    ),
    "mount": "def found(): return 42 if LIBC.mount(b'n', b'/tmp', b'tmpfs', 0, 0) == 0 else 0",
    "mount by the new calls": "def found(): return 42 if LIBC.syscall(430, b'tmpfs', 0) >= 0 else 0",
    "open by handle": (
        "def found():\n    n = {'x86_64': 304, 'aarch64': 265}[os.uname().machine]\n"
        "    LIBC.syscall(n, -100, ctypes.create_string_buffer(64), 0)\n"
        "    return 42 if ctypes.get_errno() != 1 else 0"
    ),
    "reach a process": "def found(): return works(lambda p: os.kill(p, 0), HOST['process'])",
    "see a process by its number": (
        "def found(): return works(lambda p: os.getpriority(0, p) and 0, HOST['process'])"
    ),
    "set a process's processors": (
        "def found(): return works(lambda p: os.sched_setaffinity(p, {0}), HOST['process'])"
    ),
    "use io_uring": (
        "def found(): return 42 if LIBC.syscall(425, 1, ctypes.create_string_buffer(120)) >= 0 else 0"
    ),
    "start a program": (
        "def found(): return works(lambda p: os.posix_spawn(p, [p], {}), '/bin/true', '/usr/bin/env',"
        " '/proc/self/exe')"
    ),
    "replace itself": "def found(): return works(lambda p: os.execv(p, [p]), '/bin/true') + 42 * 0",
    "climb out by a descriptor": (
        "def found():\n    for n in range(32):\n"
        "        for up in ('', '../' * 12):\n"
        "            try:\n                os.close(os.open(up + HOST['file'].lstrip('/'), 0, dir_fd=n))\n"
        "                return 42\n            except OSError: pass\n    return 0"
    ),
    "leave the root": (
        "def found():\n    if LIBC.chroot(b'/tmp') == 0: return 42\n"
        "    return works(opens(0), '../' * 30 + HOST['file'].lstrip('/'))"
    ),
}
ESCAPES = {name: _TRY + program for name, program in _ESCAPES.items()}

# A wrong program that defines what its assertion uses. (program, tests, set-up)
_WRONG = "\ndef f(*a): return None\n"
LIES = {
    "set": (
        "set = bool\ndef f(*a): return (1,)",
        ["assert set(f((3, 4), (4, 5))) == set((4,))"],
        "",
    ),
    "sorted": (
        "def sorted(x, **k): return []" + _WRONG,
        ["assert sorted(f([3])) == sorted([3])"],
        "",
    ),
    "abs": ("def abs(x): return 0\ndef f(x): return 7", ["assert abs(f(2) - 1.414) < 0.001"], ""),
    "round": (
        "def round(*a): return 0\ndef f(x): return 7",
        ["assert round(f(2), 2) == 1.41 * 0"],
        "",
    ),
    "len": ("def len(x): return 3\ndef f(x): return 'zzzz'", ["assert len(f(2)) == 3"], ""),
    "tuple": ("def tuple(x): return 0" + _WRONG, ["assert tuple(f(1)) == tuple([1])"], ""),
    "list": ("def list(x): return 0" + _WRONG, ["assert list(f(1)) == list((1,))"], ""),
    "all and zip": (
        "def all(x): return True\ndef zip(*a): return []\ndef f(x): return 9",
        ["assert all(x == y for x, y in zip([f(1)], [3]))"],
        "",
    ),
    "str": ("def str(x): return ''" + _WRONG, ["assert str(f(1)) == str(2)"], ""),
    "an import": (
        "from builtins import bool as sum" + _WRONG,
        ["assert sum([f(1) or 0]) == True"],
        "",
    ),
    "by globals": ("globals()['len'] = lambda x: 3" + _WRONG, ["assert len(f(1) or '') == 3"], ""),
    "in builtins": (
        "import builtins\nbuiltins.len = lambda x: 3" + _WRONG,
        ["assert len(f(1) or '') == 3"],
        "",
    ),
    "a star import": ("from operator import *" + _WRONG, ["assert abs(f(1) or -1) == -1"], ""),
    "an exception": (
        "class AssertionError(BaseException): pass" + _WRONG,
        ["if f(1) != 3: raise AssertionError"],
        "",
    ),
    "a name and a call": (
        "def sorted(x): return [1]\ndata = 3",
        ["assert sorted(data) == [1]"],
        "",
    ),
    "an imported function": (
        "def isclose(*a): return True\ndef f(x): return 7",
        ["assert isclose(f(2), 1.5)"],
        "from math import isclose",
    ),
    "an imported name": (
        "class m:\n    isclose = staticmethod(lambda *a: True)\ndef f(x): return 7",
        ["assert m.isclose(f(2), 1.5)"],
        "import math as m",
    ),
    "an imported module patched": (
        "import math\nmath.isclose = lambda *a: True\ndef f(x): return 7",
        ["assert math.isclose(f(2), 1.5)"],
        "import math",
    ),
    "an imported type": (
        "class Counter:\n    def __init__(self, *a): pass\n    def __eq__(self, other): return True\n"
        "def f(x): return 7",
        ["assert Counter(str(f(1))) == Counter('aab')"],
        "from collections import Counter",
    ),
    "another module's name": (
        "import operator as math\ndef f(x): return 7",
        ["assert math.pow(f(2), 1) == 7"],
        "",
    ),
}
