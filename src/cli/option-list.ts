// The comma-separated lists that swtpm's options take: key, key=value, or key={json}.
import fs from "node:fs";

export type ListType = "string" | "int" | "uint" | "boolean" | "mode" | "uid" | "gid";
type ValueOf<T extends ListType> = T extends "string" ? string : T extends "boolean" ? boolean : number;
export type ListValues<S extends Record<string, ListType>> = { [K in keyof S]?: ValueOf<S[K]> };

export type Environment = Readonly<Record<string, string | undefined>>;

/** A command line that is understood and cannot be done; the message goes to the log. */
export class OptionError extends Error {}

/** The message is swtpm's, without what is said of the option itself. */
class ListError extends Error {}

const INT_MAX = 2 ** 31 - 1;
const UINT_MAX = 2 ** 32 - 1;
const MAX_MODE = 0o777;

/**
 * The list given to an option, whose name in messages is `what`.
 *
 * @throws OptionError
 */
export function listOf<const S extends Record<string, ListType>>(what: string, text: string, schema: S): ListValues<S> {
  try {
    return parseList(text, schema);
  } catch (error) {
    if (error instanceof ListError) throw new OptionError(`Error parsing ${what} options: ${error.message}`);
    throw error;
  }
}

/**
 * Reads a list. A bare key means `true`; a value that starts with `{` goes on to the `}` that closes it, strings not understood; of a
 * key that is given twice the first counts, as in swtpm.
 *
 * @throws ListError
 */
function parseList<const S extends Record<string, ListType>>(text: string, schema: S): ListValues<S> {
  const values: Record<string, string | number | boolean> = {};
  for (const token of tokensOf(text)) {
    const equals = token.indexOf("=");
    // "key=" without a value is no key, as in swtpm.
    const key = equals >= 0 && equals < token.length - 1 ? token.slice(0, equals) : token;
    const type = Object.hasOwn(schema, key) ? schema[key] : undefined;
    if (!type) throw new ListError(`Unknown option '${token}'`);
    const value = convert(type, key === token ? "true" : token.slice(equals + 1));
    if (!(key in values)) values[key] = value;
  }
  return values as ListValues<S>;
}

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  for (let at = 0; at <= text.length; ) {
    const comma = text.indexOf(",", at);
    const end = comma < 0 ? text.length : comma;
    const equals = text.indexOf("=", at);
    if (equals >= 0 && equals < end && text[equals + 1] === "{") {
      const close = closingBrace(text, equals + 1);
      if (close + 1 < text.length && text[close + 1] !== ",")
        throw new ListError("Unexpected character following JSON map.");
      tokens.push(text.slice(at, close + 1));
      at = close + 2;
      if (close + 1 >= text.length) break;
    } else {
      tokens.push(text.slice(at, end));
      at = end + 1;
    }
  }
  return tokens;
}

function closingBrace(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text[at] === "{") depth++;
    else if (text[at] === "}" && --depth === 0) return at;
  }
  throw new ListError("Unterminated JSON map.");
}

function convert(type: ListType, text: string): string | number | boolean {
  switch (type) {
    case "string":
      return text;
    case "boolean":
      return /^(true|1)$/i.test(text);
    case "int":
      return integer(text, -INT_MAX - 1, INT_MAX);
    case "uint":
      return integer(notNegative(text), 0, UINT_MAX);
    case "mode":
      return mode(notNegative(text));
    case "uid":
      return account(notNegative(text), "/etc/passwd", "uid", "User");
    case "gid":
      return account(notNegative(text), "/etc/group", "gid", "Group");
  }
}

function notNegative(text: string): string {
  if (/^\s*-/.test(text)) throw new ListError(`invalid required positive number '${text}'`);
  return text;
}

function integer(text: string, min: number, max: number): number {
  if (!/^\s*[+-]?\d+$/.test(text)) throw new ListError(`invalid number '${text}'`);
  const value = Number(text);
  if (value > max || value < min) throw new ListError(`number ${value} outside valid range`);
  return value;
}

function mode(text: string): number {
  if (!/^\s*\+?[0-7]+$/.test(text)) throw new ListError(`invalid mode type '${text}'`);
  const value = Number.parseInt(text, 8);
  if (value > MAX_MODE) throw new ListError(`mode ${text} is invalid`);
  return value;
}

/** A number, or the number of a name in a file of colon-separated lines. */
function account(text: string, file: string, what: string, noun: string): number {
  if (/^\s*\+?\d+$/.test(text)) {
    const value = Number(text);
    if (value > UINT_MAX) throw new ListError(`${what} ${text} outside valid range`);
    return value;
  }
  const id = findAccount(text, file)?.[2];
  if (id === undefined) throw new ListError(`${noun} '${text}' does not exist.`);
  return Number(id);
}

/** The fields of the line of /etc/passwd or /etc/group that starts with the name. */
export function findAccount(name: string, file: string): string[] | undefined {
  let text = "";
  try {
    text = fs.readFileSync(file, "utf8");
  } catch {
    // No such file (Windows, a container without users): no such name.
  }
  return text
    .split("\n")
    .map((line) => line.split(":"))
    .find(([first]) => first === name);
}
