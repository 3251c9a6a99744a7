"""Worker: a process that answers each line that it is sent with one line of JSON, so that two programs can take turns
on one machine: one that slows down then slows both alike."""
import json
import queue
import resource
import subprocess
import tempfile
import threading


def limit_memory():
    """A program that asks for more than the machine has must not take it down."""
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    resource.setrlimit(resource.RLIMIT_DATA, (int(free * 0.8), int(free * 0.8)))


class Worker:
    def __init__(self, command):
        self.command, self.process, self.lines = [str(word) for word in command], None, queue.Queue()

    def start(self):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, preexec_fn=limit_memory)
        threading.Thread(target=self.read_answers, daemon=True).start()

    def read_answers(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")  # it ended

    def ask(self, line, limit):
        """(the answer, "") or (None, why there is none); `limit` in seconds."""
        try:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None, self.last_words()
        try:
            said = self.lines.get(timeout=limit)
        except queue.Empty:
            self.stop()
            return None, f"given up after {limit:.0f} s"
        return (json.loads(said), "") if said else (None, self.last_words())

    def last_words(self):
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().splitlines()
        telling = [line for line in said if "rror" in line or "ASSERT" in line]
        telling = telling or said or [f"exit code {self.process.returncode}"]
        return "failed: " + telling[-1].strip()[:120]

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
