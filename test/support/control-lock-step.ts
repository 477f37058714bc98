// Two emulators that are asked the same; what they answer must agree, but for the differences in a table.
import { CMD, INIT_FLAG_DELETE_VOLATILE, RESULT, readU32, words } from "../../src/server/protocol.ts";
import {
  blobOf,
  CC_READ_CLOCK,
  comparable,
  isStarted,
  KNOWN_DIFFERENCES,
  LEFTOVER,
  resultOf,
  shown,
  stateDifferences,
} from "./control-differences.ts";
import type { ControlPeer } from "./control-peer.ts";
import { BLOB, type ControlRequest, controlRequest, getBlob, init, setBlob, stop } from "./control-requests.ts";
import type { Seeded } from "./seeded.ts";
import {
  command,
  getRandom,
  nvDefineSpace,
  nvRead,
  nvUndefineSpace,
  nvWrite,
  pcrExtend,
  pcrRead,
  shutdown,
  startup,
  TPM,
  u32,
} from "./tpm-client.ts";

const HISTORY = 60;
const SHUTDOWN = words(CMD.SHUTDOWN);
const INDEX = 0x0180_0009;

export class ControlLockStep {
  readonly #ours: ControlPeer;
  readonly #theirs: ControlPeer;
  readonly #autoShutdown: boolean;
  readonly #blobs = new Map<number, Uint8Array>();
  /** The permanent state beside each volatile one. */
  readonly #pairs = new Map<Uint8Array, Uint8Array>();
  readonly #history: string[] = [];
  readonly #differences = new Map<string, number>();
  #running = false;
  /** The code of the last TPM command that a running TPM got. */
  #lastCommand = 0;
  /** Control requests and TPM commands so far, and how many of them succeeded. */
  requests = 0;
  succeeded = 0;
  /** Pairs of whole state blobs that were compared. */
  blobs = 0;
  /** The permanent state was removed: the next start makes a TPM, and each another. */
  #removed = false;
  /** A volatile state was set. swtpm has loaded it to see whether it can be, and has its TPM_ESTABLISHED also when it starts without it. */
  #seen = false;
  /** There is a stored volatile state; one that was set since takes its place with us, while swtpm finds it again later. */
  #stored = false;
  #stale = false;

  constructor(ours: ControlPeer, theirs: ControlPeer, options: { readonly autoShutdown?: boolean }) {
    this.#ours = ours;
    this.#theirs = theirs;
    this.#autoShutdown = options.autoShutdown ?? false;
  }

  /** Starts both with the TPM that swtpm makes. */
  async start(): Promise<void> {
    await Promise.all([this.#ours.start(), this.#theirs.start()]);
    for (const request of [init(), getBlob(BLOB.PERMANENT)]) {
      const reply = await this.#theirs.control(request);
      if (resultOf(reply) !== 0) throw new Error(`swtpm refused to begin: ${reply}`);
      if (reply.length > 32) this.#blobs.set(BLOB.PERMANENT, blobOf(reply));
    }
    await this.#theirs.control(stop());
    await this.#agreeOnState();
  }

  summary(): string {
    const known = [...this.#differences].map(([reason, count]) => `${count} x ${reason}`);
    return `${this.requests} requests, ${this.succeeded} succeeded, ${this.blobs} pairs of blobs; ${known.join("; ")}`;
  }

  /** One control request, or one TPM command, to both. */
  async next(random: Seeded): Promise<void> {
    this.requests++;
    if (random.below(3) === 0) await this.#command(tpmCommand(random));
    else {
      const request = controlRequest(random, this.#blobs, this.#running);
      // swtpm 0.7.1 crashes when it is given a volatile state after an empty permanent one.
      const crashes = this.#removed && request.name === "SET_STATEBLOB" && readU32(request.bytes, 8) === BLOB.VOLATILE;
      if (!crashes) await this.#request(request);
    }
  }

  async #request(asked: ControlRequest): Promise<void> {
    const code = readU32(asked.bytes, 0);
    const whole = !asked.long && !asked.short;
    const request =
      code === CMD.INIT && whole && this.#stale ? { ...asked, bytes: init(INIT_FLAG_DELETE_VOLATILE) } : asked;
    this.#note(`${request.name} ${Buffer.from(request.bytes.subarray(0, 60)).toString("hex")}`);
    if ((code === CMD.INIT || code === CMD.STOP || code === CMD.SHUTDOWN) && whole) await this.#shutDownTheirs();
    const send = (peer: ControlPeer) =>
      code === CMD.SHUTDOWN && whole ? peer.shutDown(request.bytes) : peer.control(request.bytes);
    const [ours, theirs] = await Promise.all([send(this.#ours), send(this.#theirs)]);
    await this.#compare(request, ours, theirs);
    const ok = resultOf(ours) === RESULT.SUCCESS;
    if (ok) this.succeeded++;
    this.#history.push(`  = ${ours.slice(0, 40)}`);
    if (!whole) return;
    if (code === CMD.GET_STATEBLOB && ok) await this.#compareBlobs(request, ours, theirs);
    await this.#noteEffect(request, ok);
  }

  /** What a request, which succeeded or not, means for those that follow. */
  async #noteEffect(request: ControlRequest, ok: boolean): Promise<void> {
    const { bytes } = request;
    switch (readU32(bytes, 0)) {
      case CMD.INIT:
        this.#running = ok;
        this.#seen = false;
        this.#stale &&= !ok;
        this.#stored &&= (readU32(bytes, 4) & INIT_FLAG_DELETE_VOLATILE) === 0;
        if (!ok || this.#removed) await this.#agreeOnState();
        return;
      case CMD.STOP:
        this.#running = false;
        return;
      case CMD.SHUTDOWN:
        this.#running = false;
        await Promise.all([this.#ours.start(), this.#theirs.start()]);
        return;
      case CMD.STORE_VOLATILE:
        this.#stored ||= ok;
        return;
      case CMD.GET_STATEBLOB:
        this.#stored &&= !(ok && readU32(bytes, 8) === BLOB.VOLATILE);
        return;
      case CMD.SET_STATEBLOB:
        if (!this.#running) await this.#noteSet(request, ok);
    }
  }

  async #noteSet({ bytes }: ControlRequest, ok: boolean): Promise<void> {
    const [type, length] = [readU32(bytes, 8), readU32(bytes, 12)];
    if (ok && type === BLOB.PERMANENT) this.#removed = length === 0;
    const volatile = type === BLOB.VOLATILE && length > 0;
    if (!ok || (type === BLOB.VOLATILE && !volatile)) {
      if (this.#seen || (volatile && length > 1000)) await this.#restart();
    } else if (volatile) this.#seen = true;
    if (!ok) return;
    // States of different times are not put together: which of them counts for what is the engine's matter.
    const blob = this.#blobs.get(BLOB.VOLATILE);
    if (volatile && blob) await this.#set(BLOB.PERMANENT, this.#pairs.get(blob)!);
    if (type === BLOB.PERMANENT && (this.#stored || this.#seen)) {
      await this.#set(BLOB.VOLATILE, new Uint8Array());
      if (this.#seen) return this.#restart();
    }
    this.#stale ||= this.#stored;
  }

  /** Both processes begin anew, with the same state. */
  async #restart(): Promise<void> {
    await Promise.all([this.#ours, this.#theirs].map((peer) => peer.shutDown(SHUTDOWN)));
    await Promise.all([this.#ours.start(), this.#theirs.start()]);
    await this.#agreeOnState();
  }

  async #command(bytes: Uint8Array): Promise<void> {
    this.#note(`TPM command ${Buffer.from(bytes).toString("hex")}`);
    if (this.#running) this.#lastCommand = readU32(bytes, 6);
    const [ours, theirs] = await Promise.all([this.#ours.execute(bytes), this.#theirs.execute(bytes)]);
    const [a, b] = [comparable(bytes, ours), comparable(bytes, theirs)];
    if (a !== b) this.#differ(a, b);
    this.#history.push(`  = ${b.slice(0, 60)}`);
    if (readU32(ours, 6) === 0) this.succeeded++;
  }

  /** What swtpm from 0.8 on does before it stops a TPM, done for one that does not. */
  async #shutDownTheirs(): Promise<void> {
    if (!this.#autoShutdown || !this.#running || this.#lastCommand === TPM.CC_Shutdown) return;
    for (const type of [TPM.SU_STATE, TPM.SU_CLEAR]) {
      const code = readU32(await this.#theirs.execute(shutdown(type)), 6);
      this.#history.push(`  (TPM2_Shutdown ${type}: 0x${code.toString(16)})`);
      if (code === TPM.RC_SUCCESS) this.#lastCommand = TPM.CC_Shutdown;
      if (code === TPM.RC_SUCCESS || code === TPM.RC_INITIALIZE) return;
    }
  }

  /** Gives both the same permanent state and no other, and starts them. */
  async #agreeOnState(): Promise<void> {
    this.#removed = this.#seen = this.#stored = this.#stale = false;
    for (const peer of [this.#ours, this.#theirs]) await peer.control(stop());
    await this.#set(BLOB.PERMANENT, this.#blobs.get(BLOB.PERMANENT)!);
    for (const type of [BLOB.VOLATILE, BLOB.SAVESTATE]) await this.#set(type, new Uint8Array());
    for (const peer of [this.#ours, this.#theirs]) {
      const reply = await peer.control(init(INIT_FLAG_DELETE_VOLATILE));
      if (resultOf(reply) !== 0) throw new Error(`no start with the common state: ${reply}`);
    }
    this.#running = true;
    this.#history.push("  (both were given the same state)");
  }

  /** Whole blobs hold the same, and one of them becomes one that both are given. */
  async #compareBlobs({ bytes }: ControlRequest, ...replies: readonly [ours: string, theirs: string]): Promise<void> {
    const [type, offset] = [readU32(bytes, 8), readU32(bytes, 12)];
    if (offset !== 0 || replies[0].length <= 32) return;
    const [ours, theirs] = replies.map(blobOf);
    const differing = stateDifferences(type, ours!, theirs!);
    if (differing.length > 0) this.#differ(`another state in ${differing.join(", ")}`, "");
    const [peer, blob] = this.requests % 2 ? [this.#ours, ours!] : [this.#theirs, theirs!];
    this.#blobs.set(type, blob);
    if (type === BLOB.VOLATILE) this.#pairs.set(blob, blobOf(await peer.control(getBlob(BLOB.PERMANENT))));
    this.blobs++;
  }

  /** Sets a blob that both take. */
  async #set(type: number, blob: Uint8Array): Promise<void> {
    for (const peer of [this.#ours, this.#theirs]) {
      const reply = await peer.control(setBlob(type, blob));
      if (resultOf(reply) !== 0) throw new Error(`state of type ${type} was refused: ${reply}`);
    }
  }

  async #compare(request: ControlRequest, ours: string, theirs: string): Promise<void> {
    const [a, b] = [ours, theirs].map((reply) => shown(request, reply));
    if (a === b) return;
    const reason =
      KNOWN_DIFFERENCES.find(({ applies }) => applies(request, ours, theirs))?.reason ??
      ((await this.#isLeftover(request, ours)) ? LEFTOVER : this.#differ(a!, b!));
    this.#differences.set(reason, (this.#differences.get(reason) ?? 0) + 1);
    if (request.name === "SET_STATEBLOB") await this.#restart();
  }

  /** A volatile state of a TPM that was not started yet. */
  async #isLeftover({ name, bytes }: ControlRequest, ours: string): Promise<boolean> {
    if (name !== "GET_STATEBLOB" || readU32(bytes, 8) !== BLOB.VOLATILE || resultOf(ours) !== 0) return false;
    return !isStarted(blobOf(await this.#ours.control(getBlob(BLOB.VOLATILE))));
  }

  #note(text: string): void {
    this.#history.push(`${this.requests} ${text}`);
    if (this.#history.length > HISTORY) this.#history.splice(0, this.#history.length - HISTORY);
  }

  #differ(ours: string, theirs: string): never {
    throw new Error([`ours   ${ours}`, `swtpm  ${theirs}`, "after", ...this.#history].join("\n"));
  }
}

/** Commands whose responses tell what the control channel does to a TPM. */
function tpmCommand(random: Seeded): Uint8Array {
  const makers: (() => Uint8Array)[] = [
    () => startup(TPM.SU_CLEAR),
    () => startup(TPM.SU_CLEAR),
    () => startup(TPM.SU_STATE),
    () => shutdown(TPM.SU_CLEAR),
    () => shutdown(TPM.SU_STATE),
    () => getRandom(8),
    () => pcrRead(TPM.ALG_SHA256, random.pick([0, 1, 17])),
    () => pcrExtend(TPM.ALG_SHA256, random.pick([1, 17]), random.bytes(32)),
    () => nvDefineSpace(INDEX, 8),
    () => nvUndefineSpace(INDEX),
    () => nvWrite(INDEX, random.bytes(8)),
    () => nvRead(INDEX, 8),
    () => command(CC_READ_CLOCK),
    () => command(TPM.CC_GetCapability, { parameters: Buffer.concat([u32(TPM_PROPERTIES), u32(PT_VAR), u32(32)]) }),
  ];
  return random.pick(makers)();
}
const TPM_PROPERTIES = 6;
const PT_VAR = 0x200;
