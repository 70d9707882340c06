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
