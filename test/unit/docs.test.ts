// The examples of the README and the docs, run as a reader would: JavaScript as a program of its own, `wtpm exec` and
// `wtpm firmware` in a shell.
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const pages = ["README.md", ...readdirSync(path.join(root, "docs")).map((name) => `docs/${name}`)];
const text = (page: string): string => readFileSync(path.join(root, page), "utf8");
const blocks = (language: string): [string, string][] =>
  pages.flatMap((page) =>
    [...text(page).matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map((match): [string, string] => [
      page,
      match[1] as string,
    ]),
  );

let folder: string;

beforeAll(() => {
  if (!existsSync(path.join(root, "dist/index.js"))) throw new Error("the package is not built: npm run build");
  folder = mkdtempSync(path.join(tmpdir(), "wtpm-docs-"));
  mkdirSync(path.join(folder, "node_modules/.bin"), { recursive: true });
  symlinkSync(root, path.join(folder, "node_modules/wtpm"));
  writeFileSync(
    path.join(folder, "node_modules/.bin/wtpm"),
    `#!/bin/sh\nexec "${process.execPath}" "${root}/dist/bin/wtpm.js" "$@"\n`,
    { mode: 0o755 },
  );
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, args: string[]): { status: number | null; output: string } {
  const bin = path.join(folder, "node_modules/.bin");
  const env = { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH}` };
  const result = spawnSync(command, args, { cwd: folder, encoding: "utf8", env, timeout: 60_000 });
  return { status: result.status, output: `${result.stdout}${result.stderr}${result.error?.message ?? ""}` };
}

describe("JavaScript", () => {
  test.each(blocks("js"))("%s", (_page, code) => {
    const file = path.join(folder, "example.mjs");
    writeFileSync(file, code);
    const { status, output } = run(process.execPath, [file]);
    expect(status, output).toBe(0);
    // `console.log(…); // 16` says what is printed.
    const said = [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map((match) => match[1]);
    expect(output.trim().split("\n").filter(Boolean)).toEqual(said);
  });
});

describe("shell", () => {
  const examples = blocks("sh").filter(([, code]) => /^wtpm (exec|firmware) /.test(code));

  test("there are examples", () => expect(examples.length).toBeGreaterThan(1));

  test.each(examples)("%s", (_page, code) => {
    const { status, output } = run("sh", ["-euc", code]);
    expect(status, output).toBe(0);
    expect(output.trim()).not.toBe("");
  });
});

describe("links", () => {
  test.each(pages)("%s", (page) => {
    for (const [, target] of text(page).matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)) {
      const file = path.join(root, path.dirname(page), target as string);
      expect(existsSync(file), `${page} links to ${target}`).toBe(true);
    }
  });
});
