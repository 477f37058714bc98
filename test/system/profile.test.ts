// Profiles through the `wtpm` program: made with one, asked for it over the control channel, kept in swtpm's folder.
import { Buffer } from "node:buffer";
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Emulator, startEmulator, temporaryFolder, wtpmCommand } from "../support/emulator.ts";
import { run } from "../support/process.ts";
import { RawClient } from "../support/server-fakes.ts";

let dir: string;
let stateDir: string;
const emulators: Emulator[] = [];

beforeEach(() => {
  dir = temporaryFolder();
  stateDir = path.join(dir, "state");
});
afterEach(async () => {
  for (const emulator of emulators.splice(0)) await emulator.dispose();
  fs.rmSync(dir, { recursive: true, force: true });
});

const [node, ...script] = wtpmCommand;
const wtpm = (...words: string[]) => run(node!, [...script, "socket", "--tpm2", ...words], { cwd: dir });

async function startWith(...args: string[]): Promise<Emulator> {
  const emulator = await startEmulator({ stateDir, args });
  emulators.push(emulator);
  return emulator;
}

/** What CMD_GET_INFO tells for these flags. */
async function infoOf(emulator: Emulator, flags: number): Promise<Record<string, Record<string, unknown>>> {
  const control = await RawClient.connect(emulator.controlSocket);
  const word = (value: number) => value.toString(16).padStart(8, "0");
  let text = Buffer.alloc(0);
  for (let total = 1; text.length < total; ) {
    const reply = Buffer.from(await control.ask(`00000012${word(0)}${word(flags)}${word(text.length)}00000000`), "hex");
    expect(reply.readUInt32BE(0)).toBe(0);
    total = reply.readUInt32BE(4);
    text = Buffer.concat([text, reply.subarray(12)]);
  }
  control.socket.destroy();
  return JSON.parse(text.subarray(0, -1).toString("utf8")) as Record<string, Record<string, unknown>>;
}

describe("wtpm socket --profile", () => {
  test("makes a TPM with a profile that it keeps; a second start with the option fails", async () => {
    const first = await startWith("--profile", "name=default-v2");
    expect((await infoOf(first, 0x20)).ActiveProfile).toMatchObject({ Name: "default-v2", StateFormatLevel: 8 });
    await first.terminate();
    const again = await wtpm("--tpmstate", `dir=${stateDir}`, "--flags", "startup-clear", "--profile", "name=null");
    expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining("exists already") });
    const second = await startWith();
    // Several pieces: the lists of 0xff are longer than one reply.
    const info = await infoOf(second, 0xff);
    expect(info.ActiveProfile).toMatchObject({ Name: "default-v2" });
    expect(Object.keys(info)).toHaveLength(8);
    await second.terminate();
    const told = await wtpm("--tpmstate", `dir=${stateDir}`, "--print-info", "0x20");
    expect(told).toMatchObject({ status: 0, stdout: expect.stringContaining('"Name":"default-v2"') });
  });

  test("takes JSON with commas, from the command line or a file", async () => {
    const json = '{"Name":"custom:mine","Attributes":"no-sha1-signing,no-unpadded-encryption"}';
    const first = await startWith("--profile", `profile=${json},remove-disabled=check`);
    expect((await infoOf(first, 0x20)).ActiveProfile).toMatchObject(JSON.parse(json) as object);
    await first.terminate();
    fs.rmSync(stateDir, { recursive: true });
    fs.writeFileSync(path.join(dir, "mine.json"), `${json}\n`);
    const second = await startWith("--profile", `file=${path.join(dir, "mine.json")}`);
    expect((await infoOf(second, 0x20)).ActiveProfile).toMatchObject(JSON.parse(json) as object);
  });

  test("a profile that is none ends the start, and no state is made", async () => {
    fs.mkdirSync(stateDir);
    const words = ["--tpmstate", `dir=${stateDir}`, "--flags", "startup-clear"];
    const unknown = await wtpm(...words, "--profile", "name=default-v9");
    expect(unknown).toMatchObject({ status: 1, stderr: expect.stringContaining("not one this TPM can be made with") });
    expect(fs.readdirSync(stateDir).filter((name) => name.startsWith("tpm2"))).toEqual([]);
  });

  test("--print-profiles lists the built-in ones", async () => {
    const { status, stdout } = await wtpm("--print-profiles");
    expect(status).toBe(0);
    const { AvailableProfiles } = JSON.parse(stdout) as { AvailableProfiles: { Name: string }[] };
    expect(AvailableProfiles.map(({ Name }) => Name)).toEqual(["default-v2", "default-v1", "null", "custom"]);
  });
});
