// Replays recorded device traces: `npm run replay -- FILE…`.
import { replaySequence } from "./player.ts";
import { readTrace } from "./trace.ts";

export interface ReplayResult {
  readonly passed: number;
  readonly failed: number;
}

/**
 * Replays every sequence of every file, calls `report` with a line for each that differs and for each file, and counts.
 * A file that cannot be read counts as one failure.
 */
export async function replayFiles(files: readonly string[], report: (line: string) => void): Promise<ReplayResult> {
  let [passed, failed] = [0, 0];
  for (const file of files) {
    const before = passed;
    try {
      const { header, sequences } = readTrace(file);
      for (const sequence of sequences) {
        try {
          await replaySequence(header, sequence);
          passed++;
        } catch (error) {
          failed++;
          report(`${file}: ${sequence.name}: ${error instanceof Error ? error.message : error}`);
        }
      }
      report(`${file}: ${passed - before} of ${sequences.length} sequences equal`);
    } catch (error) {
      failed++;
      report(`${file}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return { passed, failed };
}
