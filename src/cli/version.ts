// The version of this package.
import fs from "node:fs";
import { packageUrl } from "../platform/assets.ts";

export function packageVersion(): string {
  return (JSON.parse(fs.readFileSync(new URL("package.json", packageUrl()), "utf8")) as { version: string }).version;
}
