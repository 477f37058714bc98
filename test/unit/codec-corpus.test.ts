import { describe, expect, it } from "vitest";
import {
  type DecodedCommand,
  decodeCommand,
  decodeResponse,
  describeResponseCode,
  encodeResponse,
} from "../../src/codec/index.ts";
import { parseResponseCode } from "../../src/codec/response-code.ts";
import {
  handleRanges,
  implementation,
  implementedAlgorithms,
  unimplementedValues,
} from "../../src/spec/implementation.ts";
import { bytesOf, recorded } from "../support/recorded.ts";
import { startSwtpm } from "../support/swtpm.ts";

const limits = { sizes: implementation, handleRanges, algorithms: implementedAlgorithms, unimplementedValues };

interface Exchange {
  readonly name: string;
  readonly command: Uint8Array;
  readonly responseCode: number;
  /** Where it was recorded in full. */
  readonly response?: Uint8Array;
}

function exchange(name: string, command: string, code: string, response: string): Exchange {
  const hex = /^(8001|8002|00c4)[0-9a-f]{16,}$/.test(response) ? { response: bytesOf(response) } : {};
  return { name, command: bytesOf(command), responseCode: Number.parseInt(code, 16), ...hex };
}

const answers = new Map(recorded("corpus-responses.tsv").map((row) => [row[0], row]));
const corpus = recorded("corpus-commands.tsv").map(([file, command]) => {
  const answer = answers.get(file);
  return exchange(file!, command!, answer![3]!, answer![6]!);
});
const probes = recorded("probes.tsv").map(([name, command, code, response]) =>
  exchange(name!, command!, code!, response!),
);

/** In which order a TPM looks at a command; it answers to the first thing that is wrong. */
const stages = ["header", "handles", "sessions", "parameters"];

function stageOfIssue(command: DecodedCommand): number {
  const field = command.issues[0]?.field ?? "";
  if (field.startsWith("handles")) return 1;
  if (field.startsWith("authorizationSize") || field.startsWith("sessions")) return 2;
  return field.startsWith("parameters") || field === "" ? 3 : 0;
}

function stageOfCode(code: number): number {
  const { name = "", at, number } = parseResponseCode(code);
  if (["TPM_RC_INITIALIZE", "TPM_RC_COMMAND_CODE", "TPM_RC_COMMAND_SIZE"].includes(name)) return 0;
  if (name.startsWith("TPM_RC_REFERENCE_H") || (at === "handle" && number)) return 1;
  if (name.startsWith("TPM_RC_REFERENCE_S") || name.startsWith("TPM_RC_AUTH_") || at === "session") return 2;
  return 3;
}

describe.each([
  ["the fuzz corpus", corpus, 628],
  ["the edge cases", probes, 87],
])("%s", (_, exchanges, count) => {
  it("is complete", () => {
    expect(exchanges.length).toBe(count);
  });

  it("decodes, or fails for the reason libtpms gave", () => {
    let confirmed = 0;
    for (const { name, command, responseCode } of exchanges) {
      const decoded = decodeCommand(command, { limits });
      const issue = decoded.issues[0];
      if (!issue) continue;
      confirmed++;
      // libtpms answers TPM_RC_VALUE to an unknown tag, where Part 3 has TPM_RC_BAD_TAG.
      if (issue.error === "TPM_RC_BAD_TAG" && responseCode === 0x084) continue;
      if (issue.responseCode === responseCode) continue;
      const refusedEarlier = responseCode !== 0 && stageOfCode(responseCode) < stageOfIssue(decoded);
      expect(
        refusedEarlier,
        `${name}: ${issue.field} ${issue.message} in the ${stages[stageOfIssue(decoded)]}, ` +
          `${describeResponseCode(issue.responseCode)}, but libtpms: ${describeResponseCode(responseCode)}`,
      ).toBe(true);
    }
    expect(confirmed).toBeGreaterThan(10);
  });

  it("has no value that the specification refuses in a command that succeeded", () => {
    for (const { name, command, responseCode } of exchanges) {
      if (responseCode === 0) expect(decodeCommand(command).issues, name).toEqual([]);
    }
  });

  it("has responses that decode to their end", () => {
    let responses = 0;
    for (const { name, command, responseCode, response } of exchanges) {
      if (!response) continue;
      responses++;
      const decoded = decodeResponse(response, decodeCommand(command).commandCode);
      expect(decoded.issues, name).toEqual([]);
      expect(decoded.rest, name).toEqual(new Uint8Array());
      expect(decoded.responseCode, name).toBe(responseCode);
    }
    expect(responses).toBeGreaterThan(60);
  });
});

it("swtpm's answers to the fuzz corpus decode to their end and encode to the same bytes", async () => {
  await using swtpm = await startSwtpm();
  let succeeded = 0;
  for (const { name, command } of corpus) {
    const { commandCode, name: commandName, size } = decodeCommand(command);
    // A stream ends a command where its header says; without a header swtpm waits for more.
    if (size !== command.length || size < 10) continue;
    const response = await swtpm.transmit(command);
    const decoded = decodeResponse(response, commandCode);
    expect(decoded.issues, name).toEqual([]);
    expect(decoded.rest.length, name).toBe(0);
    if (decoded.responseCode !== 0) continue;
    succeeded++;
    expect(encodeResponse(commandName!, decoded), name).toEqual(response);
  }
  expect(succeeded).toBeGreaterThan(100);
});
