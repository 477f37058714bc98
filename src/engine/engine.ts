// One instance of the TPM 2.0 engine: the ABI of docs/abi.md with types, and nothing more.

/** Where an engine gets what makes one run differ from another. Replaced in tests and replays. */
export interface EngineHost {
  /** Fills the array with cryptographically strong random bytes. */
  random(bytes: Uint8Array<ArrayBuffer>): void;
  /** Milliseconds; clock 0 is monotonic, 1 counts from 1970. */
  now(clock: number): number;
}

interface EngineExports {
  readonly memory: WebAssembly.Memory;
  _initialize(): void;
  abi_version(): number;
  kernel_self_test(): number;
  command_buffer(): number;
  command_buffer_size(): number;
  response_buffer(): number;
  state_buffer(): number;
  state_buffer_size(): number;
  manufacture(profileSize: number): number;
  profile_text(what: number): number;
  load_permanent(size: number): number;
  load_volatile(size: number): number;
  save_permanent(): number;
  save_volatile(): number;
  init(): void;
  execute(size: number, locality: number): number;
  resume(): number;
  cancel(): void;
  changes(): number;
  buffer_size(wanted: number): number;
  buffer_size_min(): number;
  buffer_size_max(): number;
  hash_start(): void;
  hash_data(size: number): void;
  hash_end(): void;
  established(): number;
  set_established(): void;
  reset_established(): void;
  stir_random(): void;
  physical_presence(asserted: number): void;
  in_failure_mode(): number;
  enter_failure_mode(): void;
  abort_position(): bigint;
}

const ABI_VERSION = 1;

/** execute() and resume(): the command has more to do. */
export const PENDING = -1;
/** changes(): the permanent state. */
export const CHANGED_PERMANENT = 1;

/** profileText(): the JSON of the profile in force. */
export const PROFILE_ACTIVE = 0x100;
/** The JSON of the first built-in profile; the next numbers are the next ones. */
export const PROFILE_BUILT_IN = 0x200;
/** Lists of what is implemented; the next numbers: can be disabled, is enabled, is disabled. */
export const PROFILE_LISTS = { Algorithms: 0, Commands: 16, Attributes: 32 } as const;

/** The host of real life: the runtime's random source and clocks. */
export const systemHost: EngineHost = {
  random(bytes) {
    crypto.getRandomValues(bytes);
  },
  now(clock) {
    return clock === 0 ? performance.now() : Date.now();
  },
};

/** Thrown when the engine itself trapped: it must not be used any more. */
export class EngineTrap extends Error {
  constructor(where: string, cause: unknown) {
    super(`the TPM engine stopped at ${where}`, { cause });
    this.name = "EngineTrap";
  }
}

/**
 * A TPM's machine: static memory, no allocation. Views into its memory are valid until the next call, and its memory
 * never grows.
 */
export class Engine {
  readonly #exports: EngineExports;
  readonly #memory: Uint8Array;
  readonly #command: Uint8Array;
  readonly #response: number;
  readonly #state: number;

  constructor(module: WebAssembly.Module, host: EngineHost = systemHost) {
    let memory: WebAssembly.Memory | undefined;
    const imports = {
      env: {
        random: (pointer: number, length: number) => {
          host.random(new Uint8Array(memory!.buffer as ArrayBuffer, pointer, length));
        },
        now: (clock: number) => host.now(clock),
      },
    };
    this.#exports = new WebAssembly.Instance(module, imports).exports as unknown as EngineExports;
    memory = this.#exports.memory;
    this.#exports._initialize();
    const version = this.#exports.abi_version();
    if (version !== ABI_VERSION)
      throw new Error(`the engine's ABI is version ${version}; this host knows ${ABI_VERSION}`);
    this.#memory = new Uint8Array(memory.buffer);
    const command = this.#exports.command_buffer();
    this.#command = this.#memory.subarray(command, command + this.#exports.command_buffer_size());
    this.#response = this.#exports.response_buffer();
    this.#state = this.#exports.state_buffer();
  }

  /** Whether the big-number kernels of this build give known results on this runtime. */
  kernelSelfTest(): boolean {
    return this.#call(() => this.#exports.kernel_self_test()) === 1;
  }

  /** Makes a new TPM. `profile` is libtpms' JSON; without one it is the null profile. Returns 0 or a TPM_RC. */
  manufacture(profile = ""): number {
    return this.#call(() => this.#exports.manufacture(this.#putState(new TextEncoder().encode(profile))));
  }

  /** What there is to tell about profiles (PROFILE_*); empty where there is nothing, as before there is a TPM. */
  profileText(what: number): string {
    return new TextDecoder().decode(this.#takeState(this.#call(() => this.#exports.profile_text(what))));
  }

  /** Loads a permanent state in libtpms' format. Returns 0, or the TPM_RC that libtpms gives for it. */
  loadPermanent(blob: Uint8Array): number {
    return this.#call(() => this.#exports.load_permanent(this.#putState(blob)));
  }

  /** Loads the volatile state that belongs to the permanent one, after init(). Returns 0 or a TPM_RC. */
  loadVolatile(blob: Uint8Array): number {
    return this.#call(() => this.#exports.load_volatile(this.#putState(blob)));
  }

  /** The permanent state in libtpms' format: a copy. */
  savePermanent(): Uint8Array {
    return this.#takeState(this.#call(() => this.#exports.save_permanent()));
  }

  saveVolatile(): Uint8Array {
    return this.#takeState(this.#call(() => this.#exports.save_volatile()));
  }

  /** _TPM_Init. */
  init(): void {
    this.#call(() => this.#exports.init());
  }

  /**
   * Runs a command at a locality (0-4, 32-255). A command too long for the buffer is cut: its size field does not match
   * then, which is the answer it gets. Returns the response's size or PENDING.
   */
  execute(command: Uint8Array, locality: number): number {
    const bytes = command.length <= this.#command.length ? command : command.subarray(0, this.#command.length);
    this.#command.set(bytes);
    try {
      return this.#exports.execute(bytes.length, locality);
    } catch (error) {
      throw this.#trap(error);
    }
  }

  /** Goes on with a pending command for about a millisecond. */
  resume(): number {
    return this.#call(() => this.#exports.resume());
  }

  cancel(): void {
    this.#exports.cancel();
  }

  /** The response of `size` bytes: a copy. */
  response(size: number): Uint8Array {
    return this.#memory.slice(this.#response, this.#response + size);
  }

  /** What the last command changed: CHANGED_* bits. */
  get changes(): number {
    return this.#exports.changes();
  }

  bufferSize(wanted: number): { current: number; min: number; max: number } {
    const current = this.#exports.buffer_size(wanted);
    return { current, min: this.#exports.buffer_size_min(), max: this.#exports.buffer_size_max() };
  }

  hashStart(): void {
    this.#call(() => this.#exports.hash_start());
  }

  hashData(data: Uint8Array): void {
    for (let at = 0; at < data.length; at += this.#command.length) {
      const part = data.subarray(at, at + this.#command.length);
      this.#command.set(part);
      this.#call(() => this.#exports.hash_data(part.length));
    }
  }

  hashEnd(): void {
    this.#call(() => this.#exports.hash_end());
  }

  get established(): boolean {
    return this.#exports.established() !== 0;
  }

  setEstablished(): void {
    this.#exports.set_established();
  }

  resetEstablished(): void {
    this.#exports.reset_established();
  }

  /** Entropy for the random bit generator, whose state is part of the volatile state. */
  stirRandom(): void {
    this.#call(() => this.#exports.stir_random());
  }

  set physicalPresence(asserted: boolean) {
    this.#exports.physical_presence(asserted ? 1 : 0);
  }

  get inFailureMode(): boolean {
    return this.#exports.in_failure_mode() !== 0;
  }

  /** From now on everything but TPM2_GetTestResult answers TPM_RC_FAILURE: the host could not keep a promise. */
  enterFailureMode(): void {
    this.#exports.enter_failure_mode();
  }

  /** Overwrites all of the engine's memory: nothing secret stays behind. */
  wipe(): void {
    this.#memory.fill(0);
  }

  #putState(blob: Uint8Array): number {
    const size = this.#exports.state_buffer_size();
    if (blob.length > size) throw new RangeError(`a state of ${blob.length} bytes is larger than any TPM's (${size})`);
    this.#memory.set(blob, this.#state);
    return blob.length;
  }

  #takeState(size: number): Uint8Array {
    const copy = this.#memory.slice(this.#state, this.#state + size);
    this.#memory.fill(0, this.#state, this.#state + size);
    return copy;
  }

  #call<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw error instanceof RangeError ? error : this.#trap(error);
    }
  }

  #trap(error: unknown): EngineTrap {
    const position = this.#exports.abort_position();
    return new EngineTrap(position === 0n ? "an unknown place" : `line ${position >> 32n}`, error);
  }
}
