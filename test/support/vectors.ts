// Known-answer vectors of others, which the project does not keep: gzip-compressed JSON under the folder WTPM_VECTORS names
// (acvp/ from NIST's ACVP server, wycheproof/ from C2SP). Without the variable the suites do not exist, except in CI, where
// that is a failure.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";

const folder = process.env.WTPM_VECTORS;

/** A group of ACVP or Wycheproof cases: its own fields and its cases. */
export type Group<Fields, Case> = Fields & { tests: Case[] };

/** Defines the suite `name` if the vectors are there. */
export function describeVectors(name: string, define: () => void): void {
  if (folder && existsSync(folder)) {
    describe(name, define);
    return;
  }
  console.log(`${name}: not run, WTPM_VECTORS names no folder`);
  it(`${name}: vectors are only missing outside CI`, () => {
    expect(process.env.CI ?? "", "WTPM_VECTORS must name the vectors in CI").not.toBe("true");
  });
}

/** The groups of one file, for example acvp("SHA2-256-1.0") or wycheproof("hmac_sha1_test"). */
function groups<Fields, Case>(file: string): Group<Fields, Case>[] {
  const json: { testGroups: Group<Fields, Case>[] } = JSON.parse(
    gunzipSync(readFileSync(path.join(folder ?? "", file))).toString("utf8"),
  );
  return json.testGroups;
}

export const acvp = <Fields, Case>(name: string): Group<Fields, Case>[] => groups(`acvp/${name}.json.gz`);
export const wycheproof = <Fields, Case>(name: string): Group<Fields, Case>[] => groups(`wycheproof/${name}.json.gz`);

/** Bytes of a hexadecimal text. */
export const unhex = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, "hex"));

/** Upper-case hexadecimal, as ACVP writes it. */
export const hexUpper = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex").toUpperCase();
