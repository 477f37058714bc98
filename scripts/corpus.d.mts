export interface CorpusFiles {
  readonly commands: string;
  readonly responses: string;
}
export const RECORDED_CORPUS: CorpusFiles;
export interface CorpusResult {
  readonly name: string;
  readonly code: string;
  /** Hexadecimal digits. */
  readonly command: string;
  /** The recorded response code. */
  readonly expected: string;
  /** The recorded response, or the start of its SHA-256. */
  readonly answer: string;
  readonly got: string;
  readonly agrees: boolean;
  /** The command left the engine in failure mode. */
  readonly failed: boolean;
}
export function compareCorpus(module: WebAssembly.Module, files?: CorpusFiles): CorpusResult[];
