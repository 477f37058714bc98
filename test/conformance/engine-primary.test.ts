// Primary keys from known seeds: the keys that libtpms derives, so that a state keeps its identity when it moves.
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { describeResponseCode } from "../../src/codec/index.ts";
import { Engine, PENDING } from "../../src/engine/engine.ts";
import { engineModule } from "../../src/engine/module.ts";
import { EngineTpm, listedCommands, responseCode, TestHost } from "../support/engine-tpm.ts";
import { bytesOf } from "../support/recorded.ts";

interface Vector {
  readonly name: string;
  readonly seed: "EPSeed" | "SPSeed" | "PPSeed";
  /** TPMT_PUBLIC. */
  readonly template: string;
  /** The modulus, of an RSA key; x and y, of a point. */
  readonly n?: string;
  readonly x?: string;
  readonly y?: string;
}

const { vectors } = JSON.parse(
  readFileSync(new URL("../data/tpm2/engine-primary-keys.json", import.meta.url), "utf8"),
) as { readonly vectors: readonly Vector[] };

const hierarchies = { EPSeed: "4000000b", SPSeed: "40000001", PPSeed: "4000000c" } as const;
/** The first profile of libtpms with 4096-bit keys; the null profile refuses them. */
const PROFILE_WITH_RSA_4096 = '{"Name":"default-v2"}';
const CC_CREATE_PRIMARY = 0x131;

const sized = (hex: string) => (hex.length / 2).toString(16).padStart(4, "0") + hex;

/** A TPM whose primary seeds are 64 bytes 01 (EPSeed), 02 (SPSeed) and 03 (PPSeed); undefined if it knows no such profile. */
function tpmWithSeeds(profile: string): Engine | undefined {
  const host = new TestHost();
  const maker = new Engine(engineModule(), host);
  if (maker.manufacture(profile) !== 0) return undefined;
  const permanent = maker.savePermanent();
  let at = seedsOffset(permanent);
  for (const fill of [1, 2, 3]) {
    permanent.fill(fill, at + 2, at + 66);
    at += 66;
  }
  const engine = new Engine(engineModule(), host);
  expect(engine.loadPermanent(permanent)).toBe(0);
  engine.init();
  run(engine, "80010000000c000001440000");
  return engine;
}

/** Where EPSeed, SPSeed and PPSeed stand in a permanent state, each a TPM2B of 64 bytes. */
function seedsOffset(permanent: Uint8Array): number {
  const view = new DataView(permanent.buffer, permanent.byteOffset, permanent.byteLength);
  const HEADER = 8;
  let at = HEADER;
  if (view.getUint16(0) >= 4) at += 2 + view.getUint16(at);
  at += HEADER;
  at += 4 + 4 * view.getUint32(at) + 3;
  at += HEADER + 1 + 3 * 2;
  for (let policyOrAuth = 0; policyOrAuth < 6; policyOrAuth++) at += 2 + view.getUint16(at);
  expect([0, 66, 132].map((seed) => view.getUint16(at + seed))).toEqual([64, 64, 64]);
  return at;
}

function run(engine: Engine, command: string): Uint8Array {
  let size = engine.execute(bytesOf(command), 0);
  while (size === PENDING) size = engine.resume();
  return engine.response(size);
}

function createPrimary(engine: Engine, vector: Vector): Uint8Array {
  const body = `${hierarchies[vector.seed]}00000009400000090000000000${sized("00000000")}${sized(vector.template)}000000000000`;
  return run(engine, `8002${(10 + body.length / 2).toString(16).padStart(8, "0")}00000131${body}`);
}

describe("TPM2_CreatePrimary makes libtpms' keys", () => {
  let implemented: boolean;

  beforeAll(async () => {
    implemented = (await listedCommands(new EngineTpm().client)).has(CC_CREATE_PRIMARY);
    expect(vectors.length).toBe(9);
  });

  it.each(vectors.map((vector) => [vector.name, vector] as const))("%s", (name, vector) => {
    const needs4096 = name.endsWith("rsa4096");
    const engine = needs4096 ? tpmWithSeeds(PROFILE_WITH_RSA_4096) : tpmWithSeeds("");
    if (!engine) {
      // Without the profile it is the key size that is refused, as the null profile has to.
      expect(needs4096).toBe(true);
      const refusal = describeResponseCode(responseCode(createPrimary(tpmWithSeeds("")!, vector)));
      expect(refusal).toMatch(implemented ? /TPM_RC_VALUE \(parameter 2\)/ : /TPM_RC_COMMAND_CODE/);
      return;
    }
    const response = createPrimary(engine, vector);
    const rc = describeResponseCode(responseCode(response));
    expect(rc).toBe(implemented ? "SUCCESS" : "TPM_RC_COMMAND_CODE 0x143");
    if (!implemented) return;
    const view = new DataView(response.buffer);
    const publicSize = view.getUint16(18);
    const outPublic = toHex(response.subarray(20, 20 + publicSize));
    const digits = (value: string) => value.replace(/^0x/, "").padStart(value.length + (value.length & 1), "0");
    const unique = vector.n ? sized(digits(vector.n)) : sized(vector.x!) + sized(vector.y!);
    expect(outPublic.slice(-unique.length)).toBe(unique);
  });
});
