// Where the server's lines go.

/**
 * A sink for lines. `level` says how much is wanted: 0 is what goes wrong, 1 what happened as well, 2 adds the bytes of every command and response.
 * Callers look at `level` before they build anything costly.
 */
export interface Log {
  readonly level: number;
  /** One line, without its end. Leading blanks are its level minus one, as in swtpm. */
  line(text: string): void;
}

/** Writes bytes as swtpm does: a line with the title and the length, then lines of 16 bytes. */
export function logBytes(log: Log, title: string, bytes: Uint8Array, limit = bytes.length): void {
  const size = Math.min(bytes.length, limit);
  log.line(`${title} length ${size}`);
  for (let at = 0; at < size; at += 16) {
    let line = " ";
    for (let i = at; i < Math.min(at + 16, size); i++)
      line += `${bytes[i]!.toString(16).toUpperCase().padStart(2, "0")} `;
    log.line(line);
  }
}

export const SILENT: Log = { level: 0, line() {} };
