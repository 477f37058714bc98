// npm run corpus with files of its user: what agrees passes, what does not is told and makes it fail.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { RECORDED_CORPUS } from "../../scripts/corpus.mjs";

const script = new URL("../../scripts/corpus.mjs", import.meta.url).pathname;

function corpus(...files: string[]) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [script, ...files], { encoding: "utf8" });
  return { lines: stdout.trimEnd().split("\n"), stderr, status };
}

function withFiles(commands: string, responses: string, work: (commands: string, responses: string) => void): void {
  const folder = mkdtempSync(path.join(tmpdir(), "corpus-"));
  const files = [path.join(folder, "commands.tsv"), path.join(folder, "responses.tsv")] as const;
  try {
    writeFileSync(files[0], commands);
    writeFileSync(files[1], responses);
    work(...files);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it("the recorded pair passes, all of it", () => {
  const { lines, status } = corpus(RECORDED_CORPUS.commands, RECORDED_CORPUS.responses);
  expect([lines.at(-1), status]).toEqual(["628 passed, 0 failed", 0]);
});

const GET_TEST_RESULT = "80010000000a0000017c";
const ECC_DECRYPT = "80010000000a0000019a";
const COMMANDS = `# any comment\none\t${GET_TEST_RESULT}\ntwo\t80010000000a00000001\nthree\t${ECC_DECRYPT}\n`;
const ONE = "one\t10\t0000017c\t00000000\t16\teq\t80010000001000000000000000000000\t\n";
const TWO = "two\t10\t00000001\t00000143\t10\teq\t80010000000a00000143\t\n";
const THREE = "three\t10\t0000019a\t0000019a\t10\teq\t80010000000a0000019a\t00000143\n";

it("each command meets a TPM of its own, with the profiles that the answers are for", () => {
  withFiles(COMMANDS, ONE + TWO + THREE, (...files) => {
    const { lines, status } = corpus(...files);
    expect([lines, status]).toEqual([["3 passed, 0 failed"], 0]);
  });
});

it.each([
  ["another response code", ONE.replace("00000000\t16", "00000101\t10"), "one"],
  ["another size", ONE.replace("\t16\t", "\t17\t"), "one"],
  ["other bytes", ONE.replace("8001000000100000000000000000000", "8001000000100000000000000000001"), "one"],
  ["another code with the null profile", THREE.replace("00000143", "00000000"), "three"],
])("%s is a failure", (_what, row, name) => {
  const rows = [ONE, TWO, THREE].map((usual) => (usual.startsWith(name) ? row : usual));
  withFiles(COMMANDS, rows.join(""), (...files) => {
    const { lines, status } = corpus(...files);
    expect(lines[0]).toBe(name);
    expect([lines.at(-1), status]).toEqual(["2 passed, 1 failed", 1]);
  });
});

it("a command without an answer is an error", () => {
  withFiles(COMMANDS, ONE + TWO, (...files) => {
    const { stderr, status } = corpus(...files);
    expect(stderr).toContain("has no answer to three");
    expect(status).toBe(1);
  });
  expect(corpus("only-one.tsv").status).toBe(2);
});
