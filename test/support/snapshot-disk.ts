// A disk in memory that forgets: what was not synced may be lost, torn or there after a power loss. It counts its calls and fails,
// once or for good, at a chosen one.
import type nodeFs from "node:fs";
import path from "node:path";
import type { SnapshotFileSystem } from "../../src/state/snapshot/files.ts";

interface File {
  data: Buffer;
  /** What is on the platter. */
  synced: Buffer;
}
interface Folder {
  readonly entries: Map<string, File | Folder>;
  /** The entries on the platter. */
  synced: Map<string, File | Folder>;
}

const isFolder = (node: File | Folder): node is Folder => "entries" in node;

export class DiskError extends Error {
  readonly code: string;
  constructor(code: string, call: string) {
    super(`${code}: ${call}`);
    this.code = code;
  }
}

export class Disk {
  #root: Folder = { entries: new Map(), synced: new Map() };
  readonly #open = new Map<number, File | Folder>();
  #nextFd = 3;
  calls = 0;
  /** Called before every call; what it throws is the call's error. */
  onCall: () => void = () => {};
  /** The call, counted from 1, from which on all fail: the process is dead. */
  dead = Number.POSITIVE_INFINITY;
  /** The one call that fails: EIO. */
  failing = Number.POSITIVE_INFINITY;

  constructor(...folders: string[]) {
    for (const folder of folders) this.#makeFolder(folder);
    this.#syncAll(this.#root);
  }

  /** As much as a repository needs of node:fs. */
  readonly fileSystem = {
    openSync: (file: string, flags: number) => {
      this.#count("open");
      const O_CREAT = 0o100;
      const O_TRUNC = 0o1000;
      let node = this.#find(file);
      if (!node) {
        const parent = this.#find(path.dirname(file));
        if (!(flags & O_CREAT) || !parent || !isFolder(parent)) throw new DiskError("ENOENT", "open");
        node = { data: Buffer.alloc(0), synced: Buffer.alloc(0) };
        parent.entries.set(path.basename(file), node);
      }
      if (flags & O_TRUNC && !isFolder(node)) node.data = Buffer.alloc(0);
      this.#open.set(this.#nextFd, node);
      return this.#nextFd++;
    },
    fstatSync: (fd: number) => {
      this.#count("fstat");
      const node = this.#open.get(fd)!;
      return { isFile: () => !isFolder(node), size: isFolder(node) ? 0 : node.data.length };
    },
    readFileSync: (fd: number) => {
      this.#count("read");
      return Buffer.from(this.#file(fd).data);
    },
    writeSync: (fd: number, bytes: Uint8Array, at: number) => {
      this.#count("write");
      const file = this.#file(fd);
      // Half of it, as a system call may.
      const size = Math.max(1, (bytes.length - at) >> 1);
      file.data = Buffer.concat([file.data, bytes.subarray(at, at + size)]);
      return size;
    },
    fchmodSync: () => this.#count("fchmod"),
    chmodSync: () => this.#count("chmod"),
    fsyncSync: (fd: number) => {
      this.#count("fsync");
      const node = this.#open.get(fd)!;
      if (isFolder(node)) node.synced = new Map(node.entries);
      else node.synced = Buffer.from(node.data);
    },
    closeSync: (fd: number) => {
      this.#open.delete(fd);
    },
    renameSync: (from: string, to: string) => {
      this.#count("rename");
      const folder = this.#folder(path.dirname(from));
      const node = folder.entries.get(path.basename(from));
      if (!node) throw new DiskError("ENOENT", "rename");
      folder.entries.delete(path.basename(from));
      this.#folder(path.dirname(to)).entries.set(path.basename(to), node);
    },
    unlinkSync: (file: string) => {
      this.#count("unlink");
      if (!this.#folder(path.dirname(file)).entries.delete(path.basename(file)))
        throw new DiskError("ENOENT", "unlink");
    },
    mkdirSync: (folder: string) => {
      this.#count("mkdir");
      if (this.#find(folder)) throw new DiskError("EEXIST", "mkdir");
      this.#makeFolder(folder);
    },
    readdirSync: (folder: string) => {
      this.#count("readdir");
      const node = this.#find(folder);
      if (!node || !isFolder(node)) throw new DiskError("ENOENT", "readdir");
      return [...node.entries.keys()];
    },
  } as unknown as SnapshotFileSystem & Pick<typeof nodeFs, "readdirSync">;

  /** The process ends; the machine goes on. */
  kill(): void {
    this.#restart();
  }

  /** The machine loses power: of what was not synced `choose` says, for each entry and each content, whether it is there. */
  losePower(choose: () => boolean): void {
    this.#settle(this.#root, choose, new Set());
    this.#restart();
  }

  /** Replaces a file's bytes behind everybody's back. */
  damage(file: string, change: (data: Buffer) => Buffer): void {
    const node = this.#find(file);
    if (!node || isFolder(node)) throw new Error(`no file ${file}`);
    node.data = change(Buffer.from(node.data));
    node.synced = Buffer.from(node.data);
  }

  /** The files in a folder and the sum of their sizes in bytes. */
  usage(folder: string): { files: number; bytes: number } {
    const node = this.#find(folder);
    if (!node || !isFolder(node)) return { files: 0, bytes: 0 };
    const files = [...node.entries.values()].filter((entry): entry is File => !isFolder(entry));
    return { files: files.length, bytes: files.reduce((sum, { data }) => sum + data.length, 0) };
  }

  #restart(): void {
    this.#open.clear();
    this.dead = this.failing = Number.POSITIVE_INFINITY;
    this.onCall = () => {};
    this.calls = 0;
  }

  #count(call: string): void {
    this.calls++;
    this.onCall();
    if (this.calls >= this.dead || this.calls === this.failing) throw new DiskError("EIO", call);
  }

  #file(fd: number): File {
    const node = this.#open.get(fd);
    if (!node || isFolder(node)) throw new DiskError("EISDIR", "read or write");
    return node;
  }

  #folder(name: string): Folder {
    const node = this.#find(name);
    if (!node || !isFolder(node)) throw new DiskError("ENOENT", name);
    return node;
  }

  #find(name: string): File | Folder | undefined {
    let node: File | Folder | undefined = this.#root;
    for (const part of name.split("/").filter(Boolean))
      node = node && isFolder(node) ? node.entries.get(part) : undefined;
    return node;
  }

  #makeFolder(name: string): void {
    this.#folder(path.dirname(name)).entries.set(path.basename(name), { entries: new Map(), synced: new Map() });
  }

  #syncAll(folder: Folder): void {
    folder.synced = new Map(folder.entries);
    for (const node of folder.entries.values()) if (isFolder(node)) this.#syncAll(node);
  }

  #settle(node: File | Folder, choose: () => boolean, seen: Set<File | Folder>): void {
    if (seen.has(node)) return;
    seen.add(node);
    if (!isFolder(node)) {
      if (!choose()) node.data = choose() ? node.synced : node.data.subarray(0, node.data.length >> 1);
      if (node.data.length < node.synced.length && node.synced.subarray(0, node.data.length).equals(node.data))
        node.data = node.synced;
      node.synced = Buffer.from(node.data);
      return;
    }
    for (const name of new Set([...node.entries.keys(), ...node.synced.keys()])) {
      const before = node.synced.get(name);
      if (before === node.entries.get(name) || choose()) continue;
      if (before) node.entries.set(name, before);
      else node.entries.delete(name);
    }
    node.synced = new Map(node.entries);
    for (const entry of node.entries.values()) this.#settle(entry, choose, seen);
  }
}
