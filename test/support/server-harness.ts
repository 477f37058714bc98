// One server over real sockets for each test, with a scripted backend behind it.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach } from "vitest";
import { nodeTransport } from "../../src/platform/node-transport.ts";
import { type ServeOptions, TpmServer, type TpmServerOptions } from "../../src/server/tpm-server.ts";
import { command, FakeBackend, hex, RawClient, toHex } from "./server-fakes.ts";

/** The response of a TPM 2.0 that is not running. */
export const FATAL = "80010000000a00000101";
export const GET_RANDOM = command(0x17b, hex("0020"));
/** What FakeBackend answers to it. */
export const GET_RANDOM_RESPONSE = toHex(command(0, GET_RANDOM));

/** Checks a condition until it holds; the test's own limit ends the wait. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

export class ServerHarness {
  dir = "";
  backend = new FakeBackend();
  server: TpmServer | undefined;
  /** What was logged. */
  lines: string[] = [];
  readonly clients: RawClient[] = [];

  get controlPath(): string {
    return path.join(this.dir, "ctrl");
  }
  get dataPath(): string {
    return path.join(this.dir, "data");
  }

  /** A server with a control and a data socket and, unless told otherwise, a running TPM. */
  async start(options: Partial<TpmServerOptions> = {}, serve: ServeOptions = { powerOn: true }): Promise<void> {
    this.server = new TpmServer({
      transport: nodeTransport,
      log: { level: 1, line: (text) => this.lines.push(text) },
      control: { type: "unix", path: this.controlPath },
      receiveDescriptors: true,
      data: { type: "unix", path: this.dataPath },
      ...options,
    });
    await this.server.listen();
    await this.server.serve(this.backend, serve);
  }

  /** The same without a data socket: it comes by SET_DATAFD. */
  startWithControlOnly(): Promise<void> {
    return this.start({ data: undefined as never });
  }

  async connect(address: string | number): Promise<RawClient> {
    const client = await RawClient.connect(address);
    this.clients.push(client);
    return client;
  }

  control(): Promise<RawClient> {
    return this.connect(this.controlPath);
  }

  data(): Promise<RawClient> {
    return this.connect(this.dataPath);
  }

  async stop(): Promise<void> {
    for (const client of this.clients.splice(0)) client.socket.destroy();
    await this.server?.close();
    this.server = undefined;
  }
}

/** Call once in a test file. */
export function useServer(): ServerHarness {
  const harness = new ServerHarness();
  beforeEach(() => {
    harness.dir = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-server-"));
    harness.backend = new FakeBackend();
    harness.lines = [];
  });
  afterEach(async () => {
    await harness.stop();
    fs.rmSync(harness.dir, { recursive: true, force: true });
  });
  return harness;
}
