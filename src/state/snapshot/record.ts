// What a repository knows of its snapshots, and the file that says it: JSON with a keyed checksum.
import { createHmac, timingSafeEqual } from "node:crypto";
import type { StateBlobType, TpmFamily } from "../../backend/backend.ts";
import { BLOB_TYPES, type StateBlobs, StateError } from "../store.ts";

/** One snapshot. */
export interface Snapshot {
  readonly name: string;
  /** When it was made: ISO 8601 in UTC, to the second. */
  readonly created: string;
  /** The snapshot that the state came from: the last one made of it or restored to it. */
  readonly parent?: string;
  readonly description?: string;
  readonly family: TpmFamily;
  /** The TPM was running: the volatile state is what it then had, and a restored TPM goes on with it. */
  readonly running: boolean;
  /** Made by a restore, of the state that it replaced. */
  readonly automatic: boolean;
  /** The version of wtpm that made it. */
  readonly version: string;
  /** The addresses of its blobs. */
  readonly objects: { readonly [type in StateBlobType]?: string };
}

/** Everything but the blobs. */
export interface SnapshotIndex {
  /** The key of addresses and checksum as the state's format wrote it. */
  readonly key: Uint8Array;
  /** The snapshot last made or restored: the parent of the next. */
  readonly head?: string;
  /** The snapshot that is being put in place of the state; whether it was can be seen from the state. */
  readonly restoring?: string;
  /** The address of a volatile state that a restore stored: the first start that loads it removes it. */
  readonly resume?: string;
  /** In the order in which they were made; a parent comes before its children. */
  readonly snapshots: readonly Snapshot[];
}

export type SnapshotErrorKind =
  /** There is no snapshot of that name. */
  | "not-found"
  /** There is one of that name already. */
  | "exists"
  /** The name or the description is none that can be used. */
  | "bad-name"
  /** A running TPM's state would be replaced. */
  | "running"
  /** The snapshot cannot be used for this. */
  | "unsuitable";

/** What a user asked for cannot be; nothing was changed. */
export class SnapshotError extends Error {
  readonly kind: SnapshotErrorKind;
  constructor(kind: SnapshotErrorKind, message: string) {
    super(message);
    this.name = "SnapshotError";
    this.kind = kind;
  }
}

const FORMAT = "wtpm-snapshots-1";
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,99}$/;
const ADDRESS = /^[0-9a-f]{64}$/;
const MAX_DESCRIPTION = 1000;

/** @throws SnapshotError "bad-name" */
export function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw new SnapshotError(
    "bad-name",
    `'${printable(name)}' is no name for a snapshot: up to 100 letters, digits and _ . : + - are possible, of which the last four cannot be the first`,
  );
}

/** @throws SnapshotError "bad-name" */
export function checkDescription(text: string): void {
  if (isDescription(text)) return;
  throw new SnapshotError(
    "bad-name",
    `a description has up to ${MAX_DESCRIPTION} characters and no control characters`,
  );
}

const isDescription = (text: string) => text.length <= MAX_DESCRIPTION && !/\p{Cc}/u.test(text);
const printable = (text: string) => text.slice(0, 100).replaceAll(/\p{Cc}/gu, "?");

/** Where a blob is: a MAC, so that it says nothing about the blob to who has no key. 64 hexadecimal digits. */
export function addressOf(secret: Uint8Array, type: StateBlobType, blob: Uint8Array): string {
  return createHmac("sha256", secret).update(`object ${type}\0`).update(blob).digest("hex");
}

/** The addresses of all blobs of a state. */
export function addressesOf(secret: Uint8Array, blobs: StateBlobs): Snapshot["objects"] {
  const objects: { [type in StateBlobType]?: string } = {};
  for (const type of BLOB_TYPES) {
    const blob = blobs[type];
    if (blob?.length) objects[type] = addressOf(secret, type, blob);
  }
  return objects;
}

/** Whether two states are the same. */
export function sameObjects(one: Snapshot["objects"], other: Snapshot["objects"]): boolean {
  return BLOB_TYPES.every((type) => one[type] === other[type]);
}

/** The index without some snapshots: what came from them comes from what they came from. */
export function withoutSnapshots(index: SnapshotIndex, gone: ReadonlySet<string>): SnapshotIndex {
  const { head: oldHead, restoring, snapshots, ...rest } = index;
  const parents = new Map(snapshots.map(({ name, parent }) => [name, parent]));
  const remaining = (name: string | undefined): string | undefined =>
    name !== undefined && gone.has(name) ? remaining(parents.get(name)) : name;
  const head = remaining(oldHead);
  return {
    ...rest,
    ...(head === undefined ? {} : { head }),
    ...(restoring === undefined || gone.has(restoring) ? {} : { restoring }),
    snapshots: snapshots
      .filter(({ name }) => !gone.has(name))
      .map(({ parent: oldParent, ...snapshot }) => {
        const parent = remaining(oldParent);
        return parent === undefined ? snapshot : { ...snapshot, parent };
      }),
  };
}

/** The bytes of the file. */
export function encodeIndex(index: SnapshotIndex, secret: Uint8Array): Uint8Array {
  const { key, ...rest } = index;
  const content = { format: FORMAT, key: Buffer.from(key).toString("base64"), ...rest };
  const text = JSON.stringify({ ...content, check: checkOf(secret, content) }, undefined, 1);
  return new TextEncoder().encode(`${text}\n`);
}

/**
 * The index in the bytes of the file.
 *
 * @param openKey the secret in what the index says is the key; undefined leaves the checksum unchecked.
 * @throws StateError "damaged" or "too-new", or what `openKey` throws.
 */
export function decodeIndex(bytes: Uint8Array, openKey?: (key: Uint8Array) => Uint8Array): SnapshotIndex {
  const { check, ...content } = parse(bytes);
  if (typeof content.format === "string" && content.format !== FORMAT && content.format.startsWith("wtpm-snapshots-"))
    throw new StateError("too-new", "the snapshots were made by a newer version of wtpm: use that version");
  const index = indexOf(content);
  if (!index || typeof check !== "string") throw damaged();
  if (openKey) {
    const expected = Buffer.from(checkOf(openKey(index.key), content));
    const given = Buffer.from(check);
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw damaged();
  }
  return index;
}

function damaged(): StateError {
  return new StateError("damaged", "the list of snapshots is damaged");
}

function checkOf(secret: Uint8Array, content: object): string {
  return createHmac("sha256", secret).update("index\0").update(JSON.stringify(content)).digest("hex");
}

type Json = Readonly<Record<string, unknown>>;

function parse(bytes: Uint8Array): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw damaged();
  }
  if (!isObject(value)) throw damaged();
  return value;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The index, if it is one in every detail. */
function indexOf(content: Json): SnapshotIndex | undefined {
  const { format, key, head, restoring, resume, snapshots } = content;
  if (format !== FORMAT || typeof key !== "string" || !Array.isArray(snapshots)) return undefined;
  const names = new Set<string>();
  for (const snapshot of snapshots as unknown[]) {
    if (!isSnapshot(snapshot) || names.has(snapshot.name)) return undefined;
    if (snapshot.parent !== undefined && !names.has(snapshot.parent)) return undefined;
    names.add(snapshot.name);
  }
  const isName = (value: unknown): value is string => typeof value === "string" && names.has(value);
  if (head !== undefined && !isName(head)) return undefined;
  if (restoring !== undefined && !isName(restoring)) return undefined;
  if (resume !== undefined && !isAddress(resume)) return undefined;
  return {
    key: new Uint8Array(Buffer.from(key, "base64")),
    ...(head === undefined ? {} : { head }),
    ...(restoring === undefined ? {} : { restoring }),
    ...(resume === undefined ? {} : { resume }),
    snapshots: snapshots as Snapshot[],
  };
}

function isSnapshot(value: unknown): value is Snapshot {
  if (!isObject(value)) return false;
  const { name, created, parent, description, family, running, automatic, version, objects } = value;
  return (
    typeof name === "string" &&
    NAME.test(name) &&
    typeof created === "string" &&
    /^\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(created) &&
    (parent === undefined || typeof parent === "string") &&
    (description === undefined || (typeof description === "string" && isDescription(description))) &&
    (family === "2.0" || family === "1.2") &&
    typeof running === "boolean" &&
    typeof automatic === "boolean" &&
    typeof version === "string" &&
    isObject(objects) &&
    Object.entries(objects).every(([type, at]) => (BLOB_TYPES as string[]).includes(type) && isAddress(at))
  );
}

function isAddress(value: unknown): value is string {
  return typeof value === "string" && ADDRESS.test(value);
}
