"""One run at a time in a folder: a lock file that trusts O_EXCL and rename alone, so that NFS will do.

The file is made with O_EXCL and says who holds it. That of a process which is dead is renamed away by
whoever finds it; two finders may both rename, so each looks at what it has got in its hands, and puts
back what it did not mean to take. The holder looks again before each commit (`check`): if the lock is
not its own any more, it ends. A process is known by host, id and start time, so that another one
with the same id is not taken for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from respeval.errors import InputError

LOCK = ".lock"

#: Of those that make a folder's results from its segments, one after the other.
ANALYSIS_LOCK = ".analysis.lock"

LOCKS = (LOCK, ANALYSIS_LOCK)

#: A lock that says nothing yet is being written; after this long its writer was killed doing so.
EMPTY_LOCK_S = 2.0

_POLL_S = 0.1


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock.

    started: of the process, in the kernel's clock ticks; 0 where the kernel does not tell.
    job, incarnation: the batch system's job, and how often it and the launcher were started again.
    since: for people; no decision depends on a clock.
    """

    token: str
    host: str
    pid: int
    started: int
    job: str
    incarnation: tuple[int, int]
    since: str

    @classmethod
    def this_process(cls) -> Holder:
        """The running process, with a token of its own."""
        restarts = [os.environ.get(f"{n}_RESTART_COUNT", "0") for n in ("SLURM", "TORCHELASTIC")]
        first, second = (int(text) if text.isdecimal() else 0 for text in restarts)
        return cls(
            uuid.uuid4().hex,
            socket.gethostname(),
            os.getpid(),
            _start_of(os.getpid()) or 0,
            os.environ.get("SLURM_JOB_ID", ""),
            (first, second),
            datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @classmethod
    def from_text(cls, text: str) -> Holder | None:
        """What a lock file says; None where it is not (or not yet) one."""
        try:
            content = json.loads(text)
            first, second = content.pop("incarnation")
            holder = cls(**content, incarnation=(int(first), int(second)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return holder if isinstance(holder.pid, int) and isinstance(holder.host, str) else None

    def is_gone(self, asking: Holder) -> bool:
        """Whether this process has certainly ended.

        On the same host the kernel knows. A batch system starts a job again only after the earlier
        processes of that job have ended, wherever they ran.
        """
        if self.job and self.job == asking.job and self.incarnation < asking.incarnation:
            return True
        if self.host != asking.host:
            return False
        started = _start_of(self.pid)
        return started is None or (self.started != 0 and started != self.started)


def _start_of(pid: int) -> int | None:
    """When a process of this host started, in clock ticks; 0 if unknown, None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, ValueError, IndexError):
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return 0


class FolderLock:
    """The lock of a folder; see the module."""

    def __init__(self, folder: Path, name: str = LOCK) -> None:
        self._path, self._me = folder / name, Holder.this_process()

    def acquire(self, waits: bool = False) -> None:
        """Hold the lock. Raises InputError where it can't be made, or another process holds it.

        waits: for a process of this host, instead.
        """
        empty_since: float | None = None
        while not self._make():
            text = self._read()
            if text is None:
                continue
            holder = Holder.from_text(text)
            if holder is None:
                empty_since = empty_since or time.monotonic()
                if time.monotonic() - empty_since < EMPTY_LOCK_S:
                    time.sleep(_POLL_S)
                    continue
            elif not holder.is_gone(self._me):
                if not waits or holder.host != self._me.host:
                    raise InputError(self._in_use(holder))
                time.sleep(_POLL_S)
                continue
            self._take_away(text)
        self.check()

    def check_free(self) -> None:
        """Raise InputError where another run holds the lock; changes nothing."""
        holder = Holder.from_text(self._read() or "")
        if holder is not None and not holder.is_gone(self._me):
            raise InputError(self._in_use(holder))

    def check(self) -> None:
        """Raise InputError where the lock is not this process's any more."""
        text = self._read()
        holder = Holder.from_text(text) if text is not None else None
        if holder is None or holder.token != self._me.token:
            now = f"process {holder.pid} on {holder.host} holds it" if holder else "it is gone"
            raise InputError(
                f"{self._path} is not this run's any more ({now}); the run ends, so that one writes"
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Within this the lock is held, once whoever else of this host holds it has let go."""
        self.acquire(waits=True)
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Let go, if this process holds the lock."""
        with contextlib.suppress(InputError, OSError):
            self.check()
            self._path.unlink()

    def clear(self) -> None:
        """Remove the lock of a dead process, if there is one and it can be removed."""
        if self._path.exists():
            with contextlib.suppress(InputError):
                self.acquire()
                self.release()

    def _make(self) -> bool:
        """Make the file, unless it is there."""
        try:
            opened = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        except OSError as error:
            raise InputError(f"{self._path} can't be written ({error.strerror})") from None
        try:
            os.write(opened, json.dumps(asdict(self._me)).encode())
            os.fsync(opened)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            raise InputError(f"{self._path} can't be written ({error.strerror})") from None
        finally:
            os.close(opened)
        return True

    def _read(self) -> str | None:
        """The file's text; None where there is no file."""
        try:
            if not stat.S_ISREG(self._path.lstat().st_mode) and not self._path.is_dir():
                raise InputError(f"{self._path} is no file that respeval made; remove it")
            with self._path.open("rb") as opened:
                return opened.read(10_000).decode(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{self._path} can't be read ({error.strerror})") from None

    def _take_away(self, text: str) -> None:
        """Rename away the lock that says `text`; another one that is there by now is put back."""
        aside = self._path.with_name(f"{self._path.name}.{self._me.token}.partial")
        try:
            self._path.rename(aside)
            if aside.read_bytes()[:10_000].decode(errors="replace") != text:
                aside.rename(self._path)
            else:
                aside.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{self._path} can't be renamed ({error.strerror})") from None

    def _in_use(self, holder: Holder) -> str:
        text = f"{self._path.parent} is in use by process {holder.pid} on {holder.host} since {holder.since}"
        if holder.host == self._me.host:
            return f"{text}; wait for it, stop it, or choose another folder with -o"
        return (
            f"{text}; if that process is dead, which can't be seen from {self._me.host}, remove "
            f"{self._path} and run again"
        )
