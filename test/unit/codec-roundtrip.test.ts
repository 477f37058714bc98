import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeCommand,
  decodeResponse,
  decodeStructure,
  describeCommand,
  describeResponse,
  encodeResponse,
  encodeStructure,
  encodeUntypedCommand,
  formatCommand,
  formatResponse,
  type RawSession,
  type TpmObject,
} from "../../src/codec/index.ts";
import { fieldsOf, handleFieldsOf } from "../../src/codec/message.ts";
import { commands } from "../../src/spec/commands.ts";
import { parseTypeReference, resolveField, resolveType } from "../../src/spec/registry.ts";
import { structures } from "../../src/spec/structures.ts";
import type { CommandDefinition } from "../../src/spec/types.ts";
import { type Draw, randomFields, randomValue } from "../support/spec-values.ts";

const standalone = Object.keys(structures).filter((name) => !["union", "digest"].includes(resolveType(name).kind));

/** Handles, up to three sessions and parameters of a command. */
function randomCommand(draw: Draw, command: CommandDefinition) {
  const count = command.noSessions ? 0 : draw(fc.integer, { min: 0, max: 3 });
  return {
    handles: randomFields(draw, handleFieldsOf(command), false),
    sessions: randomSessions(draw, "TPMS_AUTH_COMMAND", count) as unknown as RawSession[],
    parameters: randomFields(draw, fieldsOf(command.parameters), false),
  };
}

function randomSessions(draw: Draw, type: string, count: number): TpmObject[] {
  return Array.from({ length: count }, () => randomValue(draw, parseTypeReference(type)).value as TpmObject);
}

function randomResponse(draw: Draw, command: CommandDefinition) {
  const handle = command.responseHandle && randomValue(draw, resolveField(command.responseHandle).type, false).value;
  return {
    ...(handle === undefined ? {} : { handle: handle as number }),
    parameters: randomFields(draw, fieldsOf(command.response), false),
    sessions: randomSessions(draw, "TPMS_AUTH_RESPONSE", draw(fc.integer, { min: 0, max: 3 })),
  };
}

describe("encoding and decoding give back", () => {
  it.each(standalone)("%s", (name) => {
    fc.assert(
      fc.property(fc.gen(), (draw) => {
        const { value } = randomValue(draw, parseTypeReference(name));
        const bytes = encodeStructure(name as "TPMT_PUBLIC", value as never);
        const decoded = decodeStructure(name as "TPMT_PUBLIC", bytes);
        expect(decoded).toEqual(value);
        expect(encodeStructure(name as "TPMT_PUBLIC", decoded)).toEqual(bytes);
      }),
      { numRuns: 40 },
    );
  });

  it.each(commands.map((command) => [command.name, command] as const))("TPM2_%s and its response", (name, command) => {
    fc.assert(
      fc.property(fc.gen(), (draw) => {
        const input = randomCommand(draw, command);
        const bytes = encodeUntypedCommand(name, input);
        const decoded = decodeCommand(bytes);
        expect(decoded).toMatchObject({ name, handles: input.handles, sessions: input.sessions, issues: [] });
        const first = Object.values(decoded.parameters)[0];
        const encrypted = typeof first === "object" && first !== null && "encrypted" in first;
        if (!encrypted) expect(decoded.parameters).toEqual(input.parameters);
        const { handles, parameters } = decoded;
        expect(encodeUntypedCommand(name, { handles, parameters, sessions: input.sessions })).toEqual(bytes);

        const answer = randomResponse(draw, command);
        const response = encodeResponse(name, answer);
        const decodedResponse = decodeResponse(response, command.code);
        expect(decodedResponse).toMatchObject({ responseCode: 0, sessions: answer.sessions, issues: [] });
        expect(encodeResponse(name, decodedResponse)).toEqual(response);
      }),
      { numRuns: 25 },
    );
  });
});

describe("malformed messages", () => {
  /** Decodes and describes in every way; none may throw. Returns the issues. */
  function examine(command: Uint8Array, code: number) {
    const decoded = decodeCommand(command);
    formatCommand(decoded);
    describeCommand(command);
    formatResponse(decodeResponse(command, code));
    describeResponse(command, code);
    return decoded;
  }

  it("never throw when they are any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...commands), (bytes, { code }) => {
        examine(bytes, code);
      }),
      { numRuns: 1000 },
    );
  });

  it("never throw when a byte is changed, and are told when the end is missing", () => {
    fc.assert(
      fc.property(fc.gen(), fc.constantFrom(...commands), fc.nat(), fc.nat(255), (draw, command, place, byte) => {
        const bytes = encodeUntypedCommand(command.name, randomCommand(draw, command));
        const changed = bytes.slice();
        changed[place % bytes.length] = byte;
        examine(changed, command.code);
        const cut = bytes.slice(0, place % bytes.length);
        if (cut.length >= 6) new DataView(cut.buffer).setUint32(2, cut.length);
        const { issues, rest } = examine(cut, command.code);
        expect(issues.length).toBeGreaterThan(0);
        for (const { offset } of issues) expect(offset).toBeLessThanOrEqual(cut.length);
        expect(rest.length).toBeLessThanOrEqual(cut.length);
      }),
      { numRuns: 1000 },
    );
  });
});
