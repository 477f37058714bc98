// `wtpm snapshot` on the TPM of a machine that runs: the guest goes on, and its TPM is the one of the snapshot.
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TpmClient } from "../../src/codec/client.ts";
import { encodeCommand } from "../../src/codec/index.ts";
import { wtpmCommand } from "../support/emulator.ts";
import { ecc } from "../support/engine-templates.ts";
import { BOOT_LIMIT_MS } from "../support/guest.ts";
import { CREATE_RSA_KEY, MovingGuest } from "../support/migration.ts";
import { readNv, TpmContents, type Values } from "../support/migration-contents.ts";
import { type Exit, run, until } from "../support/process.ts";
import { parametersOf } from "../support/tpm-client.ts";

/** The register that tells whether a command runs, in QEMU's physical memory. */
const DEVICES = {
  "tpm-crb": { register: "0xfed4004c", executes: (start: number) => start === 1 },
  /** Of TPM_STS only stsValid: neither commandReady, nor dataAvail, nor Expect. */
  "tpm-tis": { register: "0xfed40018", executes: (status: number) => (status & 0xd8) === 0x80 },
} as const;
/** Restores while the guest sends commands. */
const RESTORES = 6;
const TPM_RC_INITIALIZE = 0x100;

const [node, ...script] = wtpmCommand;

describe.each(["tpm-crb", "tpm-tis"] as const)("a running guest with a %s", (device) => {
  let moving: MovingGuest;
  let contents: TpmContents;
  let atBase: Values;

  const snapshot = (...words: string[]): Promise<Exit> =>
    run(node!, [...script, "snapshot", ...words, "--state", moving.host.stateDir]);

  /** What a command prints, which must succeed. */
  async function said(...words: string[]): Promise<string> {
    const { status, stdout, stderr } = await snapshot(...words);
    expect([status, stderr]).toEqual([0, ""]);
    return stdout.trim();
  }

  /** What the guest's kernel reads from the PCR that `contents` extends: hexadecimal digits, or none. */
  const kernelPcr = async () =>
    (await moving.guest.shell("cat /sys/class/tpm/tpm0/pcr-sha256/23 | tr -d '\\0'; echo")).trim();

  beforeAll(async () => {
    moving = await MovingGuest.boot({ emulator: "wtpm" }, device);
    contents = await TpmContents.make(moving.client);
    atBase = contents.values;
    expect(await said("create", "base")).toBe("snapshot base of the running TPM");
  }, 2 * BOOT_LIMIT_MS);
  afterAll(() => moving?.dispose());

  test("is left alone without --running", async () => {
    await contents.change();
    const before = await said("list", "--json");
    expect(await snapshot("restore", "base")).toMatchObject({
      status: 1,
      stdout: "",
      stderr: expect.stringContaining("add --running"),
    });
    expect(await said("list", "--json")).toBe(before);
    await contents.check();
  });

  test("has the PCR, index, keys and session of the snapshot, and those of before again", async () => {
    const later = contents.values;
    const printed = await said("restore", "base", "--running");
    expect(printed).toContain("the TPM goes on there");
    await contents.check(atBase);
    expect(await kernelPcr()).toBe(hex(atBase.pcr));
    await contents.change();
    await contents.check();
    await said("restore", /auto-\S+/.exec(printed)![0], "--running", "--no-undo");
    await contents.check(later);
  });

  test("may send commands without a pause", async () => {
    await contents.change();
    await said("create", "other");
    const { guest } = moving;
    const commands = {
      nv: encodeCommand("NV_Write", {
        handles: { authHandle: 0x0180_0007, nvIndex: 0x0180_0007 },
        sessions: [{ password: "6162" }],
        parameters: { data: "77".repeat(32), offset: 0 },
      }),
      pcr: encodeCommand("PCR_Read", { parameters: { pcrSelectionIn: [{ hash: "SHA256", pcrSelect: [23] }] } }),
    };
    const names = Object.keys(commands);
    for (const [name, command] of Object.entries(commands)) await guest.shell(`${printed(command)} >/tmp/${name}`);
    const each = names.map(
      (name) => `dd if=/tmp/${name} bs=4096 count=1 >&3; dd bs=4096 count=1 <&3 | base64 -w0; echo`,
    );
    await guest.shell(`{ while [ ! -e /tmp/stop ]; do ${each.join("; ")}; done >/tmp/answers 2>/dev/null; } &`);
    for (let at = 0; at < RESTORES; at++) await said("restore", at % 2 ? "other" : "base", "--running", "--no-undo");
    await guest.shell("touch /tmp/stop; wait");
    const answers = (await guest.shell("cat /tmp/answers")).trim().split("\n");
    expect(answers.length).toBeGreaterThan(2 * RESTORES);
    for (const answer of answers) expect(Buffer.from(answer, "base64").readUInt32BE(6)).toBe(0);
    await said("restore", "base", "--running", "--no-undo");
    await contents.check(atBase);
  });

  test("gets the answer to the command that ran when the restore was asked for", async () => {
    const { emulator, guest, stateDir } = moving.host;
    // The TPM sees the command and the restore at once.
    emulator.signal("SIGSTOP");
    const response = await guest.beginTransmit(CREATE_RSA_KEY);
    const { register, executes } = DEVICES[device];
    await until("the device to execute the command", async () =>
      executes(Number(/0x\w+$/.exec((await guest.humanMonitor(`xp /1wx ${register}`)).trim())?.[0])),
    );
    const restored = said("restore", "base", "--running", "--no-undo");
    await until("the restore to be asked for", () => connectionsTo(path.join(stateDir, ".wtpm")) > 0);
    emulator.signal("SIGCONT");
    const created = parametersOf(await response(guest));
    expect(created.length).toBeGreaterThan(256);
    await restored;
    // The key was made before the restore, which knows nothing of it.
    const { capabilityData } = await moving.client.command("GetCapability", {
      parameters: { capability: "HANDLES", property: 0x8000_0000, propertyCount: 8 },
    });
    expect(capabilityData.data).toEqual([0x8000_0000, 0x8000_0001]);
    await contents.check(atBase);
  });

  test("keeps keys in its resource manager, and loses the sessions there that were used since", async () => {
    const { guest } = moving;
    const keys = await manager(4);
    const { objectHandle } = await keys.command("CreatePrimary", {
      handles: { primaryHandle: "OWNER" },
      parameters: {
        inSensitive: { userAuth: "", data: "" },
        inPublic: ecc({ attributes: { sign: true } }),
        outsideInfo: "",
        creationPCR: [],
      },
    });
    const readPublic = () => keys.command("ReadPublic", { handles: { objectHandle } });
    const sessions = await manager(5);
    const policySession = await sessions.startAuthSession({ sessionType: "POLICY" });
    const digest = () => sessions.command("PolicyGetDigest", { handles: { policySession } });
    await said("create", "managed");
    const { name } = await readPublic();

    // The kernel saved both contexts before the snapshot, and the key's again since.
    await said("restore", "managed", "--running", "--no-undo");
    expect((await readPublic()).name).toEqual(name);
    await digest();
    // Now the session's again too.
    await said("restore", "managed", "--running", "--no-undo");
    expect((await readPublic()).name).toEqual(name);
    await expect(digest()).rejects.toThrow("status 1 in the guest");
    await guest.shell("exec 5>&-");
    const again = await manager(5);
    await again.startAuthSession({ sessionType: "POLICY" });
    await guest.shell("exec 4>&- 5>&-");
    await said("restore", "base", "--running", "--no-undo");
    await contents.check(atBase);
  });

  test("finds a TPM that was not started after --cold, until the machine is reset or a snapshot has it go on", async () => {
    const { guest } = moving;
    const bare = encodeCommand("GetRandom", { parameters: { bytesRequested: 8 } });
    const code = async () => Buffer.from(await guest.transmit(bare)).readUInt32BE(6);
    expect(await said("restore", "base", "--running", "--cold")).toContain("the TPM starts anew");
    expect(await code()).toBe(TPM_RC_INITIALIZE);
    expect(await kernelPcr()).toBe("");
    await said("restore", "base", "--running", "--no-undo");
    expect(await kernelPcr()).toBe(hex(atBase.pcr));
    await contents.check(atBase);

    await contents.change();
    await said("restore", "base", "--running", "--cold", "--no-undo");
    expect(await code()).toBe(TPM_RC_INITIALIZE);
    await guest.reset();
    await guest.openTpm();
    expect(await readNv(moving.client)).toEqual(atBase.nv);
    await expect(contents.check(atBase)).rejects.toThrow("the PCR");
  });

  /** A client of the guest's /dev/tpmrm0, opened as this descriptor. */
  async function manager(descriptor: number): Promise<TpmClient> {
    const { guest } = moving;
    await guest.shell(`exec ${descriptor}<>/dev/tpmrm0`);
    return new TpmClient(async (command) => {
      await guest.shell(`${printed(command)} >/tmp/managed`);
      const send = `dd if=/tmp/managed bs=4096 count=1 2>/dev/null >&${descriptor}`;
      const response = await guest.shell(`${send} && dd bs=4096 count=1 2>/dev/null <&${descriptor} | base64`);
      return new Uint8Array(Buffer.from(response, "base64"));
    });
  }
});

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex").toUpperCase();

/** A shell's word for bytes. */
const printed = (bytes: Uint8Array): string =>
  `printf '${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}'`;

/** Connections that clients have made to a UNIX socket. */
function connectionsTo(socket: string): number {
  const SO_ACCEPTCON = 0x10000;
  const lines = readFileSync("/proc/net/unix", "utf8").split("\n");
  const fields = lines.map((line) => line.trim().split(/\s+/));
  return fields.filter((f) => f[7] === socket && !(parseInt(f[3]!, 16) & SO_ACCEPTCON)).length;
}
