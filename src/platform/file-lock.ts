// An exclusive lock on a file that swtpm honours too, and that ends with the process, however that ends.
//
// swtpm takes a POSIX record lock (fcntl F_SETLK) on the whole file. Node has no call for such a lock, but on Linux an *open file
// description* lock conflicts with it and belongs to the open file, not to the process that asked for it: a helper that inherits
// the descriptor, sets the lock and ends leaves it with us until we close the descriptor or die. perl (part of every Debian and
// Red Hat base system), util-linux' flock from 2.41 and python3 can be that helper.
//
// Without any helper, Node from 22.13 on can lock by SQLite, which it has built in: an exclusive transaction on the (empty) lock file
// is a record lock. That kind of lock is lost when the process closes any descriptor of the file, so no second one is ever opened.
//
// Without that too, two things remain: an abstract UNIX socket named after the file keeps other processes of this
// program out (within one network namespace), and /proc/locks shows whether a foreign process holds a lock at the moment of
// locking. A foreign swtpm that starts *later* is not kept out then; `FileLock.foreignSafe` says which of the two was taken.
//
// On macOS and the BSDs open() itself can lock (O_EXLOCK), and record locks conflict with that.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { createServer, type Server } from "node:net";

export interface FileLock {
  /** False when a foreign swtpm that starts later would not notice the lock. */
  readonly foreignSafe: boolean;
  release(): void;
}

const F_OFD_SETLK = 37;
/** struct flock {l_type F_WRLCK, l_whence SEEK_SET, l_start 0, l_len 0: to the end, l_pid 0} of 64-bit Linux. */
const HELPERS: NonNullable<LockMeans["helpers"]> = [
  [
    "perl",
    "-e",
    `open(my $f,"+<&=",3) or exit 2; my $l=pack("s s x4 q q l x4",1,0,0,0,0);` +
      `exit(fcntl($f,${F_OFD_SETLK},$l) ? 0 : $!==11||$!==13 ? 1 : 2)`,
  ],
  ["flock", "--fcntl", "--nonblock", "--conflict-exit-code", "1", "3"],
  [
    "python3",
    "-SEc",
    "import fcntl,struct,sys\n" +
      `try: fcntl.fcntl(3,${F_OFD_SETLK},struct.pack("hh4xqqi4x",1,0,0,0,0))\n` +
      "except OSError as e: sys.exit(1 if e.errno in (11,13) else 2)",
  ],
];
const HELPER_TIME_LIMIT_MS = 5_000;

/** open(2) flags that libuv passes through and node:fs does not name. */
const O_EXLOCK_BSD = 0x20;
const O_EXLOCK_WINDOWS = 0x1000_0000;

/** What may be used on Linux; tests leave some out. */
export interface LockMeans {
  readonly helpers?: readonly (readonly [command: string, ...args: string[]])[];
  readonly sqlite?: boolean;
}

/**
 * Creates the file if it is missing and locks it.
 *
 * @returns undefined when another holds the lock.
 * @throws the system's error when the file cannot be opened or created.
 */
export function lockFile(path: string, means: LockMeans = {}): FileLock | undefined {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  if (process.platform === "win32") return lockByOpen(path, O_RDWR | O_CREAT | O_EXLOCK_WINDOWS);
  if (process.platform !== "linux") return lockByOpen(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_EXLOCK_BSD);

  const known = fs.statSync(path, { throwIfNoEntry: false, bigint: true });
  if (known && heldBySqlite.has(keyOf(known))) return undefined;
  const fd = fs.openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o660);
  if (lockedByAnother(fd)) {
    fs.closeSync(fd);
    return undefined;
  }
  switch (lockByHelper(fd, means.helpers ?? HELPERS)) {
    case "locked":
      return { foreignSafe: true, release: once(() => fs.closeSync(fd)) };
    case "busy":
      fs.closeSync(fd);
      return undefined;
    case "unavailable":
      return (means.sqlite ?? true) && sqlite() ? lockBySqlite(path, fd) : lockByGuard(fd);
  }
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    action();
  };
}

function lockByOpen(path: string, flags: number): FileLock | undefined {
  try {
    const fd = fs.openSync(path, flags, 0o660);
    return { foreignSafe: true, release: once(() => fs.closeSync(fd)) };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EAGAIN" || code === "EWOULDBLOCK" || code === "EBUSY") return undefined;
    throw error;
  }
}

function lockByHelper(fd: number, helpers: typeof HELPERS): "locked" | "busy" | "unavailable" {
  // The lock's structure is that of 64-bit systems; a 32-bit perl would lay it out differently.
  for (const [command, ...args] of helpers) {
    const { status } = spawnSync(command, args, {
      stdio: ["ignore", "ignore", "ignore", fd],
      timeout: HELPER_TIME_LIMIT_MS,
    });
    if (status === 0) return "locked";
    if (status === 1) return "busy";
  }
  return "unavailable";
}

/** The part of node:sqlite used here. */
interface Sqlite {
  readonly DatabaseSync: new (path: string) => { exec(sql: string): void; close(): void };
}

/** The files that this process holds by SQLite, by device and inode. */
const heldBySqlite = new Set<string>();

function keyOf({ dev, ino }: fs.BigIntStats): string {
  return `${dev}:${ino}`;
}

/** SQLite, where the runtime has it. Its being experimental in some versions is nothing a user needs to be told. */
function sqlite(): Sqlite | undefined {
  const { getBuiltinModule } = process as { getBuiltinModule?: (name: string) => unknown };
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return getBuiltinModule?.("node:sqlite") as Sqlite | undefined;
  } catch {
    return undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}

function lockBySqlite(path: string, fd: number): FileLock | undefined {
  const key = keyOf(fs.fstatSync(fd, { bigint: true }));
  fs.closeSync(fd);
  const database = new (sqlite()!.DatabaseSync)(path);
  try {
    database.exec("PRAGMA journal_mode=MEMORY; BEGIN EXCLUSIVE");
  } catch {
    database.close();
    return undefined;
  }
  heldBySqlite.add(key);
  return {
    foreignSafe: true,
    release: once(() => {
      heldBySqlite.delete(key);
      database.close();
    }),
  };
}

function lockByGuard(fd: number): FileLock | undefined {
  const guard = bindGuard(fd);
  if (!guard) {
    fs.closeSync(fd);
    return undefined;
  }
  return {
    foreignSafe: false,
    release: once(() => {
      guard.close();
      fs.closeSync(fd);
    }),
  };
}

/**
 * Whether /proc/locks shows a write lock on the open file: that is far quicker than asking a helper again and again. It shows nothing where
 * there is no /proc, of other containers, and of file systems that give it other device numbers.
 */
function lockedByAnother(fd: number): boolean {
  const { dev, ino } = fs.fstatSync(fd, { bigint: true });
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  const hex = (value: bigint) => value.toString(16).padStart(2, "0");
  const wanted = `${hex(major)}:${hex(minor)}:${ino}`;
  let table: string;
  try {
    table = fs.readFileSync("/proc/locks", "latin1");
  } catch {
    return false;
  }
  // "1: POSIX  ADVISORY  WRITE 4711 fe:00:2154828 0 EOF"; FLOCK locks are of another kind and do not conflict.
  return table.split("\n").some((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[5] === wanted && fields[1] !== "FLOCK" && fields[3] === "WRITE";
  });
}

/** An abstract UNIX socket named after the file: bound as long as this process lives, by one process only. */
function bindGuard(fd: number): Server | undefined {
  const { dev, ino } = fs.fstatSync(fd, { bigint: true });
  const guard = createServer((socket) => socket.destroy());
  // A failed bind is reported later as an event; whether it worked can be seen at once.
  guard.on("error", () => {});
  guard.listen(`\0wtpm-lock-${dev.toString(16)}-${ino}`);
  if (!guard.listening) return undefined;
  guard.unref();
  return guard;
}
