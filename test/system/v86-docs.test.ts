// The example of docs/v86.md, run as it stands there.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { type Program, start, until } from "../support/process.ts";
import { BOOT_LIMIT_MS } from "../support/v86-machine.ts";

/** In the package's own folder, where "wtpm" and "v86" are found. */
const FOLDER = "build/v86-docs";

let program: Program | undefined;

afterEach(async () => {
  await program?.kill();
  rmSync(FOLDER, { recursive: true, force: true });
});

test(
  "the example boots SeaBIOS and prints its commands",
  async () => {
    const text = readFileSync("docs/v86.md", "utf8");
    const examples = [...text.matchAll(/^```javascript\n(.*?)^```/gms)].map((match) => match[1]!);
    expect(examples).toHaveLength(1);
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(`${FOLDER}/example.mjs`, examples[0]!);
    program = start(process.execPath, [`${FOLDER}/example.mjs`]);
    const { output, hasExited } = program;
    const printed = await until(
      "SeaBIOS to close its measurements",
      () => {
        const { stdout, stderr } = output();
        if (hasExited()) throw new Error(`the example has ended: ${stderr}`);
        return stdout.includes("TPM2_PCR_Extend pcrHandle=PCR 7") && stdout;
      },
      BOOT_LIMIT_MS,
    );
    expect(printed.split("\n")[0]).toBe("TPM2_Startup startupType=TPM_SU_CLEAR");
    expect(output().stderr).toBe("");
  },
  BOOT_LIMIT_MS,
);
