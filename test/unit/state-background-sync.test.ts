// What is written without a sync gets one soon after, and at the latest when the store is closed.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { BackgroundSync } from "../../src/state/background-sync.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { LinearStore } from "../../src/state/linear-store.ts";

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-sync-"));
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.rmSync(dir, { recursive: true, force: true });
});

/** The files that are synced while nobody waits, or in the end. */
function watchSyncs(): { readonly later: string[]; readonly now: string[] } {
  const [later, now]: [string[], string[]] = [[], []];
  const fileOf = (fd: number) => fs.readlinkSync(`/proc/self/fd/${fd}`);
  const real = fs.fsync;
  vi.spyOn(fs, "fsync").mockImplementation(((fd: number, done: () => void) => {
    later.push(fileOf(fd));
    real(fd, done);
  }) as never);
  vi.spyOn(fs, "fsyncSync").mockImplementation((fd) => {
    now.push(fileOf(fd));
  });
  return { later, now };
}

describe.runIf(process.platform === "linux")("a file that is synced later", () => {
  test("is synced once for many writes, and again for the next", async () => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "");
    const { later, now } = watchSyncs();
    const sync = new BackgroundSync([file, dir, path.join(dir, "missing")], 5);
    for (let i = 0; i < 10; i++) sync.touch();
    expect(later).toEqual([]);
    await vi.waitFor(() => expect(later).toEqual([file, dir]));
    sync.touch();
    await vi.waitFor(() => expect(later).toEqual([file, dir, file, dir]));
    expect(now).toEqual([]);
  });

  test("is synced in the end, and then no more", async () => {
    const file = path.join(dir, "file");
    fs.writeFileSync(file, "");
    const { later, now } = watchSyncs();
    const sync = new BackgroundSync([file, dir], 60_000);
    sync.finish();
    expect(now).toEqual([]);
    sync.touch();
    sync.finish();
    sync.finish();
    expect(now).toEqual([file, dir]);
    expect(later).toEqual([]);
  });

  test("is what a linear file with fsync=false has, too", () => {
    const file = path.join(dir, "nvram");
    const { now } = watchSyncs();
    const store = new LinearStore(file, { fsync: false });
    const fence = store.acquire();
    store.commit({ number: 1, blobs: { permanent: Uint8Array.of(1) } }, fence);
    expect(now).toEqual([]);
    store.close();
    expect(now).toEqual([file]);
    store.close();
    expect(now).toEqual([file]);
  });

  test("is what a folder with fsync=false has, and one with fsync does not need", () => {
    const { now } = watchSyncs();
    const permall = path.join(dir, "tpm2-00.permall");
    for (const fsync of [false, true]) {
      now.length = 0;
      const store = new DirStore(dir, { lock: false, fsync });
      const fence = store.acquire();
      const { number } = store.load();
      store.commit({ number: number + 1, blobs: { permanent: Uint8Array.of(1) } }, fence);
      expect(now).toEqual(fsync ? [dir] : []);
      store.close();
      expect(now).toEqual(fsync ? [dir] : [permall, dir]);
    }
  });
});
