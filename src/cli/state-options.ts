// Where a TPM's state is, as every command says it: swtpm's --tpmstate.
import type { TpmFamily } from "../backend/backend.ts";
import type { StateFormat } from "../state/format.ts";
import { openStore } from "../state/open-store.ts";
import type { StateStore } from "../state/store.ts";
import { type Environment, listOf, OptionError } from "./option-list.ts";

export interface StateOptions {
  /** What --tpmstate or TPM_PATH say, as a URI; undefined for nowhere. */
  readonly uri: string | undefined;
  readonly mode?: number;
  readonly lock?: boolean;
  readonly fsync?: boolean;
  readonly backup?: boolean;
  /** wtpm's own: changes vanish with the process. */
  readonly ephemeral?: boolean;
}

/**
 * @param text the value of --tpmstate.
 * @throws OptionError
 */
export function stateOptions(text: string | undefined, environment: Environment): StateOptions {
  if (text === undefined)
    return { uri: environment.TPM_PATH === undefined ? undefined : `dir://${environment.TPM_PATH}` };
  const list = listOf("tpmstate", text, {
    dir: "string",
    mode: "mode",
    "backend-uri": "string",
    lock: "boolean",
    backup: "boolean",
    fsync: "boolean",
    ephemeral: "boolean",
  });
  const uri = list.dir === undefined ? list["backend-uri"] : `dir://${list.dir}`;
  if (uri === undefined)
    throw new OptionError("The dir or backend-uri parameters is required for the tpmstate option.");
  const { dir: _dir, "backend-uri": _uri, ...rest } = list;
  return { uri, ...rest };
}

/**
 * The store that the options name; undefined when they name none.
 *
 * @param warn told what the user should know and nothing else says.
 * @param format what is put around the blobs: `stateFormat` of what --key says.
 * @param inform told what swtpm writes to its log too.
 * @throws StateError "io" for a place that is none.
 */
export function openState(
  options: StateOptions,
  family: TpmFamily,
  warn: (sentence: string) => void,
  format?: StateFormat,
  inform: (sentence: string) => void = () => {},
): StateStore | undefined {
  const { uri, ...rest } = options;
  return uri === undefined ? undefined : openStore(uri, { family, warn, inform, ...(format && { format }), ...rest });
}
