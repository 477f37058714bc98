// Standard output and standard error at the end of a command: what was written has to arrive before the process ends.

/** The first reason why something could not be written, other than a reader that had enough. */
let failure: NodeJS.ErrnoException | undefined;

/**
 * From here on a reader that goes away (`| head`) ends nothing, and `writtenOutput` tells of a full disk. Call it before anything is
 * written.
 */
export function watchOutput(): void {
  for (const output of [process.stdout, process.stderr]) {
    output.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") failure ??= error;
    });
  }
}

/**
 * Waits until all output has reached its file or pipe: a pipe takes no more than 64 KiB before it is read.
 *
 * @returns the status to end with: 1 instead of 0 if there is output that could not be written.
 */
export async function writtenOutput(status: number): Promise<number> {
  await Promise.all([written(process.stdout), written(process.stderr)]);
  if (!failure) return status;
  process.stderr.write(`wtpm: the output could not be written: ${failure.message}\n`);
  await written(process.stderr);
  return status || 1;
}

function written(output: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (output.destroyed) return resolve();
    // A failure is told in the next turn.
    if (output.writableLength === 0) return void setImmediate(resolve);
    output.once("error", () => resolve());
    output.once("close", () => resolve());
    output.write("", () => resolve());
  });
}
