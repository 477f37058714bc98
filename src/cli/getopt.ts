// Command lines as getopt_long(3) reads them: that is what swtpm's users, and the programs that start it, rely on.

export interface OptionSpec {
  readonly long: string;
  readonly short?: string;
  /** What its value is called in the help; an option without one is a switch. */
  readonly value?: string;
  readonly help: string;
}

export interface ParsedOption {
  readonly name: string;
  readonly value: string | undefined;
}

/** A command line that cannot be understood; the message is getopt's. */
export class UsageError extends Error {}

/**
 * Options in their order, and what is none. `--name=value` and `--name value`, unambiguous beginnings of long names, grouped short
 * options with `-p1` and `-p 1`; options and other words may be mixed, and `--` ends the options.
 *
 * @param program starts the messages of errors.
 * @throws UsageError
 */
export function getopt(
  words: readonly string[],
  specs: readonly OptionSpec[],
  program: string,
): { options: ParsedOption[]; rest: string[] } {
  const options: ParsedOption[] = [];
  const rest: string[] = [];
  const queue = [...words];
  const argumentOf = (label: string, attached: string | undefined): string => {
    const value = attached ?? queue.shift();
    if (value === undefined) throw new UsageError(`${program}: option ${label}`);
    return value;
  };
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (word === "--") {
      rest.push(...queue.splice(0));
    } else if (word.startsWith("--")) {
      const [given = "", attached] = splitOnce(word.slice(2));
      const spec = findLong(given, specs, program);
      if (!spec.value && attached !== undefined)
        throw new UsageError(`${program}: option '--${spec.long}' doesn't allow an argument`);
      options.push({
        name: spec.long,
        value: spec.value ? argumentOf(`'--${spec.long}' requires an argument`, attached) : undefined,
      });
    } else if (word.startsWith("-") && word.length > 1) {
      for (let at = 1; at < word.length; at++) {
        const letter = word[at]!;
        const spec = specs.find(({ short }) => short === letter);
        if (!spec) throw new UsageError(`${program}: invalid option -- '${letter}'`);
        const value = spec.value
          ? argumentOf(`requires an argument -- '${letter}'`, word.slice(at + 1) || undefined)
          : undefined;
        options.push({ name: spec.long, value });
        if (spec.value) break;
      }
    } else {
      rest.push(word);
    }
  }
  return { options, rest };
}

function splitOnce(text: string): [string, string | undefined] {
  const at = text.indexOf("=");
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function findLong(given: string, specs: readonly OptionSpec[], program: string): OptionSpec {
  const exact = specs.find(({ long }) => long === given);
  if (exact) return exact;
  const [found, another] = specs.filter(({ long }) => long.startsWith(given));
  if (!found) throw new UsageError(`${program}: unrecognized option '--${given}'`);
  if (another) throw new UsageError(`${program}: option '--${given}' is ambiguous`);
  return found;
}

const HELP_COLUMN = 26;

/** The options with their help, one or more lines each. */
export function optionHelp(specs: readonly OptionSpec[]): string {
  return specs
    .map(({ long, short, value, help }) => {
      const name = `${short ? `-${short}, ` : ""}--${long}${value ? ` ${value}` : ""}`;
      const indent = " ".repeat(HELP_COLUMN);
      const text = help.replaceAll("\n", `\n${indent}`);
      return name.length < HELP_COLUMN - 3 ? `  ${name.padEnd(HELP_COLUMN - 2)}${text}` : `  ${name}\n${indent}${text}`;
    })
    .join("\n");
}
