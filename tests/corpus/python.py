"""Python: buffering, threads, child processes, tracebacks, and death by a signal."""

import os
import signal
import subprocess
import sys
import threading

for number in range(3000):
    print("line", number, "grüße 漢字")
    if number % 100 == 0:
        sys.stdout.flush()
        print("warning", number, file=sys.stderr)
sys.stdout.flush()
os.write(1, bytes(range(256)) * 500)
os.write(2, b"\xff\xfe raw\n")

turn = threading.Condition()
current = 0


def speak(own: int) -> None:
    global current
    for _ in range(50):
        with turn:
            turn.wait_for(lambda: current % 4 == own)
            os.write(1 + own % 2, f"thread {own}\n".encode())
            current += 1
            turn.notify_all()


threads = [threading.Thread(target=speak, args=(own,)) for own in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

print("child:", subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 9"]).returncode, flush=True)
print("both:", subprocess.run("echo a; echo b >&2", shell=True, stdout=-1, stderr=-2).stdout, flush=True)
reader, writer = os.pipe()
os.close(reader)
try:
    os.write(writer, b"x")
except BrokenPipeError as error:
    print(error, flush=True)
print(signal.getsignal(signal.SIGPIPE), signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
try:
    open("nonexistent")
except OSError:
    sys.excepthook(*sys.exc_info())
print("not flushed, so lost")
os.kill(os.getpid(), signal.SIGKILL)
