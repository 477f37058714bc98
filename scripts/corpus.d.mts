export interface CorpusResult {
  /** Name of the file in libtpms' corpus. */
  readonly name: string;
  readonly code: string;
  readonly command: string;
  readonly implemented: boolean;
  readonly expected: string;
  readonly answer: string;
  readonly got: string;
  readonly agrees: boolean;
  /** The command left the engine in failure mode. */
  readonly failed: boolean;
}
export function compareCorpus(module: WebAssembly.Module): CorpusResult[];
export function asDefaultV2(command: string, got: string, listed: ReadonlySet<string>): string;
export function owedCode(command: string, code: string, rc: string, listed: ReadonlySet<string>): string;
