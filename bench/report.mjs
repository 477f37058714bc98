// What every benchmark says of itself: the machine, the runtime, the engine's build; and its figures as a table.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
export const wtpmProgram = path.join(root, "dist/bin/wtpm.js");

/** Options of a benchmark's command line: `--name value` or `--name`; what has no default is an error. */
export function readOptions(defaults, words = process.argv.slice(2)) {
  const options = { ...defaults };
  for (let i = 0; i < words.length; i++) {
    const name = words[i].replace(/^--/, "");
    if (!words[i].startsWith("--") || !(name in defaults)) {
      const known = Object.keys(defaults).map((option) => `--${option}`);
      throw new Error(`'${words[i]}' is not known here; there are ${known.join(", ")}`);
    }
    const given = typeof defaults[name] === "boolean" ? true : words[++i];
    options[name] = typeof defaults[name] === "number" ? Number(given) : given;
  }
  return options;
}

/** Fails with a sentence when the package is not built. */
export function requireBuild() {
  if (existsSync(wtpmProgram)) return;
  console.error("dist is missing: run npm run build, or npm run bench, which does");
  process.exit(1);
}

/** The lines above a table: the machine and how busy it is, the runtime, the engine's build, the day. */
export function heading() {
  const [cpu] = os.cpus();
  const version = spawnSync(process.execPath, [wtpmProgram, "--version", "--verbose"], { encoding: "utf8" }).stdout;
  const engine = /^engine: (.*)$/m.exec(version)?.[1] ?? "unknown";
  return [
    `${cpu?.model ?? "unknown processor"}, ${os.cpus().length} cores, ${os.type()} ${os.release()}, load ${os.loadavg()[0].toFixed(1)}`,
    `Node ${process.versions.node}, V8 ${process.versions.v8}; engine: ${engine}; ${new Date().toISOString().slice(0, 10)}`,
  ].join("\n");
}

/** A Markdown table, first column to the left, the others to the right. */
export function table(headers, rows) {
  const lines = [headers, ...rows].map((row) => row.map(String));
  const widths = headers.map((_, column) => Math.max(3, ...lines.map((line) => line[column].length)));
  const format = (cells) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  return [format(lines[0]), rule, ...lines.slice(1).map(format)].join("\n");
}

/** The value below which `share` of the samples are. */
export function quantile(samples, share) {
  const sorted = Float64Array.from(samples).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export const median = (samples) => quantile(samples, 0.5);
export const mean = (samples) => samples.reduce((sum, sample) => sum + sample, 0) / samples.length;

/** A figure with about three digits. */
export function figure(value) {
  if (value === undefined || Number.isNaN(value)) return "";
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}
