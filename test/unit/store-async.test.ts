// A store that is far away: commits take time, their outcome may stay unknown, and another owner may take the state at any moment.
import { describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { StateKeeper } from "../../src/state/keeper.ts";
import { type Generation, StateError, type StateStore } from "../../src/state/store.ts";
import { TestHost } from "../support/engine-tpm.ts";
import { FaultyStore, SharedDatabase, type Weather } from "../support/faulty-store.ts";
import { Seeded } from "../support/seeded.ts";
import { nvData, nvDefineSpace, nvRead, nvWrite, parseResponse, startup, TPM } from "../support/tpm-client.ts";

const FAIR: Weather = { requestLost: 0, answerLost: 0, late: 0 };
const STORMY: Weather = { requestLost: 20, answerLost: 20, late: 20 };
const INDEX = 0x0180_0001;
const SIZE = 4;

const numberBytes = (value: number) => {
  const bytes = Buffer.alloc(SIZE);
  bytes.writeUInt32BE(value);
  return bytes;
};

async function codeOf(backend: Backend, command: Uint8Array): Promise<number> {
  return parseResponse(await backend.execute(command, 0)).code;
}

async function indexValue(backend: Backend): Promise<number> {
  return nvData(await backend.execute(nvRead(INDEX, SIZE), 0)).readUInt32BE();
}

/** Starts it, as often as the weather asks for. */
async function powerOn(backend: Backend): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await backend.powerOn();
      break;
    } catch (error) {
      expect(error).toMatchObject({ kind: "storage" });
      if (tries > 50) throw error;
    }
  }
}

/** Starts it, and sends TPM2_Startup until that could be stored. */
async function started(backend: Backend): Promise<void> {
  do await powerOn(backend);
  while ((await codeOf(backend, startup(0))) !== 0);
}

/** A TPM with an index that holds 0. */
async function prepared(database: SharedDatabase, seed: string): Promise<{ backend: Backend; store: FaultyStore }> {
  const store = new FaultyStore(database, new Seeded(seed), FAIR);
  const backend = createEngineBackend({ store, host: new TestHost(seed) });
  await started(backend);
  expect(await codeOf(backend, nvDefineSpace(INDEX, SIZE))).toBe(0);
  expect(await codeOf(backend, nvWrite(INDEX, numberBytes(0)))).toBe(0);
  return { backend, store };
}

describe("a TPM over a database", () => {
  test.each(["a", "b", "c"])(
    "has what it acknowledged after every loss, failure and power cycle (%s)",
    async (seed) => {
      const database = new SharedDatabase();
      const { backend, store } = await prepared(database, seed);
      const random = new Seeded(`steps ${seed}`);
      let [value, failures, interrupted] = [0, 0, 0];
      for (let next = 1; next <= 400; next++) {
        store.weather = STORMY;
        const response = backend.execute(nvWrite(INDEX, numberBytes(next)), 0);
        if (random.below(10) === 0) {
          // The plug is pulled while the change is on its way.
          await backend.powerOff();
          interrupted++;
          const code = await Promise.resolve(response).then(
            (bytes) => parseResponse(bytes).code,
            () => TPM.RC_FAILURE,
          );
          await started(backend);
          const found = await indexValue(backend);
          expect(code === 0 ? [next] : [value, next]).toContain(found);
          value = found;
        } else if (parseResponse(await response).code === 0) value = next;
        else {
          failures++;
          expect(await codeOf(backend, nvRead(INDEX, SIZE))).toBe(TPM.RC_FAILURE);
          await started(backend);
          const found = await indexValue(backend);
          expect([value, next]).toContain(found);
          value = found;
        }
        expect(await indexValue(backend)).toBe(value);
      }
      expect(Math.min(failures, interrupted)).toBeGreaterThan(10);
      await backend.close();

      const other = createEngineBackend({
        store: new FaultyStore(database, random, FAIR),
        host: new TestHost("other"),
      });
      await started(other);
      expect(await indexValue(other)).toBe(value);
      await other.close();
    },
  );

  test.each(["a", "b", "c", "d", "e"])("loses it to a new owner, and never writes again (%s)", async (seed) => {
    for (let round = 0; round < 20; round++) {
      const database = new SharedDatabase();
      const { backend: old, store } = await prepared(database, `${seed} ${round}`);
      const random = new Seeded(`take-over ${seed} ${round}`);
      store.weather = STORMY;
      let [acknowledged, sent, running] = [0, 0, true];
      const writing = (async () => {
        for (let next = 1; running; next++) {
          sent = next;
          if ((await codeOf(old, nvWrite(INDEX, numberBytes(next)))) !== 0) break;
          acknowledged = next;
        }
      })();
      for (let turns = random.below(60); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
      const freshStore = new FaultyStore(database, random, { ...FAIR, answerLost: 20 });
      const fresh = createEngineBackend({ store: freshStore, host: new TestHost("new") });
      await started(fresh);
      freshStore.weather = FAIR;
      const taken = await indexValue(fresh);
      // What the old owner has acknowledged by now was stored before the new one came.
      expect(taken).toBeGreaterThanOrEqual(acknowledged);
      expect(taken).toBeLessThanOrEqual(sent);
      expect(await codeOf(fresh, nvWrite(INDEX, numberBytes(1_000_000)))).toBe(0);
      await writing;
      running = false;
      expect(acknowledged).toBeLessThanOrEqual(taken);
      while (store.underWay > 0) await new Promise((resolve) => setImmediate(resolve));
      expect(await codeOf(old, nvRead(INDEX, SIZE))).toBe(TPM.RC_FAILURE);
      expect(await codeOf(fresh, nvWrite(INDEX, numberBytes(1_000_001)))).toBe(0);
      expect(await indexValue(fresh)).toBe(1_000_001);
      expect(database.fence).toBe(2);
      await old.close();
      await fresh.close();
    }
  });

  test("runs one command at a time, also while a change is being stored", async () => {
    const { backend } = await prepared(new SharedDatabase(), "one");
    const first = backend.execute(nvWrite(INDEX, numberBytes(1)), 0);
    expect(first).toBeInstanceOf(Promise);
    expect(() => backend.execute(nvRead(INDEX, SIZE), 0)).toThrow(/executing a command already/);
    expect(parseResponse(await first).code).toBe(0);
    expect(await indexValue(backend)).toBe(1);
    await backend.close();
  });

  test("that fails to store after it was powered off does not harm the next start", async () => {
    const database = new SharedDatabase();
    const { backend, store } = await prepared(database, "late");
    store.weather = { requestLost: 100, answerLost: 0, late: 0 };
    const response = backend.execute(nvWrite(INDEX, numberBytes(7)), 0);
    await backend.powerOff();
    store.weather = FAIR;
    await started(backend);
    await response;
    expect([0, 7]).toContain(await indexValue(backend));
    expect(await codeOf(backend, nvWrite(INDEX, numberBytes(8)))).toBe(0);
    expect(database.generation.number).toBeGreaterThan(2);
    await backend.close();
  });
});

describe("StateKeeper", () => {
  const permanent = (value: number) => ({ permanent: Uint8Array.of(value) });

  test("makes saves wait for one another", async () => {
    const database = new SharedDatabase();
    const keeper = new StateKeeper(new FaultyStore(database, new Seeded("queue"), FAIR));
    await keeper.open();
    const saves = Array.from({ length: 20 }, (_, i) => keeper.save(permanent(i)));
    await keeper.settle();
    expect(database.generation).toEqual({ number: 20, blobs: permanent(19) });
    await Promise.all(saves);
    await keeper.close();
  });

  test("repeats a save of unknown outcome as it was before it does anything else", async () => {
    const seen: Generation[] = [];
    let failing = true;
    const store: StateStore = {
      name: "test",
      acquire: () => 1,
      release: () => {},
      load: () => ({ number: 0, blobs: {} }),
      commit: (next) => {
        seen.push(next);
        if (failing) throw new StateError("unknown", "no answer");
      },
      close: () => {},
    };
    const keeper = new StateKeeper(store, { commitAttempts: 2 });
    await keeper.open();
    expect(() => keeper.save(permanent(1))).toThrow("no answer");
    expect(() => keeper.save(permanent(2))).toThrow("no answer");
    expect(new Set(seen)).toEqual(new Set([seen[0]]));
    failing = false;
    await keeper.save(permanent(3));
    expect(seen.at(-2)).toBe(seen[0]);
    expect(seen.at(-1)).toEqual({ number: 2, blobs: permanent(3) });
    expect(keeper.blobs).toEqual(permanent(3));
  });

  test("gives the store up when another owner has written", async () => {
    const database = new SharedDatabase();
    const first = new StateKeeper(new FaultyStore(database, new Seeded("1"), FAIR));
    const second = new StateKeeper(new FaultyStore(database, new Seeded("2"), FAIR));
    await first.open();
    await first.save(permanent(1));
    await second.open();
    await second.save(permanent(2));
    await expect(first.save(permanent(3))).rejects.toMatchObject({ kind: "conflict" });
    expect(first.locked).toBe(false);
    expect(() => first.save(permanent(4))).toThrow(/is not locked/);
    expect(await first.open()).toEqual(permanent(2));
    await first.save(permanent(5));
    expect(database.generation).toEqual({ number: 3, blobs: permanent(5) });
  });
});
