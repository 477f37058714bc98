// The snapshots of one TPM, in a folder beside its state.
//
//   index.json          what there is, and what came from what; replaced as a whole
//   objects/ADDRESS     a state blob in the format of the state; equal blobs are one file
//
// An object is there, durably, before the index names it, and goes only when no durable index does: wherever a process or a machine
// stops, what is found is the repository before or after a change, and at most files that nobody names, which the next change removes.
import { randomBytes } from "node:crypto";
import path from "node:path";
import type { StateBlobType, TpmFamily } from "../../backend/backend.ts";
import { plainFormat } from "../container.ts";
import type { StateFormat } from "../format.ts";
import { BLOB_TYPES, type StateBlobs, StateError } from "../store.ts";
import { type FileOptions, Files } from "./files.ts";
import {
  addressesOf,
  addressOf,
  checkDescription,
  checkName,
  decodeIndex,
  encodeIndex,
  type Snapshot,
  SnapshotError,
  type SnapshotIndex,
  sameObjects,
  withoutSnapshots,
} from "./record.ts";

export interface RepositoryOptions extends FileOptions {
  /** What is put around the blobs: that of the state. Default: swtpm's container, unencrypted. */
  readonly format?: StateFormat;
  readonly family?: TpmFamily;
  /** Of wtpm, for the records. */
  readonly version?: string;
  /** Milliseconds since 1970; tests give their own clock. */
  readonly now?: () => number;
}

/** A state to keep. */
export interface Capture {
  readonly blobs: StateBlobs;
  /** The TPM was running. */
  readonly running: boolean;
}

export interface CreateOptions {
  /** A name made of the time by default. */
  readonly name?: string;
  readonly description?: string;
}

export interface BeginOptions {
  /** The state that is being replaced, to be kept as an automatic snapshot unless one like it is there. */
  readonly keep?: Capture | undefined;
  /** The address of the volatile state that will be stored. */
  readonly resume?: string | undefined;
}

const INDEX = "index.json";
const OBJECTS = "objects";
const SECRET_SIZE = 32;
const SECRET_MAGIC = new TextEncoder().encode("wtpm snapshots\0");
/** A blob type that no TPM 2.0 has; it only names what is encrypted. */
const SECRET_TYPE: StateBlobType = "savestate";
/** Objects are shared by generations, so they have none. */
const NO_GENERATION = 0;

interface Opened {
  readonly index: SnapshotIndex;
  readonly secret: Uint8Array;
}

/**
 * Only the owner of the state may change its repository; reading needs no ownership. Every method throws StateError for what the files
 * are or cannot be, and SnapshotError for what cannot be asked.
 */
export class SnapshotRepository {
  readonly folder: string;
  readonly #files: Files;
  readonly #format: StateFormat;
  readonly #options: RepositoryOptions;

  constructor(folder: string, options: RepositoryOptions = {}) {
    this.folder = folder;
    this.#files = new Files(options);
    this.#format = options.format ?? plainFormat;
    this.#options = options;
  }

  get family(): TpmFamily {
    return this.#options.family ?? "2.0";
  }

  /**
   * The index, or undefined when there never was a snapshot.
   *
   * @param verify false reads it without the key of an encrypted state, and believes it.
   */
  index(verify = true): SnapshotIndex | undefined {
    if (verify) return this.#open()?.index;
    const bytes = this.#files.read(this.#indexFile);
    return bytes && this.#explained(() => decodeIndex(bytes));
  }

  /** Keeps a state as a new snapshot, whose parent is the last one made or restored. */
  create(capture: Capture, options: CreateOptions = {}): Snapshot {
    const { name, description } = options;
    if (name !== undefined) checkName(name);
    if (description !== undefined) checkDescription(description);
    if (!capture.blobs.permanent?.length)
      throw new SnapshotError("unsuitable", "there is no state to keep: the TPM was never started");
    const { index, secret } = this.#openOrMake();
    if (name !== undefined && find(index, name))
      throw new SnapshotError("exists", `there is a snapshot '${name}' already`);
    const snapshot = this.#record(index, secret, capture, {
      name: name ?? this.#freeName(index, ""),
      ...(description ? { description } : {}),
      automatic: false,
    });
    this.#storeObjects(secret, capture.blobs);
    this.#replace({ ...index, head: snapshot.name, snapshots: [...index.snapshots, snapshot] }, secret);
    return snapshot;
  }

  /** A snapshot and its blobs. @throws SnapshotError "not-found", StateError "damaged" */
  load(name: string): { snapshot: Snapshot; blobs: StateBlobs } {
    const opened = this.#open();
    const snapshot = opened && find(opened.index, name);
    if (!opened || !snapshot) throw notFound(name);
    const blobs: { [type in StateBlobType]?: Uint8Array } = {};
    for (const type of BLOB_TYPES) {
      const address = snapshot.objects[type];
      if (address === undefined) continue;
      const blob = this.#readObject(opened.secret, type, address);
      if (!blob) throw new StateError("damaged", `snapshot '${name}': ${this.#objectFile(address)} is missing`);
      blobs[type] = blob;
    }
    return { snapshot, blobs };
  }

  /**
   * Notes that a snapshot is about to be put in place of the state. `settle` ends that.
   *
   * @returns the name of the snapshot that holds the state before, if there is one.
   */
  beginRestore(name: string, options: BeginOptions = {}): string | undefined {
    const { keep, resume } = options;
    const { index, secret } = this.#openOrMake();
    if (!find(index, name)) throw notFound(name);
    let { snapshots } = index;
    let kept: string | undefined;
    if (keep?.blobs.permanent?.length) {
      const objects = addressesOf(secret, keep.blobs);
      kept = snapshots.find((other) => sameObjects(other.objects, objects))?.name;
      if (kept === undefined) {
        const description = `before the restore of ${name}`;
        kept = this.#freeName(index, "auto-");
        snapshots = [...snapshots, this.#record(index, secret, keep, { name: kept, description, automatic: true })];
        this.#storeObjects(secret, keep.blobs);
      }
    }
    const { resume: _before, ...rest } = index;
    this.#replace({ ...rest, ...(resume === undefined ? {} : { resume }), restoring: name, snapshots }, secret);
    return kept;
  }

  /**
   * Finds out from the stored state whether a restore that was begun took place, and remembers that.
   *
   * @param known it did, whatever the TPM stored since: with the startup of its server it does so at once.
   */
  settle(stored: StateBlobs, known = false): void {
    const opened = this.#open();
    if (opened?.index.restoring === undefined) return;
    const { restoring, ...index } = opened.index;
    const { permanent } = stored;
    const wanted = find(index, restoring)!.objects.permanent;
    const done = known || (permanent !== undefined && addressOf(opened.secret, "permanent", permanent) === wanted);
    this.#replace(done ? { ...index, head: restoring } : index, opened.secret);
  }

  /** Whether the stored volatile state is there for one start only, because a restore stored it. */
  resumes(stored: StateBlobs): boolean {
    const { volatile } = stored;
    if (!volatile?.length) return false;
    const opened = this.#open();
    return opened?.index.resume !== undefined && opened.index.resume === addressOf(opened.secret, "volatile", volatile);
  }

  /**
   * Forgets a snapshot; those that came from it then come from its parent, or, with `descendants`, are forgotten too.
   *
   * @returns the names of the forgotten.
   */
  delete(name: string, options: { descendants?: boolean } = {}): string[] {
    const opened = this.#open();
    if (!opened || !find(opened.index, name)) throw notFound(name);
    const gone = new Set([name]);
    // A parent comes before its children.
    if (options.descendants)
      for (const { name: other, parent } of opened.index.snapshots)
        if (parent !== undefined && gone.has(parent)) gone.add(other);
    this.#replace(withoutSnapshots(opened.index, gone), opened.secret);
    return [...gone];
  }

  /**
   * Forgets the automatic snapshots, but for the newest ones and the one that the state comes from.
   *
   * @param keep how many of the newest stay.
   * @returns the names of the forgotten.
   */
  prune(keep = 0): string[] {
    const opened = this.#open();
    if (!opened) return [];
    const { head, snapshots } = opened.index;
    const undo = snapshots.filter(({ automatic, name }) => automatic && name !== head).map(({ name }) => name);
    const gone = undo.slice(0, Math.max(0, undo.length - keep));
    if (gone.length > 0) this.#replace(withoutSnapshots(opened.index, new Set(gone)), opened.secret);
    return gone;
  }

  /** Writes everything again in another format: the state was given another key, or none. */
  convert(format: StateFormat): SnapshotRepository {
    const converted = new SnapshotRepository(this.folder, { ...this.#options, format });
    const opened = this.#open();
    if (!opened) return converted;
    // New addresses: the files of the old format stay until the index of the new one is there.
    const fresh = converted.#make();
    const snapshots = opened.index.snapshots.map((snapshot) => {
      const { blobs } = this.load(snapshot.name);
      converted.#storeObjects(fresh.secret, blobs);
      return { ...snapshot, objects: addressesOf(fresh.secret, blobs) };
    });
    const { key: _key, resume: _resume, ...rest } = opened.index;
    const resumed = opened.index.resume && this.#resumedIn(opened.index.snapshots, opened.index.resume, snapshots);
    const index = { ...rest, key: fresh.index.key, ...(resumed === undefined ? {} : { resume: resumed }), snapshots };
    converted.#replace(index, fresh.secret);
    return converted;
  }

  #resumedIn(before: readonly Snapshot[], address: string, after: readonly Snapshot[]): string | undefined {
    return after[before.findIndex(({ objects }) => objects.volatile === address)]?.objects.volatile;
  }

  get #indexFile(): string {
    return path.join(this.folder, INDEX);
  }

  #objectFile(address: string): string {
    return path.join(this.folder, OBJECTS, address);
  }

  #open(): Opened | undefined {
    const bytes = this.#files.read(this.#indexFile);
    if (!bytes) return undefined;
    return this.#explained(() => {
      let secret: Uint8Array | undefined;
      const index = decodeIndex(bytes, (key) => {
        secret = this.#openSecret(key);
        return secret;
      });
      return { index, secret: secret! };
    });
  }

  #openOrMake(): Opened {
    const opened = this.#open();
    if (opened) return opened;
    this.#files.makeFolder(this.folder);
    this.#files.makeFolder(path.join(this.folder, OBJECTS));
    return this.#make();
  }

  #make(): Opened {
    const secret = new Uint8Array(randomBytes(SECRET_SIZE));
    const tagged = new Uint8Array(SECRET_MAGIC.length + SECRET_SIZE);
    tagged.set(SECRET_MAGIC);
    tagged.set(secret, SECRET_MAGIC.length);
    return { index: { key: this.#format.encode(SECRET_TYPE, tagged, NO_GENERATION), snapshots: [] }, secret };
  }

  #openSecret(key: Uint8Array): Uint8Array {
    const { blob } = this.#format.decode(SECRET_TYPE, key);
    const magic = blob.subarray(0, SECRET_MAGIC.length);
    if (blob.length !== SECRET_MAGIC.length + SECRET_SIZE || !magic.every((byte, i) => byte === SECRET_MAGIC[i]))
      throw new StateError("damaged", "the list of snapshots is damaged");
    return blob.subarray(SECRET_MAGIC.length);
  }

  /** Says which file it is about. */
  #explained<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      throw new StateError(error.kind, `${this.#indexFile}: ${error.message}`, { cause: error });
    }
  }

  #record(
    index: SnapshotIndex,
    secret: Uint8Array,
    { blobs, running }: Capture,
    about: Pick<Snapshot, "name" | "description" | "automatic">,
  ): Snapshot {
    return {
      ...about,
      created: this.#time(),
      ...(index.head === undefined ? {} : { parent: index.head }),
      family: this.family,
      running,
      version: this.#options.version ?? "",
      objects: addressesOf(secret, blobs),
    };
  }

  #time(): string {
    return `${new Date(this.#options.now?.() ?? Date.now()).toISOString().slice(0, -5)}Z`;
  }

  /** A name that says when: 20261121-073000, with a number behind it when that is taken. */
  #freeName(index: SnapshotIndex, prefix: string): string {
    const base = `${prefix}${this.#time().replaceAll(/[-:Z]/g, "").replace("T", "-")}`;
    let name = base;
    for (let number = 2; find(index, name); number++) name = `${base}-${number}`;
    return name;
  }

  #storeObjects(secret: Uint8Array, blobs: StateBlobs): void {
    for (const type of BLOB_TYPES) {
      const blob = blobs[type];
      if (!blob?.length) continue;
      const address = addressOf(secret, type, blob);
      if (this.#isWhole(secret, type, address)) continue;
      this.#files.write(this.#objectFile(address), this.#format.encode(type, blob, NO_GENERATION));
    }
    // Even what was there already may have been renamed by a process that was killed before it could sync.
    this.#files.sync(path.join(this.folder, OBJECTS));
  }

  #isWhole(secret: Uint8Array, type: StateBlobType, address: string): boolean {
    try {
      return this.#readObject(secret, type, address) !== undefined;
    } catch (error) {
      if (error instanceof StateError && error.kind === "damaged") return false;
      throw error;
    }
  }

  /** The blob at an address; undefined when there is none. @throws StateError "damaged" when it is another. */
  #readObject(secret: Uint8Array, type: StateBlobType, address: string): Uint8Array | undefined {
    const file = this.#objectFile(address);
    const bytes = this.#files.read(file);
    if (!bytes) return undefined;
    let blob: Uint8Array;
    try {
      blob = this.#format.decode(type, bytes).blob;
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      throw new StateError(error.kind, `${file}: ${error.message}`, { cause: error });
    }
    if (addressOf(secret, type, blob) !== address)
      throw new StateError("damaged", `${file} is damaged: it holds another state`);
    return blob;
  }

  #replace(index: SnapshotIndex, secret: Uint8Array): void {
    this.#files.write(this.#indexFile, encodeIndex(index, secret));
    this.#files.sync(this.folder);
    this.#sweep(index);
  }

  /** Removes the objects that no snapshot names. What cannot be removed now is removed by a later change. */
  #sweep({ snapshots }: SnapshotIndex): void {
    const named = new Set(snapshots.flatMap(({ objects }) => Object.values(objects)));
    const folder = path.join(this.folder, OBJECTS);
    try {
      for (const name of this.#files.list(folder)) if (!named.has(name)) this.#files.remove(path.join(folder, name));
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
    }
  }
}

function find({ snapshots }: Pick<SnapshotIndex, "snapshots">, name: string): Snapshot | undefined {
  return snapshots.find((snapshot) => snapshot.name === name);
}

function notFound(name: string): SnapshotError {
  return new SnapshotError("not-found", `there is no snapshot '${name.replaceAll(/\p{Cc}/gu, "?")}'`);
}
