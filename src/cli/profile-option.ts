// --profile: the profile of a new TPM, by its name or as libtpms' JSON.
import { Buffer } from "node:buffer";
import fs from "node:fs";
import { builtInAlgorithms } from "../spec/profiles.ts";
import { listOf, OptionError } from "./option-list.ts";

/** From a descriptor swtpm reads no more. */
const MAX_FROM_FD = 10 * 1024 - 1;

/**
 * The JSON that the option's list asks for.
 *
 * @throws OptionError when it asks for none, or several, or cannot be read. Whether it is a profile is the TPM's to say.
 */
export function profileOption(text: string): string {
  const list = listOf("profile", text, {
    name: "string",
    profile: "string",
    file: "string",
    fd: "int",
    "remove-disabled": "string",
  });
  const fd = list.fd === undefined || list.fd < 0 ? undefined : list.fd;
  const given = [list.profile, list.name, list.file, fd].filter((value) => value !== undefined);
  if (given.length > 1)
    throw new OptionError("Only one profile option parameter of 'profile', 'name', 'fd', or 'file' may be provided");
  if (given.length === 0) throw new OptionError("No profile option parameter given to get a profile");
  const json = (list.profile ?? named(list.name) ?? readProfile(list.file ?? fd!)).trim();
  switch (list["remove-disabled"]) {
    case undefined:
    // What a host's OpenSSL may have disabled does not matter: this TPM brings its own algorithms.
    case "check":
      return json;
    case "fips-host":
      return forFipsHost(json);
    default:
      throw new OptionError(`Invalid option parameter '${list["remove-disabled"]}' for 'remove-disabled'`);
  }
}

const named = (name: string | undefined) => (name === undefined ? undefined : `{"Name":"${name}"}`);

function readProfile(file: string | number): string {
  try {
    if (typeof file === "string") return fs.readFileSync(file, "utf8");
    const buffer = Buffer.alloc(MAX_FROM_FD);
    let size = 0;
    for (let count = 1; count > 0 && size < MAX_FROM_FD; size += count)
      count = fs.readSync(file, buffer, size, MAX_FROM_FD - size, null);
    fs.closeSync(file);
    return buffer.toString("utf8", 0, size);
  } catch (error) {
    throw new OptionError(`Unable to read profile: ${(error as Error).message}`);
  }
}

/** Algorithms, with their least sizes, that a host in FIPS mode has not. */
const NOT_FIPS = /^(camellia|camellia-min-size=.*|tdes|tdes-min-size=.*|rsaes|ecc-nist-p192)$/;
/** The least sizes there, in the order in which swtpm adds them. */
const FIPS_MIN_SIZES = { "ecc-min-size": 224, "rsa-min-size": 2048 } as const;
const FIPS_ATTRIBUTES = ["no-sha1-signing", "no-sha1-verification", "no-unpadded-encryption"];

/** The profile without what FIPS mode forbids, if it is a "custom" one: as swtpm's remove-disabled=fips-host. */
function forFipsHost(json: string): string {
  const profile = parseProfile(json);
  const name = profile.Name;
  if (typeof name !== "string" || (name !== "custom" && !name.startsWith("custom:"))) return json;
  let algorithms = String(profile.Algorithms ?? builtInAlgorithms)
    .split(",")
    .filter((word) => !NOT_FIPS.test(word));
  const key = (word: string) => word.split("=", 1)[0]!;
  algorithms = algorithms.filter((word, i) => !algorithms.slice(i + 1).some((later) => key(later) === key(word)));
  for (const [word, least] of Object.entries(FIPS_MIN_SIZES)) {
    const at = algorithms.findIndex((item) => item.startsWith(`${word}=`));
    const size = at < 0 ? 0 : Number(algorithms[at]!.slice(word.length + 1));
    if (Number.isNaN(size)) throw new OptionError(`Error: Could not parse '${algorithms[at]}' as a number.`);
    if (size < least) algorithms[at < 0 ? algorithms.length : at] = `${word}=${least}`;
  }
  const attributes = String(profile.Attributes ?? "")
    .split(",")
    .filter(Boolean);
  const missing = FIPS_ATTRIBUTES.filter((attribute) => !attributes.includes(attribute));
  if (!attributes.includes("fips-host")) attributes.push(...missing);
  return JSON.stringify({ ...profile, Algorithms: algorithms.join(","), Attributes: attributes.join(",") });
}

function parseProfile(json: string): Record<string, unknown> {
  try {
    return JSON.parse(json) as Record<string, unknown>;
  } catch (error) {
    throw new OptionError(`The profile is no JSON: ${(error as Error).message}`);
  }
}
