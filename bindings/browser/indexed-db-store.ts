// A TPM's state in a browser's IndexedDB: there again after the page was closed.
import { type Generation, type StateBlobs, StateError, type StateStore } from "../../src/state/store.ts";

/** What is stored under a TPM's name. */
interface StoredTpm extends Generation {
  /** The number of the newest owner. */
  readonly fence: number;
}

const DATABASE = "wtpm";
const TPMS = "tpms";
const NOTHING: StoredTpm = { number: 0, blobs: {}, fence: 0 };

/** The result of a request, or its error. */
function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(TPMS);
  return resultOf(request);
}

/**
 * Keeps one TPM's state under a name, for all pages of the same origin; one of them at a time owns it. What a command changed is on
 * disk before its response is there, as far as the browser keeps its promise of strict durability. The state is as readable as all
 * that the origin's pages store.
 */
export class IndexedDbStore implements StateStore {
  readonly name: string;
  readonly #key: string;
  #database: Promise<IDBDatabase> | undefined;
  #fence: number | undefined;
  /** The lock held, and how to give it up. */
  #lock: { readonly release: () => void; readonly released: Promise<unknown> } | undefined;

  constructor(name = "default") {
    this.#key = name;
    this.name = `indexeddb://${DATABASE}/${name}`;
  }

  async acquire(): Promise<number> {
    if (this.#fence !== undefined) return this.#fence;
    await this.#takeLock();
    try {
      const { fence } = await this.#change((stored) => ({ ...stored, fence: stored.fence + 1 }));
      this.#fence = fence;
      return fence;
    } catch (error) {
      await this.release();
      throw error;
    }
  }

  async release(): Promise<void> {
    const lock = this.#lock;
    this.#fence = undefined;
    this.#lock = undefined;
    lock?.release();
    await lock?.released;
  }

  async load(): Promise<Generation> {
    const { number, blobs } = await this.#io("io", async (database) => {
      const tpms = database.transaction(TPMS).objectStore(TPMS);
      return ((await resultOf(tpms.get(this.#key))) as StoredTpm | undefined) ?? NOTHING;
    });
    return { number, blobs };
  }

  async commit({ number, blobs }: Generation, fence: number): Promise<void> {
    await this.#change((stored) => {
      if (fence !== stored.fence || fence !== this.#fence) {
        throw new StateError("conflict", `${this.name}: another owner has taken the state`);
      }
      // Only this owner writes under this fence, so a generation of that number is this one.
      if (stored.number === number) return stored;
      if (stored.number !== number - 1) {
        throw new StateError("conflict", `${this.name}: generation ${stored.number} is stored, not ${number - 1}`);
      }
      return { number, blobs: copies(blobs), fence };
    });
  }

  async close(): Promise<void> {
    await this.release();
    const database = this.#database;
    this.#database = undefined;
    (await database?.catch(() => undefined))?.close();
  }

  /** Forgets the TPM: the next power-on makes a new one. @throws StateError "locked" while another owner is there. */
  async remove(): Promise<void> {
    await this.acquire();
    await this.#change(({ fence }) => ({ number: 0, blobs: {}, fence }));
    await this.close();
  }

  /** Takes the lock that pages of one origin share. It is held until `release`, or the page's end. */
  #takeLock(): Promise<void> {
    return new Promise((resolve, reject) => {
      let release = () => {};
      const held = new Promise<void>((done) => {
        release = done;
      });
      const released = navigator.locks.request(this.name, { ifAvailable: true }, (lock) => {
        if (!lock) throw new StateError("locked", `${this.name} is in use by another page or worker`);
        resolve();
        return held;
      });
      this.#lock = { release, released };
      released.catch((error: unknown) => {
        this.#lock = undefined;
        reject(error);
      });
    });
  }

  /** Puts what `next` makes of the stored TPM in its place, in one transaction. What `next` throws changes nothing. */
  #change(next: (stored: StoredTpm) => StoredTpm): Promise<StoredTpm> {
    return this.#io("unknown", async (database) => {
      const transaction = database.transaction(TPMS, "readwrite", { durability: "strict" });
      const done = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () =>
          reject(transaction.error ?? new StateError("io", `${this.name}: nothing was stored`));
      });
      done.catch(() => {});
      const tpms = transaction.objectStore(TPMS);
      try {
        const changed = next(((await resultOf(tpms.get(this.#key))) as StoredTpm | undefined) ?? NOTHING);
        tpms.put(changed, this.#key);
        await done;
        return changed;
      } catch (error) {
        if (error instanceof StateError) transaction.abort();
        throw error;
      }
    });
  }

  async #io<T>(kind: "io" | "unknown", work: (database: IDBDatabase) => Promise<T>): Promise<T> {
    try {
      this.#database ??= openDatabase();
      return await work(await this.#database);
    } catch (error) {
      if (error instanceof StateError) throw error;
      throw new StateError(kind, `${this.name}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** IndexedDB stores a view's whole buffer, which may be an engine's memory. */
function copies(blobs: StateBlobs): StateBlobs {
  return Object.fromEntries(Object.entries(blobs).map(([type, blob]) => [type, blob?.slice()]));
}
