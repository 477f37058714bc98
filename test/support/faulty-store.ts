// A store as a database on other machines is one: slow, shared, and not always known to have done what it was asked.
import { BLOB_TYPES, type Generation, StateError, type StateStore } from "../../src/state/store.ts";
import type { Seeded } from "./seeded.ts";

/** What all clients share. It does one request at a time. */
export class SharedDatabase {
  generation: Generation = { number: 0, blobs: {} };
  fence = 0;

  /** The compare-and-swap. */
  commit(next: Generation, fence: number): void {
    if (fence !== this.fence) throw new StateError("conflict", "another owner has taken the state");
    if (next.number === this.generation.number && sameBlobs(next, this.generation)) return;
    if (next.number !== this.generation.number + 1)
      throw new StateError("conflict", `generation ${this.generation.number} is there, not ${next.number - 1}`);
    this.generation = structuredClone(next);
  }
}

/** What happens to a commit on its way; shares of a hundred. */
export interface Weather {
  /** It never arrives. */
  readonly requestLost: number;
  /** It is done, and nobody hears of that. */
  readonly answerLost: number;
  /** The client gives up waiting; it arrives some time later. */
  readonly late: number;
}

/** One client's way to the database. */
export class FaultyStore implements StateStore {
  readonly name = "database";
  readonly #database: SharedDatabase;
  readonly #random: Seeded;
  weather: Weather;
  /** Requests that are still to arrive. */
  underWay = 0;

  constructor(database: SharedDatabase, random: Seeded, weather: Weather) {
    this.#database = database;
    this.#random = random;
    this.weather = weather;
  }

  async acquire(): Promise<number> {
    await this.#wait();
    const fence = ++this.#database.fence;
    await this.#wait();
    return fence;
  }

  async release(): Promise<void> {
    await this.#wait();
  }

  async load(): Promise<Generation> {
    await this.#wait();
    const generation = structuredClone(this.#database.generation);
    await this.#wait();
    return generation;
  }

  async commit(next: Generation, fence: number): Promise<void> {
    await this.#wait();
    const { requestLost, answerLost, late } = this.weather;
    const fate = this.#random.below(100);
    if (fate < requestLost) throw new StateError("unknown", "no answer");
    if (fate < requestLost + late) {
      this.underWay++;
      void this.#wait(30).then(() => {
        this.underWay--;
        try {
          this.#database.commit(next, fence);
        } catch {
          // Nobody waits for the answer.
        }
      });
      throw new StateError("unknown", "no answer in time");
    }
    this.#database.commit(next, fence);
    await this.#wait();
    if (fate < requestLost + late + answerLost) throw new StateError("unknown", "the connection broke");
  }

  async close(): Promise<void> {}

  /** Some turns of the event loop. */
  async #wait(most = 4): Promise<void> {
    for (let turns = this.#random.below(most); turns > 0; turns--)
      await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

function sameBlobs(one: Generation, other: Generation): boolean {
  return BLOB_TYPES.every((type) => {
    const [a, b] = [one.blobs[type], other.blobs[type]];
    return a && b ? Buffer.compare(a, b) === 0 : a === b;
  });
}
