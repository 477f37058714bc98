// A guest that loses patience: an RSA key in the making is cancelled through the registers of TIS and CRB, with the engine behind them.
import { describe, expect, it } from "vitest";
import { encodeCommand } from "../../src/codec/index.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { BackendPort, CrbDevice, TisDevice } from "../../src/frontend/index.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import { NO_SENSITIVE, rsa } from "../support/engine-templates.ts";
import { responseCode } from "../support/engine-tpm.ts";

const TPM_RC_CANCELED = 0x909;
const STARTUP = encodeCommand("Startup", { parameters: { startupType: "CLEAR" } });
const inPublic = rsa({ attributes: { fixedTPM: true, fixedParent: true, sign: true } }, undefined, 2048);
const CREATE_PRIMARY = encodeCommand("CreatePrimary", {
  handles: { primaryHandle: "OWNER" },
  sessions: [{ password: "" }],
  parameters: { inSensitive: NO_SENSITIVE, inPublic, outsideInfo: "", creationPCR: [] },
});
const LOADED = encodeCommand("GetCapability", {
  parameters: { capability: "HANDLES", property: 0x8000_0000, propertyCount: 3 },
});
/** The answer when nothing is loaded. */
const NOTHING_LOADED = "80010000001300000000000000000100000000";

const turn = () => new Promise((resolve) => setImmediate(resolve));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** What a driver does with a device, in terms of the registers of its interface. */
interface Driver {
  readonly reset: () => Promise<void>;
  submit(command: Uint8Array): void;
  cancel(): void;
  readonly busy: () => boolean;
  response(): Uint8Array;
}

const newPort = () => new BackendPort(createEngineBackend({ store: new MemoryStore() }));

function crbDriver(): Driver {
  const [GRANT, REQUEST, CANCEL, START] = [0x08, 0x40, 0x48, 0x4c];
  const crb = new CrbDevice(newPort());
  return {
    reset: () => crb.reset(),
    submit(command) {
      crb.write(GRANT, 4, 1);
      crb.write(REQUEST, 4, 1);
      crb.window.set(command);
      crb.write(CANCEL, 4, 0);
      crb.write(START, 4, 1);
    },
    cancel: () => crb.write(CANCEL, 4, 1),
    busy: () => crb.read(START, 4) !== 0,
    response: () => crb.window.slice(0, Buffer.from(crb.window.subarray(2, 6)).readUInt32BE()),
  };
}

function tisDriver(): Driver {
  const [ACCESS, STS, FIFO] = [0x00, 0x18, 0x24];
  const [COMMAND_READY, GO, DATA_AVAILABLE, COMMAND_CANCEL] = [0x40, 0x20, 0x10, 1 << 24];
  const tis = new TisDevice(newPort());
  return {
    reset: () => tis.reset(),
    submit(command) {
      tis.write(ACCESS, 1, 0x02);
      tis.write(STS, 4, COMMAND_READY);
      for (const byte of command) tis.write(FIFO, 1, byte);
      tis.write(STS, 4, GO);
    },
    cancel: () => tis.write(STS, 4, COMMAND_CANCEL),
    busy: () => (tis.read(STS, 4) & DATA_AVAILABLE) === 0,
    response() {
      const bytes: number[] = [];
      while (tis.read(STS, 4) & DATA_AVAILABLE) bytes.push(tis.read(FIFO, 1));
      return Uint8Array.from(bytes);
    },
  };
}

describe.each([
  ["TIS, by commandCancel", tisDriver],
  ["CRB, by its cancel register", crbDriver],
])("%s", (_name, make) => {
  const run = async (driver: Driver, command: Uint8Array) => {
    driver.submit(command);
    while (driver.busy()) await turn();
    return driver.response();
  };

  it.each([0, 1, 5])(
    "the command ends %i turns later with TPM_RC_CANCELED and leaves nothing behind",
    async (turns) => {
      const driver = make();
      await driver.reset();
      expect(responseCode(await run(driver, STARTUP))).toBe(0);
      driver.submit(CREATE_PRIMARY);
      for (let i = 0; i < turns; i++) await turn();
      expect(driver.busy()).toBe(true);
      driver.cancel();
      // A slice of the search is under way, or the next one begins: no more than that is to come.
      for (let i = 0; i < 4 && driver.busy(); i++) await turn();
      expect(driver.busy()).toBe(false);
      expect(responseCode(driver.response())).toBe(TPM_RC_CANCELED);
      expect(hex(await run(driver, LOADED))).toBe(NOTHING_LOADED);
      const again = await run(driver, CREATE_PRIMARY);
      expect(responseCode(again)).toBe(0);
    },
  );
});
