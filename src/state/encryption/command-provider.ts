// A data key that an external program wraps: a KMS, an HSM, another TPM.
import { spawnSync } from "node:child_process";
import { timingSafeEqual } from "node:crypto";
import { StateError } from "../store.ts";
import { concat, wipe } from "./bytes.ts";
import type { KeyProvider } from "./key-provider.ts";
import { KEY_SIZE } from "./sealed-box.ts";
import { MAX_WRAPPED_KEY } from "./sealed-header.ts";

export const DEFAULT_COMMAND_TIMEOUT = 30;
const MAX_MESSAGE = 300;

/**
 * Runs `command wrap` with the data key (32 bytes) on its standard input, which gives the wrapped key on its standard output, and
 * `command unwrap` the other way round. Nothing secret is in arguments or the environment. What is unwrapped must be what was wrapped: bind
 * anything else to it in the command.
 *
 * What was wrapped is unwrapped at once: a key store that lets its user encrypt and not decrypt would take the state with it.
 *
 * @param command a program, by path or by its name on PATH. No shell reads it.
 * @param timeout in seconds; then it is killed.
 */
export function commandProvider(command: string, slot?: string, timeout = DEFAULT_COMMAND_TIMEOUT): KeyProvider {
  const unwrap = (wrapped: Uint8Array): Uint8Array => {
    const dataKey = run(command, "unwrap", wrapped, timeout);
    if (dataKey.length === KEY_SIZE) return dataKey;
    wipe(dataKey);
    throw failure(command, "unwrap", `${dataKey.length} bytes instead of ${KEY_SIZE}`);
  };
  return {
    kind: "command",
    slot: slot ?? "command",
    named: slot !== undefined,

    wrap(dataKey) {
      const wrapped = run(command, "wrap", dataKey, timeout);
      if (wrapped.length === 0 || wrapped.length > MAX_WRAPPED_KEY)
        throw failure(command, "wrap", `${wrapped.length} bytes instead of 1 to ${MAX_WRAPPED_KEY}`);
      const again = unwrap(wrapped);
      const same = timingSafeEqual(again, dataKey);
      wipe(again);
      if (!same) throw failure(command, "unwrap", "it gives another key than was wrapped");
      return wrapped;
    },

    unwrap,
  };
}

function run(command: string, operation: "wrap" | "unwrap", input: Uint8Array, timeout: number): Uint8Array {
  const { status, signal, stdout, stderr, error } = spawnSync(command, [operation], {
    input,
    timeout: 1000 * timeout,
    killSignal: "SIGKILL",
    maxBuffer: 4 * MAX_WRAPPED_KEY,
    windowsHide: true,
  });
  if (error) {
    const late = (error as NodeJS.ErrnoException).code === "ETIMEDOUT";
    throw failure(command, operation, late ? `no answer within ${timeout} s` : error.message, error);
  }
  if (status !== 0) {
    const said = stderr.toString("utf8").trim().slice(0, MAX_MESSAGE);
    throw failure(command, operation, `${signal ?? `exit status ${status}`}${said ? `: ${said}` : ""}`);
  }
  const output = concat(stdout);
  wipe(stdout);
  return output;
}

function failure(command: string, operation: string, why: string, cause?: unknown): StateError {
  return new StateError("io", `the key command '${command} ${operation}' failed: ${why}`, { cause });
}
