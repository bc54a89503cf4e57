"""A worker process ends with its parent and with any of its threads."""

import os
import subprocess
import sys

from workers.process.deaths import BROKEN

BREAK = """
import threading, time
from workers.process.deaths import die_without_a_thread
die_without_a_thread()
threading.Thread(target=lambda: 1 / 0, name="engine").start()
time.sleep(60)
"""
ORPHAN = """
import sys, time
from workers.process.deaths import die_with
die_with(int(sys.argv[1]))
print("up", flush=True)
time.sleep(60)
"""


def test_a_failed_thread_ends_the_process_and_is_named():
    done = subprocess.run([sys.executable, "-c", BREAK], capture_output=True, text=True, timeout=30)
    assert done.returncode == BROKEN
    assert "thread engine failed" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_dead_parent_ends_the_process():
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child = subprocess.Popen([sys.executable, "-c", ORPHAN, str(parent.pid)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    os.kill(parent.pid, 9)
    parent.wait()
    assert child.wait(timeout=30) == 1
