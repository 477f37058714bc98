// The demo page in a real browser: a machine boots with the TPM, and the page shows what goes on in it.
import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type * as Entry from "../../bindings/browser/index.ts";
import { READY } from "../../scripts/demo-guest.mjs";
import { BOOT_LIMIT_MS } from "../support/v86-machine.ts";
import { DemoPage } from "../support/v86-page.ts";

const SCREENSHOT = "build/demo/page.png";
const STEP_LIMIT_MS = 180_000;

let demo: DemoPage;

beforeAll(async () => {
  demo = await DemoPage.open();
  await demo.shows("#terminal", READY, BOOT_LIMIT_MS);
}, BOOT_LIMIT_MS);

afterAll(() => demo?.close());

const texts = (selector: string) => demo.page.locator(selector).allTextContents();

describe("the page of a booted machine", () => {
  test("has the firmware's and the kernel's commands, decoded", async () => {
    const commands = await texts("#commands .command");
    expect(commands.slice(0, 2)).toEqual(["TPM2_Startup startupType=TPM_SU_CLEAR", "TPM2_SelfTest fullTest=YES"]);
    expect(commands.filter((command) => command.startsWith("TPM2_PCR_Extend")).length).toBeGreaterThan(12);
    expect(commands.some((command) => command.includes("TPM_CAP_TPM_PROPERTIES"))).toBe(true);
    expect(await texts("#commands .failed")).toEqual([]);

    await demo.page.locator("#commands summary").nth(3).click();
    const opened = await demo.shows("#commands details[open] pre", "pcrHandle", STEP_LIMIT_MS);
    expect(opened).toContain("session 1: password");
    expect(opened).toContain("SUCCESS, 19 bytes");
  });

  test("has an event log that replays to the PCRs of every bank", async () => {
    const rows = await texts("#events tr");
    expect(rows.length).toBeGreaterThan(10);
    expect(rows.filter((row) => row.includes("EV_SEPARATOR"))).toHaveLength(8);
    for (const bank of ["sha1", "sha384", "sha512", "sha256"]) {
      await demo.page.selectOption("#bank", bank);
      const digits = { sha1: 40, sha256: 64, sha384: 96, sha512: 128 }[bank]!;
      await demo.shows("#pcrs", new RegExp(`^0[0-9a-f]{${digits}}1[0-9a-f]`), STEP_LIMIT_MS);
      await demo.shows("#replay", "8 of 8", STEP_LIMIT_MS);
      expect(await demo.page.locator("#pcrs .matches").count()).toBe(8);
    }
    expect(await demo.page.locator("#pcrs tr").count()).toBe(24);
  });

  test("takes what is typed: the guest's shell gets random numbers and the PCRs that the page shows", async () => {
    const { page } = demo;
    await page.locator("#terminal").click();
    await page.keyboard.type("tpm-random\n");
    await demo.shows("#terminal", /\n([0-9a-f]{2} ){15}[0-9a-f]{2}\s/, STEP_LIMIT_MS);
    await page.keyboard.type("cat /sys/class/tpm/tpm0/pcr-sha256/4\n");
    const shown = await demo.shows("#terminal", /\n[0-9A-F]{64}\s/, STEP_LIMIT_MS);
    const value = /\n([0-9A-F]{64})\s/.exec(shown)![1]!.toLowerCase();
    expect(await page.locator("#pcrs tr[data-pcr='4'] .value").textContent()).toBe(value);
    await page.keyboard.type("readlink /sys/class/tpm/tpm0/device/driver\n");
    await demo.shows("#terminal", "drivers/tpm_tis", STEP_LIMIT_MS);
  });

  test("goes back to a saved machine", async () => {
    const { page } = demo;
    await page.click("#save");
    await page.waitForSelector("#restore:enabled", { timeout: STEP_LIMIT_MS });
    await page.locator("#terminal").click();
    await page.keyboard.type("cat /proc/uptime >/tmp/later; ls /tmp\n");
    await demo.shows("#terminal", /\n.*later\s/, STEP_LIMIT_MS);
    await page.click("#restore");
    await page.waitForSelector("#power:enabled", { timeout: STEP_LIMIT_MS });
    await page.locator("#terminal").click();
    await page.keyboard.type("ls /tmp; tpm-random\n");
    const shown = await demo.shows("#terminal", /\n([0-9a-f]{2} ){15}[0-9a-f]{2}\s/, STEP_LIMIT_MS);
    expect(shown).not.toContain("later");
    await demo.shows("#status", "running", STEP_LIMIT_MS);
  });

  test("comes from a server that has nothing else", async () => {
    for (const name of ["package.json", "../package.json", "%2e%2e/package.json", "page/"]) {
      expect((await fetch(new URL(name, demo.url))).status).toBe(404);
    }
    expect((await fetch(demo.url, { method: "POST" })).status).toBe(405);
  });

  test("looks as in the screenshot, and has had no errors", async () => {
    mkdirSync("build/demo", { recursive: true });
    await demo.page.screenshot({ path: SCREENSHOT });
    expect(demo.errors).toEqual([]);
  });
});

describe("the package in a browser", () => {
  /** Runs a function in the page, with the package's browser entry. */
  const inPage = <T>(work: (entry: typeof Entry) => Promise<T>): Promise<T> =>
    demo.page.evaluate(`import("/browser/index.js").then(${work})`) as Promise<T>;

  test("makes a TPM as docs/embedding.md says", async () => {
    const length = await inPage(async ({ loadEngineModule, Tpm }) => {
      await loadEngineModule();
      const tpm = await Tpm.create();
      const response = await tpm.execute(Uint8Array.of(0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8));
      await tpm.close();
      return response.length;
    });
    expect(length).toBe(20);
  });

  test("has a TPM's state in IndexedDB again, which belongs to one owner at a time", async () => {
    const result = await inPage(async ({ createEngineBackend, IndexedDbStore, loadEngineModule }) => {
      const STARTUP = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
      /** TPM2_HierarchyChangeAuth of the owner: 4 bytes of 0x2a. */
      const CHANGE = [0x80, 2, 0, 0, 0, 33, 0, 0, 1, 0x29, 0x40, 0, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
      await loadEngineModule();
      const power = async () => {
        const backend = createEngineBackend({ store: new IndexedDbStore("test") });
        await backend.powerOn();
        const run = async (bytes: number[]) => [...(await backend.execute(Uint8Array.from(bytes), 0))].slice(6, 10);
        return { backend, run };
      };
      const codes: number[][] = [];
      const first = await power();
      codes.push(await first.run(STARTUP), await first.run([...CHANGE, 0, 4, 42, 42, 42, 42]));
      const second = await power().then(
        () => "two owners",
        (error: Error & { kind: string }) => `${error.kind}: ${error.message}`,
      );
      const permanent = await first.backend.getState("permanent");
      await first.backend.close();
      const again = await power();
      const kept = await again.backend.getState("permanent");
      codes.push(await again.run(STARTUP), await again.run([...CHANGE, 0, 4, 42, 42, 42, 42]));
      await again.backend.close();
      await new IndexedDbStore("test").remove();
      const anew = await power();
      codes.push(await anew.run(STARTUP), await anew.run([...CHANGE, 0, 4, 42, 42, 42, 42]));
      await anew.backend.close();
      return { codes, second, same: `${permanent}` === `${kept}` };
    });
    expect(result.second).toMatch(/^storage: .*in use by another page/);
    const [success, badAuth] = [
      [0, 0, 0, 0],
      [0, 0, 9, 0xa2],
    ];
    expect(result.codes).toEqual([success, success, success, badAuth, success, success]);
    expect(result.same).toBe(true);
  });

  test("refuses owners of before in IndexedDB, and generations out of order", async () => {
    const errors = await inPage(async ({ IndexedDbStore }) => {
      const blobs = { permanent: Uint8Array.of(1) };
      const store = new IndexedDbStore("order");
      const fence = await store.acquire();
      await store.commit({ number: 1, blobs }, fence);
      await store.commit({ number: 1, blobs }, fence);
      const kinds: string[] = [];
      const fails = (work: Promise<unknown>) =>
        work.then(
          () => kinds.push("none"),
          (error: { kind: string }) => kinds.push(error.kind),
        );
      await fails(store.commit({ number: 3, blobs }, fence));
      await fails(store.commit({ number: 2, blobs }, fence - 1));
      await store.release();
      const next = new IndexedDbStore("order");
      const newer = await next.acquire();
      await fails(store.commit({ number: 2, blobs }, fence));
      kinds.push(`${newer > fence}`, `${(await next.load()).number}`);
      await next.remove();
      return kinds;
    });
    expect(errors).toEqual(["conflict", "conflict", "conflict", "true", "1"]);
  });
});
