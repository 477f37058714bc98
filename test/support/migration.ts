// A guest that moves from one QEMU to another, each with an emulator of its own, as a virtual machine moves between hosts.
import { mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { TpmClient } from "../../src/codec/client.ts";
import { encodeCommand } from "../../src/codec/index.ts";
import { launchEmulator, listeningSockets, temporaryFolder } from "./emulator.ts";
import { rsa } from "./engine-templates.ts";
import { Guest, type GuestOptions } from "./guest.ts";
import { type GuestImage, guestImage } from "./guest-image.ts";
import { type Program, start, until } from "./process.ts";

export type EmulatorKind = "wtpm" | "swtpm";

type TpmDevice = GuestOptions["device"];

export interface HostOptions {
  readonly emulator: EmulatorKind;
  /** The state folder; by default one of the host's own. */
  readonly stateDir?: string;
  /** Further words of the emulator's command line. */
  readonly emulatorArgs?: readonly string[];
  /** Further words of QEMU's command line. */
  readonly args?: readonly string[];
}

const MIGRATION_LIMIT_MS = 120_000;

/** A command that takes long enough for something to happen meanwhile. */
export const CREATE_RSA_KEY = encodeCommand("CreatePrimary", {
  handles: { primaryHandle: "NULL" },
  sessions: [{ password: "" }],
  parameters: {
    inSensitive: { userAuth: "", data: "" },
    inPublic: rsa({ attributes: { sign: true } }, { scheme: "NULL" }, 2048),
    outsideInfo: "",
    creationPCR: [],
  },
});

/** One QEMU and its emulator. */
export class Host {
  readonly folder: string;
  readonly stateDir: string;
  readonly emulator: Program;
  readonly guest: Guest;

  private constructor(folder: string, stateDir: string, emulator: Program, guest: Guest) {
    this.folder = folder;
    this.stateDir = stateDir;
    this.emulator = emulator;
    this.guest = guest;
  }

  /** Starts both; the guest is one that `boot` made ready. */
  static async start(
    options: HostOptions,
    boot: (folder: string, controlSocket: string) => Promise<Guest>,
  ): Promise<Host> {
    const folder = temporaryFolder();
    const stateDir = options.stateDir ?? path.join(folder, "state");
    mkdirSync(stateDir, { recursive: true });
    const control = path.join(folder, "ctrl");
    const emulator = startControlled(options.emulator, stateDir, control, options.emulatorArgs);
    try {
      await until("the emulator to listen", () => listeningSockets().has(control) || emulator.hasExited());
      if (emulator.hasExited()) throw new Error(`the emulator ended: ${(await emulator.exited).stderr}`);
      return new Host(folder, stateDir, emulator, await boot(folder, control));
    } catch (error) {
      await emulator.kill();
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async dispose(): Promise<void> {
    await this.guest.dispose();
    await this.emulator.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** An emulator with a control socket only, as QEMU uses it. */
export function startControlled(
  kind: EmulatorKind,
  stateDir: string,
  control: string,
  args: readonly string[] = [],
): Program {
  const words = ["--tpm2", "--tpmstate", `dir=${stateDir}`, "--ctrl", `type=unixio,path=${control}`, "--terminate"];
  return kind === "wtpm" ? launchEmulator([...words, ...args]) : start("swtpm", ["socket", ...words, ...args]);
}

/** A machine whose guest keeps /dev/tpm0 open wherever it is. */
export class MovingGuest {
  readonly #image: GuestImage;
  readonly #device: TpmDevice;
  readonly #folder: string;
  #host: Host | undefined;
  /** Commands to the TPM of the guest, sent from inside it. */
  readonly client = new TpmClient((command) => this.guest.transmit(command));

  private constructor(image: GuestImage, device: TpmDevice, folder: string) {
    this.#image = image;
    this.#device = device;
    this.#folder = folder;
  }

  /** Boots it on a first host. */
  static async boot(options: HostOptions, device: TpmDevice): Promise<MovingGuest> {
    const folder = temporaryFolder();
    const moving = new MovingGuest(await guestImage(folder), device, folder);
    moving.#host = await Host.start(options, (...place) => Guest.boot(moving.#options(options, ...place)));
    await moving.guest.openTpm();
    return moving;
  }

  get host(): Host {
    return this.#host!;
  }

  get guest(): Guest {
    return this.host.guest;
  }

  /** Another host, whose QEMU waits for the guest. */
  prepare(options: HostOptions): Promise<Host> {
    return this.#start(options, "-incoming", "defer");
  }

  /** Ends the machine, and starts it on another host with a snapshot on its disk. */
  async startFromSnapshot(name: string, options: HostOptions): Promise<void> {
    await this.guest.quit();
    await this.host.dispose();
    this.#host = await this.#start(options, "-loadvm", name);
    if (!(await this.guest.runs())) throw new Error(`QEMU ended: ${(await this.guest.ended()).stderr}`);
  }

  #start(options: HostOptions, ...words: string[]): Promise<Host> {
    const all = { ...options, args: [...(options.args ?? []), ...words] };
    return Host.start(all, (...place) => Guest.start(this.#options(all, ...place)));
  }

  #options(options: HostOptions, folder: string, controlSocket: string) {
    const args = ["-m", "256", ...(options.args ?? [])];
    return { folder, controlSocket, firmware: "seabios", device: this.#device, image: this.#image, args } as const;
  }

  /**
   * Moves the running guest to a prepared host. When the other QEMU ends instead of running the guest, this one continues it, as
   * libvirt does: the source of a migration does not learn what became of the last it sent.
   *
   * @returns false when the guest goes on here.
   */
  async moveTo(target: Host, during: () => Promise<void> = async () => {}): Promise<boolean> {
    const uri = `unix:${path.join(target.folder, "mig")}`;
    await target.guest.monitor("migrate-incoming", { uri });
    await this.guest.monitor("migrate", { uri });
    await during();
    const sent = await this.#migrated();
    if (!sent || !(await target.guest.runs())) {
      if ((await this.guest.status()) !== "running") await this.guest.monitor("cont");
      return false;
    }
    await this.#leaveFor(target);
    return true;
  }

  /** Saves the guest to a file, ends it, and restores it on a prepared host. */
  async moveThroughFile(target: Host): Promise<void> {
    const file = path.join(this.#folder, "vm");
    await this.guest.monitor("stop");
    await this.guest.monitor("migrate", { uri: `exec:cat > ${file}` });
    if (!(await this.#migrated())) throw new Error("the guest was not saved");
    await this.host.dispose();
    await target.guest.monitor("migrate-incoming", { uri: `exec:cat ${file}` });
    await until(
      "the guest to be restored",
      async () => (await target.guest.status()) !== "inmigrate",
      MIGRATION_LIMIT_MS,
    );
    await target.guest.monitor("cont");
    this.#host = target;
  }

  async #leaveFor(target: Host): Promise<void> {
    const source = this.host;
    this.#host = target;
    await source.guest.quit();
    await source.emulator.ended();
    await source.dispose();
  }

  async #migrated(): Promise<boolean> {
    const ended = await until(
      "the migration to end",
      async () => {
        const { status } = (await this.guest.monitor("query-migrate")) as { status?: string };
        return status === "completed" || status === "failed" ? status : undefined;
      },
      MIGRATION_LIMIT_MS,
    );
    return ended === "completed";
  }

  async dispose(): Promise<void> {
    await this.#host?.dispose();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
