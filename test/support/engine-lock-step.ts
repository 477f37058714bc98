// The engine and Debian's swtpm, told the same things one by one: what each answers must agree.
import { toHex } from "../../src/codec/bytes.ts";
import { describeCommand, describeResponseCode } from "../../src/codec/index.ts";
import { CommandSource, type Step } from "./engine-commands.ts";
import { EngineTpm, listedCommands, responseCode, TestHost } from "./engine-tpm.ts";
import { bytesOf } from "./recorded.ts";
import { Seeded } from "./seeded.ts";
import { SwtpmMachine } from "./swtpm-machine.ts";

/** A command to which the two TPMs answered differently. */
export interface Difference {
  readonly seed: string;
  readonly at: number;
  readonly command: string;
  readonly engine: string;
  readonly swtpm: string;
  /** What was said before, the last first. */
  readonly history: readonly string[];
}

type Signal = Exclude<Step, { kind: "command" }>;

const hex32 = (value: number) => value.toString(16).padStart(8, "0");

/** Properties whose values tell the version or the size of something in memory. */
const VERSION_PROPERTIES = new Set([
  ...[0x102, 0x103, 0x104, 0x10b, 0x10c, 0x121, 0x123, 0x125, 0x126, 0x127, 0x129, 0x12a, 0x12f, 0x130],
  0x209,
]);

/** What must agree of a successful response: random numbers, clocks and what is keyed with secrets are masked. */
export function comparable(command: Uint8Array, response: Uint8Array): string {
  const view = new DataView(response.buffer, response.byteOffset, response.byteLength);
  const code = new DataView(command.buffer, command.byteOffset).getUint32(6);
  const text = toHex(response);
  if (response.length <= 10) return text;
  if (code === 0x17a && view.getUint32(11) === 6) return maskProperties(text.slice(20));
  const withSessions = view.getUint16(0) === 0x8002;
  const handle = code === 0x176 || code === 0x186 ? 4 : 0;
  const start = 10 + handle + (withSessions ? 4 : 0);
  const end = withSessions ? start + view.getUint32(10 + handle) : response.length;
  const parameters = maskParameters(code, response.subarray(start, end));
  const encrypts = withSessions && sessionAttributes(response, end).some((attributes) => attributes & 0x40);
  const shown = encrypts ? `(${end - start} bytes, encrypted)` : parameters;
  return `${toHex(response.subarray(0, 10 + handle))} ${shown} ${sessionShapes(response, end)}`;
}

/** Sizes of nonce and HMAC, and the attributes, of each session of a response. */
function sessionShapes(response: Uint8Array, at: number): string {
  const view = new DataView(response.buffer, response.byteOffset, response.byteLength);
  const shapes: string[] = [];
  while (at + 5 <= response.length) {
    const nonce = view.getUint16(at);
    const hmac = view.getUint16(at + 3 + nonce);
    shapes.push(`[${nonce} ${response[at + 2 + nonce]} ${hmac}]`);
    at += 5 + nonce + hmac;
  }
  return shapes.join("");
}

function sessionAttributes(response: Uint8Array, at: number): number[] {
  return [...sessionShapes(response, at).matchAll(/\[\d+ (\d+) /g)].map(([, attributes]) => Number(attributes));
}

function maskParameters(code: number, parameters: Uint8Array): string {
  const text = toHex(parameters);
  const size = `(${parameters.length} bytes)`;
  switch (code) {
    case 0x176:
    case 0x17b:
    case 0x151:
    case 0x162:
    case 0x18e:
      return size;
    case 0x17d:
    case 0x13e:
      // A ticket's digest is keyed with a proof.
      return /0040[0-9a-f]{128}$/.test(text) ? `${text.slice(0, -128)} ticket` : text;
    case 0x181:
      // time and clock run; resetCount, restartCount and safe do not.
      return text.slice(32);
    default:
      return text;
  }
}

function maskProperties(text: string): string {
  const pairs = text.slice(18).match(/.{16}/g) ?? [];
  return pairs.filter((pair) => !VERSION_PROPERTIES.has(Number.parseInt(pair.slice(0, 8), 16))).join(" ");
}

/** Runs `length` steps of the sequence that `seed` stands for; undefined if the two agree all the way. */
export async function lockStep(
  seed: string,
  length: number,
  known: (difference: Difference) => boolean,
): Promise<Difference | undefined> {
  const host = new TestHost(seed);
  const engine = new EngineTpm({ host, startup: false });
  await using swtpm = await SwtpmMachine.start();
  const listing = new EngineTpm();
  const source = new CommandSource(new Seeded(seed), await listedCommands(listing.client));
  const history: string[] = [];
  for (let at = 0; at < length; at++) {
    const step = source.next();
    host.advance(1);
    if (step.kind !== "command") {
      history.unshift(step.kind + (step.kind === "hash" ? ` ${toHex(step.data)}` : ""));
      const trouble = await signal(engine, swtpm, step);
      if (trouble) return { seed, at, command: step.kind, engine: trouble, swtpm: "", history };
      continue;
    }
    engine.locality = step.locality;
    const ours = engine.send(step.bytes);
    const theirs = await answerOfSwtpm(swtpm, step);
    const command = toHex(step.bytes);
    const shown = [comparable(step.bytes, ours), comparable(step.bytes, theirs)];
    if (shown[0] !== shown[1]) {
      const difference: Difference = {
        seed,
        at,
        command: `${step.name} L${step.locality} ${command}`,
        engine: `${describeResponseCode(responseCode(ours))} ${shown[0]}`,
        swtpm: `${describeResponseCode(responseCode(theirs))} ${shown[1]}`,
        history: history.slice(0, 400),
      };
      if (!known(difference)) return difference;
      // From here on the two may be in different states.
      return undefined;
    }
    source.answered(step, ours);
    history.unshift(`${step.name} L${step.locality} ${command} -> ${hex32(responseCode(ours))}`);
  }
  return undefined;
}

const TPM_RC_RETRY = 0x922;

/** libtpms 0.9 wants a command that uses a protected authValue for the first time to be sent again; later ones go on at once. */
async function answerOfSwtpm(swtpm: SwtpmMachine, step: Extract<Step, { kind: "command" }>): Promise<Uint8Array> {
  const response = await swtpm.send(step.bytes, step.locality);
  return responseCode(response) === TPM_RC_RETRY ? swtpm.send(step.bytes, step.locality) : response;
}

/** Passes a signal to both. @returns what the engine does not survive */
async function signal(engine: EngineTpm, swtpm: SwtpmMachine, step: Signal): Promise<string | undefined> {
  if (step.kind === "power") await swtpm.powerCycle();
  else if (step.kind === "migrate") await swtpm.migrate();
  else await swtpm.hash(step.data);
  try {
    if (step.kind === "power") engine.powerCycle(1);
    else if (step.kind === "migrate") engine.suspend();
    else {
      engine.engine.hashStart();
      engine.engine.hashData(step.data);
      engine.engine.hashEnd();
    }
    return undefined;
  } catch (error) {
    return `${error}`;
  }
}

/** A difference for people. */
export function describeDifference(difference: Difference): string {
  const bytes = difference.command.split(" ")[2];
  return [
    `seed ${difference.seed}, step ${difference.at}: ${difference.command}`,
    ...(bytes ? [describeCommand(bytesOf(bytes))] : []),
    `  engine ${difference.engine}`,
    `  swtpm  ${difference.swtpm}`,
    ...difference.history.map((line) => `    before: ${line}`),
  ].join("\n");
}
